"""Ranks runs by train accuracy and susceptibility.

Source: "Leveraging Unlabeled Data to Track Memorization" (ICLR 2023): the four
regions with boundaries at the means over the runs, the first one for the runs
to choose from (its Clothing1M study), and the correlation of susceptibility
with the fit on wrong labels. `lowhalf` and `corner` are not from the paper:
runs that memorize all labels raise the means, so region 1 can contain only
those, and these two rankings were observed to be more robust.

All functions take one value per run: the accuracy on the given, partly wrong
training labels, and the susceptibility. They return positions of runs.
"""

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

NAMES = {
    1: 'trainable, resistant',
    2: 'trainable, not resistant',
    3: 'not trainable, resistant',
    4: 'neither',
}
# The means and medians of `statistics` are exact: the mean of equal values is
# that value, unlike a sum in floating point.
BOUNDARIES: dict[str, Callable] = {
    'mean': statistics.mean,
    'median': statistics.median,
}
MIN_CORRELATED = 3


def boundaries(
    accuracy: Sequence[float], susceptibility: Sequence[float], how: str
) -> tuple[float, float]:
    """Returns the boundaries between the regions.

    Args:
        accuracy: accuracy of each run on the given labels.
        susceptibility: susceptibility of each run.
        how: 'mean', as in the paper, or 'median'.

    Returns:
        The boundary of accuracy and that of susceptibility.
    """
    average = BOUNDARIES[how]
    return (
        float(average([float(value) for value in accuracy])),
        float(average([float(value) for value in susceptibility])),
    )


def assign(
    accuracy: Sequence[float],
    susceptibility: Sequence[float],
    bounds: tuple[float, float],
) -> list[int]:
    """Returns the region of each run, 1 to 4.

    A run on a boundary is trainable and resistant.
    """
    trainable = np.asarray(accuracy) >= bounds[0]
    resistant = np.asarray(susceptibility) <= bounds[1]
    return np.where(
        trainable, np.where(resistant, 1, 2), np.where(resistant, 3, 4)
    ).tolist()


def by_region(
    accuracy: Sequence[float],
    susceptibility: Sequence[float],
    bounds: tuple[float, float],
) -> list[int]:
    """Returns the runs of region 1, the highest accuracy first.

    The paper does not rank within a region. The other regions are not ranked;
    if region 1 is empty, the order is that of `low_half`.
    """
    regions = assign(accuracy, susceptibility, bounds)
    chosen = [place for place, region in enumerate(regions) if region == 1]
    if not chosen:
        return low_half(accuracy, susceptibility)
    return sorted(chosen, key=lambda n: (-accuracy[n], susceptibility[n]))


def low_half(
    accuracy: Sequence[float], susceptibility: Sequence[float]
) -> list[int]:
    """Returns the less susceptible half, the highest accuracy first.

    For an odd number of runs it is the larger half; if susceptibility ties at
    its end, the more accurate run is included.
    """
    places = sorted(
        range(len(accuracy)), key=lambda n: (susceptibility[n], -accuracy[n])
    )
    half = places[: math.ceil(len(places) / 2)]
    return sorted(half, key=lambda n: (-accuracy[n], susceptibility[n]))


def corner(
    accuracy: Sequence[float], susceptibility: Sequence[float]
) -> list[int]:
    """Returns all runs by their distance to the ideal corner, nearest first.

    The corner has the highest accuracy and the lowest susceptibility of all
    runs. Distances are in the plane of accuracy and log susceptibility, each
    scaled to [0, 1] over the runs. A susceptibility of zero or less (if the
    steps overshoot) is replaced by the smallest positive one.
    """
    values = np.asarray(susceptibility, float)
    positive = values[values > 0]
    floor = positive.min() if positive.size else 1.0
    across = _scaled(np.log(np.maximum(values, floor)))
    up = _scaled(np.asarray(accuracy, float))
    distance = np.hypot(across, 1 - up)
    return sorted(
        range(len(values)), key=lambda n: (distance[n], susceptibility[n])
    )


def _scaled(values: np.ndarray) -> np.ndarray:
    """Returns values scaled to [0, 1]; ones if all are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values * 0 + 1.0


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns mean and sample standard deviation (ddof 1).

    None if there are too few values.
    """
    return (
        float(np.mean(values)) if len(values) else None,
        float(np.std(values, ddof=1)) if len(values) > 1 else None,
    )


def judge(
    order: Sequence[int], test_accuracy: Sequence[float], top: int
) -> dict[str, float]:
    """Evaluates a ranking with test accuracies, which it does not use.

    Args:
        order: the ranked runs, best first.
        test_accuracy: test accuracy of all runs.
        top: number of first runs to average, if there are as many.

    Returns:
        `test_accuracy` of the first run; its `rank` among all runs;
        `regret_points`, the difference to the best run in percentage points;
        `top_mean`, the mean test accuracy of the first `top_count` runs.
    """
    pick = test_accuracy[order[0]]
    first = [test_accuracy[place] for place in order[:top]]
    return {
        'test_accuracy': pick,
        'rank': 1 + sum(other > pick for other in test_accuracy),
        'regret_points': 100 * (max(test_accuracy) - pick),
        'top_mean': float(np.mean(first)),
        'top_count': len(first),
    }


def correlations(
    first: Sequence[float], second: Sequence[float]
) -> dict[str, float | None]:
    """Returns Pearson's and Spearman's correlation, and the number of pairs.

    The correlations are None with fewer than three pairs, or a constant side.
    """
    figures: dict[str, float | None] = dict(
        pearson=None, spearman=None, runs=len(first)
    )
    if (
        len(first) < MIN_CORRELATED
        or len(set(first)) == 1
        or len(set(second)) == 1
    ):
        return figures
    from scipy import stats

    figures['pearson'] = float(stats.pearsonr(first, second).statistic)
    figures['spearman'] = float(stats.spearmanr(first, second).statistic)
    return figures
