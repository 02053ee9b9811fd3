"""Regions, rankings and correlations of runs, by hand and by scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from ieg.compare import comparison as regions

CROSS = [0.9, 0.9, 0.1, 0.1], [0.1, 0.3, 0.1, 0.3]


def test_four_points_are_in_four_regions():
    bounds = regions.boundaries(*CROSS, 'mean')
    assert bounds == pytest.approx((0.5, 0.2))
    assert regions.assign(*CROSS, bounds) == [1, 2, 3, 4]


def test_a_run_on_a_line_is_trainable_and_resistant():
    assert regions.assign([0.5, 0.5, 0.4], [0.2, 0.3, 0.2], (0.5, 0.2)) == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize('how', ['mean', 'median'])
@pytest.mark.parametrize('count', [1, 3, 6, 10])
def test_equal_runs_tie(how, count):
    # A mean in floating point is 0.10000000000000002 for three times 0.1.
    values = [0.1] * count
    bounds = regions.boundaries(values, values, how)
    assert regions.assign(values, values, bounds) == [1] * count


def test_medians():
    accuracy, susceptibility = [0.5, 0.6, 1.0], [0.01, 0.02, 0.9]
    bounds = regions.boundaries(accuracy, susceptibility, 'median')
    assert bounds == (0.6, 0.02)
    assert regions.assign(accuracy, susceptibility, bounds) == [3, 1, 2]
    # The mean of the accuracy is 0.7.
    bounds = regions.boundaries(accuracy, susceptibility, 'mean')
    assert regions.assign(accuracy, susceptibility, bounds) == [3, 3, 2]


def test_spread():
    def figures(values):
        return tuple(regions.spread(values).values())

    assert figures([]) == (None, None)
    assert figures([0.5]) == (0.5, None)
    assert figures([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7)))


FIVE = [0.6, 0.8, 0.7, 1.0, 0.95], [0.01, 0.02, 0.03, 0.5, 0.4]


def test_the_low_half_is_ranked_by_accuracy():
    # The least susceptible three of five.
    assert regions.low_half(*FIVE) == [1, 2, 0]


def test_a_tie_at_the_border_of_the_half_goes_to_the_more_accurate():
    found = regions.low_half([0.5, 0.6, 0.7, 0.9], [0.1, 0.2, 0.2, 0.3])
    assert found == [2, 0]


def test_regions_rank_the_first_only():
    # The mean accuracy is 0.81: 3 and 4 are above and susceptible.
    bounds = regions.boundaries(*FIVE, 'mean')
    assert regions.assign(*FIVE, bounds) == [3, 3, 3, 2, 2]
    # So the first is empty, and lowhalf stands in.
    assert regions.by_region(*FIVE, bounds) == [1, 2, 0]
    # Median 0.8 of accuracy, 0.03 of susceptibility.
    bounds = regions.boundaries(*FIVE, 'median')
    assert regions.by_region(*FIVE, bounds) == [1]


def test_the_corner_is_in_log_susceptibility():
    # From 0.01 to 1: across 0, 0.5, 1; up 1, 0.5, 0 and so on.
    accuracy = [0.5, 0.75, 1.0, 0.9]
    susceptibility = [0.01, 0.1, 1.0, 0.1]
    # Distances: 1; hypot(0.5, 0.5); 1; hypot(0.5, 0.2).
    assert regions.corner(accuracy, susceptibility) == [3, 1, 0, 2]
    # The last is at hypot(log(2) / log(100), 0.4), before the third, at
    # hypot(log(30) / log(100), 0.1); on a linear axis it would be behind.
    found = regions.corner([1.0, 0.0, 0.9, 0.6], [1.0, 0.01, 0.3, 0.02])
    assert found == [3, 2, 1, 0]


def test_the_corner_survives_what_has_no_logarithm():
    accuracy = [0.5, 1.0, 0.9, 0.8]
    # The first two count as 0.1, the smallest positive one.
    found = regions.corner(accuracy, [-0.3, 0.0, 0.1, 1.0])
    assert found == [1, 2, 0, 3]
    assert regions.corner([0.5, 0.9], [-1.0, -2.0]) == [1, 0]
    assert regions.corner([0.5, 0.5], [0.2, 0.1]) == [1, 0]
    assert regions.corner([0.5], [0.2]) == [0]


def test_judge():
    found = regions.judge([2, 0, 1], [0.7, 0.9, 0.8, 0.9], top=2)
    assert found == dict(
        test_accuracy=0.8,
        rank=3,
        regret_points=pytest.approx(10),
        top_mean=pytest.approx(0.75),
        top_count=2,
    )
    assert regions.judge([1], [0.7, 0.9], top=5)['top_count'] == 1


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(1)
    first = rng.random(9)
    second = first**3 + 0.1 * rng.random(9)
    found = regions.correlations(first.tolist(), second.tolist())
    assert found['pearson'] == pytest.approx(stats.pearsonr(first, second)[0])
    assert found['spearman'] == pytest.approx(stats.spearmanr(first, second)[0])
    assert found['runs'] == 9


@pytest.mark.parametrize(
    'first, second', [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([], [])]
)
def test_no_correlation_of_too_little(first, second):
    found = regions.correlations(first, second)
    assert found['pearson'] is None and found['spearman'] is None
