"""Runs on vectors: from the file to the results."""

import json
import os

import numpy as np
import pytest
from command import assert_mistake, ieg
from vector_files import make_npz

from ieg import label_issues


@pytest.fixture(scope='module')
def npz(tmp_path_factory):
    return make_npz(tmp_path_factory.mktemp('vectors') / 'blobs.npz', views=2)


def test_a_run_with_the_options_that_suit_vectors(npz, tmp_path):
    code, out, err = ieg(
        '--dataset=npz',
        f'--data_dir={npz}',
        '--method=supervised',
        f'--checkpoint_path={tmp_path}',
        '--export=savedmodel,litert',
    )
    assert code == 0 and 'cannot be written' not in err
    assert '120 training vectors of 3 classes, 6 numbers each' in out
    folder = tmp_path / 'npz-blobs' / 'supervised_linear_s1'
    config = json.loads((folder / 'config.json').read_text())
    assert config['learning_rate'] == 0.1
    assert config['weight_decay'] == 4e-4
    assert config['batch_size'] == 8
    assert config['max_epoch'] == 20
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['test_accuracy_last'] > 0.9
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    assert summary['label_issues']['roc_auc'] > 0.9
    assert len(rows) == 120
    for name in ('model.keras', 'model.tflite', 'savedmodel', 'report.html'):
        assert os.path.exists(folder / name)
    assert 'data:image' not in (folder / 'report.html').read_text('utf-8')


@pytest.mark.parametrize(
    'option, facts',
    [
        ('--flip=on', ['--flip=on', 'vectors']),
        ('--crop_padding=2', ['--crop_padding=2', 'vectors']),
        ('--scaling=unit', ['--scaling=unit', 'vectors']),
        ('--image_size=32', ['--image_size=32', 'npz']),
        ('--pretrained', ['--pretrained', 'vectors']),
        ('--network_name=cnn', ['cnn', 'vectors', 'linear']),
    ],
)
def test_options_for_images(npz, tmp_path, option, facts):
    result = ieg(
        '--dataset=npz',
        f'--data_dir={npz}',
        '--method=supervised',
        f'--checkpoint_path={tmp_path / "runs"}',
        option,
    )
    assert_mistake(result, *facts)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('name', ['linear', 'mlp'])
def test_networks_for_vectors_on_images(tmp_path, name):
    images = np.zeros((20, 8, 8), np.uint8)
    labels = np.arange(20) % 2
    path = tmp_path / 'images.npz'
    np.savez(path, x_train=images, y_train=labels)
    result = ieg(
        '--dataset=npz',
        f'--data_dir={path}',
        '--method=supervised',
        f'--checkpoint_path={tmp_path / "runs"}',
        f'--network_name={name}',
    )
    assert_mistake(result, name, 'images')
