"""The first command of the README, small, on the real CIFAR-10."""

import dataclasses
import functools
import json
import os
import pathlib

import published_lines
import pytest
from paths import SHARED

from ieg import experiment
from ieg.registry import DATASETS

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


@pytest.fixture(scope='module', autouse=True)
def read_once():
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

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS._entries, 'cifar10', read)
        yield


@pytest.mark.parametrize(
    'replicas', [1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_it_trains_and_evaluates(replicas, two_replicas, tmp_path):
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
    assert log[-1]['loss'] < log[1]['loss']
    # More than chance; 21 % and 13 % when this was written.
    assert summary['test_accuracy_last'] > 0.1
    evaluate = published_lines.resolve(f'{line} --mode=evaluation')
    found = experiment.evaluate(evaluate, strategy=strategy)
    assert found['step'] == log[-1]['step']
    assert found['test_accuracy'] == summary['test_accuracy_last']
