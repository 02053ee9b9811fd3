"""From a configuration to data, method and trainer: trains and evaluates."""

import contextlib
import dataclasses
import json
import os
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import ieg
import ieg.methods  # noqa: F401  # Registers the built-in ones.
from ieg import config as ieg_config
from ieg import results
from ieg.arguments import renamed
from ieg.config import Config, folder_of
from ieg.data import load
from ieg.data.dataset import Data, Opened
from ieg.data.noise import labels as noise_labels
from ieg.data.spec import parse
from ieg.errors import RunError, UsageError
from ieg.memorization.tracker import PATIENCE, MemorizationTracker
from ieg.methods.base import Info, Method, steps_for
from ieg.networks import create_network
from ieg.ops import optim
from ieg.options import DataConfig, RunConfig
from ieg.predict import export
from ieg.registry import METHODS
from ieg.run_folder import make_folder
from ieg.training import devices
from ieg.training.callbacks import Progress, TensorBoardScalars
from ieg.training.devices import has_gpu
from ieg.training.trainer import Settings, Trainer
from ieg.utils.randomness import generator


def make_settings(
    config: Config, data: Data, replicas: int, workers: bool
) -> Settings:
    """Returns how to train on a data set.

    Args:
        config: what was asked for.
        data: what is learnt from.
        replicas: on all machines.
        workers: whether there are several processes.

    Raises:
        UsageError: a batch has more examples than there are, or their views
            cannot be computed where they should be.
    """
    run, train = config.run, config.train
    batch, num_examples = train.batch_size * replicas, len(data.train)
    if batch > num_examples:
        raise UsageError(
            f'--batch_size={train.batch_size} on {replicas} replicas is more '
            f'than the {num_examples} training examples.'
        )
    whole = steps_for(num_examples, batch)
    per_epoch = min(train.steps_per_epoch or whole, whole)
    total = train.max_iteration or train.max_epoch * per_epoch
    schedule = optim.make_schedule(train, per_epoch, total)
    return Settings(
        schedule=schedule,
        steps_per_epoch=per_epoch,
        share=per_epoch / whole,
        total_steps=schedule.run_end(total),
        eval_batch_size=run.val_batch_size * replicas,
        eval_every=max(1, round(run.eval_freq / per_epoch))
        if run.eval_freq
        else run.eval_every,
        eval_splits=('valid', 'test', *data.further),
        seed=train.seed,
        on_device=_on_device(run.augment_on, data, workers),
        keep_checkpoints=run.keep_checkpoints,
    )


def _on_device(where: str, data: Data, workers: bool) -> bool:
    """Whether views are computed where the steps run.

    Raises:
        UsageError: they should be and cannot.
    """
    if where == 'auto':
        return has_gpu() and not workers and data.in_memory
    if where == 'device' and workers:
        raise UsageError(
            '--augment_on=device does not work with several workers; use host.'
        )
    if where == 'device' and not data.in_memory:
        raise UsageError(
            '--augment_on=device needs images in memory, and those of '
            f'{data.spec.base} are read from files; use host.'
        )
    return where == 'device'


def make_info(config: Config, data: Data, replicas: int, epochs: int) -> Info:
    """Returns what a method may know of a run before it begins."""
    train = config.train
    unused = (
        METHODS.get(train.method).ignores_probe
        and not config.data.probe_dataset_hold_ratio
    )
    return Info(
        num_classes=data.num_classes,
        image_shape=data.image_shape,
        labels=data.train.labels,
        num_probe=len(data.probe) if data.probe and not unused else 0,
        batch_size=train.batch_size * replicas,
        epochs=epochs,
        seed=train.seed,
        valid_counts=None
        if data.valid is None
        else np.bincount(data.valid.labels, minlength=data.num_classes),
    )


def check_splits(method: Method, name: str, data: Data) -> None:
    """Raises UsageError where a method needs examples that nobody set aside.

    Args:
        method: says what it needs.
        name: its own.
        data: what is learnt from.
    """
    splits = {stream.split for stream in method.streams().values()}
    if 'probe' in splits and data.probe is None:
        raise UsageError(
            f'{name} learns from clean probe images and there are none; set '
            '--probe_dataset_hold_ratio to the share of the training set to '
            'hold out (0.02 is usual).'
        )
    if method.needs_validation and data.valid is None:
        raise UsageError(
            f'{name} chooses networks by noisy validation labels; set '
            '--valid_ratio to the share of the training set to hold out (0.1 '
            'is usual).'
        )


