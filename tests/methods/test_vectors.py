"""Every method learns from vectors, wherever their views are made."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from contract_runs import (
    assert_same,
    check_figures,
    copy_middle,
    train,
    train_only,
    train_whole,
)
from vector_files import CLASSES, blobs, make_npz

from ieg import config as ieg_config
from ieg import experiment, label_issues
from ieg.registry import METHODS

SMALL = {'dataset': 'npz', 'network_name': 'mlp', 'max_epoch': 3}
OPTIONS = {
    'dividemix': {'warm_up': 1},
    # With a hidden layer its losses of views need larger batches.
    'ieg': {'network_name': 'linear'},
    'fsr': {'queue_capacity': 9, 'queue_bs': 6, 'meta_start_epoch': 1},
    'me_momentum': {'early_epochs': 1, 'round_epochs': 1, 'valid_ratio': 0.2},
    's2e': {
        'keep_schedule': f's2e:{",".join(["0.5"] * 12)}',
        'valid_ratio': 0.2,
    },
    'supervised': {'mixup': 1.0, 'use_ema': True},
}
FAST = ('supervised', 1)
ALL = [
    pytest.param(*run, marks=() if run == FAST else pytest.mark.slow)
    for run in itertools.product(METHODS.names(), (1, 2))
]


@pytest.fixture(scope='module')
def npz(tmp_path_factory):
    x, _, true = blobs(30, 0, seed=5)
    path = tmp_path_factory.mktemp('vectors') / 'blobs.npz'
    return make_npz(path, views=2, x_probe=x, y_probe=true)


@pytest.fixture
def settings(npz, tmp_path):
    """Returns a function to the configuration of a run."""

    def resolve(method, place, **more):
        given = SMALL | OPTIONS.get(method, {}) | {'method': method} | more
        given |= {'data_dir': npz, 'checkpoint_path': str(tmp_path / place)}
        given.setdefault('batch_size', 8)
        return experiment.configure(given)[0]

    return resolve


@pytest.mark.parametrize(('method', 'strategy'), ALL, indirect=['strategy'])
def test_views_are_the_same_wherever_they_are_made(method, strategy, settings):
    runs = [
        train_only(settings(method, place, augment_on=place), strategy)
        for place in ('host', 'device')
    ]
    assert_same(*(run.arrays() for run in runs))


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS.names())
def test_a_method_learns(method, two_replicas, settings):
    run = train(settings(method, 'run'), two_replicas)
    log = run.log()
    losses = [v for entry in log for k, v in entry.items() if 'loss' in k]
    assert losses and np.isfinite(losses).all()
    assert log[-1]['test_accuracy'] > 1.5 / CLASSES
    rows = label_issues.read(str(run.folder / 'label_issues.csv'))
    assert np.sum(rows.split == 'train') == len(run.method.info.labels)
    assert run.summary['label_issues']['roc_auc'] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize('method', METHODS.names())
def test_going_on_changes_nothing(method, two_replicas, settings):
    whole = settings(method, 'whole', checkpoint_minutes=1e-9)
    whole = train_whole(whole, two_replicas, present=False)
    resumed = settings(method, 'resumed')
    copy_middle(whole, resumed)
    resumed = train(resumed, two_replicas)
    assert resumed.log_without_times() == whole.log_without_times()
    assert_same(resumed.arrays(), whole.arrays())


@pytest.mark.parametrize(
    'selection',
    ['coteaching_plus', pytest.param('jocor', marks=pytest.mark.slow)],
)
def test_kinds_of_coteaching(selection, settings):
    # JoCoR's loss is small, hence slow.
    more = {'network_name': 'linear', 'max_epoch': 8, 'selection': selection}
    config = settings('coteaching', 'run', **more)
    run = train_only(config, tf.distribute.get_strategy())
    assert run.log()[-1]['train_accuracy'] > 1.5 / CLASSES


@pytest.mark.slow
def test_the_tracker(settings):
    config = settings('supervised', 'run', track_memorization=True)
    run = train(config, tf.distribute.get_strategy())
    check_figures(run)


def test_images_for_the_tracker_are_refused(settings, tmp_path):
    config = settings(
        'supervised',
        'run',
        track_memorization=True,
        unlabeled_dir=str(tmp_path),
    )
    with pytest.raises(ieg_config.UsageError, match='unlabeled_dir.*vectors'):
        experiment.train(config, progress=False)
