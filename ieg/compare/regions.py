"""Which of several runs to trust, by train accuracy and susceptibility.

Source: "Leveraging Unlabeled Data to Track Memorization" (ICLR 2023): the four
regions at the means over the runs, of which the first is to be chosen from
(its Clothing1M study), and the correlation of susceptibility with the fit on
wrong labels. `lowhalf` and `corner` are not of the paper: runs that learn all
labels by heart drag the means up, so region 1 can hold nothing else, and these
two were seen to stand that better.

All functions take one value per run: the accuracy on the given, partly wrong
training labels, and the susceptibility. Runs are named by their place.
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
# The means and medians of `statistics` are exact: equal runs tie, where a sum
# in floating point may put the mean of equal values beside them.
BOUNDARIES: dict[str, Callable] = {
    'mean': statistics.mean,
    'median': statistics.median,
}
MIN_CORRELATED = 3


def boundaries(
    accuracy: Sequence[float], susceptibility: Sequence[float], how: str
) -> tuple[float, float]:
    """Returns where the regions meet.

    Args:
        accuracy: of each run, on the given labels.
        susceptibility: of each run.
        how: 'mean', as in the paper, or 'median'.

    Returns:
        bounds: of accuracy and of susceptibility.
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

    A run on a line is trainable, and resistant.
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
    without a run in region 1 the order is that of `low_half`.
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

    Of an odd number of runs the half is the larger one; where susceptibility
    ties at its border, the more accurate run is inside.
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

    The corner is the highest accuracy with the lowest susceptibility of all
    runs. Distances are in the plane of accuracy and log susceptibility, each
    scaled to [0, 1] over the runs. A susceptibility of zero or less, where
    steps overshoot, counts as the smallest positive one.
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
    """Returns values scaled to [0, 1]; ones where all are equal.

    What all runs share must not tell them apart, so any constant would do.
    """
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else values * 0 + 1.0


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns mean and sample standard deviation (ddof 1).

    None for what so few values do not have.
    """
    return (
        float(np.mean(values)) if len(values) else None,
        float(np.std(values, ddof=1)) if len(values) > 1 else None,
    )


def judge(
    order: Sequence[int], test_accuracy: Sequence[float], top: int
) -> dict[str, float]:
    """Returns how well a ranking chose, by what it did not know.

    Args:
        order: the runs that it ranks, best first.
        test_accuracy: of all runs.
        top: how many of the first are averaged, if it ranks as many.

    Returns:
        `test_accuracy` of its first choice; `rank` of that among all runs;
        `regret_points`, what the best run has more, in percentage points;
        `top_mean`, the mean test accuracy of its first `top_count` runs.
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

    None where there are fewer than three pairs, or one side is constant.
    """
    found: dict[str, float | None] = dict(
        pearson=None, spearman=None, runs=len(first)
    )
    if (
        len(first) < MIN_CORRELATED
        or len(set(first)) == 1
        or len(set(second)) == 1
    ):
        return found
    from scipy import stats

    found['pearson'] = float(stats.pearsonr(first, second).statistic)
    found['spearman'] = float(stats.spearmanr(first, second).statistic)
    return found
