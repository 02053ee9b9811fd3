"""What every method must keep to, on one replica and on two.

A method that is registered is tested here, one from a file of the user's (ELR)
as well; but none that only has presets of its own.
"""

import dataclasses
import json
import os
import pathlib
import shutil

import elr  # noqa: F401  # Registers the method.
import keras
import numpy as np
import pytest
import tensorflow as tf

from ieg import config as ieg_config
from ieg import experiment
from ieg.analysis import issues
from ieg.errors import RunError, UsageError
from ieg.methods.base import VISIT_FACTS
from ieg.methods.supervised import Supervised
from ieg.registry import METHODS, NETWORKS
from ieg.training import trainer

CHANCE = 0.25
SMALL = {
    'dataset': 'fake_uniform_0.4',
    'network_name': 'tiny',
    'max_epoch': 3,
    'val_batch_size': 64,
}
METHOD_OPTIONS = {
    'coteaching': {'learning_rate': 0.01},
    'dividemix': {'warm_up': 1},
    # Compiles fast.
    'ieg': {'aug_type': 'default'},
    # Two epochs of a refinement.
    'me_momentum': {
        'early_epochs': 1,
        'round_epochs': 2,
        'learning_rate': 0.05,
    },
}
GLOBAL_BATCH = 32
# Methods whose step is a sum over examples. The others mix the examples of a
# replica with each other.
SAME_ON_ANY_NUMBER_OF_REPLICAS = (
    'coteaching',
    'elr',
    'fsr',
    'l2r',
    'supervised',
)
# After more epochs L2R's weights have blown rounding up to 1e-4.
EPOCHS_THAT_AGREE = {'l2r': 1}
TIMES = {'seconds', 'images_per_second'}


def does_something_new(method):
    own = {name for name in vars(METHODS.get(method)) if name[:2] != '__'}
    return own != {'presets'}


every_method = pytest.mark.parametrize(
    'method', [name for name in METHODS.names() if does_something_new(name)]
)
pytestmark = pytest.mark.usefixtures('tiny')


@dataclasses.dataclass
class Run:
    """A finished run."""

    config: ieg_config.Config
    trainer: trainer.Trainer
    folder: pathlib.Path
    summary: dict

    @property
    def method(self):
        return self.trainer.method

    def log(self):
        lines = (self.folder / 'log.jsonl').read_text().splitlines()
        return [json.loads(line) for line in lines]

    def log_without_times(self):
        return [
            {k: v for k, v in entry.items() if k not in TIMES}
            for entry in self.log()
        ]

    def arrays(self):
        """Returns everything the run has learnt."""
        variables = self.method.variables + [
            v for o in self.method.optimizers for v in o.variables
        ]
        return [v.numpy() for v in variables] + [
            self.method.host_state[name] for name in self.method.host_state
        ]


def settings(method, strategy, path, **more):
    per_replica = GLOBAL_BATCH // strategy.num_replicas_in_sync
    given = SMALL | METHOD_OPTIONS.get(method, {}) | {'method': method}
    given |= {'batch_size': per_replica, 'checkpoint_path': str(path)}
    return ieg_config.resolve(given | more)


