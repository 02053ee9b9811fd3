"""Any set of TensorFlow Datasets, by its name."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from loading import load

from ieg.errors import UsageError


class Coloured(tfds.core.GeneratorBasedBuilder):
    """Images of two sizes, a class for each."""

    VERSION = tfds.core.Version('1.0.0')
    shape = (None, None, 3)

    def _info(self):
        features = {
            'picture': tfds.features.Image(shape=self.shape),
            'kind': tfds.features.ClassLabel(names=['dark', 'light']),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {
            'train': self._generate_examples(20),
            'validation': self._generate_examples(6),
        }

    def _generate_examples(self, count):
        for number in range(count):
            side = 12 if None not in self.shape else 10 + number % 2
            image = np.full((side, 12, 3), 250 * (number % 2), np.uint8)
            yield number, {'picture': image, 'kind': number % 2}


class Alike(Coloured):
    """The same with one size."""

    shape = (12, 12, 3)


class Unlabelled(tfds.core.GeneratorBasedBuilder):
    """Images without a class."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {'image': tfds.features.Image(shape=(4, 4, 3))}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        yield 0, {'image': np.zeros((4, 4, 3), np.uint8)}


@pytest.fixture(scope='module')
def of_tfds(tmp_path_factory):
    root = tmp_path_factory.mktemp('tfds')
    for builder in (Coloured, Alike, Unlabelled):
        builder(data_dir=str(root)).download_and_prepare()
    return str(root)


@pytest.mark.parametrize('name', ['coloured', 'alike'])
def test_any_set_of_tfds_is_a_data_set(of_tfds, name):
    found = load(f'tfds:{name}', data_dir=of_tfds, image_size=12)
    assert found.class_names == ('dark', 'light')
    assert (len(found.train), len(found.test)) == (20, 6)
    images = found.train.fetch(np.arange(20), None).numpy()
    np.testing.assert_array_equal(
        images.mean((1, 2, 3)) > 9, found.train.labels
    )
    noisy = load(f'tfds:{name}_symmetric_0.5', data_dir=of_tfds, image_size=12)
    assert noisy.noise.realised_rate > 0


def test_a_set_of_tfds_without_labels_is_refused(of_tfds):
    with pytest.raises(UsageError, match='0 features that are a class label'):
        load('tfds:unlabelled', data_dir=of_tfds)


def test_a_name_that_tfds_does_not_know_is_a_usage_error(of_tfds):
    with pytest.raises(UsageError, match='nosuchset'):
        load('tfds:nosuchset', data_dir=of_tfds)
