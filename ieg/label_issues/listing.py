"""The list of labels that the Python interface returns, and its figures."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ieg import label_issues, run_folder
from ieg.errors import UsageError
from ieg.label_issues import ranking, score
from ieg.label_issues.floor import Floor
from ieg.label_issues.score import Looked


class Listing(NamedTuple):
    """Labels, the most suspicious first, and what is said of all.

    Attributes:
        table: one row per label, see `ieg.LabelTracker.issues`; columns that
            `label_issues.csv` has too mean the same.
        summary: figures by name, and sentences (`statement`).
    """

    table: pd.DataFrame
    summary: dict[str, Any]


def make(
    parts: Sequence[Looked],
    classes: Sequence[Any],
    floor: Floor | None,
    reason: str = '',
) -> Listing:
    """Returns the list: the parts in order, the lowest scores of each first.

    Args:
        parts: the first of them says which classes are never predicted.
        classes: the classes, C of them.
        floor: how many labels are wrong; None if that is unknown.
        reason: why it is unknown, a sentence.
    """
    names = np.array([*classes, ''], object)
    unseen = parts[0].unseen
    tables = [_table(p, names, floor, unseen) for p in parts if len(p.rows)]
    table = pd.concat(tables, ignore_index=True).infer_objects()
    figures = ranking.figures(table['mark'], names[unseen], floor)
    said = ranking.statement(figures) if floor else [reason]
    return Listing(table, figures | {'statement': said})


def _table(
    part: Looked, names: np.ndarray, floor: Floor | None, unseen: np.ndarray
) -> pd.DataFrame:
    """Returns the rows of a part, the lowest scores first."""
    marks = np.full(len(part.rows), '', object)
    # What neighbours alone say is not compared with predictions.
    if floor is not None and not np.isnan(part.margin).any():
        marks = score.mark(
            part.given, part.suggested, part.score, floor, unseen
        )
    table = pd.DataFrame(
        {
            'index': part.rows,
            'split': part.split,
            'given_label': names[part.given],
            'suggested_label': names[part.suggested],
            # In [0, 1], as in all lists.
            'score': (1 + part.score) / 2,
            'is_issue': np.isin(marks, [score.CERTAIN, score.LIKELY]),
            'mark': marks,
            'margin': part.margin,
            'agreement': part.agreement,
            'neighbour_agreement': part.near,
        }
    )
    return table.sort_values('score', kind='stable')


def read_issues(run: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads the label issues of a finished run.

    Needs no TensorFlow.

    Args:
        run: the run folder.

    Returns:
        One row per label, the most suspicious first, with the columns of
        `NoisyLabelClassifier.label_issues_`, and `path`, which is '' for
        examples in arrays. Labels are the names of classes.

    Raises:
        ValueError: `run` is not the folder of a finished run with such a list,
            or its list is damaged.
    """
    folder = os.path.expanduser(run)
    try:
        path = _list_of(os.fspath(folder))
        return as_table(label_issues.read(path))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _list_of(run: str) -> str:
    """Returns the path of the list of a run.

    Raises:
        UsageError: the run does not have one.
    """
    path = os.path.join(run, run_folder.ISSUES)
    if not os.path.isfile(os.path.join(run, run_folder.CONFIG)):
        raise UsageError(
            f'{run} is not a run folder: it must have a file '
            f'{run_folder.CONFIG}.'
        )
    if not os.path.isfile(os.path.join(run, run_folder.SUMMARY)):
        raise UsageError(
            f'the run in {run} has not finished: start it again to resume it.'
        )
    if not os.path.isfile(path):
        raise UsageError(
            f'the run in {run} has no {run_folder.ISSUES}: it did not score '
            'individual labels, or the file was removed.'
        )
    return path


def as_table(rows: label_issues.Issues) -> pd.DataFrame:
    """Returns the rows of `label_issues.csv`, without corrected labels."""
    known = label_issues.COLUMNS | label_issues.ADDED
    return pd.DataFrame(
        {
            column: values
            for column, (field, _) in known.items()
            if (values := vars(rows)[field]) is not None
            and column != 'corrected_label'
        }
    )
