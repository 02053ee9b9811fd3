"""Labels that a person reviewed, which narrow how many labels are wrong.

Of labels drawn at random, the share of wrong ones is known within the limits of
Clopper and Pearson, whatever the networks are worth. Both that interval and the
one of held-out examples hold, so the rate is in both.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ieg.label_issues import Issues, ranking
from ieg.label_issues.floor import EVIDENCE, INTERVAL, LEAST_LOWER, RATE, limits
from ieg.label_issues.score import CERTAIN, LIKELY, POSSIBLE, marked
from ieg.utils.randomness import generator


def drawn(rows: Issues, seed: int) -> np.ndarray:
    """Returns the places of all training labels in random order, int [n].

    The first of them are a random sample of any size. The order depends on
    the seed and the examples alone, not on how they are ranked.

    Args:
        rows: all labels of a run.
        seed: of the run.
    """
    train = np.flatnonzero(rows.split == 'train')
    train = train[np.argsort(rows.index[train])]
    return generator(seed, 'review').permutation(train)


def narrowed(
    figures: Mapping[str, Any], examples: int, wrong: int
) -> dict[str, Any]:
    """Returns `label_issues` of `summary.json` after a review.

    It starts from what the run itself found, whatever was reviewed before.
    Where that contradicts the review, the review alone counts.

    Args:
        figures: `label_issues` of `summary.json`.
        examples: number of labels that were reviewed, which the run drew.
        wrong: how many of them are wrong.
    """
    low, high = map(float, limits(wrong, examples))
    own = figures[EVIDENCE] or {RATE: None, INTERVAL: (0, 1)}
    point, (least, most) = own[RATE], own[INTERVAL]
    if least <= high and low <= most:
        low, high = max(low, least), min(high, most)
    else:
        point = None
    point = min(max(wrong / examples if point is None else point, low), high)
    return {
        **figures,
        RATE: point,
        INTERVAL: [low if low >= LEAST_LOWER else 0.0, high],
        ranking.REVIEWED: {'examples': examples, 'wrong': wrong},
    }


def marked_again(rows: Issues, point: float, lower: float) -> Issues:
    """Returns rows with the marks of another statement.

    Args:
        rows: all labels of a run.
        point, lower: shares of wrong labels, about and at least.
    """
    train = rows.split == 'train'
    unseen = np.setdiff1d(rows.given[train], rows.suggested[train])
    differs = (rows.given != rows.suggested) & ~np.isin(rows.given, unseen)
    marks = np.full(len(rows), '', object)
    for split in set(rows.split):
        places = np.flatnonzero(rows.split == split)
        places = places[np.argsort(rows.rank[places])]
        marks[places] = marked(differs[places], point, lower)
    return dataclasses.replace(
        rows,
        mark=marks,
        is_issue=np.isin(marks, [CERTAIN, LIKELY]),
        is_hard=marks == POSSIBLE,
    )
