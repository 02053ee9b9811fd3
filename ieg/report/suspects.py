"""The section of suspects: examples for a person to check and correct."""

import base64
import io
import math
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image, ImageOps

from ieg.data.images.survey import read_odd
from ieg.label_issues import Issues
from ieg.report.html import render
from ieg.report.run import ISSUES, RunFolder
from ieg.run_folder import PREDICTIONS, listed
from ieg.utils.text import described, shown

if TYPE_CHECKING:
    from ieg.data.dataset import Data, Split
    from ieg.data.vectors import Pictures


# Examples in all, of each given class at least, and hard ones at most.
MOST, EACH_CLASS, MOST_HARD = 300, 5, 40
# Pixels: small images are kept as they are, others are scaled down.
SMALL, LARGE = 48, 96
QUALITY = 80
# Characters of a text.
MOST_TEXT = 400
# Columns of a table that is shown: more are features of something else.
MOST_COLUMNS = 30
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
    before = pd.Series(rows).groupby(labels[rows]).cumcount()
    chosen[rows[before < each]] = True
    left = MOST - len(chosen_hard) - chosen.sum()
    chosen[np.flatnonzero(wrong & ~chosen)[:left]] = True
    return order[np.flatnonzero(chosen)], order[chosen_hard]


class Contents(NamedTuple):
    """What is shown of the examples of some rows.

    Attributes:
        pictures: data URI by row; empty where there are none.
        texts: by row; empty where there are none.
        reason: why there are no pictures, a sentence; empty otherwise.
    """

    pictures: dict[int, str]
    texts: dict[int, str]
    reason: str = ''


def contents(
    data: 'Data | None',
    issues: Issues,
    rows: np.ndarray,
    predictions: Mapping[str, np.ndarray] | None = None,
) -> Contents:
    """Returns what is shown of the examples of some rows.

    Args:
        data: the data that the run was trained on, or None.
        issues: all rows.
        rows: places of the rows to show, int [n].
        predictions: arrays of `predictions.npz`, if it is there.
    """
    if data is None:
        reason = 'There are no images: the report was written without data.'
        return Contents({}, {}, reason)
    found = Contents({}, {})
    for split in sorted(set(issues.split[rows])):
        chosen = rows[issues.split[rows] == split]
        if not len(chosen):
            continue
        part = data.split(split)
        names = np.asarray(data.class_names)
        recorded = (predictions or {}).get(f'{split}_indices')
        known = None if part is None else listed(part, recorded)
        places = None
        if part is not None and known is not None:
            places = _places(part, known, names, issues, chosen)
        if part is None or places is None:
            reason = (
                'There are no images: the data differ from those of the run, '
                'in their examples or their labels.'
            )
            if part is not None and known is None and recorded is None:
                reason = (
                    f'There are no images: {PREDICTIONS} is missing, which '
                    'says which examples the list is about.'
                )
            return Contents({}, {}, reason)
        written = _texts(part, places)
        if written is not None:
            texts = map(_cut, written)
            found.texts.update(zip(chosen.tolist(), texts, strict=True))
        try:
            images = _fetch(part, places)
        # TensorFlow's, Pillow's and the operating system's have no common one.
        except Exception as error:
            reason = (
                'There are no images: they can no longer be read '
                f'({type(error).__name__}).'
            )
            return Contents({}, found.texts, reason)
        found.pictures.update(
            zip(chosen.tolist(), map(data_uri, images), strict=False)
        )
    return found


def _texts(part: 'Split', places: np.ndarray) -> Iterable[str] | None:
    """Returns what is written of some examples; None for nothing."""
    vectors = part.vectors
    if part.texts is not None:
        return part.texts[places]
    if vectors is None or not 0 < len(vectors.columns) <= MOST_COLUMNS:
        return None
    numbers = vectors.rows(places).T
    return described(dict(zip(vectors.columns, numbers, strict=True)))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f'{text[:MOST_TEXT]}…'


def _places(
    part: 'Split',
    known: np.ndarray,
    class_names: np.ndarray,
    issues: Issues,
    rows: np.ndarray,
) -> np.ndarray | None:
    """Returns the places of rows in a split, None if they do not match it.

    Args:
        part: the split.
        known: the `index` of each of its examples, ascending.
        class_names: of all classes.
        issues: all rows.
        rows: those of the split.
    """
    if not len(known):
        return None
    indices = issues.index[rows]
    places = np.searchsorted(known, indices)
    places = places.clip(max=len(known) - 1)
    same = known[places] == indices
    given = issues.given[rows]
    # A spreadsheet that has saved the table can have changed other names.
    changed = ~np.isin(given.astype(str), class_names)
    same &= changed | (class_names[part.labels[places]] == given)
    return places if same.all() else None