def build_method(
    config: Config, info: Info, strategy: tf.distribute.Strategy
) -> Method:
    """Returns the method with its networks, under the scope of a strategy."""
    train = config.train
    chosen = ieg_config.network_options(train)

    def build_network(number: int) -> keras.Model:
        # Each network has initial weights of its own.
        seed = generator(train.seed, 'network', number).integers(2**31)
        keras.utils.set_random_seed(int(seed))
        return create_network(
            train.network_name, info.num_classes, info.image_shape, **chosen
        )

    def build_optimizer() -> keras.optimizers.Optimizer:
        return optim.make_optimizer(train)

    with strategy.scope():
        return METHODS.get(train.method)(
            config.method, info, build_network, build_optimizer
        )


@contextlib.contextmanager
def one_sentence(in_memory: bool) -> Iterator[None]:
    """Turns what goes wrong outside of this program into one sentence.

    Args:
        in_memory: whether no image is read any more.

    Raises:
        RunError: memory is short, or an image cannot be read any more.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            'There is not enough memory for a step; lower --batch_size (and '
            '--val_batch_size).'
        ) from error
    except (
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
        tf.errors.UnknownError,
    ) as error:
        if in_memory:
            raise
        raise RunError(
            'An image that was there when the run began cannot be read: '
            f'{" ".join(error.message.split())[:300]}'
        ) from error


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
    data: Data
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
        return devices.is_chief(self.strategy)


def configure(given: Mapping[str, Any]) -> tuple[Config, Opened | None]:
    """Returns the configuration for options that a user gave.

    Args:
        given: options by name.

    Returns:
        The configuration; and the data set, where the options that were not
        given follow from what is in it, or where it is used more than once.

    Raises:
        UsageError: see `config.resolve`; or the data set cannot be opened.
    """
    given = renamed(given)
    spec = parse(given.get('dataset', DataConfig().dataset))
    if spec.has_recipe:
        config = ieg_config.resolve(given)
        if not config.search.search:
            return config, None
        return config, load.open_set(config.data, config.run)
    # A mistake is reported before anything is read.
    ieg_config.check(given)
    opened = load.open_set(
        ieg_config.build(DataConfig, given), ieg_config.build(RunConfig, given)
    )
    advice = opened.advice(given.get('image_size', 0))
    return ieg_config.resolve(given, advice), opened


def load_data(config: Config, opened: Opened | None = None) -> Data:
    """Loads what a run learns from, with the labels it began with.

    Args:
        config: resolved options.
        opened: the data set, if it has been opened already.

    Raises:
        UsageError: the options do not fit the data.
    """
    frozen = _frozen_noise(folder_of(config))
    seed = config.train.seed
    return load.load(config.data, config.run, seed, opened, frozen)


def build(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    opened: Opened | None = None,
    data: Data | None = None,
    trial_folder: str = '',
) -> Experiment:
    """Builds data, method and trainer.

    Sets precision and determinism of the process; what is built must be used
    before they change, within `distribution.restoring`.

    Args:
        config: resolved options.
        callbacks: more callbacks beside those of a run.
        strategy: one that exists already (a process can have one mirrored
            strategy only); None makes it.
        opened: the data set, if it has been opened already.
        data: loaded before; None loads it.
        trial_folder: run folder of a trial, which is never evaluated on the
            test split.

    Raises:
        UsageError: the options do not fit the data or the machine.
    """
    run = config.run
    strategy = strategy or devices.make_strategy(
        run.distribution_strategy, run.num_replicas
    )
    devices.set_numerics(config)
    data = data or load_data(config, opened)
    replicas = strategy.num_replicas_in_sync
    settings = make_settings(
        config, data, replicas, devices.has_workers(strategy)
    )
    info = make_info(config, data, replicas, settings.epochs)
    method = build_method(config, info, strategy)
    check_splits(method, config.train.method, data)
    settings = dataclasses.replace(
        settings, jit=devices.use_jit(config, method)
    )
    if trial_folder:
        settings = dataclasses.replace(settings, eval_splits=('valid',))
    elif run.stop_on_memorization == 'stop':
        # That of the recommended epoch must still be there.
        keep = max(settings.keep_checkpoints, PATIENCE + 1)
        settings = dataclasses.replace(settings, keep_checkpoints=keep)
    folder = trial_folder or folder_of(config)
    watchers = list(callbacks)
    watched = run.mode == 'train' and not trial_folder
    if devices.is_chief(strategy) and watched:
        watchers.append(TensorBoardScalars(os.path.join(folder, 'tensorboard')))
    identity = _identity(config, strategy, data)
    trainer = Trainer(
        method, data, settings, strategy, folder, identity, watchers
    )
    return Experiment(config, data, trainer, settings, strategy, folder)


def _identity(
    config: Config, strategy: tf.distribute.Strategy, data: Data
) -> dict[str, Any]:
    """Returns what a checkpoint of this run says that it is of."""
    return config.identity(strategy.num_replicas_in_sync) | {
        'precision': keras.config.dtype_policy().compute_dtype,
        'labels_sha256': data.labels_sha256,
        'images_sha256': data.fingerprint,
        'layout': LAYOUT,
    }


def _frozen_noise(folder: str) -> noise_labels.NoisyLabels | None:
    path = os.path.join(folder, 'noise.npz')
    return noise_labels.load(path) if os.path.exists(path) else None


def train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    progress: bool = True,
    opened: Opened | None = None,
    data: Data | None = None,
) -> dict[str, Any]:
    """Trains to the end, going on from the run folder's last checkpoint.

    Args:
        config: resolved options.
        callbacks: more callbacks beside those of a run.
        strategy: see `build`.
        progress: whether a bar and remarks are shown.
        opened: see `build`.
        data: see `build`.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UsageError: the run folder cannot be written or holds another run, or
            the options do not fit.
    """
    make_folder(folder_of(config))
    with devices.restoring():
        return _train(config, callbacks, strategy, progress, opened, data)


def _train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy | None,
    progress: bool,
    opened: Opened | None,
    data: Data | None,
) -> dict[str, Any]:
    started = time.monotonic()
    experiment = build(config, callbacks, strategy, opened, data)
    trainer = experiment.trainer
    _track(experiment)
    start = trainer.restore(config.run.restore_step)
    if not start:
        _tell_length(experiment)
        _tell_missing(experiment)
    if experiment.is_chief:
        results.write_head(experiment.folder, config, experiment.data)
        if progress:
            for text in (*_precision_advice(config), *experiment.data.remarks):
                _say(text)
            costs = trainer.method.epoch_costs()
            trainer.add_callback(Progress(costs, start))
    with one_sentence(experiment.data.in_memory):
        trainer.train(start)
        outcome = results.conclude(trainer, experiment.data)
    summary = results.summarize(
        experiment.folder,
        config,
        experiment.data,
        trainer.log.entries,
        time.monotonic() - started,
    )
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


def _precision_advice(config: Config) -> tuple[str, ...]:
    """Returns a remark where another precision would be faster."""
    chosen = config.train.precision
    if chosen != 'auto' or devices.has_gpu():
        return ()
    if not devices.has_fast_bfloat16():
        return ()
    return ('On this CPU --precision=bfloat16 would be faster than float32.',)


def _track(experiment: Experiment) -> None:
    """Adds the memorization tracker where it is asked for."""
    run = experiment.config.run
    if not run.track_memorization:
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
    config: Config,
    strategy: tf.distribute.Strategy | None = None,
    opened: Opened | None = None,
) -> dict[str, Any]:
    """Evaluates a checkpoint and appends the figures to the run folder.

    Raises:
        UsageError: there is no such checkpoint, or it is of another
            configuration.
    """
    folder = folder_of(config)
    if not os.path.isdir(os.path.join(folder, 'checkpoints')):
        raise UsageError(
            f'There is no checkpoint in {folder}; train first with the same '
            'flags and --mode=train.'
        )
    with devices.restoring():
        experiment = build(config, strategy=strategy, opened=opened)
        with one_sentence(experiment.data.in_memory):
            found = experiment.trainer.evaluate_checkpoint(
                config.run.restore_step
            )
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
