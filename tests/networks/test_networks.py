"""Networks: sizes, recorded numbers, initial weights, precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from all_networks import IMAGE_SHAPES, NARROW, create, images_for
from network_recordings import Recording, check_pytorch_weights, count
from recordings import close, in_keras_layout

from ieg.errors import UsageError
from ieg.networks import create_network
from ieg.registry import NETWORKS

# Everything that is quick to build and to run.
SMALL = ['lenet', 'cnn', 'resnet29', 'wrn28-2']


def test_every_network_is_covered_here():
    of_vectors = ['linear', 'mlp']  # In test_vectors.py.
    assert NETWORKS.names() == sorted([*IMAGE_SHAPES, *of_vectors])


# wrn28-2 by hand: stem 432; convolutions 9 * (16 * 32 + 7 * 32**2
# + 32 * 64 + 7 * 64**2 + 64 * 128 + 7 * 128**2); 2 per BN channel, of which
# there are 16 + 7 * 32 + 32 + 7 * 64 + 64 + 7 * 128 + 128 = 1808.
WRN_28_2 = 432 + 9 * 161_280 + 2 * 1808


@pytest.mark.parametrize(
    ('name', 'num_classes', 'parameters', 'statistics'),
    [
        ('lenet', 10, 61_706, 0),
        ('cnn', 10, 44_874, 320),
        ('preact_resnet18', 10, 11_171_274, 6912),
        ('preact_resnet18', 100, 11_217_444, 6912),
        ('resnet29', 10, 840_730, 5216),
        ('resnet29', 100, 863_860, 5216),
        ('resnet29-reference', 10, 840_730, 5216),
        ('wrn28-2', 10, WRN_28_2 + 1290, 3616),
        ('wrn28-10', 10, 36_220_634, 17_952),
        ('wrn28-10', 100, 36_278_324, 17_952),
    ],
)
def test_parameter_counts(name, num_classes, parameters, statistics):
    net = create(name, num_classes)
    assert net.output_shape == (None, num_classes)
    assert count(net.trainable_variables) == parameters
    assert count(net.non_trainable_variables) == statistics


def lenet_variable(name, value):
    """Returns path and value, in our layout, of a recorded LeNet tensor."""
    layer, kind = name.split('.')
    path = f'{layer}/{"kernel" if kind == "weight" else "bias"}'
    if name == 'fc1.weight':
        # The columns run over channel, row, column there.
        value = value.reshape(120, 16, 5, 5)
        return path, value.transpose(2, 3, 1, 0).reshape(400, 120)
    return path.replace('fc3', 'logits'), in_keras_layout(value)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [('float64', 1e-10), ('float32', 2e-5)]
)
def test_recorded_numbers_of_lenet(precision, dtype, tolerance):
    precision(dtype, dtype)
    net = create('lenet')
    Recording('arch_lenet', lenet_variable).compare(net, tolerance)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [('float64', 1e-10), ('float32', 1e-4)]
)
def test_recorded_numbers_of_preact_resnet(precision, dtype, tolerance):
    # Convolutions of one thread are summed in another way: 3e-5 in float32.
    precision(dtype, dtype)
    net = create('preact_resnet18', widths=NARROW)
    Recording('arch_preact_narrow').compare(net, tolerance)


@pytest.mark.parametrize('name', ['lenet', 'cnn', 'preact_resnet18'])
def test_initial_weights_are_those_of_pytorch(name):
    options = {'widths': NARROW} if name == 'preact_resnet18' else {}
    keras.utils.set_random_seed(1)
    check_pytorch_weights(create(name, **options))


def test_initial_weights_of_wrn():
    net = create('wrn28-2')
    kernel = net.get_layer('stage3_block2_conv2').kernel.numpy()
    assert kernel.std() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    head = net.get_layer('logits')
    largest = np.abs(head.kernel.numpy()).max()
    assert 0.95 * 10**-0.5 < largest <= 10**-0.5
    assert not head.bias.numpy().any()


@pytest.mark.parametrize('name', SMALL)
def test_the_seed_decides_the_initial_weights_and_nothing_the_paths(name):
    def variables(seed):
        keras.utils.set_random_seed(seed)
        found = create(name).variables
        values = {v.path: v.numpy() for v in found}
        assert len(values) == len(found)
        return values

    first, again, other = variables(1), variables(1), variables(2)
    assert list(first) == list(again) == list(other)
    for path, values in first.items():
        np.testing.assert_array_equal(values, again[path])
        if path.endswith('kernel'):
            assert not np.allclose(values, other[path])


@pytest.mark.parametrize('name', SMALL)
def test_mixed_precision_gives_full_precision_logits(precision, name):
    keras.utils.set_random_seed(1)
    full = create(name)
    precision('mixed_bfloat16')
    mixed = create(name)
    mixed.set_weights(full.get_weights())
    images = images_for(name)
    logits = mixed(images)
    assert logits.dtype == tf.float32
    assert all(v.dtype == 'float32' for v in mixed.variables)
    # Inside it computes in bfloat16: near, but not the same.
    difference = np.abs(logits - full(images)).max()
    assert 0 < difference < 0.05 * np.abs(logits).max() + 0.01


# Keras 3 itself, under NumPy 2.
@pytest.mark.filterwarnings('ignore:__array__ impl:DeprecationWarning')
@pytest.mark.parametrize('name', SMALL)
def test_a_model_file_gives_the_same_logits(tmp_path, name):
    net = create(name)
    net.save(tmp_path / 'model.keras')
    loaded = keras.saving.load_model(tmp_path / 'model.keras')
    images = images_for(name)
    close(loaded(images), net(images), 1e-6)


@pytest.mark.parametrize('image_shape', [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
@pytest.mark.parametrize('name', ['cnn', 'resnet29', 'wrn28-2'])
def test_other_image_sizes(name, image_shape):
    logits = create_network(name, 7, image_shape)(np.ones((2, *image_shape)))
    assert logits.shape == (2, 7)
    assert np.isfinite(logits).all()


def test_the_cnn_learns_and_keeps_its_statistics_when_called_stateless():
    keras.utils.set_random_seed(1)
    net = create('cnn')
    images = images_for('cnn', 32)
    labels = np.arange(32) % 10
    before = [v.numpy() for v in net.variables]
    net.stateless_call(
        net.trainable_variables,
        net.non_trainable_variables,
        images,
        training=True,
    )
    for variable, value in zip(net.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels, net(images, training=True)
                )
            )
        weights = [v.value for v in net.trainable_variables]
        gradients = tape.gradient(loss, weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_sub(0.1 * gradient)
        return loss

    losses = [float(step()) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_resnet29_differs_from_the_reference_by_its_first_relus():
    intended, slip = create('resnet29'), create('resnet29', first_relu=False)
    slip.set_weights(intended.get_weights())
    images = images_for('resnet29')
    assert not np.allclose(slip(images), intended(images), atol=1e-2)

    def relus(net):
        return sum(isinstance(la, keras.layers.ReLU) for la in net.layers)

    # The very first block has none in either.
    assert relus(intended) - relus(slip) == 8


def test_wrn_skips_carry_the_pooled_and_padded_input():
    net = create('wrn28-2')
    for layer in net.layers:
        if layer.name.endswith('conv2'):
            layer.kernel.assign(tf.zeros(layer.kernel.shape))
    inner = keras.Model(
        net.input,
        [net.get_layer(n).output for n in ('stem_conv', 'all_stages_add')],
    )
    stem, sums = (np.asarray(a) for a in inner(images_for('wrn28-2')))

    def widen(x, size, channels):
        missing = (channels - x.shape[-1]) // 2
        blocks = x.reshape(
            len(x), size, x.shape[1] // size, size, -1, x.shape[-1]
        )
        pooled = blocks.mean((2, 4))
        return np.pad(pooled, [(0, 0)] * 3 + [(missing, missing)])

    # Each block hands on its skip; each stage adds its input once more.
    activated = np.maximum(stem, 0) / np.sqrt(1 + 1e-5)
    expected = widen(activated, 32, 32) + widen(stem, 32, 32)
    expected = 2 * widen(expected, 16, 64)
    expected = 2 * widen(expected, 8, 128)
    expected = expected + widen(stem, 8, 128)
    close(sums, expected, 1e-5)


def test_an_image_too_small_for_lenet_names_the_limit_and_a_way_out():
    with pytest.raises(UsageError, match='12x12.*8x9.*--network_name=cnn'):
        create_network('lenet', 10, (8, 9, 1))
    assert create_network('lenet', 10, (12, 12, 1)).output_shape == (None, 10)


def test_an_unknown_network_is_a_usage_error():
    with pytest.raises(UsageError, match="'lenet'"):
        create_network('lenett', 10, (28, 28, 1))
