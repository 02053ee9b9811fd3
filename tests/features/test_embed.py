"""Data sets of images become data sets of features."""

import contextlib
import types

import keras
import numpy as np
import photographs
import pytest
import tensorflow as tf

from ieg.data import load
from ieg.data.dataset import Arrays, InMemory, Opened
from ieg.data.images.files import Framing
from ieg.data.images.squares import SquareImages
from ieg.data.sets import folder
from ieg.errors import UsageError
from ieg.features import backbones, embed, extract
from ieg.features.backbones import Backbone
from ieg.networks.whole_image import WholeImage
from ieg.options import DataConfig, RunConfig

SIDE, WIDTH = 16, 6


@pytest.fixture(scope='module')
def backbone():
    images = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.AveragePooling2D((SIDE, SIDE // 2))(images)
    network = keras.Model(images, keras.layers.Flatten()(x))
    return Backbone('means', SIDE, WIDTH, 'weights', network)


def means(pixels):
    """Returns what `backbone` makes of squares."""
    parts = pixels.reshape(-1, SIDE, 2, SIDE // 2, 3).astype(np.float32)
    return parts.mean(axis=(1, 3)).reshape(-1, WIDTH)


def write(root, count=6):
    for place, name in enumerate(('cat', 'dog')):
        photographs.write(root / name, count, first=100 * place)
    return root


def opened(root):
    return load.open_set(
        DataConfig(dataset='folder'), RunConfig(data_dir=str(root))
    )


def shown(part):
    """Returns what a backbone sees of the files of a part."""
    framing = Framing(SIDE, fraction=1.0, squares=True)
    images = SquareImages(part.names.tolist(), framing)
    return images.fetch(np.arange(len(part))).numpy()


def test_files(tmp_path, backbone):
    root = write(tmp_path / 'photos')
    plain = opened(root).source(SIDE)
    made = embed.embed(opened(root), backbone, 0, str(tmp_path), 1)
    source = made.source()
    assert source.backbone == 'means'
    assert source.class_names == plain.class_names
    assert source.parts.keys() == plain.parts.keys()
    for name, part in source.parts.items():
        np.testing.assert_array_equal(part.labels, plain.parts[name].labels)
        np.testing.assert_array_equal(part.names, plain.parts[name].names)
        assert part.images.shape == (WIDTH,)
        np.testing.assert_allclose(
            part.images.array, means(shown(part)), rtol=1e-3
        )
        assert part.images.views is None
        np.testing.assert_array_equal(
            part.images.pictures.fetch([1], None), shown(part)[1:2]
        )
    assert source.preprocessing.framing.squares
    np.testing.assert_allclose(
        source.preprocessing.mean, source.train.images.array.mean(0), rtol=1e-5
    )
    advice = made.advice()
    assert advice.vectors and 'means' in advice.sentence


def test_progress_of_reading_headers_is_shown(tmp_path, backbone, monkeypatch):
    root, bars = write(tmp_path / 'photos'), []

    @contextlib.contextmanager
    def bar(total):
        bars.append([total, 0])

        def update(count):
            bars[-1][1] += count

        yield types.SimpleNamespace(update=update)

    monkeypatch.setattr(embed, 'progress_bar', bar)
    embed.embed(opened(root), backbone, 0, str(tmp_path), 1).source()
    assert bars == [[12, 12]]


def test_views_are_of_the_training_part_only(tmp_path, backbone):
    root = write(tmp_path / 'photos')
    made = embed.embed(opened(root), backbone, 2, str(tmp_path), 1).source()
    views = made.train.images.views
    assert views.shape == (len(made.train), 2, WIDTH)
    plain = made.train.images.array[:, np.newaxis]
    assert (np.abs(views - plain).max(axis=-1) > 1).mean() > 0.9
    assert made.test.images.views is None


def test_files_are_decoded_once(tmp_path, backbone, monkeypatch):
    root = write(tmp_path / 'photos')
    (root / 'cat/cut.jpg').write_bytes(
        (root / 'cat/000.jpg').read_bytes()[:-300]
    )
    (root / 'cat/text.jpg').write_text('no image')
    seen = []
    real = extract.squares
    monkeypatch.setattr(
        extract, 'squares', lambda *args: seen.append(1) or real(*args)
    )
    source = embed.embed(opened(root), backbone, 0, str(tmp_path), 1).source()
    assert len(seen) == 13
    # What every run says of them.
    plain = opened(root).source(SIDE)
    assert dict(source.skipped) == dict(plain.skipped)
    assert len(source.skipped) == 2
    assert source.remarks == plain.remarks
    np.testing.assert_array_equal(source.train.names, plain.train.names)


def test_the_fingerprint_has_data_and_backbone(tmp_path, backbone):
    def fingerprint(root, weights='weights'):
        network = Backbone('means', SIDE, WIDTH, weights, backbone.network)
        made = embed.embed(opened(root), network, 0, str(tmp_path), 1)
        return made.source().fingerprint

    root = write(tmp_path / 'photos')
    first = fingerprint(root)
    assert first == fingerprint(root)
    assert first != fingerprint(root, 'others')
    assert first != fingerprint(write(tmp_path / 'more', 7))


def arrays(height=20, width=28, channels=3):
    pixels = [photographs.pixels(n, height, width) for n in range(30)]
    images = np.stack(pixels)[..., :channels]
    labels = np.arange(30, dtype=np.int32) % 2
    return Arrays(
        train_images=images[:24],
        train_labels=labels[:24],
        test_images=images[24:],
        test_labels=labels[24:],
        class_names=('cat', 'dog'),
        padding=0,
        flip=False,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


@pytest.mark.parametrize('channels', [1, 3])
def test_arrays(tmp_path, backbone, channels):
    source = arrays(channels=channels).source()
    held = Opened(lambda image_size: source)
    made = embed.embed(held, backbone, 0, str(tmp_path), 1).source()
    network = embed.network_of(backbone, (20, 28, channels))
    expected = network(source.test.images.array).numpy()
    np.testing.assert_allclose(made.test.images.array, expected, rtol=1e-3)
    assert made.test.images.pictures is source.test.images
    assert made.preprocessing.framing is None


def test_only_the_images_that_are_used_are_shown(tmp_path, backbone):
    source = arrays().source()
    some = np.array([3, 5, 8, 9])
    made = embed.embed(
        Opened(lambda image_size: source),
        backbone,
        0,
        str(tmp_path),
        1,
        lambda source: some,
    ).source()
    array = made.train.images.array
    assert np.flatnonzero(array.any(axis=1)).tolist() == some.tolist()
    np.testing.assert_allclose(
        made.preprocessing.mean, array[some].mean(0), rtol=1e-5
    )
    assert made.test.images.array.all()


def test_images_with_other_channels_are_refused(backbone):
    with pytest.raises(UsageError, match='4'):
        embed.network_of(backbone, (8, 8, 4))


def test_a_square_has_the_pixels_that_pillow_gives():
    image = photographs.pixels(1, 40, 26)
    square = np.asarray(
        photographs.Image.fromarray(image).resize(
            (SIDE, SIDE), photographs.Image.Resampling.BILINEAR
        )
    )
    made = WholeImage(SIDE)(image[np.newaxis])[0].numpy()
    assert np.abs(made - square).max() < 1.01
    large = WholeImage(64)(image[np.newaxis])
    expected = tf.image.resize(image[np.newaxis], (64, 64))
    np.testing.assert_allclose(large, expected, atol=1e-3)
    grey = WholeImage(SIDE)(image[np.newaxis, ..., :1]).numpy()
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_the_backbone_of_the_wheel(tmp_path):
    """Real weights: what is stored is what the network gives."""
    if backbones.names.BACKBONES['lite0'].find() is None:
        pytest.skip('the package with the weights is not installed')
    lite0 = backbones.load('lite0')
    source = folder.load(str(write(tmp_path / 'photos', 3)))
    made = embed.embed(source, lite0, 0, str(tmp_path), 1).source()
    pixels = made.train.images.pictures.fetch(np.arange(2)).numpy()
    np.testing.assert_allclose(
        made.train.images.array[:2],
        lite0.compute(pixels).numpy(),
        atol=2e-3,
        rtol=1e-3,
    )
    assert InMemory(pixels).shape == (224, 224, 3)
