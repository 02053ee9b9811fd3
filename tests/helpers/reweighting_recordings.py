"""Recorded steps of the IEG code base, and how to repeat them."""

import functools

import keras
import numpy as np
import tensorflow as tf
from paths import GOLDEN

from ieg.methods.base import Info
from ieg.networks import create_network
from ieg.networks.layers import FusedBatchNormalization
from ieg.ops import optim


@functools.cache
def _everything():
    with np.load(GOLDEN / 'ieg.npz') as file:
        return {name: file[name] for name in file.files}


def load(prefix):
    """Returns the recorded arrays below a prefix."""
    start = f'{prefix}/'
    return {
        name[len(start) :]: array
        for name, array in _everything().items()
        if name.startswith(start)
    }


def tiny_network():
    """The 712 weights of the recordings, for 16x16x3 images."""
    images = keras.Input((16, 16, 3))
    x = images
    for filters, strides in ((6, 1), (8, 2)):
        x = keras.layers.Conv2D(
            filters, 3, strides, padding='same', use_bias=False
        )(x)
        x = keras.layers.ReLU()(FusedBatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(10)(x))


def narrow_resnet():
    """The reference's ResNet with one block per stage, and its slip."""
    return create_network(
        'resnet29', 10, (32, 32, 3), width=2, blocks=1, first_relu=False
    )


# Penalties as the reference has them: a wide ResNet's for the tiny network.
NETWORKS = {
    'tiny': (tiny_network, dict(l2=5e-4), {}),
    'resnet11w2': (
        narrow_resnet,
        dict(l2=2e-4, kernels_only=True),
        dict(meta_weight_decay=1e-4),
    ),
}


class Repeated:
    """A method in a recorded state.

    Args:
        method_class: what to build.
        name: of the recording.
        options: of the method.
    """

    def __init__(self, method_class, name, **options):
        self.golden = load(name)
        network = name.rpartition('_')[2]
        build, penalties, more = NETWORKS[network]
        self._images = load('images_32') if network != 'tiny' else None
        if 'meta_weight_decay' in method_class.Config.__dataclass_fields__:
            options = more | options
        self.method = method_class(
            method_class.Config(use_ema=True, **options),
            Info(
                num_classes=10,
                image_shape=(16, 16, 3),
                labels=np.zeros(40, np.int32),
                num_probe=0 if 'fsr' in name else 8,
                batch_size=8,
                epochs=30,
                seed=0,
            ),
            lambda number: build(),
            lambda: optim.SGD(0.1, 0.9, **penalties),
        )
        self.net = self.method.nets[0]
        self.optimizer = self.method.optimizers[0]
        self._set_state()

    def _set_state(self):
        trained = self.net.trainable_variables
        self._assign(trained, 'var')
        self._assign(self.net.non_trainable_variables, 'bn')
        self._assign(self.optimizer.velocities, 'momentum')
        self.optimizer.iterations.assign(int(self.golden['start/global_step']))
        if 'start/ema' in self.golden:
            self._assign(self.method.average_net.trainable_variables, 'ema')

    def _assign(self, variables, group):
        values = self.golden[f'start/{group}']
        sizes = [int(np.prod(v.shape)) for v in variables]
        parts = np.split(values, np.cumsum(sizes)[:-1])
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(part.reshape(variable.shape))

    def _image(self, name, step):
        short = name.removesuffix('_images')
        if self._images is not None:
            found = self._images[short][step]
        else:
            found = self.golden[f'step{step}/in/{name}']
        return tf.constant(found / 128 - 1, keras.config.floatx())

    def part(self, step, images, labels, index=None):
        """Returns one stream of a recorded batch."""
        label = self.golden[f'step{step}/in/{labels}']
        index = np.arange(len(label)) if index is None else index
        return {
            'images': tuple(self._image(name, step) for name in images),
            'label': tf.constant(label, tf.int32),
            'index': tf.constant(index, tf.int64),
        }

    def step(self, step, streams):
        """Makes one step; returns what it logged, and what was recorded.

        Args:
            step: 0, 1, 2.
            streams: stream -> arguments of `part`.
        """
        golden = self.golden
        self.optimizer.learning_rate.assign(
            golden[f'step{step}/out/learning_rate']
        )
        batch = {n: self.part(step, *args) for n, args in streams.items()}
        batch['step'] = {'seed': tf.constant([1, 2])}
        penalty = self.penalty()
        before = [v.numpy() for v in self.optimizer.velocities]
        logs = self.method.train_step(batch)
        if f'step{step}/out/grad' in golden:
            gradients = [
                (v.numpy() - 0.9 * old).ravel()
                for v, old in zip(
                    self.optimizer.velocities, before, strict=True
                )
            ]
            logs['gradient'] = np.concatenate(gradients)
        logs['total_loss'] = logs['loss'] + penalty
        return logs, load_step(golden, step)

    def penalty(self):
        """Returns the penalty that the optimizer's gradients belong to."""
        return sum(
            self.optimizer.l2_of(v) / 2 * np.sum(np.square(v.numpy()))
            for v in self.net.trainable_variables
        )

    def end(self):
        """Yields (name, ours, recorded) after the last step."""
        groups = {
            'var': self.net.trainable_variables,
            'bn': self.net.non_trainable_variables,
            'momentum': self.optimizer.velocities,
        }
        if 'end/ema' in self.golden:
            groups['ema'] = self.method.average_net.trainable_variables
        for name, variables in groups.items():
            ours = np.concatenate([v.numpy().ravel() for v in variables])
            yield name, ours, self.golden[f'end/{name}']


def load_step(golden, step):
    """Returns inputs and results of one step by their short names."""
    found = {}
    for part in ('in', 'out'):
        start = f'step{step}/{part}/'
        found |= {
            name[len(start) :]: array
            for name, array in golden.items()
            if name.startswith(start)
        }
    return found


def close(actual, expected, tolerance, what=''):
    """Asserts equality relative to the largest recorded entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, what
    scale = np.abs(expected).max(initial=0) or 1.0
    error = np.abs(actual - expected).max(initial=0) / scale
    assert error < tolerance, f'{what}: {error}'
