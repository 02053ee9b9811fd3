"""The page about labels that a training loop has recorded."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ieg.data.images.survey import read_odd
from ieg.report.html import render
from ieg.report.suspects import MOST, data_uri
from ieg.utils.files import atomic_write


def write(
    path: str | os.PathLike[str],
    table: pd.DataFrame,
    summary: Mapping[str, Any],
    images: Any = None,
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        table: labels, the most suspicious of each split first.
        summary: has `statement`, a list of sentences.
        images: see `ieg.LabelTracker.report`.

    Raises:
        ValueError: an image is invalid.
        OSError: the page cannot be written.
    """
    page = render(
        'page.html',
        title='Labels to check',
        head=render('tracked_head.html', statement=summary['statement']),
        sections=[('suspects', 'Suspects', _suspects(table, images))],
    )
    atomic_write(path, page)


def _suspects(table: pd.DataFrame, images: Any) -> str:
    """Returns the table of suspects: the marked rows, or the first ones."""
    marked = table[table['is_issue']]
    shown = (marked if len(marked) else table)[:MOST]
    rows = shown.to_dict('records')
    for row in rows:
        row['picture'] = _picture(images, int(row['index']))
    return render(
        'tracked.html',
        rows=rows,
        total=len(table),
        wrong=len(marked),
        has_pictures=any(row['picture'] for row in rows),
    )


def _picture(images: Any, index: int) -> str | None:
    """Returns the image of a row as a data URI.

    Returns:
        None without images, and for a file that cannot be read.
    """
    if images is None:
        return None
    if not callable(images) and len(images) <= index:
        raise ValueError(
            f'images must have one for each label, but there are {len(images)}.'
        )
    one = images(index) if callable(images) else images[index]
    if isinstance(one, str | os.PathLike):
        try:
            return data_uri(read_odd(os.fspath(one), 3))
        # Pillow's errors have no common class.
        except Exception:
            return None
    if isinstance(one, Image.Image):
        one = one.convert('RGB')
    return data_uri(_pixels(np.asarray(one), index))


def _pixels(image: np.ndarray, index: int) -> np.ndarray:
    """Returns an image as uint8 [H, W, channels].

    White is 255, or for other types the smallest of 1, 16 and 255 that no pixel
    exceeds.

    Raises:
        ValueError: this is not an image.
    """
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or not image.size:
        raise ValueError(
            'images must have the shape [H, W], [H, W, 1] or [H, W, 3], but '
            f'that of row {index} has {image.shape}.'
        )
    if image.dtype != np.uint8:
        white = next((w for w in (1, 16) if image.max() <= w), 255)
        image = np.nan_to_num(image.astype(float) / white).clip(0, 1) * 255
    return image.round().astype(np.uint8)
