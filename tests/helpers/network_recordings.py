"""Networks of PyTorch whose numbers were recorded, and ours beside them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from paths import GOLDEN
from recordings import close, in_keras_layout

# What PyTorch calls the variables of BN, and those of other layers.
NORMALIZATION = {
    'weight': 'gamma',
    'bias': 'beta',
    'running_mean': 'moving_mean',
    'running_var': 'moving_variance',
}
PLAIN = {'weight': 'kernel', 'bias': 'bias'}


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def residual_variable(name, value):
    """Returns path and value, in our layout, of a tensor of a ResNet."""
    name = name.replace('shortcut.0', 'skip').replace('shortcut.1', 'skip_bn')
    *layer, kind = name.split('.')
    if layer == ['linear']:
        layer = 'logits'
    elif len(layer) == 1:
        layer = f'stem_{layer[0][:-1]}'
    else:
        stage, block, part = layer
        layer = f'stage{stage[-1]}_block{int(block) + 1}_{part}'
    kinds = NORMALIZATION if '_bn' in layer else PLAIN
    return f'{layer}/{kinds[kind]}', in_keras_layout(value)


class Recording:
    """The recorded arrays of one network.

    Args:
        file: which one.
        translate: recorded name and tensor -> path and value of our variable.
    """

    def __init__(self, file, translate=residual_variable):
        self._translate = translate
        with np.load(GOLDEN / f'{file}.npz') as arrays:
            self._arrays = dict(arrays)

    def __getitem__(self, key):
        return self._arrays[key]

    def by_path(self, prefix):
        """Returns the tensors below a prefix by the paths of our variables."""
        return dict(
            self._translate(key.removeprefix(prefix), value)
            for key, value in self._arrays.items()
            if key.startswith(prefix)
        )

    def compare(self, net, tolerance, is_noise=lambda path: False):
        """Compares inference and a training step with what was recorded.

        Args:
            net: ours; gets the recorded weights.
            tolerance: what may differ.
            is_noise: which variables have a gradient of rounding errors only.
        """
        weights = self.by_path('weights/')
        assert set(weights) == {v.path for v in net.variables}
        for variable in net.variables:
            variable.assign(weights[variable.path])
        images = self['input_nhwc'].astype(keras.config.floatx())

        close(net(images), self['f64/eval/logits'], tolerance)

        with tf.GradientTape() as tape:
            logits = net(images, training=True)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    self['label'], logits
                )
            )
        assert logits.dtype == keras.config.floatx()
        close(logits, self['f64/train/logits'], tolerance)
        close(loss, self['f64/train/loss'], tolerance)
        expected = self.by_path('f64/train/grad/')
        trained = net.trainable_variables
        assert set(expected) == {v.path for v in trained}
        gradients = tape.gradient(loss, [v.value for v in trained])
        for variable, gradient in zip(trained, gradients, strict=True):
            path = variable.path
            if not is_noise(path):
                close(gradient, expected[path], tolerance, path)
        statistics = self.by_path('f64/train/after/')
        assert set(statistics) == {v.path for v in net.non_trainable_variables}
        for variable in net.non_trainable_variables:
            path = variable.path
            close(variable, statistics[path], tolerance, path)


def check_pytorch_weights(net):
    """Checks that all weights have the range and spread of PyTorch's."""
    for layer in net.layers:
        if not hasattr(layer, 'kernel'):
            continue
        bound = np.prod(layer.kernel.shape[:-1]) ** -0.5
        for weights in layer.get_weights():
            largest = np.abs(weights).max()
            assert largest <= bound
            if weights.size > 100:
                assert largest > 0.9 * bound
                assert weights.std() == pytest.approx(bound / 3**0.5, rel=0.2)
