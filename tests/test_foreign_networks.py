"""Runs with a network of the user: a file, or a function of a module."""

import json
import shutil

import command
import keras
import numpy as np
import pytest
from keras import layers

from ieg.predict import model as predict_model

# Keras saves with an old protocol of NumPy.
pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning'
)
MODULE = """
import keras

@keras.saving.register_keras_serializable(package='nets')
class Half(keras.layers.Layer):
    def call(self, inputs):
        return inputs / 2

def small(num_classes, shape):
    return keras.Sequential([
        keras.Input(shape), Half(), keras.layers.Flatten(),
        keras.layers.Dense(num_classes, 'softmax'),
    ])
"""
COMMON = (
    '--dataset=fake_uniform_0.4',
    '--method=supervised',
    '--steps_per_epoch=2',
    '--lr_schedule=constant',
    '--precision=float32',
)


def save(path, seed=0):
    keras.utils.set_random_seed(seed)
    keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation='relu'),
            layers.Dropout(0.1),
            layers.Flatten(),
            layers.Dense(4),
        ]
    ).save(path)


def run(folder, *options, epochs=2):
    return command.ieg(
        'train',
        *COMMON,
        f'--max_epoch={epochs}',
        f'--checkpoint_path={folder}',
        *options,
    )


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A folder with a file and the run that it was given to."""
    folder = tmp_path_factory.mktemp('file')
    path = folder / 'mine.keras'
    save(path)
    code, _, err = run(folder, f'--network_name={path}', '--run_name=run')
    assert code == 0, err
    return folder


def test_a_run_keeps_the_file(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / 'moved')
    (folder / 'mine.keras').unlink()
    (place,) = folder.glob('*/run')
    options = json.loads((place / 'config.json').read_text())
    assert options['network_name'] == 'network/mine.keras'
    code, out, err = command.ieg('evaluate', f'--run={place}')
    assert code == 0 and 'test_accuracy' in out, err
    code, out, err = command.ieg('train', f'--run={place}', '--max_epoch=3')
    assert code == 0, err
    assert [entry['epoch'] for entry in command.log(place)] == [0, 1, 2]
    code, _, err = command.ieg('report', str(place))
    assert code == 0, err


def test_another_file_is_refused(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / 'changed')
    path = folder / 'mine.keras'
    save(path, seed=1)
    result = run(folder, f'--network_name={path}', '--run_name=run')
    command.assert_mistake(result, '--network_name', '--run_name')


def test_a_resumed_run_is_the_same(finished, tmp_path):
    path = finished / 'mine.keras'
    options = f'--network_name={path}', '--run_name=run'
    assert run(tmp_path, *options, epochs=1)[0] == 0
    assert run(tmp_path, *options)[0] == 0
    (one,), (other,) = (f.glob('*/run') for f in (finished, tmp_path))
    assert command.log(one) == command.log(other)
    ours, theirs = command.weights(one), command.weights(other)
    for number, value in ours.items():
        np.testing.assert_array_equal(value, theirs[number])


def test_a_function_is_imported_like_a_plugin(tmp_path, monkeypatch):
    (tmp_path / 'nets_of_mine.py').write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    code, _, err = run(
        tmp_path, '--network_name=nets_of_mine:small', '--run_name=run'
    )
    assert code == 0, err
    (place,) = tmp_path.glob('*/run')
    options = json.loads((place / 'config.json').read_text())
    assert options['plugin'] == 'nets_of_mine'
    assert list(options['plugin_sha256']) == ['nets_of_mine']
    assert predict_model.load(str(place)).networks[0].count_params() == 772
    code, _, err = command.ieg('evaluate', f'--run={place}')
    assert code == 0, err


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('nets_of_mine:large', 'large'),
        ('nowhere_at_all:small', 'nowhere_at_all'),
        ('nowhere.keras', 'nowhere.keras'),
        ('hf:keras', 'hf'),
    ],
)
def test_a_network_that_is_missing_is_one_sentence(
    name, words, tmp_path, monkeypatch
):
    (tmp_path / 'nets_of_mine.py').write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path, f'--network_name={name}')
    command.assert_mistake(result, words)
    assert not [*tmp_path.glob('*/')]
