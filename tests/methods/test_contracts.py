"""What every method must keep to, on one replica and on two.

A method that is registered is tested here, one from a file of the user's (ELR)
as well; but none that only has presets of its own.
"""

import dataclasses
import itertools
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from contract_runs import (
    CHANCE,
    assert_replicas_agree,
    assert_same,
    check_figures,
    check_same,
    copy_middle,
    does_something_new,
    settings,
    train,
    train_only,
    train_whole,
)

from ieg import config as ieg_config
from ieg import experiment, label_issues
from ieg.errors import UsageError
from ieg.ops.visits import Visits
from ieg.registry import METHODS
from ieg.training import trainer

NAMES = [name for name in METHODS.names() if does_something_new(name)]
# What goes on here on two replicas, between them with all that a method can
# keep: two networks, numbers of each example, a queue, averages, a probe. A run
# of Me-Momentum, with its state on the host, goes on in
# test_me_momentum_weights.py.
GO_ON_TWO_REPLICAS = ('coteaching', 'elr', 'fsr', 'ieg')
# What goes on after a whole epoch: less is kept then than in its middle.
GO_ON_AFTER_AN_EPOCH = ('coteaching',)
# What runs on two replicas in test_contract_steps.py and in
# test_me_momentum_weights.py.
TWO_REPLICAS_ELSEWHERE = ('l2r', 'me_momentum')
# On the other number of replicas, and with other methods, it takes minutes.
TRACKED = [('coteaching', 1, 'optimizer'), ('supervised', 2, 'optimizer')]
# The step of the optimizer moves most: velocities and the number of steps, too.
TRACKINGS = [(name, n, 'optimizer') for name in NAMES for n in (1, 2)]
TRACKINGS.append(('dividemix', 2, 'sgd'))

# Of the second epoch of three.
MIDDLE = 'middle'
# Figures of the log that are measured with true labels.
OF_TRUE_LABELS = ('label_', 'pseudo_label_accuracy', 'relabel_', 'weight_')


def slow_unless(chosen, *values):
    marks = () if chosen else pytest.mark.slow
    return pytest.param(
        *values, marks=marks, id='-'.join(str(value) for value in values)
    )


