"""Networks of others: what is taken, and what is refused."""

import types

import keras
import numpy as np
import pytest
from hub_models import small_resnet
from keras import layers

from ieg import config
from ieg.errors import UsageError
from ieg.networks import create_network, foreign
from ieg.training import devices

# Keras saves with an old protocol of NumPy.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
SHAPE, CLASSES = (8, 8, 1), 10


def model(*last, shape=SHAPE):
    """Returns a small network that ends with some layers."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, activation='relu'),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            *last,
        ]
    )


def usable(given):
    return foreign.usable(given, CLASSES, SHAPE, 'mine')


def softmax_operation():
    inputs = keras.Input(SHAPE)
    logits = layers.Dense(CLASSES)(layers.Flatten()(inputs))
    return keras.Model(inputs, keras.ops.softmax(logits))


ENDS = {
    'logits': lambda: model(layers.Dense(CLASSES)),
    'softmax in the layer': lambda: model(layers.Dense(CLASSES, 'softmax')),
    'softmax layer': lambda: model(layers.Dense(CLASSES), layers.Softmax()),
    'activation layer': lambda: model(
        layers.Dense(CLASSES), layers.Activation('softmax')
    ),
    'softmax operation': softmax_operation,
    'any size': lambda: model(layers.Dense(CLASSES), shape=(None, None, 1)),
}


@pytest.mark.parametrize('kind', ENDS)
def test_the_logits_and_features_of_a_model_are_found(kind):
    given = ENDS[kind]()
    network = usable(given)
    images = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    logits = network(images)
    expected = given(images)
    if 'softmax' in kind or 'activation' in kind:
        logits = keras.ops.softmax(logits)
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    # As `Method.features_network` needs it.
    assert isinstance(network.layers[-1], layers.Dense)
    assert network.input_shape == (None, *SHAPE)
    # Training it leaves the model alone.
    before = given.get_weights()
    for variable in network.variables:
        variable.assign(np.ones(variable.shape))
    for one, other in zip(before, given.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_that_are_used_twice_stay_one():
    inputs = keras.Input(SHAPE)
    layer = layers.Conv2D(1, 3, padding='same')
    x = layers.Add()([layer(layer(inputs)), inputs])
    given = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    assert usable(given).count_params() == given.count_params()


def two_inputs():
    inputs = [keras.Input(SHAPE) for _ in range(2)]
    x = layers.Flatten()(layers.Add()(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def fixed_batch():
    inputs = keras.Input(batch_shape=(32, *SHAPE))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(inputs)))


class Subclass(keras.Model):
    def call(self, inputs):
        return inputs


class Own(layers.Layer):
    def call(self, inputs):
        return inputs


def frozen():
    given = model(layers.Dense(CLASSES))
    given.trainable = False
    return given


REFUSED = {
    'outputs': (lambda: model(layers.Dense(5)), '[b, 5]'),
    'maps': (
        lambda: keras.Sequential([keras.Input(SHAPE), layers.Conv2D(10, 3)]),
        '[b, 6, 6, 10]',
    ),
    'inputs': (
        lambda: model(layers.Dense(10), shape=(9, 9, 1)),
        '[b, 9, 9, 1]',
    ),
    'two inputs': (two_inputs, '2 inputs'),
    'batch': (fixed_batch, 'batches of 32'),
    'no shape': (
        lambda: keras.Sequential([layers.Conv3D(10, 3)]),
        'does not take [b, 8, 8, 1]',
    ),
    'inner sigmoid': (
        lambda: model(layers.Dense(10, 'sigmoid'), layers.Softmax()),
        'sigmoid',
    ),
    'sigmoid': (lambda: model(layers.Dense(10, 'sigmoid')), 'sigmoid'),
    'hidden softmax': (
        lambda: keras.Sequential(
            [keras.Input(SHAPE), model(layers.Dense(10, 'softmax'))]
        ),
        'probabilities',
    ),
    'subclass': (Subclass, 'subclassed'),
    'no model': (lambda: layers.Dense(10), 'Dense'),
    'frozen': (frozen, 'no weights'),
    'own layer': (
        lambda: model(Own(), layers.Dense(10)),
        'register_keras_serializable',
    ),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_what_is_missing_is_one_sentence(kind):
    build, fact = REFUSED[kind]
    with pytest.raises(UsageError) as caught:
        usable(build())
    text = str(caught.value)
    assert 'mine' in text and fact in text and '\n' not in text


def test_a_network_without_sizes_gets_those_of_the_examples():
    given = keras.Sequential([layers.Dense(4, 'relu'), layers.Dense(CLASSES)])
    network = foreign.usable(given, CLASSES, (6,), 'mine')
    assert network.input_shape == (None, 6)


def test_the_networks_of_a_file_differ_in_their_last_layer(tmp_path):
    path = str(tmp_path / 'net.keras')
    given = model(layers.Dense(CLASSES))
    given.save(path)
    keras.utils.set_random_seed(1)
    first, second = (
        create_network(path, CLASSES, SHAPE, number) for number in range(2)
    )
    for one, other in zip(
        first.get_weights(), given.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    *body, kernel, bias = second.get_weights()
    for one, other in zip(body, given.get_weights(), strict=False):
        np.testing.assert_array_equal(one, other)
    assert np.abs(kernel - given.layers[-1].kernel.numpy()).max() > 0.01
    np.testing.assert_array_equal(bias, given.layers[-1].bias.numpy())


def test_a_function_is_called_for_each_network():
    def build(num_classes, shape):
        return model(layers.Dense(num_classes), shape=shape)

    with foreign.given(build) as name:
        first, second = (
            create_network(name, CLASSES, SHAPE, number) for number in range(2)
        )
    assert name.startswith(f'{__name__}:test_a_function')
    assert not np.array_equal(first.weights[0], second.weights[0])
    with pytest.raises(UsageError):
        create_network(name, CLASSES, SHAPE)


def test_a_function_that_fails_is_one_sentence():
    with foreign.given(lambda classes: classes) as name:
        with pytest.raises(UsageError, match='number of classes'):
            create_network(name, CLASSES, SHAPE)


def test_code_in_a_file_is_not_run(tmp_path):
    path = str(tmp_path / 'net.keras')
    model(layers.Lambda(lambda x: x), layers.Dense(CLASSES)).save(path)
    with pytest.raises(UsageError, match='Lambda') as caught:
        create_network(path, CLASSES, SHAPE)
    assert path in str(caught.value)


def test_the_hash_is_that_of_layers_and_weights():
    def hashed(activation, seed=0):
        keras.utils.set_random_seed(seed)
        return foreign.model_hash(
            usable(model(layers.ReLU(), layers.Dense(10, activation)))
        )

    # Keras gives the layers other names each time.
    assert hashed(None) == hashed(None)
    assert hashed(None) != hashed(None, seed=1)
    keras.utils.set_random_seed(0)
    other = usable(model(layers.ReLU(1.0), layers.Dense(10)))
    assert foreign.model_hash(other) != hashed(None)


def test_logits_have_full_precision(precision):
    precision('mixed_bfloat16')
    for given in (
        model(layers.Dense(CLASSES)),
        keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Conv2D(CLASSES, 3),
                layers.GlobalAveragePooling2D(),
            ]
        ),
    ):
        network = usable(given)
        assert network(np.zeros((2, *SHAPE), np.float32)).dtype == 'float32'
        assert network.layers[1].compute_dtype == 'bfloat16'


def test_inner_layers_count(tmp_path):
    inner = keras.Sequential(
        [keras.Input(SHAPE), layers.MaxPooling2D(), layers.Flatten()]
    )
    given = keras.Sequential([keras.Input(SHAPE), inner, layers.Dense(CLASSES)])
    given.save(tmp_path / 'net.keras')
    options = {
        'dataset': 'fake',
        'network_name': str(tmp_path / 'net.keras'),
        'jit': 'on',
    }
    method = types.SimpleNamespace(nets=[usable(given)])
    # XLA has no deterministic gradient of max-pooling.
    with pytest.raises(UsageError, match='--jit=on'):
        devices.use_jit(config.resolve(options), method)


@pytest.mark.extras
def test_a_preset_of_keras_hub_gets_a_last_layer(tmp_path, monkeypatch):
    keras_hub = pytest.importorskip('keras_hub')
    own = small_resnet()
    own.save_to_preset(str(tmp_path))
    scale, offset = [0.1, 0.2, 0.3], [-1.0, 0.0, 1.0]
    keras_hub.layers.ResNetImageConverter(
        scale=scale, offset=offset
    ).save_to_preset(str(tmp_path))
    load = foreign.load_preset
    monkeypatch.setattr(
        foreign, 'load_preset', lambda name, what: load(str(tmp_path), what)
    )
    name = 'hf://of/mine'
    network = create_network(name, 4, (32, 32, 3))
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    features = np.mean(own(255 * images * scale + offset), (1, 2))
    kernel = network.layers[-1].get_weights()[0]
    np.testing.assert_allclose(
        network(images), features @ kernel, rtol=1e-3, atol=1e-4
    )
    given = {'dataset': 'cifar10', 'network_name': name}
    assert config.resolve(given).data.scaling == 'unit'
    with pytest.raises(UsageError, match='--scaling=unit'):
        config.resolve(given | {'scaling': 'standard'})
