"""The table of label issues, the most suspicious first, and its file.

Turns the evidence about labels into the rows of `label_issues.csv` and their
figures.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.errors import UsageError
from ieg.label_issues.evidence import Evidence, detection, estimate
from ieg.utils.files import atomic_write

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


@dataclasses.dataclass(frozen=True, eq=False)
class Issues:
    """The rows of `label_issues.csv`, one array [n] per column.

    Attributes:
        rank: 1 is the most suspicious.
        index: position of the example in the data set's own order.
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


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples of a split of a run; n of them.

    Attributes:
        split: name of the split: 'train', 'valid' or 'test'.
        indices: positions in the data set's own order [n].
        names: paths of their files, str [n]; None for arrays.
        evidence: evidence about their labels.
        chosen: whether the method selected the label as clean [n]; None if it
            does not select.
        clean: true labels [n], for figures only; None if unknown.
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
    """Ranks labels by their score.

    Args:
        parts: the training examples, then others, which are compared with the
            threshold of the training examples.
        class_names: one name per class.

    Returns:
        The rows, most suspicious first, and `label_issues` of `summary.json`:
        the number of issues, the estimated noise, and the quality of the
        ranking of the training examples if their true labels are known.
    """
    train = parts[0]
    noise = estimate(train.evidence)
    names = np.array(class_names, object)
    table = pd.concat(
        [_judged(part, names, noise.threshold) for part in parts]
    ).sort_values('score', kind='stable')
    table['rank'] = np.arange(1, len(table) + 1)
    rows = Issues(
        **{
            field: np.array(table[field], kind)
            for field, kind in COLUMNS.values()
        }
    )
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


def _judged(
    part: Examples, names: np.ndarray, threshold: float
) -> pd.DataFrame:
    """Returns the rows of a part, in its order, without ranks."""
    evidence = part.evidence
    wrong = evidence.wrong(threshold)
    # A suspicious example is more likely of any other class than the given one.
    looks = np.where(wrong, evidence.rival, evidence.suggested)
    chosen = part.chosen
    return pd.DataFrame(
        {
            'index': part.indices,
            'path': '' if part.names is None else _text(part.names),
            'split': part.split,
            'given': _text(names[evidence.labels]),
            'suggested': _text(names[looks]),
            'score': evidence.score,
            'margin': evidence.margin,
            'agreement': evidence.agreement,
            'in_selection': np.nan if chosen is None else chosen.astype(float),
            'is_issue': wrong,
            'is_hard': evidence.hard(threshold),
            'corrected': '',
        }
    )


def _text(values: np.ndarray) -> pd.Series:
    return pd.Series(values, dtype=object)


def write(path: str, issues: Issues) -> None:
    """Writes the file atomically.

    Args:
        path: path of the file.
        issues: the rows, in order.
    """
    table = pd.DataFrame(
        {
            column: pd.Series(
                vars(issues)[field], dtype=int if kind is bool else kind
            )
            for column, (field, kind) in COLUMNS.items()
        }
    )
    text = table.to_csv(index=False, float_format='%.6g', lineterminator='\n')
    atomic_write(path, text)


def read(path: str) -> Issues:
    """Reads the file.

    Args:
        path: path of the file.

    Raises:
        UsageError: the file is missing, or is not such a table.
    """
    try:
        with open(path, encoding='utf-8', newline='') as file:
            # Without a header, a line longer than the first is an error.
            cells = pd.read_csv(
                file,
                header=None,
                dtype=object,
                na_filter=False,
                skip_blank_lines=False,
            )
    except (OSError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise UsageError(
            f'{path} cannot be read ({reason}): train again to restore it.'
        ) from error
    if cells.iloc[0].tolist() != list(COLUMNS):
        raise UsageError(
            f'{path} must start with the columns {", ".join(COLUMNS)}: train '
            'again to restore it.'
        )
    return Issues(
        **{
            field: _values(path, cells[place][1:], kind)
            for place, (field, kind) in enumerate(COLUMNS.values())
        }
    )


def _values(path: str, cells: pd.Series, kind: type) -> np.ndarray:
    """Returns the values of a column; an empty cell of a float is NaN.

    Raises:
        UsageError: a cell does not have this type.
    """
    if kind is object:
        return cells.to_numpy(object, copy=True)
    if kind is bool:
        values = cells.map({'0': 0, '1': 1})
    else:
        values = pd.to_numeric(cells, errors='coerce')
    wrong = values.isna()
    if kind is float:
        wrong &= ~cells.isin(['', 'nan'])
    else:
        wrong |= values % 1 != 0
    if wrong.any():
        place = int(np.argmax(wrong.to_numpy()))
        # The first line has the columns.
        raise UsageError(
            f'Line {place + 2} of {path}: {cells.iloc[place]!r} must be a '
            'number.'
        )
    # A copy: what pandas hands out may be read-only.
    return np.array(values, kind)