def _fetch(part: 'Split', places: np.ndarray) -> list[np.ndarray]:
    """Returns the uint8 [H, W, channels] images at some places of a split.

    Those behind vectors are whole; vectors of anything else have none.
    """
    if part.images is not None:
        return list(part.images[places])
    source: Split | Pictures = part
    if part.vectors is not None:
        if part.names is not None:
            return [*map(_read, part.names[places])]
        if part.vectors.pictures is None:
            return []
        source = part.vectors.pictures
        if source.array is not None:
            return list(source.array[places])
    images = []
    for start in range(0, len(places), ROWS):
        images += list(
            np.asarray(source.fetch(places[start : start + ROWS], None))
        )
    return images


def _read(path: str) -> np.ndarray:
    """Returns the image of a file, uint8 [h, w, 3]; a large one smaller."""
    with Image.open(path) as image:
        if image.format != 'JPEG':
            return read_odd(path, 3)
        # As fast as a JPEG of a fraction of the sides.
        image.draft('RGB', (LARGE, LARGE))
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


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


def build(run: RunFolder, data: 'Data | None', reason: str) -> Markup:
    """Returns the section.

    Args:
        run: the run; its list of issues may be missing.
        data: the data with the images, or None.
        reason: why there are no data, a sentence.
    """
    issues = run.issues
    if issues is None:
        return render('suspects.html', lists=[], file=ISSUES)
    first, hard = choose(issues)
    rows = np.concatenate([first, hard])
    seen = contents(data, issues, rows, run.predictions)
    lists = {'Suspects, most suspicious first': first, 'Hard examples': hard}
    return render(
        'suspects.html',
        lists=[
            (title, [_card(issues, int(row), seen) for row in chosen])
            for title, chosen in lists.items()
            if chosen is first or len(chosen)
        ],
        first=len(first),
        hard=len(hard),
        are_marked=issues.mark is not None,
        total=len(issues.rank),
        wrong=int(issues.is_issue.sum()),
        each_class=EACH_CLASS,
        no_pictures='' if seen.pictures else reason or seen.reason,
        filters=_filters(issues, rows),
        command=command(run.folder),
        names=sorted({*run.class_names, *map(str, issues.given)}),
        file=ISSUES,
    )


def _filters(
    issues: Issues, rows: np.ndarray
) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """Returns what some rows can be filtered by: name, title, choices."""
    filters = [
        ('given', 'Given label', _counts(issues.given[rows])),
        ('suggested', 'Suggested label', _counts(issues.suggested[rows])),
    ]
    parts = _counts(issues.split[rows])
    return filters + [('split', 'Part', parts)] * (len(parts) > 1)


def _counts(labels: np.ndarray) -> list[tuple[str, int]]:
    """Returns the classes of some labels, and how many each has."""
    classes, counts = np.unique(labels, return_counts=True)
    return list(zip(classes, counts, strict=True))


def _card(issues: Issues, row: int, seen: Contents) -> dict[str, Any]:
    """Returns the content of the card of an example."""
    notes = []
    if issues.mark is not None and issues.mark[row]:
        notes.append(issues.mark[row])
    if not issues.is_issue[row] and not issues.is_hard[row]:
        notes.append('not counted as wrong')
    if math.isfinite(used := float(issues.in_selection[row])):
        notes.append('selected' if used else 'not selected')
    agreement = float(issues.agreement[row])
    return {
        'split': issues.split[row],
        'index': int(issues.index[row]),
        'path': shown(str(issues.path[row])),
        'given': issues.given[row],
        'suggested': issues.suggested[row],
        'rank': int(issues.rank[row]),
        'score': float(issues.score[row]),
        'agreement': agreement if math.isfinite(agreement) else None,
        'picture': seen.pictures.get(row),
        'text': seen.texts.get(row),
        'notes': notes,
    }


def command(folder: str) -> str:
    """Returns the command line that applies saved corrections."""
    return f'python -m ieg.report {shlex.quote(folder)} --apply=corrected.csv'
