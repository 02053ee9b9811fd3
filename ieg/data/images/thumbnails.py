"""Thumbnails: small grey squares of whole images, to compare them."""

import concurrent.futures
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ieg.data.images import survey
from ieg.data.images.files import progress_bar

# Images that are fetched, or files that a thread reads, at a time.
_ROWS, _BLOCK = 256, 64


def of_files(paths: Sequence[str], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns thumbnails of images in files.

    Args:
        paths: of n files.
        side: of the squares, in pixels; the whole image is scaled to it.

    Returns:
        thumbnails: uint8 [n, side, side].
        known: whether each could be read [n].
    """
    thumbnails = np.zeros((len(paths), side, side), np.uint8)
    known = np.ones(len(paths), bool)

    def read(start: int) -> int:
        rows = range(start, min(start + _BLOCK, len(paths)))
        for row in rows:
            try:
                thumbnails[row] = _one(paths[row], side)
            # A damaged file can raise anything.
            except Exception:
                known[row] = False
        return len(rows)

    with (
        survey.without_warnings(),
        progress_bar(len(paths), 'Comparing') as bar,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for count in pool.map(read, range(0, len(paths), _BLOCK)):
            bar.update(count)
    return thumbnails, known


def _one(path: str, side: int) -> np.ndarray:
    """Returns the thumbnail of a file; raises whatever is wrong with it."""
    with open(path, 'rb') as file:
        content = file.read()
    image = survey.open_image(io.BytesIO(content))
    turn = survey.orientation(image)
    # Only a JPEG is decoded at a fraction of its size.
    image.draft(None, (2 * side, 2 * side))
    grey = survey.turned(survey.flattened(image, 'L'), turn)
    return _scaled(grey, side)


def _scaled(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(
        image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0)
    )


def of_images(
    fetch: Callable[[np.ndarray], Any], count: int, side: int
) -> np.ndarray:
    """Returns thumbnails of images, uint8 [n, side, side].

    Args:
        fetch: ids [b] -> uint8 [b, H, W, channels]; the first three channels
            are taken for colors.
        count: number of images, n.
        side: of the squares, in pixels.
    """
    thumbnails = np.zeros((count, side, side), np.uint8)
    for start in range(0, count, _ROWS):
        ids = np.arange(start, min(start + _ROWS, count))
        for place, pixels in zip(ids, np.asarray(fetch(ids)), strict=True):
            colors = (
                pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
            )
            image = Image.fromarray(colors).convert('L')
            thumbnails[place] = _scaled(image, side)
    return thumbnails
