"""Files of Keras as backbones: what is taken, and what is refused."""

import keras
import numpy as np
import pytest
from hub_models import small_resnet

from ieg.errors import UsageError
from ieg.features import backbones, keras_models

# Keras causes it when it saves.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ impl:DeprecationWarning'
)
SIDE = 32
layers = keras.layers


def saved(model, tmp_path):
    path = str(tmp_path / 'own.keras')
    model.save(path)
    return path


def model(*parts, shape=(SIDE, SIDE, 3)):
    return keras.Sequential([keras.Input(shape), *parts])


def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)


def test_vectors(tmp_path):
    own = model(layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(5))
    path = saved(own, tmp_path)
    backbone = backbones.load(path)
    assert (backbone.name, backbone.side, backbone.width) == (path, SIDE, 5)
    np.testing.assert_allclose(
        backbone.compute(images()),
        own(images().astype(np.float32)),
        rtol=1e-5,
    )


def test_a_map_is_pooled_and_half_precision_ends_there(bfloat16, tmp_path):
    own = model(layers.Conv2D(4, 3, dtype='mixed_bfloat16'))
    backbone = backbones.load(saved(own, tmp_path))
    computed = backbone.compute(images())
    assert computed.dtype == 'float32'
    pooled = np.mean(own(images()), (1, 2), dtype=np.float32)
    np.testing.assert_allclose(computed, pooled, rtol=0.02)


def test_tokens_are_pooled(tmp_path):
    own = model(layers.Conv2D(4, 8, 8), layers.Reshape((16, 4)))
    assert backbones.load(saved(own, tmp_path)).width == 4


@pytest.mark.parametrize('structure', [list, dict])
def test_one_input_and_output_in_a_structure(structure, tmp_path):
    def within(tensor):
        return [tensor] if structure is list else {'x': tensor}

    inputs = keras.Input((SIDE, SIDE, 3), name='x')
    own = keras.Model(within(inputs), within(layers.Flatten()(inputs)))
    backbone = backbones.load(saved(own, tmp_path))
    assert backbone.width == SIDE * SIDE * 3


def test_the_hash_follows_the_file(tmp_path):
    own = model(layers.Flatten(), layers.Dense(2))
    path = saved(own, tmp_path)
    first = backbones.load(path).sha256
    assert backbones.load(path).sha256 == first
    own.layers[-1].bias.assign([1.0, 2.0])
    saved(own, tmp_path)
    assert backbones.load(path).sha256 != first


def two_inputs():
    inputs = [keras.Input((SIDE, SIDE, 3)) for _ in range(2)]
    return keras.Model(inputs, layers.Add()(inputs))


def two_outputs():
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, [inputs, inputs])


@keras.saving.register_keras_serializable(package='tests')
class Subclass(keras.Model):
    def call(self, inputs):
        return inputs


def subclass():
    built = Subclass()
    built(images())
    return built


REFUSED = {
    'probabilities': (
        lambda: model(layers.Flatten(), layers.Dense(3, 'softmax')),
        'probabilities',
    ),
    'channels first': (
        lambda: model(layers.Flatten(), shape=(3, SIDE, SIDE)),
        'channels first',
    ),
    'gray': (lambda: model(layers.Flatten(), shape=(8, 8, 1)), '[?, 8, 8, 1]'),
    'vectors': (lambda: model(layers.Dense(2), shape=(9,)), '[?, 9]'),
    'a video': (lambda: model(layers.Flatten(), shape=(2, 8, 8, 3)), '[?, 2,'),
    'not square': (
        lambda: model(layers.Flatten(), shape=(8, 9, 3)),
        'not square',
    ),
    'huge': (
        lambda: model(layers.GlobalMaxPooling2D(), shape=(9000, 9000, 3)),
        '9000, 9000',
    ),
    'any side': (
        lambda: model(layers.Conv2D(2, 3), shape=(None, None, 3)),
        'keras.Input((224, 224, 3))',
    ),
    'inputs': (two_inputs, '2 inputs'),
    'outputs': (two_outputs, '2 outputs'),
    'subclass': (subclass, 'does not say'),
    'infinite': (
        lambda: model(layers.Flatten(), layers.Rescaling(float('inf'))),
        'not finite',
    ),
    'code': (
        lambda: model(layers.Lambda(lambda x: x / 255), layers.Flatten()),
        'keras.layers.Rescaling',
    ),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_another_model_is_refused(kind, tmp_path):
    build, fact = REFUSED[kind]
    path = saved(build(), tmp_path)
    with pytest.raises(UsageError) as caught:
        backbones.load(path)
    assert path in str(caught.value)
    assert fact in str(caught.value)


def test_a_layer_that_is_not_registered_is_refused(tmp_path):
    class Own(layers.Layer):
        def call(self, inputs):
            return inputs

    path = saved(model(Own(), layers.Flatten()), tmp_path)
    with pytest.raises(UsageError, match=r'own\.keras.*Own.*--plugin'):
        backbones.load(path)


def test_damaged_files(tmp_path):
    path = tmp_path / 'own.keras'
    saved(model(layers.Flatten(), layers.Dense(2)), tmp_path)
    content = path.read_bytes()
    for damaged in (b'', b'text', content[:200], bytes(len(content))):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r'own\.keras'):
            backbones.load(str(path))


@pytest.mark.extras
def test_a_preset_of_keras_hub(tmp_path):
    keras_hub = pytest.importorskip('keras_hub')
    own = small_resnet()
    own.save_to_preset(str(tmp_path))
    scale, offset = [0.1, 0.2, 0.3], [-1.0, 0.0, 1.0]
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(SIDE, SIDE), scale=scale, offset=offset
    )
    converter.save_to_preset(str(tmp_path))
    network, digest = keras_models.from_hub(str(tmp_path))
    assert network.input_shape == (None, SIDE, SIDE, 3)
    pooled = np.mean(own(images() * scale + offset), (1, 2))
    np.testing.assert_allclose(
        network(images().astype(np.float32)), pooled, rtol=1e-4, atol=1e-5
    )
    assert keras_models.from_hub(str(tmp_path))[1] == digest
    converter.scale = 0.1
    converter.save_to_preset(str(tmp_path))
    assert keras_models.from_hub(str(tmp_path))[1] != digest
    (tmp_path / 'image_converter.json').unlink()
    with pytest.raises(UsageError, match=str(tmp_path)):
        keras_models.from_hub(str(tmp_path))