def train(config, strategy):
    """Trains as the command does and keeps what was built."""
    built = []
    with pytest.MonkeyPatch.context() as patch:
        build = experiment.build

        def remember(*args):
            built.append(build(*args))
            return built[0]

        patch.setattr(experiment, 'build', remember)
        summary = experiment.train(config, strategy=strategy, progress=False)
    folder = pathlib.Path(built[0].folder)
    return Run(config, built[0].trainer, folder, summary)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Returns a function to the finished run of a method, trained once."""
    runs = {}

    def get(method, strategy):
        key = (method, strategy.num_replicas_in_sync)
        if key not in runs:
            path = tmp_path_factory.mktemp('runs')
            runs[key] = train(settings(method, strategy, path), strategy)
        return runs[key]

    return get


def assert_same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@every_method
def test_it_learns(method, strategy, finished):
    run = finished(method, strategy)
    log = run.log()
    assert [entry['epoch'] for entry in log] == [0, 1, 2]
    for entry in log:
        losses = [v for k, v in entry.items() if 'loss' in k]
        assert losses and np.isfinite(losses).all()
    assert log[-1]['test_accuracy'] > 2 * CHANCE
    assert run.summary['test_accuracy_last'] == log[-1]['test_accuracy']


@every_method
def test_replicas_hold_the_same_numbers(method, two_replicas, finished):
    run = finished(method, two_replicas)
    for variable in run.method.variables:
        copies = two_replicas.experimental_local_results(variable.value)
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)


@every_method
def test_every_run_lists_the_labels_that_look_wrong(method, strategy, finished):
    run = finished(method, strategy)
    rows = issues.read(str(run.folder / 'label_issues.csv'))
    labels = run.method.info.labels
    assert np.sum(rows.split == 'train') == len(labels)
    # Every step remembers what was said of all that it has shown.
    visits = run.method.visits.numpy()
    shown = visits[:, 0] > 0
    assert shown.mean() > 0.9
    np.testing.assert_allclose(
        visits[:, VISIT_FACTS:].sum(axis=1),
        np.maximum(visits[:, 0] - 1, 0),
        rtol=1e-5,
    )
    found = run.summary['label_issues']
    assert found['count'] == rows.is_issue.sum()
    assert found['roc_auc'] > 0.8
    low, high = found['noise_rate_interval']
    assert 0 <= low <= found['noise_rate'] <= high <= 1


@every_method
def test_no_step_is_traced_twice(method, strategy, finished):
    counts = finished(method, strategy).trainer.steps.trace_counts()
    assert counts and set(counts.values()) == {1}


@every_method
def test_going_on_after_two_epochs_changes_nothing(
    method, strategy, finished, tmp_path
):
    whole = finished(method, strategy)
    config = settings(
        method, strategy, tmp_path, restore_step=whole.log()[1]['step']
    )
    shutil.copytree(whole.folder, experiment.run_folder(config))
    resumed = train(config, strategy)
    assert resumed.method is not whole.method
    assert resumed.log_without_times() == whole.log_without_times()
    assert list(resumed.method.host_state) == list(whole.method.host_state)
    assert_same(resumed.arrays(), whole.arrays())


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


@every_method
def test_true_labels_are_for_reports_only(
    method, finished, tmp_path, monkeypatch
):
    strategy = tf.distribute.get_strategy()
    load = experiment.ieg_data.load

    def load_with_garbage(*args, **kwargs):
        data = load(*args, **kwargs)
        garbage = np.zeros_like(data.train.clean_labels)
        train = dataclasses.replace(data.train, clean_labels=garbage)
        return dataclasses.replace(data, train=train)

    monkeypatch.setattr(experiment.ieg_data, 'load', load_with_garbage)
    run = train(settings(method, strategy, tmp_path), strategy)
    assert_same(run.arrays(), finished(method, strategy).arrays())


@pytest.fixture
def without_batchnorm(monkeypatch):
    """Registers a network without BatchNorm and returns its name."""

    def build(num_classes, image_shape):
        return keras.Sequential(
            [
                keras.Input(image_shape),
                keras.layers.Conv2D(8, 3, activation='tanh'),
                keras.layers.Flatten(),
                keras.layers.Dense(num_classes),
            ]
        )

    monkeypatch.setitem(NETWORKS._entries, 'without_batchnorm', build)
    return 'without_batchnorm'


# With these options, and where a number is for each replica, with half of it.
SAME_WITH = {
    'fsr': {'use_mixup': False, 'use_pseudo_loss': ''},
    'l2r': {'probe_batch_size': 8},
}


@pytest.mark.parametrize('method', SAME_ON_ANY_NUMBER_OF_REPLICAS)
def test_two_replicas_compute_what_one_does(
    method, two_replicas, tmp_path, without_batchnorm
):
    def options(replicas):
        found = dict(SAME_WITH.get(method, {}))
        if 'probe_batch_size' in found:
            found['probe_batch_size'] //= replicas
        return found

    one, two = (
        train(
            settings(
                method,
                strategy,
                tmp_path / str(strategy.num_replicas_in_sync),
                network_name=without_batchnorm,
                max_epoch=EPOCHS_THAT_AGREE.get(method, 2),
                **options(strategy.num_replicas_in_sync),
            ),
            strategy,
        )
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    for a, b in zip(one.arrays(), two.arrays(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


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
    shutil.copytree(folder, experiment.run_folder(config))
    with pytest.raises(UsageError, match='another configuration') as caught:
        experiment.train(config, strategy=strategy, progress=False)
    message = str(caught.value)
    assert '\n' not in message
    (name,) = change
    assert name in message


def test_a_run_that_is_longer_than_asked_is_refused(finished, tmp_path):
    strategy = tf.distribute.get_strategy()
    config = settings('supervised', strategy, tmp_path, max_epoch=2)
    folder = finished('supervised', strategy).folder
    shutil.copytree(folder, experiment.run_folder(config))
    with pytest.raises(UsageError, match='holds .* already'):
        experiment.train(config, strategy=strategy, progress=False)


def test_steps_per_call_change_nothing(
    strategy, finished, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, 'MOST_STEPS_PER_CALL', 1)
    single = train(settings('supervised', strategy, tmp_path), strategy)
    assert_same(single.arrays(), finished('supervised', strategy).arrays())


def spoil(monkeypatch, is_spoilt):
    """Makes the loss of some steps NaN."""
    step, loss = Supervised.train_step, Supervised._loss

    def train_step(self, batch):
        self.spoilt = is_spoilt(batch['step'])
        return step(self, batch)

    def bad_loss(self, label, logits):
        return tf.where(self.spoilt, np.nan, loss(self, label, logits))

    monkeypatch.setattr(Supervised, 'train_step', train_step)
    monkeypatch.setattr(Supervised, '_loss', bad_loss)


def test_a_loss_that_is_not_finite_is_told_and_left_out(
    strategy, tmp_path, monkeypatch
):
    spoil(monkeypatch, lambda step: step['number'] == 3)
    run = train(settings('supervised', strategy, tmp_path), strategy)
    assert all(np.isfinite(array).all() for array in run.arrays())
    for entry in run.log():
        assert np.isfinite(entry['loss'])
        assert entry['remarks'] == [
            '12.50% of the steps gave no finite loss; their gradients are '
            'left out'
        ]
    assert run.log()[-1]['test_accuracy'] > 2 * CHANCE


def test_losses_that_are_never_finite_end_the_run(tmp_path, monkeypatch):
    strategy = tf.distribute.get_strategy()
    spoil(monkeypatch, lambda step: step['number'] >= 0)
    with pytest.raises(RunError, match='No step of epoch 0.*learning_rate'):
        train(settings('supervised', strategy, tmp_path), strategy)


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
    assert json.loads((run.folder / 'summary.json').read_text()) == run.summary
    last = run.log()[-1]
    assert last['label_auc'] > 0.9
    assert 0 < last['label_precision'] <= 1 and 0 < last['label_recall'] <= 1
    assert run.summary['label_auc'] == last['label_auc']
