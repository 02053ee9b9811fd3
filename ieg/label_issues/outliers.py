"""Outliers: examples that are unlike all others, alone or a few of a kind.

An example that is alone is far from its nearest neighbours. A few of a kind,
such as twenty drawings among photographs, are near each other; what gives them
away is that they are an island: they are linked to each other and to hardly
anything else, and all others are far away.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ieg.label_issues import neighbours

# Two examples are linked if each is among so many nearest ones of the other,
# and firmly if so many of these are the same.
LINKS, SHARED = 10, 4
# An island: at least so many examples, at most such a share of all, at most
# such a share of whose links leave it. What has most of its nearest ones on an
# island belongs to it.
LEAST, LARGEST, LEAVING = 5, 0.05, 0.15
# How far away they are, in standard deviations of the logarithms of all other
# distances: of a single one (a normal distribution has 0.25 % beyond that, and
# clean data sets up to 0.3 %), and of the mean of an island (5 %). Classes may
# have islands: one whose labels are nearly all the same must be as far away as
# a single example. Where what is far away is more than the largest island may
# be, islands are how these data are, and none is odd.
ALONE, ISLAND, PURE = 2.81, 1.64, 0.9
# The deviation is taken from the median and the quantile that a normal
# distribution has at 1.28 deviations, because the upper tail is what counts.
QUANTILE, DEVIATIONS = 0.9, 1.2816
# With fewer examples, the usual distance is not known.
FEWEST = 100


def find(
    near: neighbours.Near, vectors: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Finds outliers.

    Args:
        near: the nearest neighbours of all examples, at least `LINKS`.
        vectors: of the examples, floats [n, d].
        labels: given labels, int [n]. An island that has at least half of the
            examples of a class is that class.

    Returns:
        is_outlier: bool [n]; none of fewer than `FEWEST` examples is one.
        away: how far each is from the nearest `LINKS` that are not on an
            island, in standard deviations [n].
    """
    islands = _islands(near.ids[:, :LINKS], labels)
    away = _away(near, vectors, islands)
    far = [
        island
        for island in islands
        if away[island].mean() > (ALONE if _is_pure(labels[island]) else ISLAND)
    ]
    if sum(map(len, far)) > LARGEST * len(labels):
        far = []
    # The others are islands near the coast.
    away = _away(near, vectors, far)
    is_outlier = away > ALONE
    for island in far:
        is_outlier[island] = True
    return is_outlier & (len(labels) >= FEWEST), away


def _is_pure(labels: np.ndarray) -> bool:
    """Returns whether nearly all labels of an island are the same."""
    return bool(np.bincount(labels).max() >= PURE * len(labels))


def _away(
    near: neighbours.Near, vectors: np.ndarray, islands: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns how far each example is from those not on an island [n]."""
    mainland = np.ones(len(vectors), bool)
    for island in islands:
        mainland[island] = False
    others = neighbours.among(near, vectors, mainland, LINKS)
    if not others.ids.size:
        return np.zeros(len(vectors))
    distance = 1 - others.cosine.mean(axis=1, dtype=np.float64)
    scale = np.log(np.maximum(distance, 1e-6))
    usual, large = np.quantile(scale[mainland], (0.5, QUANTILE))
    return (scale - usual) * DEVIATIONS / max(large - usual, 1e-6)


def _islands(ids: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Returns the examples of each island.

    Args:
        ids: of the nearest neighbours, int [n, k].
        labels: given labels, int [n].
    """
    count, k = ids.shape
    places = (np.repeat(np.arange(count), k), ids.ravel())
    ones = np.ones(count * k, np.int32)
    chosen = coo_array((ones, places), (count, count)).tocsr()
    links = chosen.multiply(chosen.T).tocsr()
    firm = links.multiply(chosen @ chosen.T) >= SHARED
    _, parts = connected_components(firm, directed=False)
    one, other = parts[np.stack(links.nonzero())]
    sizes, classes = np.bincount(parts), np.bincount(labels)
    every = np.bincount(one, minlength=len(sizes))
    leave = np.bincount(one[one != other], minlength=len(sizes))
    small = (sizes >= LEAST) & (sizes <= LARGEST * count)
    islands = []
    for number in np.flatnonzero(small & (leave <= LEAVING * every)):
        members = np.flatnonzero(parts == number)
        own = np.bincount(labels[members], minlength=len(classes))
        if (2 * own < np.maximum(classes, 1)).all():
            inside = np.isin(ids, members).mean(axis=1) > 0.5
            inside[members] = True
            islands.append(np.flatnonzero(inside))
    return islands
