"""FusedBatchNormalization against Keras' layer and against differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ieg.networks.layers import FusedBatchNormalization

SHAPE = (6, 4, 3, 5)
COUNT = 6 * 4 * 3  # Values per channel.
TOLERANCE = {'float32': 2e-6, 'float64': 1e-13}
EPSILON = 1e-3  # Large enough to be seen beside the variances.


def start_values(dtype):
    """Returns images and the four vectors, all of them uneven."""
    rng = np.random.default_rng(0)
    images = rng.normal(1.0, 2.0, SHAPE).astype(dtype)
    vectors = [
        rng.normal(1.0, 0.5, 5),
        rng.normal(size=5),
        rng.normal(size=5),
        rng.uniform(0.5, 3.0, 5),
    ]
    return images, [v.astype(dtype) for v in vectors]


def build(layer_class, dtype='float32', epsilon=EPSILON, **kwargs):
    layer = layer_class(momentum=0.9, epsilon=epsilon, dtype=dtype, **kwargs)
    layer.build((None, *SHAPE[1:]))
    layer.set_weights(start_values('float64')[1])
    return layer


def run(layer, images, training):
    """Returns outputs and the gradients of a scalar made of them."""
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=training)
        loss = tf.reduce_sum(tf.sin(outputs))
    sources = [images, layer.gamma.value, layer.beta.value]
    return outputs.numpy(), [g.numpy() for g in tape.gradient(loss, sources)]


def close(actual, expected, tolerance):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / (1 + np.abs(expected))
    assert error.max() < tolerance


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_values_and_gradients_are_those_of_keras(dtype, training):
    images, _ = start_values(dtype)
    ours = build(FusedBatchNormalization, dtype)
    theirs = build(keras.layers.BatchNormalization, dtype)
    outputs, gradients = run(ours, images, training)
    expected, expected_gradients = run(theirs, images, training)
    assert outputs.dtype == dtype
    close(outputs, expected, TOLERANCE[dtype])
    for ours_, theirs_ in zip(gradients, expected_gradients, strict=True):
        close(ours_, theirs_, 10 * TOLERANCE[dtype])


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_moving_statistics_take_the_unbiased_variance(dtype):
    images, (*_, old_mean, old_variance) = start_values(dtype)
    layer = build(FusedBatchNormalization, dtype)
    call = tf.function(lambda x: layer(x, training=True))
    mean = images.mean((0, 1, 2))
    variance = images.var((0, 1, 2)) * COUNT / (COUNT - 1)
    for _ in range(2):
        call(images)
        old_mean = 0.9 * old_mean + 0.1 * mean
        old_variance = 0.9 * old_variance + 0.1 * variance
        close(layer.moving_mean, old_mean, TOLERANCE[dtype])
        close(layer.moving_variance, old_variance, TOLERANCE[dtype])


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_one_value_per_channel_stays_finite(dtype):
    layer = build(FusedBatchNormalization, dtype)
    layer(np.ones((1, 1, 1, 5), dtype), training=True)
    assert np.isfinite(layer.moving_variance.numpy()).all()


@pytest.mark.parametrize('frozen', [True, False])
def test_inference_and_a_frozen_layer_leave_the_statistics(frozen):
    images, vectors = start_values('float32')
    layer = build(FusedBatchNormalization)
    layer.trainable = not frozen
    outputs = layer(images, training=frozen)
    gamma, beta, mean, variance = vectors
    expected = (images - mean) / np.sqrt(variance + EPSILON) * gamma + beta
    close(outputs, expected, TOLERANCE['float32'])
    close(layer.moving_mean, mean, 1e-9)
    close(layer.moving_variance, variance, 1e-9)


def test_small_epsilon_is_not_raised():
    layer = build(FusedBatchNormalization, epsilon=1e-5)
    layer.set_weights([np.full(5, v) for v in (1.0, 0.0, 0.0, 0.0)])
    outputs = layer(np.ones((1, 1, 1, 5), 'float32'), training=False)
    close(outputs, np.full((1, 1, 1, 5), 1e5**0.5), 1e-5)


@pytest.mark.usefixtures('bfloat16')
@pytest.mark.parametrize('training', [True, False])
def test_bfloat16_images_with_float32_vectors(training):
    images, _ = start_values('float32')
    images = tf.cast(tf.cast(images, tf.bfloat16), tf.float32).numpy()
    mixed = build(FusedBatchNormalization, 'mixed_bfloat16')
    full = build(FusedBatchNormalization, 'float32')
    outputs, gradients = run(mixed, images, training)
    expected, expected_gradients = run(full, images, training)
    assert outputs.dtype == tf.bfloat16.as_numpy_dtype
    close(outputs.astype('float32'), expected, 2**-8)
    close(gradients[0], expected_gradients[0], 0.03)
    for vector in mixed.weights:
        assert vector.dtype == 'float32'
    close(mixed.moving_mean, full.moving_mean, 1e-5)
    close(mixed.moving_variance, full.moving_variance, 1e-5)


def as_function(dtype, training):
    """Returns (images, gamma, beta) -> outputs [b, H, W, C]."""
    layer = build(FusedBatchNormalization, dtype)

    def call(images, gamma, beta):
        outputs, _ = layer.stateless_call(
            [gamma, beta], layer.non_trainable_variables, images,
            training=training,
        )  # fmt: skip
        return outputs

    images, (gamma, beta, *_) = start_values(dtype)
    return call, [tf.constant(v) for v in (images, gamma, beta)]


def directions(dtype):
    rng = np.random.default_rng(1)
    return [
        tf.constant(rng.normal(size=shape).astype(dtype))
        for shape in (SHAPE, 5, 5)
    ]


def difference_quotient(training, step=1e-5):
    """Returns the derivative along `directions` by float64 differences."""
    call, point = as_function('float64', training)
    along = directions('float64')
    ahead, behind = (
        call(*(p + sign * step * d for p, d in zip(point, along, strict=True)))
        for sign in (1, -1)
    )
    return (ahead - behind) / (2 * step)


def forward_mode(call, point, along):
    with tf.autodiff.ForwardAccumulator(point, along) as accumulator:
        outputs = call(*point)
    return accumulator.jvp(outputs)


def double_reverse_mode(call, point, along):
    """Differentiates the reverse mode by its own cotangent."""
    cotangent = tf.ones(SHAPE, point[0].dtype)
    with tf.GradientTape() as outer:
        outer.watch(cotangent)
        with tf.GradientTape() as inner:
            inner.watch(point)
            outputs = call(*point)
        gradients = inner.gradient(outputs, point, cotangent)
        product = tf.add_n(
            [
                tf.reduce_sum(g * d)
                for g, d in zip(gradients, along, strict=True)
            ]
        )
    return outer.gradient(product, cotangent)


@pytest.mark.parametrize('compiled', [False, True])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('mode', [forward_mode, double_reverse_mode])
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [('float32', 2e-6), ('float64', 1e-8)]
)
def test_directional_derivative(dtype, tolerance, mode, training, compiled):
    call, point = as_function(dtype, training)
    along = directions(dtype)
    if compiled:
        derivative = tf.function(lambda p, d: mode(call, p, d))(point, along)
    else:
        derivative = mode(call, point, along)
    close(derivative, difference_quotient(training), tolerance)


def curvature(dtype, training):
    """Returns the gradient of the squared gradient of sum(sin(outputs))."""
    call, point = as_function(dtype, training)
    with tf.GradientTape() as outer:
        outer.watch(point)
        with tf.GradientTape() as inner:
            inner.watch(point)
            loss = tf.reduce_sum(tf.sin(call(*point)))
        gradients = inner.gradient(loss, point)
        norm = tf.add_n([tf.reduce_sum(g**2) for g in gradients])
    return outer.gradient(norm, point)


@pytest.mark.parametrize('training', [True, False])
def test_second_gradient_of_the_fused_op_is_that_of_the_formula(training):
    for fused, plain in zip(
        curvature('float32', training),
        curvature('float64', training),
        strict=True,
    ):
        close(fused, plain, 1e-4)


def test_stateless_call_returns_the_update_and_changes_nothing():
    images, vectors = start_values('float32')
    layer = build(FusedBatchNormalization)
    _, updated = layer.stateless_call(
        layer.trainable_variables,
        layer.non_trainable_variables,
        images,
        training=True,
    )
    for variable, before in zip(layer.weights, vectors, strict=True):
        close(variable, before, 1e-9)
    layer(images, training=True)
    for variable, value in zip(
        layer.non_trainable_variables, updated, strict=True
    ):
        close(value, variable, 1e-6)


def test_config_round_trip():
    layer = FusedBatchNormalization(momentum=0.7, epsilon=1e-2, name='bn')
    copy = FusedBatchNormalization.from_config(layer.get_config())
    assert (copy.momentum, copy.epsilon, copy.name) == (0.7, 1e-2, 'bn')
