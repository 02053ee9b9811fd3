"""Sums do not depend on whose memory happens to be free."""

import tensorflow as tf

from ieg.training import devices

# (LARGE - LARGE) + 1 is 1; in any other order float32 loses the 1. An argument
# of a function keeps its memory and a result may be overwritten, so AddN would
# begin with the result, the 1.
LARGE = 1e8


def arguments():
    return tf.fill([64], LARGE), tf.fill([64], -LARGE), tf.zeros([64])


def test_three_summands_are_added_from_left_to_right():
    devices.fix_order()

    @tf.function(autograph=False)
    def add(x, y, z):
        return x + y + tf.exp(z)

    assert add(*arguments())[0] == 1


@tf.custom_gradient
def passes(w, gradient):
    return w + 0.0, lambda upstream: (gradient, None)


def test_gradients_of_three_uses_are_added_in_the_order_of_the_tape():
    devices.fix_order()

    @tf.function(autograph=False)
    def gradient(w, x, y, z):
        with tf.GradientTape() as tape:
            tape.watch(w)
            uses = [passes(w, given) for given in (tf.exp(z), x, y)]
        return tape.gradient(uses, w)

    assert gradient(tf.ones([64]), *arguments())[0] == 1


def test_sparse_gradients_are_still_added():
    devices.fix_order()
    table = tf.Variable(tf.ones([4, 2]))
    with tf.GradientTape() as tape:
        rows = [tf.gather(table, ids) for ids in ([0, 1], [1, 2], [1, 1])]
        loss = tf.add_n([tf.reduce_sum(row) for row in rows])
    gradient = tf.convert_to_tensor(tape.gradient(loss, table))
    assert gradient[:, 0].numpy().tolist() == [1, 4, 1, 0]
