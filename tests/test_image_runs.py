"""Runs on images in files: every method, kill and resume, bad files."""

import csv
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from command import assert_mistake, ieg
from pictures import (
    broken_files,
    damaged_files,
    only_for_pillow,
    readable_files,
)
from tiny_sets import Made, make_folder

from ieg import config as ieg_config
from ieg import experiment
from ieg.data.images.survey import read_odd, without_warnings
from ieg.errors import RunError, UsageError
from ieg.registry import METHODS

pytestmark = pytest.mark.usefixtures('tiny')
# Larger than what is held in memory.
SIZE = 72
SMALL = {
    'network_name': 'tiny',
    'image_size': SIZE,
    'max_epoch': 2,
    'batch_size': 8,
    'val_batch_size': 16,
    'precision': 'float32',
}
OPTIONS = {
    # A warm-up learns like supervised training.
    'dividemix': {'warm_up': 0, 'max_epoch': 1},
    'fsr': {'queue_capacity': 8, 'queue_bs': 4, 'meta_start_epoch': 1},
    'ieg': {'aug_type': 'default', 'probe_dataset_hold_ratio': 0.0},
    'l2r': {'probe_dataset_hold_ratio': 0.0},
    'me_momentum': {
        'early_epochs': 1,
        'round_epochs': 1,
        'max_epoch': 3,
        'valid_ratio': 0.25,
        'learning_rate': 0.05,
    },
    's2e': {
        'search': 'keep_schedule',
        'search_iterations': 1,
        'search_population': 2,
        'search_again': 1,
        'valid_ratio': 0.25,
    },
}
FAST = ('dividemix', 'l2r')
ALL = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in METHODS.names()
    if name != 'elr'  # Of another test.
]
# By maker in `tiny_sets`: name and number of classes; `ieg` and `l2r` learn
# from those that have a probe.
LAYOUTS = {
    'webvision': ('webvisionmini', 50),
    'webvision_tfds': ('webvisionmini', 50),
    'clothing1m': ('clothing1m', 14),
    'animal10n': ('animal10n', 10),
    'food101n': ('food101n', 101),
}
PROBED = ('webvision_tfds', 'clothing1m')
TIMES = {'seconds', 'images_per_second'}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp('sets'))


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    """A folder with a probe part; 32 training images of four classes."""
    root = tmp_path_factory.mktemp('own')
    make_folder(str(root), splits=('train', 'test', 'probe'))
    return str(root)


def run(folder, method, path, dataset='folder', **options):
    chosen = {'dataset': dataset, 'data_dir': folder, 'method': method}
    chosen |= {'checkpoint_path': str(path)} | SMALL
    chosen |= OPTIONS.get(method, {}) | options
    return experiment.train(ieg_config.resolve(chosen), progress=False)


def entries(summary):
    lines = pathlib.Path(summary['folder'], 'log.jsonl').read_text()
    found = [json.loads(line) for line in lines.splitlines()]
    return [{k: v for k, v in e.items() if k not in TIMES} for e in found]


@pytest.mark.parametrize('method', ALL)
def test_every_method_runs_on_a_folder_of_images(own, tmp_path, method):
    summary = run(own, method, tmp_path)
    assert np.isfinite(summary['test_accuracy_last'])
    assert not any('nonfinite' in name for name in entries(summary)[-1])
    assert summary['noise_rate_realised'] is None


@pytest.mark.slow
@pytest.mark.parametrize('method', ALL)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_method_runs_on_every_published_layout(
    made, tmp_path, layout, method
):
    folder = str(made(layout)[0])
    name, classes = LAYOUTS[layout]
    if method in ('ieg', 'l2r') and layout not in PROBED:
        with pytest.raises(UsageError, match='probe'):
            run(folder, method, tmp_path, dataset=name)
        return
    more = {}
    if method == 'fsr':
        more = {'queue_capacity': classes, 'queue_bs': classes}
    summary = run(folder, method, tmp_path, dataset=name, **more)
    assert np.isfinite(summary['test_accuracy_last'])


def test_what_is_learnt_is_evaluated_on_further_test_sets(made, tmp_path):
    from tiny_sets import make_imagenet_val

    folder = made.copy('webvision', tmp_path)
    make_imagenet_val(folder)
    summary = run(
        str(folder),
        'supervised',
        tmp_path / 'runs',
        dataset='webvisionmini',
        use_imagenet_as_eval=True,
        image_size=32,
        max_epoch=1,
    )
    last = entries(summary)[-1]
    for split in ('test', 'imagenet'):
        assert 0 <= last[f'{split}_accuracy'] <= last[f'{split}_top5'] <= 1


