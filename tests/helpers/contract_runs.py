"""What runs of the contract tests have in common, and how two are compared."""

import dataclasses
import json
import pathlib
import shutil

import elr  # noqa: F401  # Registers the method.
import keras
import numpy as np
import pytest

from ieg import config as ieg_config
from ieg import experiment, held_out, results
from ieg.registry import METHODS
from ieg.training import checkpoint
from ieg.training import trainer as trainer_
from ieg.training.devices import restoring

CHANCE = 0.25
SMALL = {
    'dataset': 'fake_uniform_0.4',
    'network_name': 'tiny',
    'max_epoch': 3,
    'val_batch_size': 64,
    'precision': 'float32',
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
TIMES = {'seconds', 'images_per_second'}
# What only the memorization tracker writes into the log.
OWN = {'fit_accuracy', 'fit_right', 'fit_wrong', 'prediction_changes'}
OWN |= {'phi_before', 'phi_after', 'tracker_seconds'}


def does_something_new(method):
    own = {name for name in vars(METHODS.get(method)) if name[:2] != '__'}
    return own != {'presets'}


@dataclasses.dataclass
class Run:
    """A finished run."""

    config: ieg_config.Config
    trainer: trainer_.Trainer
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


class KeepMiddle(keras.callbacks.Callback):
    """Keeps a checkpoint in the middle of the second of three epochs."""

    def __init__(self, folder):
        super().__init__()
        self.written = pathlib.Path(folder) / 'checkpoints' / 'unfinished.npz'
        self.kept = pathlib.Path(folder) / 'middle.npz'

    def on_train_batch_end(self, batch, logs=None):
        # It was written after the call before this one.
        if 1 < logs['progress'] < 2 and self.written.exists():
            shutil.copy(self.written, self.kept)


def train_whole(config, strategy, present=True):
    """Trains like `train` to the end and keeps the middle of an epoch."""
    folder = ieg_config.folder_of(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_, 'MOST_STEPS_PER_CALL', 2)
        return train(config, strategy, present, [KeepMiddle(folder)])


def copy_middle(whole, config):
    """Copies a run as it was in the middle of its second epoch."""
    folder = pathlib.Path(ieg_config.folder_of(config))
    shutil.copytree(whole.folder, folder)
    middle = folder / 'checkpoints' / 'unfinished.npz'
    shutil.move(folder / 'middle.npz', middle)
    first, *later = (entry['step'] for entry in whole.log())
    for step in later:
        (folder / 'checkpoints' / f'ckpt-{step}.npz').unlink()
    content = checkpoint.read(str(middle))
    assert (content['epoch'], content['steps']) == (1, first)
    running = content['running']['epoch']
    assert running['number'] or running['done']


def train(config, strategy, present=False, callbacks=()):
    """Trains as the command does and keeps what was built.

    The model and the report are written where that is asked for.
    """
    built = []
    with pytest.MonkeyPatch.context() as patch:
        build = experiment.build

        def remember(*args, **more):
            built.append(build(*args, **more))
            return built[-1]

        patch.setattr(experiment, 'build', remember)
        if not present:
            patch.setattr(results, 'present', lambda *args: [])
        summary = experiment.train(config, callbacks, strategy, progress=False)
    folder = pathlib.Path(built[0].folder)
    return Run(config, built[0].trainer, folder, summary)


def train_only(config, strategy):
    """Trains without the test split and without what comes at the end."""
    folder = pathlib.Path(config.run.checkpoint_path) / 'run'
    folder.mkdir(parents=True)
    with restoring():
        built = experiment.build(
            config, strategy=strategy, trial_folder=str(folder)
        )
        data = built.data
        if held_out.measures_noise(data):
            # As a run does, but for a trial.
            best = held_out.BestAndEarly(built.trainer, data, held_out.VALID)
            built.trainer.add_callback(best)
        built.trainer.train(built.trainer.restore())
    return Run(config, built.trainer, folder, {})


def assert_replicas_agree(run, strategy):
    """Checks that two replicas hold the same numbers."""
    for variable in run.method.variables:
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        np.testing.assert_array_equal(*copies)


def assert_same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


# The memorization tracker.


def tracked_settings(method, strategy, path, **more):
    more = {'max_epoch': 2, 'track_memorization': True} | more
    return settings(method, strategy, path, **more)


def is_own(name):
    return name in OWN or name.startswith('susceptibility')


def numbers(run, own):
    """Returns the log, with the tracker's figures only or without them."""
    return [
        {
            k: v
            for k, v in entry.items()
            if is_own(k) == own and k not in TIMES | {'tracker_seconds'}
        }
        for entry in run.log()
    ]


def check_same(tracked, plain):
    assert not any(numbers(plain, own=True))
    assert numbers(tracked, own=False) == numbers(plain, own=False)
    assert_same(tracked.arrays(), plain.arrays())


def check_figures(run):
    count = len(run.method.nets)
    log = run.log()
    drops = [e['susceptibility_drop'] for e in log]
    assert log[-1]['susceptibility'] == pytest.approx(np.mean(drops))
    for entry in log:
        drop = entry['phi_before'] - entry['phi_after']
        assert entry['susceptibility_drop'] == pytest.approx(drop)
        names = [f'susceptibility_network{n}' for n in range(count)]
        if count > 1:
            mean = np.mean([entry[name] for name in names])
            assert entry['susceptibility'] == pytest.approx(mean)
        assert 0 <= entry['fit_wrong'] <= 1 and 0 <= entry['fit_right'] <= 1
    assert 'prediction_changes' not in log[0]
    assert 0 <= log[1]['prediction_changes'] <= 1
    assert log[0]['phi_before'] > np.log(4) / 2
