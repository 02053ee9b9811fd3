"""ResNet-18 and ResNet-34: recorded numbers, sizes, and both stems."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ieg.errors import UsageError
from ieg.networks import create_network

GOLDEN = pathlib.Path(__file__).parent / 'golden'
NARROW = (4, 8, 16, 32)
SHAPE = (32, 32, 3)
NAMES = ['resnet18', 'resnet34']
# The mean and the variance of BN, and the weights that PyTorch calls so.
KINDS = {
    True: {
        'weight': 'gamma',
        'bias': 'beta',
        'running_mean': 'moving_mean',
        'running_var': 'moving_variance',
    },
    False: {'weight': 'kernel', 'bias': 'bias'},
}


def create(name='resnet18', image_shape=SHAPE, **options):
    return create_network(name, 10, image_shape, widths=NARROW, **options)


def images_for(image_shape=SHAPE, batch=3):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (batch, *image_shape)).astype('float32')


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def close(actual, expected, tolerance):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / (1 + np.abs(expected))
    assert error.max() < tolerance


def by_path(arrays, prefix):
    """Returns recorded tensors, in our layout, by our variable paths."""
    found = {}
    for key, value in arrays.items():
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix).replace('shortcut.0', 'skip')
        *layer, kind = name.replace('shortcut.1', 'skip_bn').split('.')
        if layer == ['linear']:
            layer = 'logits'
        elif len(layer) == 1:
            layer = f'stem_{layer[0][:-1]}'
        else:
            stage, block, part = layer
            layer = f'stage{stage[-1]}_block{int(block) + 1}_{part}'
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        path = f'{layer}/{KINDS["_bn" in layer][kind]}'
        found[path] = value.T if value.ndim == 2 else value
    return found


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [('float64', 1e-10), ('float32', 2e-5)]
)
def test_recorded_numbers(precision, dtype, tolerance):
    precision(dtype, dtype)
    with np.load(GOLDEN / 'arch_resnet18_pad0_narrow.npz') as stored:
        arrays = dict(stored)
    images = arrays['input_nhwc'].astype(dtype)
    net = create()
    weights = by_path(arrays, 'weights/')
    assert set(weights) == {v.path for v in net.variables}
    for variable in net.variables:
        variable.assign(weights[variable.path])

    close(net(images), arrays['f64/eval/logits'], tolerance)

    with tf.GradientTape() as tape:
        logits = net(images, training=True)
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                arrays['label'], logits
            )
        )
    assert logits.dtype == dtype
    close(logits, arrays['f64/train/logits'], tolerance)
    close(loss, arrays['f64/train/loss'], tolerance)
    expected = by_path(arrays, 'f64/train/grad/')
    assert set(expected) == {v.path for v in net.trainable_variables}
    gradients = tape.gradient(loss, [v.value for v in net.trainable_variables])
    for variable, gradient in zip(
        net.trainable_variables, gradients, strict=True
    ):
        close(gradient, expected[variable.path], tolerance)
    statistics = by_path(arrays, 'f64/train/after/')
    assert set(statistics) == {v.path for v in net.non_trainable_variables}
    for variable in net.non_trainable_variables:
        close(variable, statistics[variable.path], tolerance)


@pytest.mark.parametrize(
    ('name', 'num_classes', 'parameters', 'statistics'),
    [
        ('resnet18', 10, 11_173_962, 9600),
        ('resnet18', 100, 11_220_132, 9600),
        ('resnet18-same', 10, 11_173_962, 9600),
        ('resnet34', 10, 21_282_122, 17_024),
        ('resnet34', 100, 21_328_292, 17_024),
        ('resnet34-same', 100, 21_328_292, 17_024),
    ],
)
def test_parameter_counts(name, num_classes, parameters, statistics):
    net = create_network(name, num_classes, SHAPE)
    assert net.output_shape == (None, num_classes)
    assert count(net.trainable_variables) == parameters
    assert count(net.non_trainable_variables) == statistics


def sizes(net, blocks):
    """Returns the heights behind the stem and behind each stage."""
    ends = [f'stage{s}_block{b}_relu' for s, b in enumerate(blocks, start=1)]
    outputs = [net.get_layer(n).output for n in ['stem_bn_relu', *ends]]
    assert [o.shape[-1] for o in outputs] == [NARROW[0], *NARROW]
    assert net.get_layer('mean').input is outputs[-1]
    return [o.shape[1] for o in outputs]


@pytest.mark.parametrize(
    ('name', 'blocks'),
    [('resnet18', (2, 2, 2, 2)), ('resnet34', (3, 4, 6, 3))],
)
def test_blocks_and_feature_sizes_of_both_stems(name, blocks):
    net = create(name)
    assert sizes(net, blocks) == [30, 30, 15, 8, 4]
    adds = [la for la in net.layers if isinstance(la, keras.layers.Add)]
    assert len(adds) == sum(blocks)
    assert sizes(create(name, stem_padding=1), blocks) == [32, 32, 16, 8, 4]


@pytest.mark.parametrize('name', NAMES)
def test_the_networks_called_same_pad_the_stem(name):
    net = create_network(f'{name}-same', 10, SHAPE)
    assert net.get_layer('stem_conv').output.shape == (None, 32, 32, 64)
    net = create_network(name, 10, SHAPE)
    assert net.get_layer('stem_conv').output.shape == (None, 30, 30, 64)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('training', [False, True])
def test_padding_in_the_stem_is_padding_of_the_images(name, training):
    padded = create(name, stem_padding=1)
    plain = create(name, (34, 34, 3))
    plain.set_weights(padded.get_weights())
    images = images_for()
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    close(
        padded(images, training=training),
        plain(around, training=training),
        1e-5,
    )


def test_initial_weights_are_those_of_pytorch():
    keras.utils.set_random_seed(1)
    for layer in create().layers:
        if not hasattr(layer, 'kernel'):
            continue
        bound = np.prod(layer.kernel.shape[:-1]) ** -0.5
        for weights in layer.get_weights():
            largest = np.abs(weights).max()
            assert largest <= bound
            if weights.size > 100:
                assert largest > 0.9 * bound
                assert weights.std() == pytest.approx(bound / 3**0.5, rel=0.2)


@pytest.mark.parametrize('name', NAMES)
def test_two_copies_have_the_same_variable_paths(name):
    paths = [v.path for v in create(name).variables]
    assert paths == [v.path for v in create(name).variables]
    assert len(set(paths)) == len(paths)


def test_mixed_precision_gives_full_precision_logits(precision):
    keras.utils.set_random_seed(1)
    full = create()
    precision('mixed_bfloat16')
    mixed = create()
    mixed.set_weights(full.get_weights())
    images = images_for()
    logits = mixed(images)
    assert logits.dtype == tf.float32
    assert all(v.dtype == 'float32' for v in mixed.variables)
    assert mixed(images, training=True).dtype == tf.float32
    # Inside it computes in bfloat16: near, but not the same.
    difference = np.abs(logits - full(images)).max()
    assert 0 < difference < 0.05 * np.abs(logits).max() + 0.01


# Keras 3 itself, under NumPy 2.
@pytest.mark.filterwarnings('ignore:__array__ impl:DeprecationWarning')
def test_a_model_file_gives_the_same_logits(tmp_path):
    net = create()
    net.save(tmp_path / 'model.keras')
    loaded = keras.saving.load_model(tmp_path / 'model.keras')
    images = images_for()
    close(loaded(images), net(images), 1e-6)


@pytest.mark.parametrize('stem_padding', [0, 1])
@pytest.mark.parametrize('image_shape', [(3, 3, 1), (8, 8, 1), (28, 20, 3)])
def test_other_image_sizes(image_shape, stem_padding):
    net = create('resnet18', image_shape, stem_padding=stem_padding)
    logits = net(images_for(image_shape))
    assert logits.shape == (3, 10)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize('name', NAMES)
def test_too_small_images_name_the_limit_and_a_way_out(name):
    message = f'{name} needs.*3x3.*2x5.*--network_name={name}-same'
    with pytest.raises(UsageError, match=message):
        create(name, (2, 5, 3))
    assert create(name, (1, 1, 3), stem_padding=1).output_shape == (None, 10)
