"""The list of labels that the Python interface returns, and its figures."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ieg.label_issues import ranking, score
from ieg.label_issues.compact import blocks
from ieg.label_issues.floor import Floor


class Shares(NamedTuple):
    """Distributions over classes of some examples, each [k, C].

    Attributes:
        evidence: all evidence about their labels.
        predicted: predictions alone; None without.
        near: labels of the nearest training examples; None without.
    """

    evidence: np.ndarray
    predicted: np.ndarray | None
    near: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """What the evidence about examples of a split says; n of them.

    Attributes:
        split: its name.
        rows: numbers of the examples, int [n].
        given: given labels, int [n].
        suggested: the class that each looks most like; -1 if unknown, int [n].
        score: see `Scored.score`; NaN if unknown [n].
        margin: the same of the predictions alone; NaN without [n].
        near: share of the nearest training examples that have the given
            label; NaN without [n].
        agreement: share of the predictions that are the given label; NaN
            without [n].
    """

    split: str
    rows: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    near: np.ndarray
    agreement: np.ndarray

    @property
    def unseen(self) -> np.ndarray:
        """Given classes that no example looks like, int, in order."""
        return np.setdiff1d(self.given, self.suggested)


def look(
    split: str,
    rows: np.ndarray,
    given: np.ndarray,
    num_classes: int,
    shares: Callable[[slice], Shares] | None,
    agreement: np.ndarray | None = None,
) -> Looked:
    """Returns what evidence says, which is computed in blocks of examples.

    Args:
        split: name of the split.
        rows: numbers of the examples, int [n].
        given: given labels, int [n].
        num_classes: C.
        shares: the distributions of a block; None if nothing is known.
        agreement: share of the predictions that are the given label [n]; None
            for the one prediction of each, if there is one.
    """
    suggested = np.full(len(rows), -1)
    result, margin, near, agrees = np.full((4, len(rows)), np.nan)
    for block in blocks(len(rows), num_classes):
        if shares is None:
            break
        said, own = shares(block), given[block]
        scored = score.Scored(own, said.evidence)
        suggested[block], result[block] = scored.suggested, scored.score
        if said.predicted is not None:
            margin[block] = score.Scored(own, said.predicted).score
            agrees[block] = said.predicted.argmax(axis=1) == own
        if said.near is not None:
            near[block] = said.near[np.arange(len(own)), own]
    if agreement is not None:
        agrees = agreement
    return Looked(split, rows, given, suggested, result, margin, near, agrees)


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
    marks = Counter(table['mark'])
    figures = {
        'noise_rate': None,
        'noise_rate_interval': None,
        **(floor.figures() if floor else {}),
        'count': int(table['is_issue'].sum()),
        'marks': {
            kind: marks[kind]
            for kind in (score.CERTAIN, score.LIKELY, score.POSSIBLE)
        },
        'never_predicted': names[unseen].tolist(),
    }
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
