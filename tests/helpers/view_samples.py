"""What a view of images is computed from."""

import types

import numpy as np
import tensorflow as tf

from ieg.data.augment import views

RECIPE = types.SimpleNamespace(
    padding=2, flip=True, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
)


def photographs(size, count=8):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 4, 4, 3))
    large = tf.image.resize(small, (size, size), 'bicubic')
    return np.clip(large, 0, 255).astype(np.uint8)


def draws(seed=(1, 2), count=600, offset=0, total=None):
    return views.Draws(
        tf.constant(seed), tf.constant(offset), count, total or count
    )
