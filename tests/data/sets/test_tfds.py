"""Sets that come through TensorFlow Datasets."""

import contextlib
import shutil
import types
import urllib.request

import loading
import numpy as np
import pytest
from paths import TFDS

from ieg.data.noise import kinds
from ieg.data.sets import tfds as tfds_sets
from ieg.errors import UsageError


def needs(name):
    """Skips where a TFDS set is not on this machine."""
    return pytest.mark.skipif(
        not (TFDS / name).is_dir(),
        reason=f'{name} is not in TFDS_DATA_DIR or ../shared/data/tfds',
    )


@pytest.mark.parametrize('name', ['mnist', 'cifar10'])
def test_without_data_and_network_one_sentence(
    name, tmp_path, monkeypatch, capfd
):
    import tensorflow_datasets  # noqa: F401  # TensorFlow greets on import.

    def no_network(url, timeout):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr(urllib.request, 'urlopen', no_network)
    capfd.readouterr()
    with pytest.raises(UsageError) as caught:
        loading.load(f'{name}_uniform_0.4', data_dir=str(tmp_path))
    message = str(caught.value)
    for word in (name, str(tmp_path), 'tfds build', '--data_dir'):
        assert word in message
    assert '\n' not in message
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ('', '')


def test_no_two_sets_share_a_download_folder(monkeypatch):
    monkeypatch.setattr(
        urllib.request, 'urlopen', lambda *a, **k: contextlib.nullcontext()
    )
    folders = []
    for name in ('mnist', 'fashion_mnist'):
        builder = types.SimpleNamespace(
            name=name,
            data_dir=f'/data/{name}/1.0.0',
            url_infos={'https://example.com/train': None},
            download_and_prepare=lambda download_dir, download_config: (
                folders.append(download_dir)
            ),
        )
        tfds_sets._download(builder)
    assert len(set(folders)) == 2
    assert all(folder.startswith('/data/') for folder in folders)


@needs('mnist')
def test_mnist_is_read_whole():
    loaded = loading.load(
        'mnist_uniform_0.4', data_dir=str(TFDS), probe_ratio=0.01
    )
    assert loaded.image_shape == (28, 28, 1)
    assert loaded.train.images.dtype == np.uint8
    assert len(loaded.train) + len(loaded.probe) == 60000
    assert len(loaded.probe) == 600
    assert loaded.class_names == tuple('0123456789')
    # The published class counts of the test set, and of the pixels.
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert list(np.bincount(loaded.test.labels)) == counts
    scaled = loaded.train.images / np.float32(255)
    assert scaled.mean() == pytest.approx(
        loaded.preprocessing.mean[0], abs=1e-3
    )
    assert scaled.std() == pytest.approx(loaded.preprocessing.std[0], abs=1e-3)


@needs('cifar10')
def test_cifar10_images_are_read():
    builder = tfds_sets.tfds_builder('cifar10', str(TFDS))
    images, labels = tfds_sets.tfds_split(builder, 'test')
    assert images.shape == (10000, 32, 32, 3)
    assert images.dtype == np.uint8 and labels.dtype == np.int32
    assert (np.bincount(labels) == 1000).all()
    mean = images.mean((0, 1, 2)) / 255
    np.testing.assert_allclose(mean, (0.494, 0.485, 0.450), atol=2e-3)


@needs('cifar100')
def test_the_superclasses_are_those_of_cifar100():
    import tensorflow_datasets as tfds

    builder = tfds_sets.tfds_builder('cifar100', str(TFDS))
    labels = builder.as_dataset(
        split='test',
        batch_size=-1,
        decoders=tfds.decode.PartialDecoding({'label', 'coarse_label'}),
    )
    fine = labels['label'].numpy()
    assert set(fine) == set(range(100))
    superclass = np.array(kinds.CIFAR100_SUPERCLASS)
    np.testing.assert_array_equal(
        superclass[fine], labels['coarse_label'].numpy()
    )


@needs('mnist')
def test_damaged_files_are_one_sentence(tmp_path):
    source = next((TFDS / 'mnist').iterdir())
    target = tmp_path / 'mnist' / source.name
    target.mkdir(parents=True)
    for path in source.iterdir():
        if 'train' not in path.name:
            shutil.copyfile(path, target / path.name)
    (record,) = target.glob('*test*')
    record.write_bytes(record.read_bytes()[:5000])
    builder = tfds_sets.tfds_builder('mnist', str(tmp_path))
    with pytest.raises(UsageError, match="'mnist' in .* cannot be read"):
        tfds_sets.tfds_split(builder, 'test')
