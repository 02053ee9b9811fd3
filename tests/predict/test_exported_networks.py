"""Exported models: networks that are saved and loaded again."""

import numpy as np
import pytest
from exported import lite, said

from ieg.data.images.files import Framing
from ieg.networks import applications, create_network
from ieg.predict import model as export
from ieg.predict.model import Classifier, load
from ieg.registry import NETWORKS

pytestmark = pytest.mark.usefixtures('tiny')
# Smallest sides of images, and what is too large for the usual tests.
SIDES = {
    'alexnet': 29,
    'cnn9': 28,
    'lenet': 12,
    'inception_resnet_v2': 75,
}
QUICK = ('cnn', 'lenet')


def classifier(networks, shape, **options):
    count = networks[0].output_shape[-1]
    return Classifier(
        networks,
        shape,
        mean=(0.4,) * shape[2],
        std=(0.3,) * shape[2],
        class_names=[f'class {number}' for number in range(count)],
        dataset='a set',
        **options,
    )


def round_trip(model, path):
    with export._quiet():
        model.save(path)
    return load(str(path))


def some_images(shape, count=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape), np.uint8)


def assert_comes_back(model, tmp_path):
    again = round_trip(model, tmp_path / 'model.keras')
    images = some_images(model.image_shape)
    np.testing.assert_array_equal(said(again, images), said(model, images))


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
        for n in NETWORKS.names()
    ],
)
def test_every_network_comes_back(tmp_path, name):
    shape = (SIDES.get(name, 32),) * 2 + (3,)
    model = classifier([create_network(name, 4, shape)], shape)
    assert_comes_back(model, tmp_path)


@pytest.mark.slow
def test_a_network_with_imagenet_weights_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(
        applications,
        '_load_pretrained',
        lambda build, x, name: build(
            include_top=False, weights=None, input_tensor=x
        ),
    )
    shape = (32, 32, 3)
    net = create_network('resnet50', 4, shape, pretrained=True)
    model = classifier([net], shape)
    assert_comes_back(model, tmp_path)


def test_precision_is_that_of_the_training(tmp_path, precision):
    precision('mixed_bfloat16')
    shape = (8, 8, 3)
    nets = [create_network('tiny', 4, shape) for _ in range(2)]
    model = classifier(nets, shape)
    images = some_images(shape, 20)
    expected = said(model, images)
    assert expected.dtype == np.float32
    precision('float32')
    again = round_trip(model, tmp_path / 'model.keras')
    np.testing.assert_array_equal(said(again, images), expected)
    # What LiteRT gets, which has no bfloat16; the rounding of that is 2**-9.
    full = said(again.in_full_precision(), images)
    assert np.abs(full - expected).max() > 0
    np.testing.assert_allclose(full, expected, atol=2e-2)


@pytest.mark.slow
def test_litert_of_mixed_precision(tmp_path, precision):
    precision('mixed_bfloat16')
    shape = (32, 32, 3)
    model = classifier([create_network('preact_resnet18', 4, shape)], shape)
    path = tmp_path / 'model.tflite'
    export.save_litert(model, str(path))
    images = some_images(shape)
    full = said(model.in_full_precision(), images)
    np.testing.assert_allclose(lite(path, images), full, atol=1e-5)


def test_what_an_image_file_becomes_is_in_the_model(tmp_path):
    shape = (9, 9, 1)
    framing = Framing(9, 1, crop='shift', fraction=0.8)
    net = create_network('tiny', 4, shape)
    model = classifier([net], shape, framing=framing)
    again = round_trip(model, tmp_path / 'model.keras')
    assert again.framing == Framing(9, 1, fraction=0.8)
    assert again.class_names[3] == 'class 3'
