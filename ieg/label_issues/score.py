"""Which labels are wrong: a score of predictions and neighbours, and marks.

The evidence about an example is a distribution over classes: the mean of the
network's probabilities during training and of the labels of the nearest
examples. How suspicious the given label is follows from its margin.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ieg.label_issues.compact import blocks
from ieg.label_issues.floor import Floor

CERTAIN, LIKELY, POSSIBLE = 'certain', 'likely', 'possible'
# Share of marked labels that are wrong: the mean over many runs, and what 95 %
# of them reach; the lower one of the study and of `benchmarks/evidence.py`.
PRECISION = {LIKELY: (0.85, 0.74), CERTAIN: (0.95, 0.81)}


def margin(given: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Returns the share of each given class less the largest other one [n].

    It is in [-1, 1]; small is suspicious.

    Args:
        given: given labels, int [n].
        shares: the evidence, which sums to 1 for each example [n, C].
    """
    rows = np.arange(len(given))
    others = shares.copy()
    others[rows, given] = -np.inf
    return shares[rows, given] - others.max(axis=1)


def mark(
    given: np.ndarray,
    suggested: np.ndarray,
    score: np.ndarray,
    floor: Floor | None,
    unseen: np.ndarray,
) -> np.ndarray:
    """Returns 'certain', 'likely', 'possible' or '' for each example [n].

    As many as the point says, the most suspicious first, are likely wrong if
    they look like another class; as many as the lower limit says are certain.
    None is marked if the point is zero or refused, nor in a class that is never
    predicted, which says more about the network.

    Args:
        given: given labels, int [n].
        suggested: the class that each looks most like, int [n].
        score: see `margin` [n].
        floor: how many are wrong; None if that is unknown.
        unseen: classes that no example looks like.
    """
    marks = np.full(len(given), '', object)
    if floor is not None and not floor.refused:
        differs = (suggested != given) & ~np.isin(given, unseen)
        order = np.argsort(score, kind='stable')
        marks[order] = marked(differs[order], floor.point, floor.lower)
    return marks


def marked(differs: np.ndarray, point: float, lower: float) -> np.ndarray:
    """Returns the marks of labels, the most suspicious first [n].

    Args:
        differs: whether each looks like another class, bool [n].
        point, lower: shares of wrong labels, about and at least.
    """
    marks = np.full(len(differs), '', object)
    if point:
        marks[differs] = POSSIBLE
        for rate, mark in ((point, LIKELY), (lower, CERTAIN)):
            first = np.arange(len(differs)) < round(rate * len(differs))
            marks[first & differs] = mark
    return marks


def evidence(
    mean: np.ndarray, early: np.ndarray, *neighbours: np.ndarray
) -> np.ndarray:
    """Returns the evidence about training examples [n, C].

    Args:
        mean: mean probabilities over all epochs [n, C].
        early: the same until the epoch that explains held-out labels best.
        *neighbours: shares of the labels of the nearest other examples [n, C],
            by the network's features; and by the vectors that the network
            gets, if it gets vectors.
    """
    return np.mean([(mean + early) / 2, *neighbours], axis=0)


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
        score: see `margin`; NaN if unknown [n].
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
    result, predicted, near, agrees = np.full((4, len(rows)), np.nan)
    for block in blocks(len(rows), num_classes):
        if shares is None:
            break
        said, own = shares(block), given[block]
        suggested[block] = said.evidence.argmax(axis=1)
        result[block] = margin(own, said.evidence)
        if said.predicted is not None:
            predicted[block] = margin(own, said.predicted)
            agrees[block] = said.predicted.argmax(axis=1) == own
        if said.near is not None:
            near[block] = said.near[np.arange(len(own)), own]
    if agreement is not None:
        agrees = agreement
    columns = suggested, result, predicted, near, agrees
    return Looked(split, rows, given, *columns)
