"""Mean probabilities in whole and compact form."""

import numpy as np
import pytest

from ieg.label_issues import compact

ROWS, VISITS = 40, 12


def visited(means, probabilities):
    """Returns the means after visits of all rows, in two halves."""
    for visit in probabilities:
        for rows in np.array_split(np.arange(len(visit))[::-1], 2):
            means.add(rows, visit[rows], 1)
    return means


def both(monkeypatch, num_classes, concentration=1.0):
    """Returns labels, visits, and the two forms after these."""
    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=ROWS)
    alpha = np.full(num_classes, concentration)
    visits = rng.dirichlet(alpha, size=(VISITS, ROWS))
    dense = visited(compact.empty(labels, num_classes), visits)
    monkeypatch.setattr(compact, 'MOST_SUMS', 0)
    small = visited(compact.empty(labels, num_classes), visits)
    return labels, visits, dense, small


@pytest.mark.parametrize('num_classes', [2, 5, 8])
def test_of_few_classes_both_are_the_mean(monkeypatch, num_classes):
    _, visits, dense, small = both(monkeypatch, num_classes)
    assert isinstance(dense, compact.Dense)
    assert isinstance(small, compact.Compact)
    mean, all_rows = visits.mean(axis=0), slice(None)
    np.testing.assert_allclose(dense.rows(all_rows), mean, atol=1e-12)
    np.testing.assert_allclose(small.rows(all_rows), mean, atol=1e-6)
    some = np.array([7, 3])
    np.testing.assert_allclose(small.rows(some), mean[some], atol=1e-6)


def test_of_many_classes_the_given_one_and_the_largest_are_kept(monkeypatch):
    labels, visits, _, small = both(monkeypatch, 60, concentration=0.05)
    mean, rows = visits.mean(axis=0), np.arange(ROWS)
    result = small.rows(slice(None))
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        result[rows, labels], mean[rows, labels], atol=1e-6
    )
    assert np.mean(result.argmax(axis=1) == mean.argmax(axis=1)) > 0.9
    assert np.abs(result - mean).max() < 0.1
    assert small.size < ROWS * 60 / 3


@pytest.mark.parametrize('num_classes', [6, 30])
def test_joining_adds_visits(monkeypatch, num_classes):
    labels, visits, dense, small = both(monkeypatch, num_classes)
    for means in (dense, small):
        means.join(means)
        assert (means.count == 2 * VISITS).all()
    mean = visits.mean(axis=0)
    np.testing.assert_allclose(dense.rows(slice(None)), mean, atol=1e-12)
    own = np.arange(ROWS), labels
    result = small.rows(slice(None))[own]
    np.testing.assert_allclose(result, mean[own], atol=1e-6)


def test_weights_count_visits_and_unseen_rows_are_zero():
    labels = np.zeros(3, int)
    first, second = compact.empty(labels, 2), compact.empty(labels, 2)
    first.add(np.array([0]), np.array([[1.0, 0.0]]), 1)
    second.add(np.array([0, 1]), np.array([[0.0, 2.0], [1.0, 1.0]]), 2)
    parts = [(1.0, first), (0.5, second), (0.0, first)]
    result = compact.means(parts, slice(None))
    np.testing.assert_allclose(result, [[0.5, 0.5], [0.5, 0.5], [0, 0]])
    np.testing.assert_allclose(compact.means([(0.0, first)], [0]), [[0, 0]])


def test_blocks_cover_all_rows(monkeypatch):
    monkeypatch.setattr(compact, '_BLOCK', 10)
    assert [*compact.blocks(7, 3)] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert len([*compact.blocks(2, 100)]) == 2
    assert not [*compact.blocks(0, 3)]
