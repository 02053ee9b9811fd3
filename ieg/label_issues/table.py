"""From evidence to the rows of `label_issues.csv` and figures about them."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.errors import UsageError
from ieg.label_issues.evidence import Estimate, Evidence, detection, estimate
from ieg.utils.files import atomic_write

# Column of the file -> field of `Issues`, and what its cells are.
COLUMNS = {
    'rank': ('rank', int),
    'index': ('index', int),
    'path': ('path', str),
    'split': ('split', str),
    'given_label': ('given', str),
    'suggested_label': ('suggested', str),
    'score': ('score', float),
    'margin': ('margin', float),
    'agreement': ('agreement', float),
    'in_selection': ('in_selection', float),
    'is_issue': ('is_issue', bool),
    'is_hard': ('is_hard', bool),
    'corrected_label': ('corrected', str),
}
_TYPES = {int: np.int64, float: np.float64, bool: bool, str: object}


@dataclasses.dataclass(frozen=True, eq=False)
class Issues:
    """The rows of `label_issues.csv`, one array [n] per column.

    Attributes:
        rank: 1 is the most suspicious.
        index: position of the example in the data set's own order.
        path: of its file; '' for images that are arrays.
        split: 'train', 'valid', or 'test' where a run held some of its own
            images out.
        given: name of the class that it is labelled as.
        suggested: name of the class that it looks like.
        score: quality of the given label in [0, 1]; small is probably wrong.
        margin: mean probability of the given label less the largest other
            one, in [-1, 1].
        agreement: share of the visits at which the given label was predicted.
        in_selection: whether the method trained on the label as clean, 1 or
            0; NaN where it selects nothing.
        is_issue: whether the label is probably wrong.
        is_hard: whether the image is hard, and its label probably right.
        corrected: name of the right class, as a person has filled it in.
    """

    rank: np.ndarray
    index: np.ndarray
    path: np.ndarray
    split: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    agreement: np.ndarray
    in_selection: np.ndarray
    is_issue: np.ndarray
    is_hard: np.ndarray
    corrected: np.ndarray

    def __len__(self) -> int:
        return len(self.rank)


def write(path: str, issues: Issues) -> None:
    """Writes the file, beside its place first.

    Args:
        path: of the file.
        issues: its rows, in order.
    """
    columns = [
        [_cell(value) for value in getattr(issues, field).tolist()]
        for field, _ in COLUMNS.values()
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(zip(*columns, strict=True))
    atomic_write(path, table.getvalue())


def _cell(value: int | float | bool | str) -> int | str:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return '' if math.isnan(value) else f'{value:.6g}'
    return value


def read(path: str) -> Issues:
    """Reads the file.

    Raises:
        UsageError: it is missing, or not such a table.
    """
    try:
        with open(path, encoding='utf-8', newline='') as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(
            f'{path} cannot be read ({error}); train once more to have it.'
        ) from error
    if not rows or rows[0] != list(COLUMNS):
        raise UsageError(
            f'{path} does not begin with the columns {", ".join(COLUMNS)}; '
            'train once more to have it as it was.'
        )
    columns = {field: [] for field, _ in COLUMNS.values()}
    for line, row in enumerate(rows[1:], 2):
        for (field, kind), cell in zip(
            COLUMNS.values(), _whole(path, line, row), strict=True
        ):
            columns[field].append(_value(path, line, kind, cell))
    return Issues(
        **{
            field: np.array(columns[field], _TYPES[kind])
            for field, kind in COLUMNS.values()
        }
    )


def _whole(path: str, line: int, row: list[str]) -> list[str]:
    if len(row) == len(COLUMNS):
        return row
    raise UsageError(
        f'Line {line} of {path} has {len(row)} cells and not {len(COLUMNS)}; '
        'correct it.'
    )


def _value(path: str, line: int, kind: type, cell: str):
    try:
        if kind is bool:
            return {'0': False, '1': True}[cell]
        return math.nan if kind is float and not cell else kind(cell)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f'Line {line} of {path} has {cell!r} where a number belongs; '
            'correct it.'
        ) from error


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples of a run; n of them.

    Attributes:
        split: where they are: 'train', 'valid' or 'test'.
        indices: positions in the data set's own order [n].
        names: of their files, str [n]; None for arrays.
        evidence: about their labels.
        chosen: whether the method trained on the label as clean [n]; None
            where it selects nothing.
        clean: true labels [n], for figures only; None where unknown.
    """

    split: str
    indices: np.ndarray
    names: np.ndarray | None
    evidence: Evidence
    chosen: np.ndarray | None = None
    clean: np.ndarray | None = None


def audit(
    parts: Sequence[Examples], class_names: Sequence[str]
) -> tuple[Issues, dict[str, Any]]:
    """Ranks labels by how wrong they look.

    Args:
        parts: the training examples, then others, whose evidence is held
            against the threshold of the former.
        class_names: one name per class.

    Returns:
        The rows, most suspicious first, and for `summary.json` the figures of
        `label_issues`: how many there are, the estimated noise, and how good
        the ranking of the training examples is where their truth is known.
    """
    train = parts[0]
    noise = estimate(train.evidence)
    rows = _rows(parts, np.array(class_names, object), noise)
    figures = {
        'count': int(rows.is_issue.sum()),
        'hard': int(rows.is_hard.sum()),
        'noise_rate': noise.rate,
        'noise_rate_interval': list(noise.interval),
        'transition_matrix': np.round(noise.transition, 6).tolist(),
    }
    if train.clean is not None:
        right = train.clean == train.evidence.labels
        figures |= detection(right, train.evidence.score)
    return rows, figures


def _rows(
    parts: Sequence[Examples], names: np.ndarray, noise: Estimate
) -> Issues:
    every = [part.evidence for part in parts]
    score = _joined([e.score for e in every])
    labels = _joined([e.labels for e in every])
    agreement = _joined([e.agreement for e in every])
    is_issue = _joined([e.wrong(noise.threshold) for e in every])
    # What is suspicious is more likely anything else than what it is called.
    looks = _joined([e.suggested for e in every])
    looks = np.where(is_issue, _joined([e.rival for e in every]), looks)
    order = np.argsort(score, kind='stable')
    columns = {
        'index': _joined([part.indices for part in parts]),
        'path': _joined([_names(part) for part in parts]),
        'split': np.repeat(
            [p.split for p in parts], [len(e.labels) for e in every]
        ),
        'given': names[labels],
        'suggested': names[looks],
        'score': score,
        'margin': _joined([e.margin for e in every]),
        'agreement': agreement,
        'in_selection': _joined([_chosen(part) for part in parts]),
        'is_issue': is_issue,
        'is_hard': _joined([e.hard(noise.threshold) for e in every]),
        'corrected': np.full(len(score), '', object),
    }
    columns = {name: values[order] for name, values in columns.items()}
    return Issues(rank=np.arange(1, len(order) + 1), **columns)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays)


def _names(part: Examples) -> np.ndarray:
    if part.names is not None:
        return part.names
    return np.full(len(part.indices), '', object)


def _chosen(part: Examples) -> np.ndarray:
    if part.chosen is None:
        return np.full(len(part.indices), np.nan)
    return part.chosen.astype(np.float64)
