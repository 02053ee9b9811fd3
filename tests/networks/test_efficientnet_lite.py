"""The shape of EfficientNet-Lite, and how normalization becomes part of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ieg.networks import efficientnet_lite as lite

# Without the head; each normalization leaves one bias of its four vectors.
PARAMETERS = {'lite0': 3_350_000, 'lite1': 4_108_848, 'lite2': 4_782_024}


@pytest.fixture(scope='module')
def network():
    return lite.efficientnet_lite(lite.SIZES['lite0'])


def test_structure(network):
    for name, parameters in PARAMETERS.items():
        size = lite.SIZES[name]
        model = lite.efficientnet_lite(size)
        assert model.count_params() == parameters
        assert model.input_shape == (None, size.side, size.side, 3)
        assert model.output_shape == (None, lite.WIDTH)
    last = network.get_layer('conv_head').output
    assert last.shape == (None, 7, 7, lite.WIDTH)


def test_normalization_is_part_of_the_convolution(network):
    """The first three maps against convolution, normalization and ReLU6."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in network.layers:
        if layer.weights:
            convolution, normalization = lite._torch_names(layer.name)
            shape = layer.kernel.shape
            if 'depthwise' in layer.name:
                shape = (*shape[:2], *shape[:1:-1])
            kernel = rng.normal(0, 0.1, shape).transpose(3, 2, 0, 1)
            tensors[f'{convolution}.weight'] = kernel.astype(np.float32)
            for part in ('weight', 'bias', 'running_mean', 'running_var'):
                numbers = rng.uniform(0.5, 1.5, len(kernel))
                tensors[f'{normalization}.{part}'] = numbers.astype(np.float32)
    lite.assign(network, tensors)
    names = (
        'conv_stem',
        'blocks0_depthwise_conv',
        'blocks0_project_conv',
    )
    maps = keras.Model(
        network.inputs[0], [network.get_layer(name).output for name in names]
    )
    images = rng.integers(0, 256, (1, 224, 224, 3)).astype(np.float32)
    x = images / 127.5 - 1
    for name, computed in zip(names, maps(images), strict=True):
        convolution, normalization = lite._torch_names(name)
        kernel = tensors[f'{convolution}.weight'].transpose(2, 3, 1, 0)
        if 'depthwise' in name:
            kernel = kernel.swapaxes(2, 3)
            x = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), 'SAME')
        else:
            x = tf.nn.conv2d(x, kernel, 2 if 'stem' in name else 1, 'SAME')
        scale, offset, mean, variance = (
            tensors[f'{normalization}.{part}']
            for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        x = tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3)
        x = x if 'project' in name else tf.nn.relu6(x)
        np.testing.assert_allclose(computed, x, rtol=1e-4, atol=1e-4)
