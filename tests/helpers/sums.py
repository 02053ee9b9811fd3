"""Sums of three that show the order of their summands."""

import tensorflow as tf

# (LARGE - LARGE) + 1 is 1; in any other order float32 loses the 1. An argument
# of a function keeps its memory and a result may be overwritten, so AddN would
# begin with the result, the 1.
LARGE = 1e8


def arguments():
    return tf.fill([64], LARGE), tf.fill([64], -LARGE), tf.zeros([64])


def added():
    """Returns the sum of three, which is 1 from left to right."""

    @tf.function(autograph=False)
    def add(x, y, z):
        return x + y + tf.exp(z)

    return add(*arguments())[0]


@tf.custom_gradient
def passes(w, gradient):
    return w + 0.0, lambda upstream: (gradient, None)


def gradient_of_three_uses():
    """Returns a gradient that is 1 if it is added in the order of the tape."""

    @tf.function(autograph=False)
    def gradient(w, x, y, z):
        with tf.GradientTape() as tape:
            tape.watch(w)
            uses = [passes(w, given) for given in (tf.exp(z), x, y)]
        return tape.gradient(uses, w)

    return gradient(tf.ones([64]), *arguments())[0]
