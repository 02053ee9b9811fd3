"""Which labels are wrong: a score of predictions and neighbours, and marks.

The evidence about an example is a distribution over classes: the mean of the
network's probabilities during training and of the labels of the nearest
examples. How suspicious the given label is follows from its margin.
"""

import dataclasses

import numpy as np

from ieg.label_issues.floor import Floor

CERTAIN, LIKELY, POSSIBLE = 'certain', 'likely', 'possible'
# Share of marked labels that are wrong: the mean over the cells of the study,
# and what 95 % of them reach.
PRECISION = {LIKELY: (0.85, 0.74), CERTAIN: (0.95, 0.84)}


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Evidence about the labels of n examples.

    Attributes:
        given: given labels, int [n].
        shares: the evidence, which sums to 1 for each example [n, C].
    """

    given: np.ndarray
    shares: np.ndarray

    @property
    def suggested(self) -> np.ndarray:
        """The class that each looks most like, int [n]."""
        return self.shares.argmax(axis=1)

    @property
    def score(self) -> np.ndarray:
        """Share of the given class less the largest other one, in [-1, 1].

        Small is suspicious.
        """
        rows = np.arange(len(self.given))
        others = self.shares.copy()
        others[rows, self.given] = -np.inf
        return self.shares[rows, self.given] - others.max(axis=1)

    @property
    def unseen(self) -> np.ndarray:
        """Given classes that no example looks like, int, in order."""
        return np.setdiff1d(self.given, self.suggested)

    def marks(
        self, floor: Floor | None, unseen: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns 'certain', 'likely', 'possible' or '' for each example [n].

        As many as the point says, the most suspicious first, are likely wrong
        if they look like another class; as many as the lower limit says are
        certain. None is marked if the point is zero or refused, nor in a class
        that is never predicted, which says more about the network.

        Args:
            floor: how many are wrong; None if that is unknown.
            unseen: classes that are never predicted; by default those that
                none of these examples looks like.
        """
        unseen = self.unseen if unseen is None else unseen
        differs = self.suggested != self.given
        differs &= ~np.isin(self.given, unseen)
        order = np.argsort(self.score, kind='stable')
        marks = np.full(len(order), '', object)
        if floor is not None and not floor.refused:
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
