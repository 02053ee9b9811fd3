"""ResNet-18 and ResNet-34: recorded numbers, sizes, and both stems."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_recordings import Recording, check_pytorch_weights, count
from recordings import close

from ieg.errors import UsageError
from ieg.networks import create_network

NARROW = (4, 8, 16, 32)
SHAPE = (32, 32, 3)
NAMES = ['resnet18', 'resnet34']


def create(name='resnet18', image_shape=SHAPE, **options):
    return create_network(name, 10, image_shape, widths=NARROW, **options)


def images_for(image_shape=SHAPE, batch=3):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (batch, *image_shape)).astype('float32')


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [('float64', 1e-10), ('float32', 2e-5)]
)
def test_recorded_numbers(precision, dtype, tolerance):
    precision(dtype, dtype)
    Recording('arch_resnet18_pad0_narrow').compare(create(), tolerance)


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
    # The networks called `same` pad the stem.
    size = 32 if name.endswith('-same') else 30
    assert net.get_layer('stem_conv').output.shape == (None, size, size, 64)


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


def test_padding_in_the_stem_is_padding_of_the_images():
    padded = create(stem_padding=1)
    plain = create(image_shape=(34, 34, 3))
    plain.set_weights(padded.get_weights())
    images = images_for()
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for training in (False, True):
        expected = plain(around, training=training)
        close(padded(images, training=training), expected, 1e-5)


def test_initial_weights_are_those_of_pytorch():
    keras.utils.set_random_seed(1)
    check_pytorch_weights(create())


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
