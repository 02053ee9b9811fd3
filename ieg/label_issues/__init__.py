"""The list of labels that look wrong, `label_issues.csv`: its rows and file.

`floor` says how many labels are wrong, `score` which, `ranking` makes the list
of both.
"""

import dataclasses
import io
import reprlib

import numpy as np
import pandas as pd

from ieg.errors import UsageError
from ieg.ops import metrics
from ieg.utils import tables

AT_BUDGET = (
    'precision_at_budget',
    'recall_at_budget',
    'false_negative_rate_at_budget',
)
# Column of the file -> field of `Issues`, and its type. Text is kept as
# objects, because pandas' string type does not allow all file names.
COLUMNS = {
    'rank': ('rank', int),
    'index': ('index', int),
    'path': ('path', object),
    'split': ('split', object),
    'given_label': ('given', object),
    'suggested_label': ('suggested', object),
    'score': ('score', float),
    'margin': ('margin', float),
    'agreement': ('agreement', float),
    'in_selection': ('in_selection', float),
    'is_issue': ('is_issue', bool),
    'is_hard': ('is_hard', bool),
    'corrected_label': ('corrected', object),
}
# The same for columns that only some runs have, which follow the others.
ADDED = {
    'mark': ('mark', object),
    'neighbour_agreement': ('neighbour_agreement', float),
    'duplicate_group': ('duplicate_group', float),
    'outlier_score': ('outlier_score', float),
    'is_outlier': ('is_outlier', bool),
}
SPLITS = ('train', 'valid', 'test')


