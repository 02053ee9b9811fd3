"""The authors' recordings of DivideMix, and a method to compare with them."""

import keras
import numpy as np
import tensorflow as tf
from paths import GOLDEN

from ieg.methods.base import Info
from ieg.methods.dividemix import DivideMix, DivideMixConfig
from ieg.networks.layers import FusedBatchNormalization
from ieg.ops import optim

TOLERANCE = {'f64': 1e-10, 'f32': 2e-5}
TYPES = {'f64': 'float64', 'f32': 'float32'}


class Golden:
    """The recorded arrays below one prefix."""

    def __init__(self, prefix):
        self._prefix = prefix

    def __getitem__(self, name):
        with np.load(GOLDEN / 'dividemix.npz') as content:
            return content[f'{self._prefix}/{name}']

    def load(self):
        with np.load(GOLDEN / 'dividemix.npz') as content:
            start = f'{self._prefix}/'
            return {
                k[len(start) :]: content[k]
                for k in content.files
                if k.startswith(start)
            }


def close(actual, expected, tolerance, what=''):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, what
    error = np.abs(actual - expected) / (1 + np.abs(expected))
    assert error.max(initial=0) < tolerance, what


def small_network(num_classes):
    """The recording's network, for 16x16x3 images."""
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(6, 3, padding='same', use_bias=False)(images)
    x = keras.layers.ReLU()(FusedBatchNormalization()(x))
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(10, 3, padding='same')(x)
    x = keras.layers.ReLU()(FusedBatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(num_classes)(x))


# The recorded tensors in the order of the network's variables.
TRAINABLE = (
    'conv1.weight bn1.weight bn1.bias conv2.weight conv2.bias '
    'bn2.weight bn2.bias fc.weight fc.bias'
).split()
STATISTICS = (
    'bn1.running_mean bn1.running_var bn2.running_mean bn2.running_var'
).split()


def in_keras_layout(array):
    return array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])


def set_network(net, recorded, prefix):
    for names, variables in (
        (TRAINABLE, net.trainable_variables),
        (STATISTICS, net.non_trainable_variables),
    ):
        for name, variable in zip(names, variables, strict=True):
            variable.assign(in_keras_layout(recorded[f'{prefix}/{name}']))


def check_network(net, recorded, prefix, tolerance):
    for names, variables in (
        (TRAINABLE, net.trainable_variables),
        (STATISTICS, net.non_trainable_variables),
    ):
        for name, variable in zip(names, variables, strict=True):
            expected = in_keras_layout(recorded[f'{prefix}/{name}'])
            close(variable, expected, tolerance, f'{prefix}/{name}')


class Recorded(DivideMix):
    """DivideMix that mixes with the recorded partners."""

    permutation = None

    def partners(self, batch, count):
        return tf.constant(self.permutation)


def make_method(labels, num_classes, l2, rate=0.02, seed=0, **options):
    info = Info(
        num_classes=num_classes,
        image_shape=(16, 16, 3),
        labels=np.asarray(labels, np.int32),
        num_probe=0,
        batch_size=8,
        epochs=30,
        seed=seed,
    )
    return Recorded(
        DivideMixConfig(**options),
        info,
        lambda number: small_network(num_classes),
        lambda: optim.SGD(rate, 0.9, l2=l2),
    )
