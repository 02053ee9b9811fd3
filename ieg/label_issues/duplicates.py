"""Near duplicates: the same picture twice, whatever was done to it since.

The nearest neighbours of an example are candidates: they show the same things.
Whether two pictures are the same is seen in their pixels, because features say
no more of two photographs of one thing. A copy may be compressed, scaled,
mirrored, recoloured, or cut to 80 % of its sides. So two thumbnails are
compared at all places where one may be part of the other, coarsely; if that
looks alike, more and more finely around the best place.
"""

import concurrent.futures
import functools
import os

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Thumbnails are grey squares with so many pixels on each side.
SIDE = 32
# Neighbours of each example that are candidates: on 200 copies of each of
# three kinds of pictures the original was among 3 in 98 to 100 %.
CANDIDATES = 5
# Correlations of copies were at least 0.83 when compared coarsely (8 pixels a
# side) and 0.92 finely, those of other pictures rarely above 0.75 finely.
COARSE, FINE = 0.8, 0.9
# Pictures of little detail, such as digits, are all alike: near duplicates are
# those that stand out from pairs with the tenth neighbour (of so many examples)
# by so many quartiles. But a copy that only differs in its compression counts.
OTHERS, TENTH, QUARTILES, SURE = 1000, 9, 8, 0.99
# The pairs that are compared finely, at most: the most alike.
MOST_PAIRS = 20_000
# Without pixels: at most such a share of the median distance of candidates to
# the nearest one.
RELATIVE = 0.1
# Pairs compared together: about 50 MB.
_PAIRS = 1024
_SMALL, _LARGE = 8, 16
_STEPS = (0.05, 0.025, 0.0125)
# Smallest share of each side that a copy shows of a picture, less a margin.
_LEAST = 0.76
# Grey levels: what deviates less has no detail, and is compared by its mean.
_FLAT, _SAME = 1.0, 2.0


def pairs_of(ids: np.ndarray) -> np.ndarray:
    """Returns each pair of an example and one of its neighbours once.

    Args:
        ids: neighbours of each example, nearest first, int [n, k].

    Returns:
        int [p, 2], the smaller id first.
    """
    ids = ids[:, :CANDIDATES]
    first = np.repeat(np.arange(len(ids)), ids.shape[1])
    pairs = np.sort(np.stack([first, ids.ravel()], axis=1), axis=1)
    return np.unique(pairs, axis=0)


def others_of(ids: np.ndarray) -> np.ndarray:
    """Returns pairs of some examples and their tenth neighbours [o, 2].

    Args:
        ids: neighbours of each example, nearest first, int [n, k].
    """
    if ids.shape[1] <= CANDIDATES:
        return np.zeros((0, 2), np.int64)
    rows = np.unique(np.linspace(0, len(ids) - 1, OTHERS).astype(int))
    last = min(TENTH, ids.shape[1] - 1)
    return np.stack([rows, ids[rows, last]], axis=1)


def by_distance(
    pairs: np.ndarray, vectors: np.ndarray, share: float = RELATIVE
) -> np.ndarray:
    """Returns those pairs that are near duplicates, without pixels [q, 2].

    Args:
        pairs: ids of candidates, int [p, 2].
        vectors: of the examples, floats [n, d].
        share: of the usual distance to the nearest one, at most; 0 for exact
            copies only.
    """
    if not len(pairs):
        return pairs
    scale = vectors.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 0, scale, 1)
    distance = np.empty(len(pairs))
    for start in range(0, len(pairs), _PAIRS):
        one, other = pairs[start : start + _PAIRS].T
        # Subtracted first: cosines of such pairs end in rounding errors.
        apart = (vectors[one].astype(np.float64) - vectors[other]) / scale
        distance[start : start + _PAIRS] = np.linalg.norm(apart, axis=1)
    nearest = np.full(len(vectors), np.inf)
    np.minimum.at(nearest, pairs, distance[:, np.newaxis])
    usual = np.median(nearest[np.isfinite(nearest)])
    return pairs[distance <= share * usual]


