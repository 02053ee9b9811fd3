"""Examples that are vectors: held once, gathered, standardised."""

import numpy as np
import pytest
import tensorflow as tf

from ieg.data.dataset import Preprocessing
from ieg.data.vectors import Vectors, checked, standardise, statistics
from ieg.errors import UsageError

ROWS = np.random.default_rng(0).normal(3, 2, (20, 4)).astype(np.float32)
VIEWS = np.stack([ROWS + 100, ROWS + 200], axis=1).astype(np.float16)


def test_plain_rows():
    vectors = Vectors(ROWS, VIEWS)
    assert vectors.shape == (4,)
    np.testing.assert_array_equal(vectors.fetch([3, 1], None), ROWS[[3, 1]])


def test_each_stored_view_is_shown_of_its_own_example():
    vectors = Vectors(ROWS, VIEWS)
    ids = np.repeat(np.arange(20), 50)
    seeds = np.random.default_rng(1).integers(
        -(2**31), 2**31, (len(ids), 2), np.int32
    )
    shown = vectors.fetch(ids, seeds).numpy() - ROWS[ids]
    which = np.rint(shown / 100)
    np.testing.assert_allclose(shown, which * 100, atol=0.2)
    assert set(which.ravel()) == {1, 2}
    assert 0.4 < (which[:, 0] == 1).mean() < 0.6


def test_plain_rows_where_no_view_is_stored():
    seeds = np.zeros((2, 2), np.int32)
    shown = Vectors(ROWS).fetch([5, 6], seeds)
    np.testing.assert_array_equal(shown, ROWS[[5, 6]])


def test_taking_some_is_no_copy():
    vectors = Vectors(ROWS, VIEWS)
    some = vectors.take(np.arange(10)).take(np.array([7, 2]))
    assert len(some) == 2
    np.testing.assert_array_equal(some.array, ROWS[[7, 2]])
    np.testing.assert_array_equal(some.views, VIEWS[[7, 2]])
    np.testing.assert_array_equal(some.fetch([1], None), ROWS[[2]])
    assert some._held is vectors._held


def test_fetch_in_a_graph():
    some = Vectors(ROWS).take(np.array([9, 8, 7]))
    shown = tf.function(lambda ids: some.fetch(ids, None))(tf.constant([2, 0]))
    np.testing.assert_array_equal(shown, ROWS[[7, 9]])


def test_statistics_of_wild_columns():
    array = np.ones((50, 5), np.float32)
    array[:, 0] = np.linspace(-1, 1, 50) * 1e30
    array[:, 1] = 0.1
    array[:, 2] = 1e6 + np.arange(50) % 2
    array[:, 3] = np.linspace(0, 1e-30, 50)
    mean, std = statistics(Vectors(array))
    np.testing.assert_allclose(std[0], array[:, 0].std(dtype='d'), rtol=1e-6)
    assert std[1] == std[4] == 0
    shown = standardise(array, mean, std).numpy()
    assert np.isfinite(shown).all()
    np.testing.assert_array_equal(shown[:, [1, 4]], 0)
    for column in (0, 2, 3):
        np.testing.assert_allclose(shown[:, column].mean(), 0, atol=1e-5)
        np.testing.assert_allclose(shown[:, column].std(), 1, rtol=1e-5)


def test_preprocessing_is_that_of_the_training_part():
    recipe = Preprocessing.of_vectors(Vectors(ROWS).take(np.arange(5)))
    np.testing.assert_allclose(recipe.mean, ROWS[:5].mean(0), rtol=1e-6)
    np.testing.assert_allclose(recipe.std, ROWS[:5].std(0), rtol=1e-5)


@pytest.mark.parametrize(
    'value, problem',
    [(np.nan, 'nan'), (-np.inf, '-inf'), (1e300, '1e+300'), (3e38, '3e+38')],
)
def test_numbers_that_cannot_be_used(value, problem):
    array = ROWS.astype(np.float64)
    array[17, 3] = value
    with pytest.raises(UsageError) as caught:
        checked(array, 'x_train in a.npz')
    for fact in ('x_train in a.npz', problem, 'row 17', 'column 3'):
        assert fact in str(caught.value)
