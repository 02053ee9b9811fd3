"""Options that follow from a set of image files, unless they are given."""

import pytest
from tiny_sets import make_folder

from ieg.config import resolve
from ieg.data.own import of_vectors, schedule
from ieg.errors import UsageError
from ieg.experiment import configure


def test_advice_follows_the_images_and_yields_to_flags(tmp_path):
    make_folder(str(tmp_path))
    given = {
        'dataset': 'folder',
        'data_dir': str(tmp_path),
        'method': 'dividemix',
    }
    chosen, opened = configure(given)
    assert opened is not None
    assert chosen.data.image_size and chosen.train.network_name
    assert f'--image_size={chosen.data.image_size}' in chosen.advice
    asked, _ = configure(
        given | {'image_size': 40, 'network_name': 'cnn', 'batch_size': 3}
    )
    assert (asked.data.image_size, asked.train.batch_size) == (40, 3)
    assert '--batch_size' not in asked.advice


@pytest.mark.parametrize(
    ('count', 'epochs'),
    [(40, 100), (20_000, 100), (50_000, 40), (100_000, 20), (3_000_000, 20)],
)
def test_a_run_is_advised_20_to_100_epochs(count, epochs):
    assert schedule(32, count, 3)['max_epoch'] == epochs


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((9_800, 1280, 10), (128, 0.039, 0.026)),
        ((9_800, 1280, 100), (128, 0.039, 0.0026)),
        ((50_000, 1280, 2), (128, 0.039, 0.13)),
        ((300, 64, 10), (16, 0.1, 0.0013)),
        ((20, 1, 2), (8, 0.1, 1e-4)),
        ((9_800, 100_000, 2), (128, 5e-4, 10.0)),
    ],
)
def test_steps_and_decay_follow_the_width_of_vectors(size, expected):
    values = of_vectors('npz', *size).values
    names = ('batch_size', 'learning_rate', 'weight_decay')
    assert tuple(values[name] for name in names) == expected


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'dataset': 'folder'}, '--dataset=folder needs --data_dir'),
        ({'dataset': 'csv'}, 'needs --data_dir, the CSV file'),
        ({'dataset': 'npz', 'data_dir': 'nowhere.npz'}, 'nowhere.npz'),
        ({'dataset': 'folder', 'data_dir': 'nowhere'}, 'nowhere'),
        ({'dataset': 'tfds:'}, "'tfds:' names no data set"),
    ],
)
def test_a_data_set_that_is_not_there_is_a_usage_error(options, words):
    with pytest.raises(UsageError, match=words):
        configure(options)


def test_the_reference_command_for_webvision_is_understood():
    found = resolve(
        {
            'dataset': 'webvisionmini',
            'network_name': 'resnet50',
            'ce_factor': 4.0,
            'consistency_factor': 8.0,
            'batch_size': 8,
            'use_imagenet_as_eval': True,
            'val_batch_size': 50,
            'eval_freq': 10_000,
            'max_iteration': 1_000_000,
        }
    )
    assert found.data.image_size == 224 and found.data.scaling == 'symmetric'
    assert found.train.method == 'ieg'
    assert found.train.learning_rate == 0.1


def test_weights_of_imagenet_bring_their_scale():
    options = {'dataset': 'clothing1m', 'method': 'dividemix'}
    found = resolve(options)
    assert found.train.pretrained and found.data.scaling == 'caffe'
    other = resolve(options | {'network_name': 'preact_resnet18'})
    assert not other.train.pretrained and other.data.scaling == 'standard'
    with pytest.raises(UsageError, match='--scaling=unit does not suit'):
        resolve(options | {'scaling': 'unit'})


def test_the_sentence_counts_examples_with_separators():
    said = of_vectors('npz', 1797, 64, 10).sentence
    assert said == 'npz: 1,797 examples of 10 classes, 64 numbers each.'