def by_pixels(
    pairs: np.ndarray, others: np.ndarray, thumbnails: np.ndarray
) -> np.ndarray:
    """Returns those pairs whose pictures are near duplicates [q, 2].

    Args:
        pairs: ids of candidates, int [p, 2].
        others: pairs of similar examples that are hardly copies, see
            `others_of` [o, 2].
        thumbnails: uint8 [n, SIDE, SIDE].
    """
    usual = 0.0
    if len(others):
        scale = np.arctanh(np.clip(compare(others, thumbnails), 0, 0.9999))
        middle, upper = np.quantile(scale, (0.5, 0.75))
        usual = np.tanh(middle + QUARTILES * (upper - middle))
    limit = np.clip(usual, FINE, SURE)
    return pairs[compare(pairs, thumbnails) >= limit]


def compare(pairs: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Returns how alike the pictures of each pair are, at most 1 [p].

    That is the correlation of their detail where one is seen as part of the
    other; 0 for pairs that are not alike coarsely.

    Args:
        pairs: int [p, 2].
        thumbnails: uint8 [n, SIDE, SIDE].
    """
    if not len(pairs):
        return np.zeros(0)
    likeness = np.zeros(len(pairs))
    with concurrent.futures.ThreadPoolExecutor(_threads()) as pool:
        parts = pool.map(lambda b: _coarse(b, thumbnails), _blocks(pairs))
        coarse, places = map(np.concatenate, zip(*parts, strict=True))
        chosen = np.flatnonzero(coarse >= COARSE)
        best = np.argsort(-coarse[chosen], kind='stable')[:MOST_PAIRS]
        chosen = np.sort(chosen[best])
        blocks = _blocks(pairs[chosen]), _blocks(places[chosen])
        fine = pool.map(lambda b, w: _fine(b, w, thumbnails), *blocks)
        likeness[chosen] = np.concatenate([np.zeros(0), *fine])
    flat = thumbnails.std(axis=(1, 2)) < _FLAT
    mean = thumbnails.mean(axis=(1, 2))
    one, other = pairs.T
    same = flat[one] & flat[other] & (np.abs(mean[one] - mean[other]) < _SAME)
    return np.where(same, 1.0, likeness)


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    """Returns the values of pairs that are compared together."""
    return [values[n : n + _PAIRS] for n in range(0, len(values), _PAIRS)]


def _threads() -> int:
    """Returns how many blocks are compared at a time; each takes memory."""
    return min(4, os.cpu_count() or 1)


# Windows are parts of a picture: (size, top, left) as shares of its sides.


@functools.cache
def _coarse_windows() -> np.ndarray:
    """Returns the windows to begin with [w, 3]; the first is all of it."""
    windows = []
    for size in (1.0, 0.95, 0.9, 0.85, 0.8):
        places = np.linspace(0, 1 - size, round((1 - size) / 0.05) + 1)
        windows += [(size, top, left) for top in places for left in places]
    return np.array(windows)


def _weights(start: np.ndarray, size: np.ndarray, side: int) -> np.ndarray:
    """Returns what makes `side` pixels of a part of each row of a thumbnail.

    Args:
        start, size: of the parts, as shares of a row [m].
        side: number of pixels.

    Returns:
        Weights of means over pixels, float32 [m, side, SIDE].
    """
    grid = np.arange(side + 1) / side
    edges = SIDE * (start[:, np.newaxis] + size[:, np.newaxis] * grid)
    pixels = np.arange(SIDE)
    low = np.maximum(edges[:, :-1, np.newaxis], pixels)
    high = np.minimum(edges[:, 1:, np.newaxis], pixels + 1)
    covered = np.maximum(high - low, 0)
    return (covered / covered.sum(2, keepdims=True)).astype(np.float32)


def _cut(pictures: np.ndarray, windows: np.ndarray, side: int) -> np.ndarray:
    """Returns a part of each picture, float32 [m, side, side].

    Args:
        pictures: [m, SIDE, SIDE].
        windows: [m, 3], or [1, 3] for the same part of all.
        side: of the result.
    """
    size, top, left = windows.T
    across = _weights(left, size, side).transpose(0, 2, 1)
    return _weights(top, size, side) @ pictures @ across


def _unit(pictures: np.ndarray) -> np.ndarray:
    """Returns pictures as rows [m, s * s] with mean 0 and length 1."""
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(length, _FLAT * rows.shape[1] ** 0.5)


@functools.cache
def _blur() -> np.ndarray:
    """Returns what smooths rows or columns of `_LARGE` pixels."""
    kernel = np.array([1, 4, 6, 4, 1], np.float32) / 16
    matrix = np.zeros((_LARGE, _LARGE), np.float32)
    for place in range(_LARGE):
        around = np.clip(np.arange(place - 2, place + 3), 0, _LARGE - 1)
        np.add.at(matrix[place], around, kernel)
    return matrix


def _detail(pictures: np.ndarray) -> np.ndarray:
    """Returns the fine detail of pictures as rows, see `_unit`.

    What is smooth, such as a bright sky over dark land, many pictures share.
    """
    blur = _blur()
    return _unit(pictures - blur @ pictures @ blur.T)


def _coarse(
    pairs: np.ndarray, thumbnails: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compares all of a picture with some parts of the other one.

    Returns:
        likeness: the largest correlation of each pair [p].
        places: where, as a number: see `_fine` [p].
    """
    ids, rows = np.unique(pairs, return_inverse=True)
    one, other = rows.reshape(pairs.shape).T
    pictures = thumbnails[ids].astype(np.float32)
    windows = _coarse_windows()
    parts = np.stack(
        [_unit(_cut(pictures, w[np.newaxis], _SMALL)) for w in windows], axis=1
    )
    mirrored = _unit(_cut(pictures[:, :, ::-1], windows[:1], _SMALL))
    likeness = np.concatenate(
        [
            np.einsum('pwd,pd->pw', parts[whole], seen[part])
            for whole, part in ((one, other), (other, one))
            for seen in (parts[:, 0], mirrored)
        ],
        axis=1,
    )
    places = likeness.argmax(axis=1)
    return np.take_along_axis(likeness, places[:, None], 1)[:, 0], places


def _fine(
    pairs: np.ndarray, places: np.ndarray, thumbnails: np.ndarray
) -> np.ndarray:
    """Returns the correlation of detail around the best coarse places [p]."""
    pictures = thumbnails[pairs].astype(np.float32)
    way, window = np.divmod(places, len(_coarse_windows()))
    whole, part = np.where(
        (way < 2)[:, None, None, None], pictures, pictures[:, ::-1]
    ).transpose(1, 0, 2, 3)
    part = np.where((way % 2 == 1)[:, None, None], part[:, :, ::-1], part)
    every = _coarse_windows()[:1]
    wanted = _detail(_cut(part, every, _LARGE))
    best, windows = np.full(len(pairs), -1.0), _coarse_windows()[window]
    for step in _STEPS:
        centre = windows
        for moved in np.ndindex(3, 3, 3):
            tried = centre + step * (np.array(moved) - 1)
            tried[:, 0] = np.clip(tried[:, 0], _LEAST, 1)
            tried[:, 1:] = np.clip(tried[:, 1:], 0, 1 - tried[:, :1])
            seen = _detail(_cut(whole, tried, _LARGE))
            likeness = np.einsum('pd,pd->p', seen, wanted)
            better = likeness > best
            best = np.where(better, likeness, best)
            windows = np.where(better[:, np.newaxis], tried, windows)
    return best


def groups(pairs: np.ndarray, count: int) -> np.ndarray:
    """Returns the group of near duplicates of each example.

    Args:
        pairs: ids of near duplicates, int [p, 2].
        count: number of examples, n.

    Returns:
        Numbers of groups from 1 on, in the order of their first examples; 0
        for an example without near duplicates, int [n].
    """
    ones = np.ones(len(pairs), np.int8)
    graph = coo_array((ones, tuple(pairs.T)), (count, count))
    _, parts = connected_components(graph, directed=False)
    sizes = np.bincount(parts, minlength=1)
    several = sizes[parts] > 1
    _, first, numbers = np.unique(
        parts[several], return_index=True, return_inverse=True
    )
    order = np.empty(len(first), int)
    order[np.argsort(first)] = np.arange(1, len(first) + 1)
    result = np.zeros(count, int)
    result[several] = order[numbers]
    return result