every_method = pytest.mark.parametrize('method', NAMES)
on_one_replica_and_on_two = pytest.mark.parametrize(
    ('method', 'strategy'),
    [
        slow_unless(n == 1 or name not in TWO_REPLICAS_ELSEWHERE, name, n)
        for name, n in itertools.product(NAMES, (1, 2))
    ],
    indirect=['strategy'],
)
pytestmark = pytest.mark.usefixtures('tiny')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Returns a function to the finished run of a method, trained once."""
    runs = {}

    def get(method, strategy):
        key = (method, strategy.num_replicas_in_sync)
        if key not in runs:
            path = tmp_path_factory.mktemp('runs')
            # After every call.
            config = settings(method, strategy, path, checkpoint_minutes=1e-9)
            runs[key] = train_whole(config, strategy)
        return runs[key]

    return get


@on_one_replica_and_on_two
def test_it_learns(method, strategy, finished):
    run = finished(method, strategy)
    log = run.log()
    assert [entry['epoch'] for entry in log] == [0, 1, 2]
    for entry in log:
        losses = [v for k, v in entry.items() if 'loss' in k]
        assert losses and np.isfinite(losses).all()
    assert log[-1]['test_accuracy'] > 2 * CHANCE
    assert run.summary['test_accuracy_last'] == log[-1]['test_accuracy']


@pytest.mark.parametrize(
    'method',
    [slow_unless(name not in TWO_REPLICAS_ELSEWHERE, name) for name in NAMES],
)
def test_replicas_hold_the_same_numbers(method, two_replicas, finished):
    assert_replicas_agree(finished(method, two_replicas), two_replicas)


@on_one_replica_and_on_two
def test_every_run_lists_the_labels_that_look_wrong(method, strategy, finished):
    run = finished(method, strategy)
    rows = label_issues.read(str(run.folder / 'label_issues.csv'))
    labels = run.method.info.labels
    assert np.sum(rows.split == 'train') == len(labels)
    # Every step remembers what was said of all that it has shown.
    columns = run.method.visits.numpy()
    visits = Visits.of_columns(columns, run.method.info.num_classes)
    shown = columns[:, 0] > 0
    assert shown.mean() > 0.9
    # All but the first count, and those beside it in one batch.
    left_out = columns[:, 0] - visits.sums.sum(axis=1)
    assert np.median(left_out) == pytest.approx(1, abs=1e-3)
    assert left_out[shown].min() > 0.99 and left_out.max() < 2.01
    found = run.summary['label_issues']
    assert found['count'] == rows.is_issue.sum()
    assert found['roc_auc'] > 0.8
    if not run.config.data.valid_ratio:
        assert found['noise_rate'] is found['noise_rate_interval'] is None
        assert not found['count']
    else:
        low, high = found['noise_rate_interval']
        assert 0 <= low <= run.summary['noise_rate_realised'] <= high < 1


@on_one_replica_and_on_two
def test_no_step_is_traced_twice(method, strategy, finished):
    counts = finished(method, strategy).trainer.steps.trace_counts()
    assert counts and set(counts.values()) == {1}


def go_on(whole, strategy, path, after):
    """Returns a run that goes on after some epochs of a finished one."""
    ends = [0, *(entry['step'] for entry in whole.log())]
    step = ends[after] if after != MIDDLE else 0
    method = whole.config.train.method
    config = settings(method, strategy, path, restore_step=step)
    if after == MIDDLE:
        copy_middle(whole, config)
    else:
        shutil.copytree(whole.folder, ieg_config.folder_of(config))
    resumed = train(config, strategy)
    assert resumed.method is not whole.method
    return resumed


@pytest.mark.parametrize(
    ('method', 'after'),
    [
        slow_unless(
            name not in GO_ON_TWO_REPLICAS
            if after == MIDDLE
            else name in GO_ON_AFTER_AN_EPOCH,
            name,
            after,
        )
        for name, after in itertools.product(NAMES, (2, MIDDLE))
    ],
)
def test_going_on_changes_nothing(method, after, finished, tmp_path):
    strategy = tf.distribute.get_strategy()
    whole = finished(method, strategy)
    resumed = go_on(whole, strategy, tmp_path, after)
    assert resumed.log_without_times() == whole.log_without_times()
    assert list(resumed.method.host_state) == list(whole.method.host_state)
    assert_same(resumed.arrays(), whole.arrays())


def spoil_true_labels(monkeypatch):
    """Makes the true labels of runs from now on all the same."""
    load = experiment.load_data

    def load_with_garbage(*args, **kwargs):
        data = load(*args, **kwargs)
        garbage = np.zeros_like(data.train.clean_labels)
        train = dataclasses.replace(data.train, clean_labels=garbage)
        return dataclasses.replace(data, train=train)

    monkeypatch.setattr(experiment, 'load_data', load_with_garbage)


def without_true_labels(run):
    """Returns the log without what is measured with true labels."""
    return [
        {k: v for k, v in entry.items() if not k.startswith(OF_TRUE_LABELS)}
        for entry in run.log_without_times()
    ]


@pytest.mark.parametrize(
    ('method', 'after'),
    [
        slow_unless(name in GO_ON_TWO_REPLICAS and after == MIDDLE, name, after)
        for name, after in itertools.product(NAMES, (1, MIDDLE))
    ],
)
def test_going_on_with_other_true_labels_changes_nothing(
    method, after, two_replicas, finished, tmp_path, monkeypatch
):
    """On two replicas, of which each has its own BatchNorm statistics."""
    whole = finished(method, two_replicas)
    spoil_true_labels(monkeypatch)
    resumed = go_on(whole, two_replicas, tmp_path, after)
    assert without_true_labels(resumed) == without_true_labels(whole)
    assert list(resumed.method.host_state) == list(whole.method.host_state)
    assert_same(resumed.arrays(), whole.arrays())


@pytest.mark.parametrize(
    'method',
    [slow_unless(name not in GO_ON_TWO_REPLICAS, name) for name in NAMES],
)
def test_true_labels_are_for_reports_only(
    method, finished, tmp_path, monkeypatch
):
    strategy = tf.distribute.get_strategy()
    whole = finished(method, strategy)
    spoil_true_labels(monkeypatch)
    run = train_only(settings(method, strategy, tmp_path), strategy)
    assert_same(run.arrays(), whole.arrays())


@pytest.mark.parametrize(
    ('method', 'strategy', 'step'),
    [slow_unless(values in TRACKED, *values) for values in TRACKINGS],
    indirect=['strategy'],
)
def test_the_tracker_changes_nothing(
    method, strategy, step, finished, tmp_path
):
    tracked = settings(
        method,
        strategy,
        tmp_path,
        track_memorization=True,
        memorization_step=step,
    )
    run = train(tracked, strategy)
    check_same(run, finished(method, strategy))
    check_figures(run)


def check_evaluation(method, strategy, run):
    config = settings(
        method,
        strategy,
        run.config.run.checkpoint_path,
        mode='evaluation',
    )
    found = experiment.evaluate(config, strategy)
    last = run.log()[-1]
    for name in ('epoch', 'step', 'test_accuracy', 'test_loss'):
        assert found[name] == last[name]
    lines = (run.folder / 'evaluation.jsonl').read_text().splitlines()
    assert json.loads(lines[-1]) == found


@every_method
def test_evaluation_gives_the_logged_accuracy(method, finished):
    strategy = tf.distribute.get_strategy()
    check_evaluation(method, strategy, finished(method, strategy))


def test_replicas_evaluate_like_in_training(two_replicas, finished):
    run = finished('dividemix', two_replicas)
    check_evaluation('dividemix', two_replicas, run)


@pytest.mark.parametrize(
    'change',
    [
        {'method': 'elr'},
        {'dataset': 'fake_uniform_0.2'},
        {'dataset': 'fake'},
        {'network_name': 'cnn'},
        {'batch_size': 16},
        {'noise_seed': 7},
        {'learning_rate': 0.01},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_of_something_else_is_refused(change, finished, tmp_path):
    strategy = tf.distribute.get_strategy()
    config = settings(
        **{'method': 'supervised', 'strategy': strategy, 'path': tmp_path}
        | change
    )
    folder = finished('supervised', strategy).folder
    shutil.copytree(folder, ieg_config.folder_of(config))
    with pytest.raises(UsageError, match='run_name') as caught:
        experiment.train(config, strategy=strategy, progress=False)
    message = str(caught.value)
    assert '\n' not in message
    (name,) = change
    assert name in message


def test_a_run_that_is_longer_than_asked_is_refused(finished, tmp_path):
    strategy = tf.distribute.get_strategy()
    config = settings('supervised', strategy, tmp_path, max_epoch=2)
    folder = finished('supervised', strategy).folder
    shutil.copytree(folder, ieg_config.folder_of(config))
    with pytest.raises(UsageError, match='already has'):
        experiment.train(config, strategy=strategy, progress=False)


def test_steps_per_call_change_nothing(
    strategy, finished, tmp_path, monkeypatch
):
    grouped = finished('supervised', strategy)
    monkeypatch.setattr(trainer, 'MOST_STEPS_PER_CALL', 1)
    single = train_only(settings('supervised', strategy, tmp_path), strategy)
    assert_same(single.arrays(), grouped.arrays())


def test_the_run_folder_holds_what_other_tools_read(finished):
    run = finished('dividemix', tf.distribute.get_strategy())
    assert set(os.listdir(run.folder)) >= {
        'checkpoints',
        'config.json',
        'label_issues.csv',
        'log.jsonl',
        'model.keras',
        'noise.npz',
        'predictions.npz',
        'report.html',
        'summary.json',
        'tensorboard',
    }
    saved = json.loads((run.folder / 'config.json').read_text())
    assert ieg_config.resolve(saved) == run.config
    summary = json.loads((run.folder / 'summary.json').read_text())
    assert summary | {'not_written': []} == run.summary
    last = run.log()[-1]
    assert last['label_auc'] > 0.9
    assert 0 < last['label_precision'] <= 1 and 0 < last['label_recall'] <= 1
    assert run.summary['label_auc'] == last['label_auc']
