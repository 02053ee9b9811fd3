"""From a configuration to a run folder: train or evaluate."""

import dataclasses
import json
import os
import platform
import textwrap
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import ieg
import ieg.methods  # noqa: F401  # Registers the built-in ones.
from ieg import assembly, export, results, run_folders
from ieg import data as ieg_data
from ieg.config import Config
from ieg.data import noise as label_noise
from ieg.errors import UsageError
from ieg.run_folders import make_folder, run_folder
from ieg.training import distribution
from ieg.training.callbacks import Progress, TensorBoardScalars
from ieg.training.runlog import headline, write_atomically
from ieg.training.settings import Settings
from ieg.training.tracking import PATIENCE, MemorizationTracker
from ieg.training.trainer import Trainer

# Another number for each change of what a checkpoint holds.
LAYOUT = 2


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything built for one configuration.

    Attributes:
        config: what was asked for.
        data: what is learnt from.
        trainer: ready to restore, train or evaluate.
        settings: how the trainer works.
        strategy: where it works.
        folder: the run folder.
    """

    config: Config
    data: ieg_data.Data
    trainer: Trainer
    settings: Settings
    strategy: tf.distribute.Strategy
    folder: str

    def restart(self, config: Config, folder: str) -> 'Experiment':
        """Returns the same for another run folder and other host options.

        Args:
            config: differs in the method's `host_options` only.
            folder: of the new run.

        Raises:
            UsageError: the method refuses the options.
        """
        self.trainer.method.reconfigure(config.method)
        self.trainer.restart(
            folder, _identity(config, self.strategy, self.data)
        )
        return dataclasses.replace(self, config=config, folder=folder)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return distribution.is_chief(self.strategy)


def load_data(config: Config) -> ieg_data.Data:
    """Loads what a run learns from, with the labels it began with.

    Raises:
        UsageError: the options do not fit the data.
    """
    return ieg_data.load(
        config.data.dataset,
        probe_ratio=config.data.probe_dataset_hold_ratio,
        valid_ratio=config.data.valid_ratio,
        train_examples=config.data.train_examples,
        seed=config.train.seed,
        noise_seed=_noise_seed(config),
        noise_sampler=config.data.noise_sampler,
        crop_padding=config.data.crop_padding,
        scaling=config.data.scaling,
        data_dir=os.path.expanduser(config.run.data_dir) or None,
        image_size=config.data.image_size,
        flip=config.data.flip,
        probe_dir=os.path.expanduser(config.data.probe_dir),
        use_imagenet_as_eval=config.run.use_imagenet_as_eval,
        human_labels=config.data.human_labels,
        frozen=_frozen_noise(run_folder(config)),
    )


def build(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    data: ieg_data.Data | None = None,
    trial_folder: str = '',
) -> Experiment:
    """Builds data, method and trainer.

    Args:
        config: resolved options.
        callbacks: more callbacks beside those of a run.
        strategy: one that exists already (a process can have one mirrored
            strategy only); None makes it.
        data: loaded before; None loads it.
        trial_folder: run folder of a trial, which is never evaluated on the
            test split.

    Raises:
        UsageError: the options do not fit the data or the machine.
    """
    run = config.run
    strategy = strategy or distribution.make_strategy(
        run.distribution_strategy, run.num_replicas
    )
    assembly.set_numerics(config)
    data = data or load_data(config)
    replicas = strategy.num_replicas_in_sync
    settings = assembly.make_settings(
        config, data, replicas, distribution.has_workers(strategy)
    )
    info = assembly.make_info(config, data, replicas, settings.epochs)
    method = assembly.build_method(config, info, strategy)
    assembly.check_splits(method, config.train.method, data)
    settings = dataclasses.replace(
        settings, jit=assembly.use_jit(config, method)
    )
    if trial_folder:
        settings = dataclasses.replace(settings, eval_splits=('valid',))
    elif run.stop_on_memorization == 'stop':
        # That of the recommended epoch must still be there.
        keep = max(settings.keep_checkpoints, PATIENCE + 1)
        settings = dataclasses.replace(settings, keep_checkpoints=keep)
    folder = trial_folder or run_folder(config)
    watchers = list(callbacks)
    watched = run.mode == 'train' and not trial_folder
    if distribution.is_chief(strategy) and watched:
        watchers.append(TensorBoardScalars(os.path.join(folder, 'tensorboard')))
    identity = _identity(config, strategy, data)
    trainer = Trainer(
        method, data, settings, strategy, folder, identity, watchers
    )
    return Experiment(config, data, trainer, settings, strategy, folder)


def _identity(
    config: Config, strategy: tf.distribute.Strategy, data: ieg_data.Data
) -> dict[str, Any]:
    """Returns what a checkpoint of this run says that it is of."""
    return config.identity(strategy.num_replicas_in_sync) | {
        'precision': keras.config.dtype_policy().compute_dtype,
        'labels_sha256': data.labels_sha256,
        'images_sha256': data.fingerprint,
        'layout': LAYOUT,
    }


def _frozen_noise(folder: str) -> label_noise.NoisyLabels | None:
    path = os.path.join(folder, 'noise.npz')
    return label_noise.load(path) if os.path.exists(path) else None


def _noise_seed(config: Config) -> int:
    asked = config.data.noise_seed
    return config.train.seed if asked < 0 else asked


def train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    progress: bool = True,
    data: ieg_data.Data | None = None,
) -> dict[str, Any]:
    """Trains to the end, going on from the run folder's last checkpoint.

    Args:
        config: resolved options.
        callbacks: more callbacks beside those of a run.
        strategy: see `build`.
        progress: whether a bar and remarks are shown.
        data: see `build`.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UsageError: the run folder cannot be written or holds another run, or
            the options do not fit.
    """
    make_folder(run_folder(config))
    started = time.monotonic()
    experiment = build(config, callbacks, strategy, data)
    trainer = experiment.trainer
    _track(experiment)
    start = trainer.restore(config.run.restore_step)
    if not start:
        _tell_length(experiment)
        _tell_missing(experiment)
    if experiment.is_chief:
        _write_head(experiment)
        if progress:
            for text in experiment.data.remarks:
                _say(text)
            costs = trainer.method.epoch_costs()
            trainer.add_callback(Progress(costs, start))
    with assembly.one_sentence(experiment.data.in_memory):
        trainer.train(start)
        outcome = results.conclude(trainer, experiment.data)
    summary = _summary(experiment, time.monotonic() - started)
    summary['label_issues'] = outcome.figures
    if experiment.is_chief:
        results.write(experiment.folder, outcome, summary)
        kinds, folder = export.kinds(config.run), experiment.folder
        remarks = outcome.remarks + results.present(
            trainer, experiment.data, folder, kinds
        )
        for text in remarks if progress else ():
            _say(text)
    return summary


def _say(text: str) -> None:
    # Paths stay whole.
    whole = {'break_long_words': False, 'break_on_hyphens': False}
    print(textwrap.fill(text, 79, **whole), flush=True)


def _track(experiment: Experiment) -> None:
    """Adds the memorization tracker where it is asked for."""
    run = experiment.config.run
    if not run.track_memorization:
        if run.stop_on_memorization != 'off':
            raise UsageError(
                '--stop_on_memorization needs --track_memorization.'
            )
        return
    path = os.path.join(experiment.folder, 'memorization.json')
    tracker = MemorizationTracker(
        experiment.trainer,
        experiment.data,
        experiment.strategy,
        run,
        path if experiment.is_chief else None,
    )
    experiment.trainer.add_callback(tracker)


def _tell_length(experiment: Experiment) -> None:
    """Says so where a run ends elsewhere than it was asked to."""
    train, settings = experiment.config.train, experiment.settings
    asked = train.max_iteration or train.max_epoch * settings.steps_per_epoch
    if settings.total_steps != asked:
        experiment.trainer.method.remark(
            f'the run ends after {settings.total_steps} steps, with a whole '
            f'cosine cycle, and not after {asked}'
        )


def _tell_missing(experiment: Experiment) -> None:
    """Says so where validation knows nothing of some classes."""
    data, method = experiment.data, experiment.trainer.method
    if not method.needs_validation:
        return
    missing = np.setdiff1d(np.arange(data.num_classes), data.valid.labels)
    if len(missing):
        names = ', '.join(map(str, missing[:10]))
        method.remark(
            f'no validation example is labelled {names}, so networks are '
            'chosen without regard to that; a larger --valid_ratio helps'
        )


def evaluate(
    config: Config, strategy: tf.distribute.Strategy | None = None
) -> dict[str, Any]:
    """Evaluates a checkpoint and appends the figures to the run folder.

    Raises:
        UsageError: there is no such checkpoint, or it is of another
            configuration.
    """
    folder = run_folder(config)
    if not os.path.isdir(os.path.join(folder, 'checkpoints')):
        raise UsageError(
            f'There is no checkpoint in {folder}; train first with the same '
            'flags and --mode=train.'
        )
    experiment = build(config, strategy=strategy)
    with assembly.one_sentence(experiment.data.in_memory):
        found = experiment.trainer.evaluate_checkpoint(config.run.restore_step)
    if experiment.is_chief:
        path = os.path.join(folder, 'evaluation.jsonl')
        try:
            with open(path, 'a', encoding='utf-8') as file:
                file.write(json.dumps(found) + '\n')
        except OSError as error:
            raise UsageError(
                f'{path} cannot be written ({error.strerror}).'
            ) from error
    return found


def _write_head(experiment: Experiment) -> None:
    """Writes what is known before the first step."""
    folder = experiment.folder
    text = json.dumps(experiment.config.flat(), indent=1) + '\n'
    write_atomically(os.path.join(folder, 'config.json'), text)
    if experiment.data.noise is not None:
        label_noise.save(
            os.path.join(folder, 'noise.npz'), experiment.data.noise
        )
    run_folders.write_skipped(folder, experiment.data.skipped)


def _summary(experiment: Experiment, seconds: float) -> dict[str, Any]:
    train = experiment.config.train
    entries = experiment.trainer.log.entries
    noise = experiment.data.noise
    pace = [e['images_per_second'] for e in entries if 'images_per_second' in e]
    return {
        'method': train.method,
        'dataset': experiment.config.data.dataset,
        'network': train.network_name,
        'seed': train.seed,
        'epochs': len(entries),
        'steps': entries[-1]['step'] if entries else 0,
        **headline(entries),
        'data_remarks': list(experiment.data.remarks),
        'noise_rate_nominal': noise.rate if noise else None,
        'noise_rate_realised': noise.realised_rate if noise else None,
        'images_per_second': float(np.median(pace)) if pace else None,
        'seconds': sum(e['seconds'] for e in entries),
        'seconds_this_time': seconds,
        'folder': experiment.folder,
        'versions': {
            'ieg': ieg.__version__,
            'tensorflow': tf.__version__,
            'keras': keras.__version__,
            'numpy': np.__version__,
            'python': platform.python_version(),
        },
    }
