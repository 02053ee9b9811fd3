"""Which examples a report shows to a person, and their pictures."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ieg.label_issues.table import Issues

if TYPE_CHECKING:
    from ieg.data.dataset import Data, Split

# Examples in all, of each given class at least, and hard ones at most.
MOST, EACH_CLASS, MOST_HARD = 300, 5, 40
# Pixels: small images are kept as they are, others are scaled down.
SMALL, LARGE = 48, 96
QUALITY = 80
# Images that are read at a time.
ROWS = 50


def choose(issues: Issues) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to show, by rank.

    Args:
        issues: all rows, in any order.

    Returns:
        suspects: rows whose label looks wrong, by rank, and the first few of
            each given class, whether their labels do or not.
        hard: rows that look hard but correct; both together are at most `MOST`.
    """
    order = np.argsort(issues.rank, kind='stable')
    wrong = issues.is_issue[order]
    hard = issues.is_hard[order] & ~wrong
    classes, labels = np.unique(issues.given[order], return_inverse=True)
    each = min(EACH_CLASS, MOST // max(len(classes), 1))
    room = MOST - each * len(classes)
    chosen_hard = np.flatnonzero(hard)[: min(MOST_HARD, room)]
    rows = np.flatnonzero(~hard)
    chosen = np.zeros(len(order), bool)
    chosen[rows[_places_in_class(labels[rows]) < each]] = True
    left = MOST - len(chosen_hard) - chosen.sum()
    chosen[np.flatnonzero(wrong & ~chosen)[:left]] = True
    return order[np.flatnonzero(chosen)], order[chosen_hard]


def _places_in_class(labels: np.ndarray) -> np.ndarray:
    """Returns how many of the same class come before, [n] for labels [n]."""
    by_class = np.argsort(labels, kind='stable')
    counts = np.bincount(labels)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty(len(labels), int)
    places[by_class] = np.arange(len(labels)) - starts
    return places


def pictures(
    data: 'Data | None', issues: Issues, rows: np.ndarray
) -> tuple[dict[int, str], str]:
    """Returns pictures of some rows.

    Args:
        data: the data that the run was trained on, or None.
        issues: all rows.
        rows: places of the rows to show, int [n].

    Returns:
        pictures: data URI by row; empty where there are none.
        reason: why there are none, a sentence; empty otherwise.
    """
    if data is None:
        return (
            {},
            'There are no images: the report was written without data.',
        )
    uris: dict[int, str] = {}
    for split in sorted(set(issues.split[rows])):
        chosen = rows[issues.split[rows] == split]
        if not len(chosen):
            continue
        part = data.split(split)
        names = np.asarray(data.class_names)
        places = None if part is None else _places(part, names, issues, chosen)
        if part is None or places is None:
            return {}, (
                'There are no images: the data differ from those of the run, '
                'in their examples or their labels.'
            )
        try:
            images = _fetch(part, places)
        # TensorFlow's, Pillow's and the operating system's have no common one.
        except Exception as error:
            return {}, (
                'There are no images: they can no longer be read '
                f'({type(error).__name__}).'
            )
        new = map(data_uri, images)
        uris |= dict(zip(chosen.tolist(), new, strict=True))
    return uris, ''


def _places(
    part: 'Split', class_names: np.ndarray, issues: Issues, rows: np.ndarray
) -> np.ndarray | None:
    """Returns the places of rows in a split, None if they do not match it."""
    if not len(part.indices):
        return None
    indices = issues.index[rows]
    places = np.searchsorted(part.indices, indices)
    places = places.clip(max=len(part.indices) - 1)
    same = part.indices[places] == indices
    same &= class_names[part.labels[places]] == issues.given[rows]
    return places if same.all() else None


def _fetch(part: 'Split', places: np.ndarray) -> list[np.ndarray]:
    """Returns the uint8 [H, W, channels] images at some places of a split."""
    if part.images is not None:
        return list(part.images[places])
    images = []
    for start in range(0, len(places), ROWS):
        images += list(
            np.asarray(part.fetch(places[start : start + ROWS], None))
        )
    return images


def data_uri(image: np.ndarray) -> str:
    """Returns an image as a data URI.

    Args:
        image: uint8 [H, W, channels]; up to `SMALL` pixels it is kept as it
            is, a larger one is scaled down to `LARGE` and compressed.
    """
    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image[..., :3])
    buffer = io.BytesIO()
    if max(picture.size) <= SMALL:
        kind = 'png'
        picture.save(buffer, 'PNG')
    else:
        kind = 'jpeg'
        picture.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
        picture.save(buffer, 'JPEG', quality=QUALITY, optimize=True)
    code = base64.b64encode(buffer.getvalue()).decode()
    return f'data:image/{kind};base64,{code}'