def test_a_resumed_run_on_files_equals_an_uninterrupted_one(own, tmp_path):
    whole = run(own, 'supervised', tmp_path / 'whole', max_epoch=3)
    shutil.copytree(tmp_path / 'whole', tmp_path / 'cut')
    middle = entries(whole)[1]['step']
    again = run(
        own,
        'supervised',
        tmp_path / 'cut',
        max_epoch=3,
        restore_step=middle,
    )
    assert entries(again) == entries(whole)
    # With their times: only the last epoch was trained again.
    one, two = (
        pathlib.Path(found['folder'], 'log.jsonl').read_text().splitlines()
        for found in (whole, again)
    )
    assert one[:2] == two[:2] and one[2] != two[2]


def test_a_file_that_goes_while_training_ends_the_run_in_one_sentence(
    tmp_path,
):
    make_folder(str(tmp_path / 'images'))

    class Remove(experiment.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                for path in (tmp_path / 'images' / 'train').rglob('*.jpg'):
                    os.truncate(path, 40)

    chosen = ieg_config.resolve(
        {
            'dataset': 'folder',
            'data_dir': str(tmp_path / 'images'),
            'method': 'supervised',
            'checkpoint_path': str(tmp_path / 'runs'),
        }
        | SMALL
    )
    with pytest.raises(RunError) as caught:
        experiment.train(chosen, [Remove()], progress=False)
    sentence = str(caught.value)
    assert f'{tmp_path}/images/train/' in sentence and '.jpg can no' in sentence
    assert 'again to resume' in sentence and 'node' not in sentence
    # What was there before is kept.
    (folder,) = (tmp_path / 'runs').glob('*/*')
    assert len((folder / 'log.jsonl').read_text().splitlines()) == 1


def decodes(path):
    """Returns whether Pillow reads an image, as it does all of TensorFlow's."""
    try:
        with without_warnings():
            read_odd(path, 3)
    except Exception:
        return False
    return True


@pytest.mark.parametrize(
    'count', [40, pytest.param(1200, marks=pytest.mark.slow)]
)
def test_damaged_files_never_end_a_training(tmp_path, count):
    folder = tmp_path / 'images'
    bad = []
    for seed, name in enumerate(('good', 'other')):
        (folder / name).mkdir(parents=True)
        readable_files(folder / name)
        only_for_pillow(folder / name)
        bad += damaged_files(folder / name / 'bad', count // 2, seed)
    summary = run(
        str(folder), 'supervised', tmp_path / 'runs', max_epoch=1, flip='off'
    )
    with open(pathlib.Path(summary['folder'], 'skipped.csv')) as file:
        skipped = {pathlib.Path(row['path']) for row in csv.DictReader(file)}
    assert skipped == {path for path in bad if not decodes(path)}
    assert 0 < len(skipped) < count


def test_a_folder_with_files_of_every_odd_and_broken_kind(tmp_path):
    folder = tmp_path / 'odd'
    for name in ('good', 'other'):
        (folder / name).mkdir(parents=True)
        readable_files(folder / name)
    broken = broken_files(folder / 'good')
    summary = run(
        str(folder), 'supervised', tmp_path / 'runs', image_size=32, max_epoch=1
    )
    assert np.isfinite(summary['test_accuracy_last'])
    skipped = pathlib.Path(summary['folder'], 'skipped.csv').read_text()
    for path in ('empty.jpg', 'cut.png', 'bomb.png', 'text.jpg'):
        assert folder / 'good' / path in broken and f'/{path},' in skipped


def test_skipped_files_are_listed_in_the_run_folder(tmp_path):
    make_folder(str(tmp_path / 'pictures'))
    bad = tmp_path / 'pictures' / 'train' / 'cat' / 'bad.jpg'
    bad.write_text('no image')
    code, out, _ = ieg(
        '--dataset=folder',
        f'--data_dir={tmp_path / "pictures"}',
        '--method=supervised',
        '--network_name=tiny',
        '--image_size=32',
        '--max_epoch=1',
        f'--checkpoint_path={tmp_path / "runs"}',
    )
    assert code == 0
    assert ' images of 4 classes' in out and 'bad.jpg' in out
    folder = tmp_path / 'runs' / 'folder-pictures' / 'supervised_tiny_s1'
    (row,) = (folder / 'skipped.csv').read_text().splitlines()[1:]
    assert row.startswith(str(bad))


def test_a_method_that_needs_a_probe_says_how_to_give_one(tmp_path):
    make_folder(str(tmp_path / 'images'))
    assert_mistake(
        ieg(
            '--dataset=folder',
            f'--data_dir={tmp_path / "images"}',
            '--method=l2r',
            '--network_name=tiny',
            f'--checkpoint_path={tmp_path / "runs"}',
        ),
        '--probe_dir',
    )
