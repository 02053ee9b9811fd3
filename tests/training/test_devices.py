"""Sums do not depend on whose memory happens to be free."""

import pytest
import tensorflow as tf
from sums import added, gradient_of_three_uses
from tensorflow.python.eager import backprop

from ieg.training import devices


@pytest.fixture
def fixed():
    """Fixes the order until the test ends."""
    with devices.restoring_order():
        devices.fix_order()
        yield


def test_three_summands_are_added_from_left_to_right(fixed):
    assert added() == 1


def test_gradients_of_three_uses_are_added_in_the_order_of_the_tape(fixed):
    assert gradient_of_three_uses() == 1


def test_the_order_is_restored_where_it_was_fixed_first():
    before = added(), gradient_of_three_uses()
    options = tf.config.optimizer.get_experimental_options()
    # Otherwise the tests above show nothing.
    assert before != (1, 1)
    with devices.restoring_order():
        devices.fix_order()
        with devices.restoring_order():
            devices.fix_order()
        assert (added(), gradient_of_three_uses()) == (1, 1)
    assert (added(), gradient_of_three_uses()) == before
    assert tf.config.optimizer.get_experimental_options() == options


def test_a_tensorflow_without_the_private_entry_is_told_once(monkeypatch):
    monkeypatch.delattr(backprop, '_default_vspace')
    devices._warn.cache_clear()
    with devices.restoring_order():
        with pytest.warns(RuntimeWarning, match=tf.__version__) as caught:
            devices.fix_order()
            devices.fix_order()
        assert len(caught) == 1
        # By TensorFlow's public option.
        assert added() == 1
    assert added() != 1


def test_sparse_gradients_are_still_added(fixed):
    table = tf.Variable(tf.ones([4, 2]))
    with tf.GradientTape() as tape:
        rows = [tf.gather(table, ids) for ids in ([0, 1], [1, 2], [1, 1])]
        loss = tf.add_n([tf.reduce_sum(row) for row in rows])
    gradient = tf.convert_to_tensor(tape.gradient(loss, table))
    assert gradient[:, 0].numpy().tolist() == [1, 4, 1, 0]
