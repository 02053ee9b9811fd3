"""The first command of the README, small, on the real CIFAR-10."""

import dataclasses
import functools
import json
import os
import pathlib

import keras
import numpy as np
import published_lines
import pytest
import tensorflow as tf
from paths import SHARED

from ieg import experiment
from ieg.data.sets import tfds
from ieg.networks import layers
from ieg.registry import DATASETS, NETWORKS

TFDS = pathlib.Path(os.environ.get('TFDS_DATA_DIR', SHARED / 'tfds'))
LINE = (
    '--dataset=cifar10_asymmetric_0.4 --method=dividemix --train_examples=400 '
    '--network_name=cnn --max_epoch=12 --warm_up=1 '
    f'--precision=float32 --eval_every=12 --data_dir={TFDS}'
)

pytestmark = pytest.mark.skipif(
    not (TFDS / 'cifar10').is_dir(),
    reason='cifar10 is not in TFDS_DATA_DIR or ../shared/data/tfds',
)


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
    """Reads the set once; the first of its test images are enough."""
    known = DATASETS.get('cifar10')

    @functools.cache
    def read(data_dir):
        arrays = known(data_dir)
        return dataclasses.replace(
            arrays,
            test_images=arrays.test_images[:1000],
            test_labels=arrays.test_labels[:1000],
        )

    monkeypatch.setitem(DATASETS._entries, 'cifar10', read)


class Encoded:
    """Stands for an array of images; those that are taken are decoded."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, encoded):
        self.encoded = encoded
        self.shape = (len(encoded), 32, 32, 3)

    def __len__(self):
        return len(self.encoded)

    def __getitem__(self, indices):
        return np.stack([tf.io.decode_png(x) for x in self.encoded[indices]])

    def numpy(self):
        return self


def narrow(num_classes, image_shape):
    """Returns a `cnn` with a quarter of its channels."""
    images = x = keras.Input(image_shape)
    for number, filters in enumerate((8, 8, 12, 12), start=1):
        x = layers.torch_conv(x, filters, 3, f'conv{number}', padding=1)
        x = layers.bn_relu(x, f'bn{number}')
        if number == 2:
            x = keras.layers.MaxPooling2D(2, padding='same')(x)
    return layers.classify(images, x, num_classes, 'cnn')


@pytest.fixture
def quick(monkeypatch):
    """Decodes what is used, and learns with a narrow network."""
    whole = tfds._whole

    def undecoded(builder, split, **options):
        import tensorflow_datasets

        skip = {'image': tensorflow_datasets.decode.SkipDecoding()}
        found = whole(builder, split, **options | {'decoders': skip})
        return found | {'image': Encoded(found['image'].numpy())}

    monkeypatch.setattr(tfds, '_whole', undecoded)
    monkeypatch.setitem(NETWORKS._entries, 'cnn', narrow)


@pytest.mark.usefixtures('quick')
def test_it_trains_and_evaluates_quickly(tmp_path):
    check(1, None, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('replicas', [1, 2])
def test_it_trains_and_evaluates(replicas, two_replicas, tmp_path):
    check(replicas, two_replicas, tmp_path)


def check(replicas, two_replicas, tmp_path):
    # A process has one mirrored strategy, which tests share.
    strategy = two_replicas if replicas == 2 else None
    line = f'{LINE} --checkpoint_path={tmp_path}'
    config = published_lines.resolve(line)
    summary = experiment.train(config, strategy=strategy, progress=False)
    folder = tmp_path / 'cifar10_asymmetric_0.4' / 'dividemix_cnn_s1'
    lines = (folder / 'log.jsonl').read_text().splitlines()
    log = [json.loads(line) for line in lines]
    assert [entry['epoch'] for entry in log] == list(range(12))
    # The noise is the same everywhere; what networks learn is not quite.
    assert summary['noise_rate_realised'] == 0.1925
    assert [entry['lambda_u'] for entry in log[1:]] == [0] * 11
    # Without any learning it falls by a few per cent.
    assert log[-1]['loss'] < 0.9 * log[1]['loss']
    # More than chance; 21 % and 13 % when this was written, 17 % if narrow.
    assert summary['test_accuracy_last'] > 0.1
    evaluate = published_lines.resolve(f'{line} --mode=evaluation')
    found = experiment.evaluate(evaluate, strategy=strategy)
    assert found['step'] == log[-1]['step']
    assert found['test_accuracy'] == summary['test_accuracy_last']
