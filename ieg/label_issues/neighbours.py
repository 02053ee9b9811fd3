"""Nearest neighbours by cosine similarity, exact, and what their labels say.

Similarities are products of matrices, some rows at a time, so that there is
never an array of all pairs.
"""

from typing import NamedTuple

import numpy as np

from ieg.errors import UsageError

# Neighbours whose labels are counted (of 5 to 80, 20 to 80 ranked wrong labels
# best, on 115 noisy data sets).
NEIGHBOURS = 20
# Similarities held at a time: 128 MiB of float32.
_BLOCK = 2**25
# Similarities whose maximum is looked at first. With n of them in a row,
# sqrt(n / k) is the least work; it hardly matters.
_GROUP = 48
# Multiplications that take about half an hour on two cores (40 G per second
# and core).
MOST_OPERATIONS = 1.5e14


class Near(NamedTuple):
    """The nearest references of each of m queries, nearest first.

    Attributes:
        ids: of the references, int64 [m, k].
        cosine: similarity to each, float32 [m, k].
    """

    ids: np.ndarray
    cosine: np.ndarray


def operations(queries: int, references: int, width: int) -> float:
    """Returns the number of multiplications of `nearest`."""
    return float(queries) * references * width


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int, same: bool
) -> Near:
    """Returns the nearest references of each query, nearest first.

    Of equally similar ones, those with the lowest ids come first. A row of
    zeros, or with a number that is not finite, has the similarity 0 to all.

    Args:
        queries: vectors, floats [m, d].
        references: vectors, floats [n, d].
        k: number of neighbours.
        same: whether the queries are the references, in the same order; no
            row is then its own neighbour.

    Returns:
        The k nearest; fewer if there are not that many references.

    Raises:
        UsageError: this would take hours.
    """
    count, total = len(queries), len(references)
    if operations(count, *references.shape) > MOST_OPERATIONS:
        raise UsageError(
            f'The nearest of {total:,} vectors of {references.shape[1]:,} '
            f'numbers to {count:,} others would take hours: reduce the number '
            'of vectors, or their width.'
        )
    unit = _unit(references)
    others = unit if same else _unit(queries)
    k = max(0, min(k, total - same))
    ids = np.empty((count, k), np.int64)
    cosine = np.empty((count, k), np.float32)
    rows = max(1, _BLOCK // max(total, 1))
    for start in range(0, count, rows):
        block = slice(start, min(start + rows, count))
        similar = others[block] @ unit.T
        if same:
            place = np.arange(block.stop - start)
            similar[place, place + start] = -np.inf
        ids[block] = _largest(similar, k)
        cosine[block] = np.take_along_axis(similar, ids[block], axis=1)
    return Near(ids, cosine)


def among(near: Near, vectors: np.ndarray, allowed: np.ndarray, k: int) -> Near:
    """Returns the nearest ones of some examples only, for all of them.

    Where enough of them are among known neighbours, nothing is computed.

    Args:
        near: nearest neighbours of all examples.
        vectors: of the examples, floats [n, d].
        allowed: which may be neighbours, bool [n].
        k: number of neighbours.

    Returns:
        The k nearest; fewer if there are not that many.
    """
    places = np.flatnonzero(allowed)
    # None is its own neighbour.
    k = max(0, min(k, len(places) - bool(allowed.any())))
    fits = allowed[near.ids]
    enough = fits.sum(axis=1) >= k
    order = np.argsort(~fits, axis=1, kind='stable')[:, :k]
    ids = np.take_along_axis(near.ids, order, axis=1)
    cosine = np.take_along_axis(near.cosine, order, axis=1)
    rows = np.flatnonzero(~enough)
    if len(rows):
        found = nearest(vectors[rows], vectors[places], k + 1, same=False)
        others = places[found.ids]
        order = np.argsort(others == rows[:, None], axis=1, kind='stable')
        order = order[:, :k]
        ids[rows] = np.take_along_axis(others, order, axis=1)
        cosine[rows] = np.take_along_axis(found.cosine, order, axis=1)
    return Near(ids, cosine)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Returns a float32 copy with rows of length 1, or 0."""
    unit = np.array(vectors, np.float32)
    # Squares of large numbers would overflow.
    scale = np.abs(unit).max(axis=1, initial=0, keepdims=True)
    fine = np.isfinite(scale) & (scale > 0)
    unit[~fine[:, 0]] = 0
    unit /= np.where(fine, scale, 1)
    unit /= np.where(fine, np.linalg.norm(unit, axis=1, keepdims=True), 1)
    return unit


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the places of the k largest values in each row, largest first.

    The k largest are in the k groups of consecutive values with the largest
    maxima, so most values are only compared with those of their group. Of equal
    values those at the lowest places are taken.

    Args:
        values: [m, n], n >= k.
        k: of the places.

    Returns:
        int64 [m, k].
    """
    m, n = values.shape
    whole = n // _GROUP * _GROUP
    groups = values[:, :whole].reshape(m, -1, _GROUP)
    maxima = groups.max(axis=2) if whole else np.empty((m, 0), values.dtype)
    first = _chosen(maxima, min(k, maxima.shape[1]))
    places = first[:, :, np.newaxis] * _GROUP + np.arange(_GROUP)
    # The last values, fewer than a group, are always candidates.
    rest = np.broadcast_to(np.arange(whole, n), (m, n - whole))
    places = np.concatenate([places.reshape(m, -1), rest], axis=1)
    candidates = np.take_along_axis(values, places, axis=1)
    inside = _chosen(candidates, k)
    largest = np.take_along_axis(candidates, inside, axis=1)
    order = np.argsort(-largest, axis=1, kind='stable')
    inside = np.take_along_axis(inside, order, axis=1)
    return np.take_along_axis(places, inside, axis=1)


def _chosen(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the places of the k largest values in each row, ascending.

    Of equal values, those at the lowest places.

    Args:
        values: [m, n], n >= k.
        k: of the places.

    Returns:
        int64 [m, k].
    """
    m, n = values.shape
    if k in (0, n):
        return np.broadcast_to(np.arange(k), (m, k))
    least = np.partition(values, n - k, axis=1)[:, n - k, np.newaxis]
    above, equal = values > least, values == least
    room = k - above.sum(axis=1, keepdims=True)
    # Nearly always there is room for the only one.
    full = np.flatnonzero(equal.sum(axis=1, keepdims=True) > room)
    equal[full] &= np.cumsum(equal[full], axis=1) <= room[full]
    return np.nonzero(above | equal)[1].reshape(m, k)


def shares(ids: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the share of each given label among the neighbours.

    Args:
        ids: of the neighbours of each example, int [m, k].
        labels: of the references that the ids mean, int [n].
        num_classes: C.

    Returns:
        float64 [m, C]; zeros if there are no neighbours.
    """
    m, k = ids.shape
    cells = np.arange(m)[:, np.newaxis] * num_classes + labels[ids]
    counts = np.bincount(cells.ravel(), minlength=m * num_classes)
    return counts.reshape(m, num_classes) / max(k, 1)