def detection(
    right: np.ndarray, score: np.ndarray
) -> dict[str, float | int | None]:
    """Compares scores with the truth; a budget equals the number of errors.

    Args:
        right: bool [n], whether the given label is the true one.
        score: [n], small where it looks wrong.

    Returns:
        `roc_auc` and `average_precision` of finding wrong labels, `budget`,
        and at that budget precision, recall and the false-negative rate (all
        three say the same: as many are looked at as are wrong). None where
        all labels are right or all are wrong.
    """
    from sklearn.metrics import average_precision_score

    budget = int((~right).sum())
    figures = {'budget': budget, 'roc_auc': metrics.auc(right, score)}
    names = ('average_precision', *AT_BUDGET)
    if figures['roc_auc'] is None:
        return figures | dict.fromkeys(names)
    worst = np.argsort(score, kind='stable')[:budget]
    hits = float(np.mean(~right[worst]))
    precision = float(average_precision_score(~right, -score))
    return figures | dict(
        zip(names, (precision, hits, hits, 1 - hits), strict=True)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Issues:
    """The rows of `label_issues.csv`, one array [n] per column.

    Attributes:
        rank: 1 is the most suspicious.
        index: position of the example in its part of the data, as the owner
            of the data gave that part; see `ieg.run_folder.listed`.
        path: path of its file; '' for images in arrays.
        split: 'train', 'valid', or 'test' if a run held out some of a user's
            own images.
        given: name of the given class.
        suggested: name of the class that it looks like.
        score: quality of the given label in [0, 1]; a low score means that it
            is probably wrong.
        margin: mean probability of the given class minus that of the most
            probable other class, in [-1, 1].
        agreement: share of the visits that predicted the given label.
        in_selection: whether the method selected the label as clean, 1 or 0;
            NaN if it does not select.
        is_issue: whether the label is probably wrong.
        is_hard: whether the image is hard, and its label probably correct.
        corrected: name of the correct class, filled in by a person.
        mark: 'certain', 'likely' or 'possible' if the label looks wrong, or
            ''; None if the run does not mark labels.
        neighbour_agreement: share of the nearest training examples that have
            the given label. None, like all that follow, if the run did not
            compare its examples.
        duplicate_group: number of the group of near duplicates, from 1 on;
            NaN without.
        outlier_score: how far the example is from all others, in standard
            deviations.
        is_outlier: whether it is unlike all others.
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
    mark: np.ndarray | None = None
    neighbour_agreement: np.ndarray | None = None
    duplicate_group: np.ndarray | None = None
    outlier_score: np.ndarray | None = None
    is_outlier: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rank)


def write(path: str, issues: Issues) -> None:
    """Writes the file atomically.

    Args:
        path: path of the file.
        issues: the rows, in order.
    """
    there = {
        name: column
        for name, column in ADDED.items()
        if vars(issues)[column[0]] is not None
    }
    named, columns = COLUMNS | there, []
    for field, kind in named.values():
        values = vars(issues)[field]
        if kind is float:
            cells = [f'{v:.6g}' if v == v else '' for v in values.tolist()]
        elif kind is object:
            # Most texts are in many rows.
            texts = {text: tables.cell(text) for text in set(values.tolist())}
            cells = [texts[text] for text in values.tolist()]
        else:
            cells = list(map(str, values.astype(int).tolist()))
        columns.append(cells)
    lines = map(','.join, [named, *zip(*columns, strict=True)])
    tables.write_text(path, '\n'.join(lines) + '\n')


def read(path: str) -> Issues:
    """Reads the file, also after a spreadsheet has saved it.

    Args:
        path: path of the file.

    Raises:
        UsageError: the file is missing, or is not such a table.
    """
    table = tables.Table(path, COLUMNS)
    names = [*COLUMNS, *(name for name in ADDED if name in table.header)]
    # A line that gave the delimiter is blank.
    text = table.text.lstrip('\r\n')
    skipped = table.text.count('\n') - text.count('\n')
    try:
        # Without a header, a line longer than the first is an error.
        cells = pd.read_csv(
            io.StringIO(text, newline=''),
            sep=table.delimiter,
            header=None,
            dtype=object,
            na_filter=False,
            skip_blank_lines=False,
        )
    except ValueError as error:
        reason = ' '.join(str(error).split())
        raise UsageError(
            f'{path} cannot be read ({reason}): train again to restore it.'
        ) from error
    if table.header != names:
        raise UsageError(
            f'{path} must start with the columns {", ".join(COLUMNS)}: train '
            'again to restore it.'
        )
    # The number of each line is the label of its row.
    cells = cells.set_index(cells.index + skipped + 1)[1:]
    # Most rows begin with a rank, so that the others take no time.
    bare = cells[cells[0] == '']
    cells = cells.drop(bare.index[(bare == '').all(axis=1)])
    splits = cells[list(COLUMNS).index('split')]
    known = f'one of {", ".join(SPLITS)}'
    _check(path, splits, ~splits.isin(SPLITS), known)
    return Issues(
        **{
            field: _values(path, cells[place], kind)
            for place, (field, kind) in enumerate(
                (COLUMNS | ADDED)[name] for name in names
            )
        }
    )


def _values(path: str, cells: pd.Series, kind: type) -> np.ndarray:
    """Returns the values of a column; an empty cell of a float is NaN.

    Raises:
        UsageError: a cell does not have this type.
    """
    if kind is object:
        # Few texts have an apostrophe.
        safe = np.array([text[:1] == "'" for text in cells], bool)
        cells[safe] = cells[safe].map(tables.original)
        return cells.to_numpy(object, copy=True)
    if kind is bool:
        values, wrong = cells == '1', ~cells.isin(['0', '1'])
    else:
        values = pd.to_numeric(cells, errors='coerce')
        # Where the decimal sign is a comma, a spreadsheet writes that.
        odd = cells[values.isna() & ~cells.isin(['', 'nan'])]
        values[odd.index] = pd.to_numeric(
            odd.str.replace(',', '.'), errors='coerce'
        )
        wrong = ~values.abs().lt(np.inf)
        if kind is float:
            wrong &= ~cells.isin(['', 'nan'])
        else:
            wrong |= ~cells.str.fullmatch('[0-9]{1,15}')
    _check(path, cells, wrong, 'a number')
    # A copy: what pandas hands out may be read-only.
    return np.array(values, kind)


def _check(path: str, cells: pd.Series, wrong: pd.Series, wanted: str) -> None:
    """Raises UsageError for the first wrong cell, if any."""
    for line, cell in cells[wrong].items():
        raise UsageError(
            f'Line {line} of {path}: {reprlib.repr(cell)} must be {wanted}.'
        )
