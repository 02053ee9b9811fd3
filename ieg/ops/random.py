"""Random tensors that are the same in every kind of compilation.

Left alone, TensorFlow and XLA choose different generators, and even with the
same one they make different floats, and different whole numbers below a bound,
of its bits.
"""

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

# What `tf.shape` returns, or lengths and scalar tensors in a sequence.
Shape: TypeAlias = tf.Tensor | Sequence[int | tf.Tensor]

_GENERATOR = 'philox'


def bits(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Returns random int32 of all values.

    Args:
        shape: of the result.
        seed: int32 `[2]`.
    """
    return tf.random.stateless_uniform(
        shape, seed, None, None, tf.int32, alg=_GENERATOR
    )


def uniform(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Returns float32 in [0, 1), those that TensorFlow makes of `bits`."""
    mantissas = bits(shape, seed) & (2**23 - 1)
    return tf.cast(mantissas, tf.float32) * 2.0**-23


def fold_in(seed: tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """Returns another seed int32 `[2]`, made of a seed and a number."""
    return tf.random.fold_in(seed, number, _GENERATOR)
