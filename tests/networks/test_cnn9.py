"""The network cnn9: recorded numbers, sizes, and its channel dropout."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from network_recordings import NORMALIZATION, PLAIN, Recording, count
from recordings import in_keras_layout

from ieg.errors import UsageError
from ieg.networks import create_network
from ieg.networks.layers import ChannelDropout

NARROW = (8, 8, 8, 12, 12, 12, 16, 12, 8)
COLOUR = (32, 32, 3)
GREY = (28, 28, 1)
RATE = 0.25


def create(dropout_mode='train_only', image_shape=GREY, widths=NARROW):
    return create_network(
        'cnn9', 10, image_shape, dropout_mode=dropout_mode, widths=widths
    )


def images_for(image_shape=GREY, batch=3):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (batch, *image_shape)).astype('float32')


def cnn9_variable(name, value):
    """Returns path and value, in our layout, of a recorded tensor."""
    layer, kind = name.split('.')
    kinds = NORMALIZATION if layer.startswith('bn') else PLAIN
    if layer == 'l_c1':
        layer = 'logits'
    elif not layer.startswith('bn'):
        layer = layer.replace('c', 'conv')
    return f'{layer}/{kinds[kind]}', in_keras_layout(value)


def with_exact_slope(net):
    """Returns the network with LeakyReLU in full float64.

    TensorFlow's op holds its slope as float32 in every precision: 0.01 is
    2e-8 too small there, relatively.
    """

    def clone(layer):
        if isinstance(layer, keras.layers.LeakyReLU):
            return keras.layers.Lambda(
                lambda x: tf.where(x > 0, x, 0.01 * x), name=layer.name
            )
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(net, clone_function=clone)


@pytest.mark.parametrize(
    ('dtype', 'exact_slope', 'tolerance'),
    [
        ('float64', True, 1e-10),
        ('float64', False, 2e-8),
        ('float32', False, 2e-5),
    ],
)
@pytest.mark.parametrize('file', ['arch_cnn9_narrow', 'arch_cnn9_narrow_gray'])
def test_recorded_numbers(precision, file, dtype, exact_slope, tolerance):
    precision(dtype, dtype)
    recording = Recording(file, cnn9_variable)
    net = create('off', recording['input_nhwc'].shape[1:])
    if exact_slope:
        net = with_exact_slope(net)

    def is_noise(path):
        # Before BN the gradient of a bias is rounding noise.
        bias = 'conv' in path and path.endswith('bias')
        return bias and dtype == 'float32'

    recording.compare(net, tolerance, is_noise)


@pytest.mark.parametrize(
    ('num_classes', 'image_shape', 'parameters'),
    [
        (10, COLOUR, 4_434_570),
        (100, COLOUR, 4_446_180),
        (10, GREY, 4_432_266),
    ],
)
def test_parameter_counts(num_classes, image_shape, parameters):
    net = create_network('cnn9', num_classes, image_shape)
    assert net.output_shape == (None, num_classes)
    assert count(net.trainable_variables) == parameters
    statistics = [
        v for v in net.non_trainable_variables if v.dtype == 'float32'
    ]
    assert count(statistics) == 4096


def test_initial_weights_are_those_of_pytorch():
    keras.utils.set_random_seed(1)
    net = create()
    for layer in net.layers:
        if hasattr(layer, 'kernel'):
            bound = np.prod(layer.kernel.shape[:-1]) ** -0.5
            kernel, bias = layer.get_weights()
            assert 0.9 * bound < np.abs(kernel).max() <= bound
            assert 0.3 * bound < np.abs(bias).max() <= bound


@pytest.mark.parametrize('dropout_mode', ['off', 'train_only', 'always'])
def test_two_copies_have_the_same_variable_paths(dropout_mode):
    paths = [v.path for v in create(dropout_mode).variables]
    assert paths == [v.path for v in create(dropout_mode).variables]
    assert len(set(paths)) == len(paths)


def test_too_small_images_name_the_limit_and_a_way_out():
    with pytest.raises(UsageError, match='28x28.*27x32.*--network_name=cnn'):
        create(image_shape=(27, 32, 3))
    assert create(image_shape=GREY).output_shape == (None, 10)


def test_an_unknown_dropout_mode_is_a_usage_error():
    with pytest.raises(UsageError, match='off, train_only, always'):
        create('never')


def in_mode(dropout_mode, like):
    """Returns a network of that mode with the weights of another one."""
    net = create(dropout_mode)
    net.set_weights(like.get_weights())
    return net


def varies(function):
    return not np.array_equal(function(), function())


def test_without_dropout_nothing_is_random():
    net = create('off')
    images = images_for()
    assert not varies(lambda: net(images))
    assert not varies(lambda: net(images, training=True))


def test_dropout_in_training_only():
    off = create('off')
    net = in_mode('train_only', off)
    images = images_for()
    assert not varies(lambda: net(images))
    np.testing.assert_array_equal(net(images), off(images))
    assert varies(lambda: net(images, training=True))


def test_dropout_always():
    net = create('always')
    images = images_for()
    assert varies(lambda: net(images))
    assert varies(lambda: net(images, training=True))
    # Inference leaves the statistics alone all the same.
    before = net.get_weights()
    net(images)
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize('number', [1, 2])
def test_the_network_drops_whole_channels_after_each_pooling(number):
    net = create()
    inner = keras.Model(
        net.input,
        [
            net.get_layer(f'pool{number}').output,
            net.get_layer(f'dropout{number}').output,
        ],
    )
    pooled, dropped = (
        np.asarray(a) for a in inner(images_for(batch=32), training=True)
    )
    zeroed = (dropped == 0).all((1, 2), keepdims=True)
    np.testing.assert_allclose(
        dropped, np.where(zeroed, 0, pooled / (1 - RATE)), rtol=1e-6
    )
    # Hundreds of channels, 25 of 100 of them zeroed.
    assert 0.15 < zeroed.mean() < 0.35


def ones(batch=64, channels=256):
    return tf.ones([batch, 3, 2, channels])


def mask(layer, **arguments):
    return layer(ones(**arguments), training=True).numpy()


def test_masks_are_of_one_image_and_one_channel():
    found = mask(ChannelDropout(RATE))
    np.testing.assert_array_equal(found, found[:, :1, :1] * np.ones((3, 2, 1)))
    assert set(np.unique(found)) == {0, np.float32(1) / np.float32(1 - RATE)}
    found = found[:, 0, 0] == 0
    # 16384 draws: the standard deviation is 0.0034.
    assert found.mean() == pytest.approx(RATE, abs=0.015)
    # Other channels of other images: neither axis is constant.
    assert 0.05 < found.mean(0).min() and found.mean(0).max() < 0.5
    assert 0.1 < found.mean(1).min() and found.mean(1).max() < 0.4


def test_the_two_dropout_layers_of_a_network_draw_differently():
    net = create(widths=(8,) * 9)
    first, second = (mask(net.get_layer(f'dropout{n}')) for n in (1, 2))
    assert not np.array_equal(first, second)


def test_the_seed_decides_the_masks():
    def found(seed):
        keras.utils.set_random_seed(seed)
        return mask(ChannelDropout(RATE))

    np.testing.assert_array_equal(found(1), found(1))
    assert not np.array_equal(found(1), found(2))


def test_masks_are_the_same_in_every_kind_of_compilation():
    keras.utils.set_random_seed(1)
    layer = ChannelDropout(RATE)
    state = [v.numpy() for v in layer.variables]

    def found(call):
        for variable, value in zip(layer.variables, state, strict=True):
            variable.assign(value)
        return [call(ones()).numpy() for _ in range(2)]

    def call(x):
        return layer(x, training=True)

    eager = found(call)
    assert not np.array_equal(*eager)
    np.testing.assert_array_equal(found(tf.function(call)), eager)
    compiled = tf.function(call, jit_compile=True)
    # XLA may divide by another path.
    np.testing.assert_allclose(found(compiled), eager, rtol=1e-6)


def test_replicas_draw_different_masks(two_replicas):
    with two_replicas.scope():
        layer = ChannelDropout(RATE)

    @tf.function
    def run():
        return two_replicas.run(lambda: layer(ones(), training=True))

    first, second = two_replicas.experimental_local_results(run())
    again, _ = two_replicas.experimental_local_results(run())
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, again)
    agreement = np.mean(first.numpy()[:, 0, 0] == second.numpy()[:, 0, 0])
    # Independent masks agree with probability 0.75^2 + 0.25^2.
    assert agreement == pytest.approx(0.625, abs=0.03)
    # All replicas count alike, so saving the state of one is enough.
    for variable in layer.variables:
        counters = two_replicas.experimental_local_results(variable.value)
        assert len({tuple(c.numpy()) for c in counters}) == 1


def test_a_network_trains_on_any_number_of_replicas(strategy):
    with strategy.scope():
        net = create()
        # Here no replica calls it.
        assert np.isfinite(net(images_for(), training=True)).all()

    @tf.function
    def run():
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(net(images_for(), training=True) ** 2)
            weights = [v.value for v in net.trainable_variables]
            return loss, tape.gradient(loss, weights)

        return strategy.run(step)

    loss, gradients = run()
    values = strategy.experimental_local_results(loss)
    assert len(set(map(float, values))) == strategy.num_replicas_in_sync
    for gradient in gradients:
        for value in strategy.experimental_local_results(gradient):
            assert np.isfinite(value).all()


def test_a_restored_state_repeats_the_masks(tmp_path):
    def checkpoint(net):
        return tf.train.Checkpoint(variables=[v.value for v in net.variables])

    net = create()
    images = images_for()
    net(images, training=True)
    path = checkpoint(net).write(str(tmp_path / 'state'))
    expected = [net(images, training=True).numpy() for _ in range(2)]
    other = create()
    checkpoint(other).read(path).assert_consumed()
    found = [other(images, training=True).numpy() for _ in range(2)]
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(*found)


# Keras 3 itself, under NumPy 2.
@pytest.mark.filterwarnings('ignore:__array__ impl:DeprecationWarning')
@pytest.mark.parametrize('dropout_mode', ['train_only', 'always'])
def test_a_model_file_keeps_weights_and_mode(tmp_path, dropout_mode):
    net = create(dropout_mode)
    net.save(tmp_path / 'model.keras')
    loaded = keras.saving.load_model(tmp_path / 'model.keras')
    images = images_for()
    np.testing.assert_array_equal(
        in_mode('off', loaded)(images), in_mode('off', net)(images)
    )
    assert varies(lambda: loaded(images)) == (dropout_mode == 'always')
    assert varies(lambda: loaded(images, training=True))


@pytest.mark.parametrize(
    'jit_compile', [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_mixed_precision(precision, jit_compile):
    full = create('off')
    precision('mixed_bfloat16')
    net = in_mode('train_only', full)
    images = images_for()
    logits = net(images)
    assert logits.dtype == tf.float32
    difference = np.abs(logits - full(images)).max()
    assert 0 < difference < 0.05 * np.abs(logits).max() + 0.01

    @tf.function(jit_compile=jit_compile)
    def train():
        return net(images, training=True)

    assert train().dtype == tf.float32
    assert varies(train)
    # The mask does not widen what flows on.
    dropped = net.get_layer('dropout1')(images, training=True)
    assert dropped.dtype == tf.bfloat16
