import numpy as np
import tensorflow as tf

from ieg.ops.visits import Visits

CLASSES = 5


def test_columns_are_read_as_they_are_written():
    rng = np.random.default_rng(0)
    columns = rng.random((4, Visits.width(CLASSES)), np.float32)
    visits = Visits.of_columns(columns)
    # The order in checkpoints.
    np.testing.assert_array_equal(visits.shown, columns[:, 0])
    np.testing.assert_array_equal(visits.agreed, columns[:, 1])
    np.testing.assert_array_equal(visits.places, columns[:, 2])
    np.testing.assert_array_equal(visits.probabilities, columns[:, 3:])
    np.testing.assert_array_equal(
        np.concatenate(visits.columns(), axis=1), columns
    )


def test_steps_write_the_same_columns():
    columns = tf.random.uniform([4, Visits.width(CLASSES)])
    again = tf.concat(Visits.of_columns(columns).columns(), axis=1)
    np.testing.assert_array_equal(again, columns)


def test_the_first_visit_does_not_count():
    columns = np.zeros((2, Visits.width(CLASSES)), np.float32)
    columns[0, 0] = 1
    columns[1, 0] = 3
    columns[1, 3:] = 2 / CLASSES
    np.testing.assert_array_equal(Visits.of_columns(columns).counted, [0, 2])
