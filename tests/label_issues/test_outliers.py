import numpy as np
import pytest
from sklearn.datasets import load_digits

from ieg.label_issues import neighbours, outliers


def directions(rng, count, width=32, classes=4):
    """Returns examples around a direction of each class, and their classes."""
    labels = rng.integers(0, classes, count)
    centres = rng.standard_normal((classes, width))
    return centres[labels] + rng.standard_normal((count, width)), labels


def found(vectors, labels):
    near = neighbours.nearest(vectors, vectors, 40, same=True)
    return outliers.find(near, vectors, labels)


@pytest.fixture
def ordinary():
    return directions(np.random.default_rng(0), 1500)


def test_few_ordinary_examples_are_outliers(ordinary):
    is_outlier, away = found(*ordinary)
    assert is_outlier.mean() <= 0.01
    assert abs(np.median(away)) < 0.1


def test_single_ones_are_found(ordinary):
    vectors, labels = ordinary
    rng = np.random.default_rng(1)
    odd = np.zeros((10, 32 + 10))
    odd[np.arange(10), 32 + np.arange(10)] = 20
    odd[:, :32] = rng.standard_normal((10, 32))
    both = np.concatenate([np.pad(vectors, ((0, 0), (0, 10))), odd])
    is_outlier, away = found(both, np.append(labels, rng.integers(0, 4, 10)))
    assert is_outlier[-10:].all()
    assert is_outlier[:-10].mean() <= 0.01
    assert away[-10:].min() > away[:-10].mean() + 2


@pytest.mark.parametrize('size', [8, 25, 60])
def test_a_few_of_a_kind_are_found(size, ordinary):
    vectors, labels = ordinary
    rng = np.random.default_rng(1)
    centre = np.zeros(32)
    centre[:2] = 9, -9
    kind = centre + 0.5 * rng.standard_normal((size, 32))
    both = np.concatenate([vectors, kind])
    given = np.append(labels, rng.integers(0, 4, size))
    is_outlier, _ = found(both, given)
    assert is_outlier[-size:].all()
    assert is_outlier[:-size].mean() <= 0.01


def test_a_class_of_its_own_is_not_an_outlier(ordinary):
    vectors, labels = ordinary
    rng = np.random.default_rng(1)
    centre = np.zeros(32)
    centre[:2] = 9, -9
    both = np.concatenate([vectors, centre + rng.standard_normal((30, 32)) / 2])
    is_outlier, _ = found(both, np.append(labels, np.full(30, 4)))
    assert not is_outlier[-30:].any()


def test_ways_to_write_a_digit_are_not_outliers():
    vectors, labels = load_digits(return_X_y=True)
    is_outlier, _ = found(vectors, labels)
    assert is_outlier.mean() <= 0.01


@pytest.mark.parametrize('count', [1, 2, 30])
def test_too_few_examples_have_no_outliers(count):
    rng = np.random.default_rng(0)
    is_outlier, away = found(*directions(rng, count))
    assert is_outlier.shape == away.shape == (count,)
    assert not is_outlier.any() and np.isfinite(away).all()
