"""Builds data, method and trainer for a configuration; trains, evaluates.

Arguments of all functions: `config` is the configuration; `opened` the data
set if it has been opened already; `data` the data of the run, which are loaded
if it is None; `replicas` the number of replicas on all machines; `strategy` an
existing distribution strategy (a process can have only one mirrored strategy),
or None to create one; `callbacks` are additional ones; `interrupt` is asked
whether to stop, None for never.
"""

import contextlib
import dataclasses
import functools
import gc
import json
import os
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TextIO

import keras
import numpy as np
import tensorflow as tf

import ieg
import ieg.methods  # noqa: F401  # Registers the built-in ones.
from ieg import config as ieg_config
from ieg import folds, held_out, results, run_folder
from ieg.commandline.arguments import complete
from ieg.config import Config, folder_of
from ieg.data import load
from ieg.data.dataset import Data, Opened
from ieg.data.images.files import lost
from ieg.data.noise import labels as noise_labels
from ieg.data.spec import parse
from ieg.errors import RunError, UsageError, as_os_error
from ieg.features import backbones, embed, names
from ieg.folds import Fold
from ieg.memorization import PATIENCE, MemorizationTracker
from ieg.methods import checks
from ieg.methods.base import Info, Method, steps_for
from ieg.networks import create_network, foreign
from ieg.ops import optim
from ieg.options import MOST_EPOCHS, DataConfig, RunConfig, TrainConfig
from ieg.predict import model as predict_model
from ieg.registry import METHODS, introduced
from ieg.training import devices, loggers
from ieg.training.callbacks import Progress, TensorBoardScalars
from ieg.training.checkpoint import Rewind
from ieg.training.devices import has_gpu
from ieg.training.trainer import Settings, Trainer
from ieg.utils import plugins, sources
from ieg.utils.files import append, write_sums
from ieg.utils.interrupt import Interrupt
from ieg.utils.randomness import generator


def make_settings(
    config: Config, data: Data, replicas: int, workers: bool
) -> Settings:
    """Returns the settings of the trainer; `workers`: several processes train.

    Raises:
        UsageError: a batch is larger than the training set, the run is too
            long, or `--augment_on=device` is not possible.
    """
    run, train = config.run, config.train
    batch, num_examples = train.batch_size * replicas, len(data.train)
    if batch > num_examples:
        raise UsageError(
            f'--batch_size={train.batch_size} on {replicas} replicas must not '
            f'exceed the {num_examples} training examples.'
        )
    whole = steps_for(num_examples, batch)
    per_epoch = min(train.steps_per_epoch or whole, whole)
    total = train.max_iteration or train.max_epoch * per_epoch
    if total > MOST_EPOCHS * per_epoch:
        raise UsageError(
            f'--max_iteration={total} must be at most {MOST_EPOCHS} epochs of '
            f'{per_epoch} steps.'
        )
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
        checkpoint_minutes=run.checkpoint_minutes,
    )


def _on_device(where: str, data: Data, workers: bool) -> bool:
    """Returns whether views are computed where the steps run.

    Raises:
        UsageError: `--augment_on=device` is not possible.
    """
    if where == 'auto':
        return has_gpu() and not workers and data.in_memory
    if where == 'device' and workers:
        raise UsageError(
            '--augment_on=device does not support several workers: use host.'
        )
    if where == 'device' and not data.in_memory:
        raise UsageError(
            '--augment_on=device needs images in memory, but those of '
            f'{data.spec.base} are read from files: use host.'
        )
    return where == 'device'


def make_info(config: Config, data: Data, replicas: int, epochs: int) -> Info:
    """Returns what a method may know about the data and a run of `epochs`."""
    train = config.train
    method: type[Method] = METHODS.get(train.method)
    unused = method.ignores_probe and not config.data.probe_dataset_hold_ratio
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
        class_names=tuple(data.class_names),
    )


def check_splits(method: Method, name: str, data: Data) -> None:
    """Checks that the data have the splits that a method needs.

    Raises:
        UsageError: a split is missing.
    """
    splits = {stream.split for stream in method.streams().values()}
    if 'probe' in splits and data.probe is None:
        raise UsageError(
            f'--method={name} needs clean probe images: set '
            '--probe_dataset_hold_ratio to the share of the training set to '
            'hold out (0.02 is usual).'
        )
    if method.needs_validation and data.valid is None:
        raise UsageError(
            f'--method={name} needs noisy validation labels: set '
            '--valid_ratio to the share of the training set to hold out (0.1 '
            'is usual).'
        )


def build_method(
    config: Config, info: Info, strategy: tf.distribute.Strategy
) -> Method:
    """Builds the method and its networks in the scope of a strategy."""
    train = config.train
    chosen = ieg_config.network_options(train)
    # Evaluation restores all weights.
    starts = train.initial_weights and config.run.mode == 'train'
    known = predict_model.load(train.initial_weights) if starts else None

    def build_network(number: int) -> keras.Model:
        # Each network has its own initial weights.
        seed = generator(train.seed, 'network', number).integers(2**31)
        keras.utils.set_random_seed(int(seed))
        network = create_network(
            train.network_name,
            info.num_classes,
            info.image_shape,
            number,
            **chosen,
        )
        if known is not None:
            _start_from(known.networks, number, network, train)
        return network

    build_optimizer = functools.partial(optim.make_optimizer, train)
    with strategy.scope():
        return METHODS.get(train.method)(
            config.method, info, build_network, build_optimizer
        )


def _start_from(
    networks: Sequence[keras.Model],
    number: int,
    network: keras.Model,
    train: TrainConfig,
) -> None:
    """Copies weights into a network; the networks serve in turn.

    Raises:
        UsageError: they are of another kind of network.
    """
    source = networks[number % len(networks)]
    shapes = [[w.shape for w in net.weights] for net in (source, network)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f'--initial_weights={train.initial_weights} has another network '
            f'than --network_name={train.network_name} for these images and '
            'classes.'
        )
    network.set_weights(source.get_weights())


# What a step raises when another worker has ended.
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


# What reading an image raises.
UNREAD = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnknownError,
)


@contextlib.contextmanager
def one_sentence(data: Data) -> Iterator[None]:
    """Replaces errors of TensorFlow whose cause is outside of the program.

    Raises:
        OSError: a file cannot be written.
        RunError: there is not enough memory, another worker has ended, or an
            image can no longer be read.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if failed := as_os_error(error.message):
            raise failed from error
        if isinstance(error, LOST) and (silent := devices.silent()):
            raise RunError(
                f'The worker {" and ".join(silent)} does not answer any more: '
                'start all workers again to resume.'
            ) from error
        if isinstance(error, tf.errors.ResourceExhaustedError):
            raise RunError(
                'Not enough memory for a training step: lower --batch_size '
                '(and --val_batch_size).'
            ) from error
        if not data.files or plugins.sentence(error):
            raise
        if gone := lost(data.files):
            raise gone from error
        if not isinstance(error, UNREAD):
            raise
        raise RunError(
            'An image could not be read, but all of them can be read now. Run '
            'the same command again to resume.'
        ) from error


# Increased whenever the content of a checkpoint changes.
LAYOUT = 2


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that is built for one configuration.

    The trainer is ready to restore, train or evaluate; settings and strategy
    are its own, and `folder` is the run folder.
    """

    config: Config
    data: Data
    trainer: Trainer
    settings: Settings
    strategy: tf.distribute.Strategy
    folder: str

    def restart(self, config: Config, folder: str) -> 'Experiment':
        """Returns the experiment for another run with other host options.

        Args:
            config: must only differ in the method's `host_options`.
            folder: run folder of the new run.

        Raises:
            UsageError: the method refuses the options.
        """
        self.trainer.method.reconfigure(config.method)
        self.trainer.restart(
            folder, _identity(config, self.strategy, self.data)
        )
        return dataclasses.replace(self, config=config, folder=folder)

    def exchange(self, data: Data, folder: str) -> 'Experiment':
        """Returns the experiment for another run on other data.

        Args:
            data: with as many training examples, on the host.
            folder: run folder of the new run.
        """
        self.trainer.exchange(data)
        self.trainer.restart(
            folder, _identity(self.config, self.strategy, data)
        )
        return dataclasses.replace(self, data=data, folder=folder)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return devices.is_chief(self.strategy)


def configure(
    given: Mapping[str, Any],
    check_search: Callable[[Config], None] = lambda config: None,
) -> tuple[Config, Opened | None]:
    """Returns the configuration for the options of a user, `given` by name.

    Args:
        given: options by name.
        check_search: called before data is read if a search is to be run.

    Returns:
        The configuration; and the opened data set if it determines the
        defaults of other options or is used more than once, otherwise None.

    Raises:
        UsageError: see `ieg.config.resolve`; or the data set cannot be opened.
    """
    given = complete(given)
    spec = parse(given.get('dataset', DataConfig().dataset))
    backbone = ieg_config.backbone(given)
    recipe = spec.has_recipe and backbone == names.OFF
    if recipe:
        config = ieg_config.resolve(given)
    else:
        config = ieg_config.check(given)
    # A mistake is reported before anything is read.
    if config.search.search and config.run.mode == 'train':
        check_search(config)
    if recipe:
        searches = bool(config.search.search)
        opened = load.open_set(config.data, config.run) if searches else None
        return config, opened
    data, run = (ieg_config.build(c, given) for c in (DataConfig, RunConfig))
    opened = load.open_set(data, run)
    advice = opened.advice(given.get('image_size', 0))
    if advice is not None and advice.vectors and backbone == names.AUTO:
        backbone = names.OFF
    if backbone == names.AUTO:
        backbone = names.resolve_auto()
    given = {**given, 'backbone': backbone}
    if backbone != names.OFF:
        if config.run.mode == 'train':
            # Features take long.
            run_folder.check_writable(folder_of(config))
        data = dataclasses.replace(data, backbone=backbone)
        opened = _embedded(opened, data, run, config.train.seed)
        advice = opened.advice()
    return ieg_config.resolve(given, advice), opened


def _embedded(
    opened: Opened, data: DataConfig, run: RunConfig, seed: int
) -> Opened:
    """Returns a data set of images as one of the features of a backbone.

    Raises:
        UsageError: its weights are not there.
    """
    return embed.embed(
        opened,
        backbones.load(data.backbone),
        data.feature_views,
        run.cache_dir,
        seed,
        functools.partial(load.chosen, data, seed),
    )


def load_data(config: Config, opened: Opened | None = None) -> Data:
    """Loads the data of a run; a resumed run gets the same noisy labels.

    Raises:
        UsageError: the options do not fit the data.
    """
    frozen = _frozen_noise(folder_of(config))
    data, run, seed = config.data, config.run, config.train.seed
    if opened is None and data.backbone != names.OFF:
        opened = _embedded(load.open_set(data, run), data, run, seed)
    return load.load(data, run, seed, opened, frozen)


def load_pictures(options: Mapping[str, Any]) -> Data:
    """Loads the data of a run to show them: images even if it saw features.

    Args:
        options: those that the run has recorded.

    Raises:
        UsageError: the options do not fit the data.
    """
    if options.get('backbone', names.OFF) == names.OFF:
        config, opened = configure(options)
        return load_data(config, opened)
    config = ieg_config.resolve(options)
    frozen = _frozen_noise(folder_of(config))
    return load.load(config.data, config.run, config.train.seed, None, frozen)


def build(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    opened: Opened | None = None,
    data: Data | None = None,
    trial_folder: str = '',
    interrupt: Interrupt | None = None,
    checkpoint_seconds: float = 0.0,
) -> Experiment:
    """Builds data, method and trainer.

    Sets precision and determinism of the process, which must stay the same
    while the experiment is used. Call it within
    `ieg.training.devices.restoring`.

    Args:
        trial_folder: run folder of a trial, which is never evaluated on the
            test split.
        checkpoint_seconds: least seconds between the checkpoints of a trial.

    Raises:
        UsageError: the options do not fit the data or the machine.
    """
    run = config.run
    strategy = strategy or devices.make_strategy(
        run.distribution_strategy, run.num_replicas
    )
    devices.set_numerics(config)
    data = data or load_data(config, opened)
    folder = trial_folder or folder_of(config)
    watched = run.mode == 'train' and not trial_folder
    identity = _identity(config, strategy, data)
    if watched:
        _check_identity(folder, config, identity)
    replicas = strategy.num_replicas_in_sync
    settings = make_settings(
        config, data, replicas, devices.has_workers(strategy)
    )
    info = make_info(config, data, replicas, settings.epochs)
    method = build_method(config, info, strategy)
    checks.check_streams(method, replicas)
    check_splits(method, config.train.method, data)
    settings = dataclasses.replace(
        settings, jit=devices.use_jit(config, method)
    )
    if trial_folder:
        settings = dataclasses.replace(
            settings,
            eval_splits=('valid',),
            checkpoint_seconds=checkpoint_seconds,
        )
    elif run.stop_on_memorization == 'stop':
        # The checkpoint of the recommended epoch must be kept.
        keep = max(settings.keep_checkpoints, PATIENCE + 1)
        settings = dataclasses.replace(settings, keep_checkpoints=keep)
    watchers = list(callbacks)
    if devices.is_chief(strategy) and watched:
        watchers.append(TensorBoardScalars(os.path.join(folder, 'tensorboard')))
    trainer = Trainer(
        method, data, settings, strategy, folder, identity, watchers, interrupt
    )
    return Experiment(config, data, trainer, settings, strategy, folder)


def _identity(
    config: Config, strategy: tf.distribute.Strategy, data: Data
) -> dict[str, Any]:
    """Returns the options and digests that a checkpoint must agree with."""
    start = config.train.initial_weights
    if start and config.run.mode == 'train':
        start = predict_model.digest(start)
    network = config.train.network_name
    kept = {}
    if sources.is_file(network):
        kept[ieg_config.NETWORK_HASH] = foreign.file_hash(network)
    return config.identity(strategy.num_replicas_in_sync) | {
        **kept,
        # The file may be moved.
        'initial_weights': start,
        'precision': keras.config.dtype_policy().compute_dtype,
        'labels_sha256': data.labels_sha256,
        'images_sha256': data.fingerprint,
        'layout': LAYOUT,
        # For messages; moved data are the same data.
        'data': config.run.data_dir,
    }


def _check_identity(
    folder: str, config: Config, identity: dict[str, Any]
) -> None:
    """Checks that a folder has no other run, before anything is written.

    The checkpoints of earlier versions are the only ones that tell.

    Raises:
        UsageError: it has one.
    """
    path = os.path.join(folder, run_folder.IDENTITY)
    if os.path.exists(path) and run_folder.is_trained(folder):
        ieg_config.check_identity(
            folder,
            run_folder.read_object(path),
            json.loads(json.dumps(identity)),
            introduced(DataConfig, TrainConfig, type(config.method)),
        )


def _frozen_noise(folder: str) -> noise_labels.NoisyLabels | None:
    path = os.path.join(folder, 'noise.npz')
    return noise_labels.load(path) if os.path.exists(path) else None


def train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    progress: bool | TextIO = True,
    opened: Opened | None = None,
    data: Data | None = None,
    interrupt: Interrupt | None = None,
    said: Collection[str] = (),
) -> dict[str, Any]:
    """Trains to the end, resuming from the last checkpoint if there is one.

    Args:
        progress: whether to print the progress and remarks; or where to print
            the progress, which is standard error otherwise.
        said: remarks about the data that have been printed before.

    Returns:
        The content of `summary.json`; and `not_written`, a sentence for each
        model or report that could not be written.

    Raises:
        UsageError: the run folder cannot be written or has another run, the
            options do not fit the data or the machine, or the package of a
            logger is not installed.
        RunError: the training cannot continue.
        OSError: a file of the run cannot be written any more.
        Interrupted: `interrupt` received a signal.
    """
    started = time.monotonic()
    loggers.check(config.run)
    interrupt = interrupt or Interrupt()
    with devices.restoring(), contextlib.ExitStack() as stack:
        strategy = strategy or devices.make_strategy(
            config.run.distribution_strategy, config.run.num_replicas
        )
        if devices.is_chief(strategy):
            stack.enter_context(run_folder.writing(folder_of(config)))
        experiment = build(
            config, callbacks, strategy, opened, data, interrupt=interrupt
        )
        with one_sentence(experiment.data):
            return _train(experiment, progress, started, said, interrupt)


def _train(
    experiment: Experiment,
    progress: bool | TextIO,
    started: float,
    said: Collection[str],
    interrupt: Interrupt,
) -> dict[str, Any]:
    config, trainer = experiment.config, experiment.trainer
    _track(experiment)
    start = trainer.restore(config.run.restore_step)
    if trainer.is_new:
        _remark_length(experiment)
        _remark_missing(experiment)
    else:
        _remark_edits(experiment)
    if experiment.is_chief:
        identity = _identity(config, experiment.strategy, experiment.data)
        results.write_head(experiment.folder, config, experiment.data, identity)
        if progress:
            for text in (
                *_precision_advice(config, experiment.data),
                *(r for r in experiment.data.remarks if r not in said),
                *trainer.remarks,
            ):
                _print(text)
            costs = trainer.method.epoch_costs()
            stream = None if isinstance(progress, bool) else progress
            trainer.add_callback(Progress(costs, start, stream))
    say = _print if progress and experiment.is_chief else _ignore
    reports = _loggers(experiment)
    parts = _folds(experiment, interrupt, say)
    if not parts and held_out.measures_noise(experiment.data):
        best = held_out.BestAndEarly(trainer, experiment.data, held_out.VALID)
        trainer.add_callback(best)
    trainer.train(start)
    if progress and len(trainer.log.entries) == start:
        _print('The run was complete already: nothing was trained.')
    outcome = results.conclude(trainer, experiment.data, parts, say)
    summary = results.summarize(
        experiment.folder,
        config,
        experiment.data,
        trainer.log.entries,
        time.monotonic() - started,
    )
    summary['label_issues'] = outcome.figures
    if experiment.is_chief:
        if review := results.review_of(experiment.folder):
            outcome.remarks.append(review)
        results.write(experiment.folder, outcome, summary)
        reports.finish(summary)
        kinds, folder = predict_model.kinds(config.run), experiment.folder
        for text in outcome.remarks if progress else ():
            _print(text)
        summary['not_written'] = results.present(
            trainer, experiment.data, folder, kinds
        )
        write_sums(folder, run_folder.SEALED)
    return summary


def _loggers(experiment: Experiment) -> loggers.Loggers:
    """Returns a callback for the loggers of a run, which it gets."""
    config, trainer = experiment.config, experiment.trainer
    names = loggers.chosen(config.run) if experiment.is_chief else []
    reports = loggers.Loggers(
        names, experiment.folder, config.recorded(), trainer.log
    )
    trainer.add_callback(reports)
    return reports


def _folds(
    experiment: Experiment, interrupt: Interrupt, say: Callable[[str], None]
) -> list[Fold]:
    """Returns the folds of a run on vectors; none for images, or too few.

    Makes the run remember what it predicts until the epoch that they choose.
    """
    trainer, data = experiment.trainer, experiment.data
    if not folds.suit(trainer.method, data):
        return []
    parts = folds.train(
        _FoldBuilder(experiment, interrupt),
        data,
        experiment.folder,
        experiment.config.train.seed,
        experiment.settings.total_steps,
        experiment.is_chief,
        interrupt,
        say if experiment.is_chief else _ignore,
    )
    trainer.add_callback(folds.Early(trainer, folds.middle_epoch(parts)))
    return parts


# Seconds between the checkpoints of a fold, whose epochs are often shorter.
_SELDOM = 10.0


class _FoldBuilder:
    """Builds the trainer of each fold of a run, at its beginning.

    The compiled steps of the first fold serve all of them, unless images live
    on a device, or the method is a plugin's, which may have compiled labels.

    Args:
        experiment: of the run.
        interrupt: of the run.
    """

    def __init__(self, experiment: Experiment, interrupt: Interrupt):
        self._run, self._interrupt = experiment, interrupt
        ours = type(experiment.trainer.method).__module__.startswith('ieg.')
        self._reuses = ours and not experiment.settings.on_device
        self._built: tuple[Experiment, Rewind] | None = None

    def __call__(self, data: Data, folder: str) -> Trainer:
        """Returns a trainer for the data and run folder of a fold."""
        if self._built:
            experiment, rewind = self._built
            rewind.apply()
            return experiment.exchange(data, folder).trainer
        # Models, here that of the last fold, have reference cycles.
        gc.collect()
        experiment = build(
            _fold_config(self._run, len(data.train)),
            strategy=self._run.strategy,
            data=data,
            trial_folder=folder,
            interrupt=self._interrupt,
            checkpoint_seconds=_SELDOM,
        )
        if self._reuses:
            self._built = experiment, Rewind(experiment.trainer.method)
        return experiment.trainer


def _fold_config(experiment: Experiment, count: int) -> Config:
    """Returns the configuration of a fold with `count` training examples."""
    train = experiment.config.train
    share = count / len(experiment.data.train)
    return dataclasses.replace(
        experiment.config,
        train=dataclasses.replace(
            train,
            batch_size=min(
                train.batch_size,
                count // experiment.strategy.num_replicas_in_sync,
            ),
            max_iteration=round(share * train.max_iteration),
            # They may have learned the labels that are held out.
            initial_weights='',
        ),
    )


def _ignore(text: str) -> None:
    """Says nothing."""


def _print(text: str) -> None:
    # Paths are not broken.
    wrapped = textwrap.fill(
        text, 79, break_long_words=False, break_on_hyphens=False
    )
    print(wrapped, flush=True)


def _precision_advice(config: Config, data: Data) -> tuple[str, ...]:
    """Returns a remark if another precision would be faster."""
    chosen = config.train.precision
    if chosen != 'auto' or devices.has_gpu() or data.is_vectors:
        return ()
    if not devices.has_fast_bfloat16():
        return ()
    return ('On this CPU --precision=bfloat16 would be faster than float32.',)


def _track(experiment: Experiment) -> None:
    """Adds the memorization tracker if it is requested."""
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


def _remark_length(experiment: Experiment) -> None:
    """Adds a remark if a run has another length than requested."""
    train, settings = experiment.config.train, experiment.settings
    asked = train.max_iteration or train.max_epoch * settings.steps_per_epoch
    if settings.total_steps != asked:
        experiment.trainer.method.remark(
            f'the run ends after {settings.total_steps} steps, at the end of '
            f'a cosine cycle, instead of {asked}'
        )


def _remark_missing(experiment: Experiment) -> None:
    """Adds a remark if no validation example has the label of some classes."""
    data, method = experiment.data, experiment.trainer.method
    if data.valid is None or not method.needs_validation:
        return
    missing = np.setdiff1d(np.arange(data.num_classes), data.valid.labels)
    if len(missing):
        names = ', '.join(map(str, missing[:10]))
        method.remark(
            f'no validation example is labeled {names}, so the choice of '
            'networks ignores these classes; a larger --valid_ratio helps'
        )


def _remark_edits(experiment: Experiment) -> None:
    """Adds a remark if a plugin was edited since the run was last started."""
    path = os.path.join(experiment.folder, run_folder.CONFIG)
    if edited := plugins.edited(path):
        experiment.trainer.method.remark(
            f'the plugin {", ".join(edited)} was edited since this run was '
            'last started, so its epochs are not all of one kind; to start '
            'again, use another --checkpoint_path'
        )


def evaluate(
    config: Config,
    strategy: tf.distribute.Strategy | None = None,
    opened: Opened | None = None,
) -> dict[str, Any]:
    """Evaluates a checkpoint and appends the figures to `evaluation.jsonl`.

    Returns:
        The figures, with the epoch and step of the checkpoint.

    Raises:
        UsageError: the checkpoint does not exist, or was saved with other
            options.
    """
    folder = folder_of(config)
    run_folder.check(folder)
    if not os.path.isdir(os.path.join(folder, 'checkpoints')):
        raise UsageError(
            f'There is no checkpoint in {folder}: train first with the same '
            'flags and --mode=train.'
        )
    with devices.restoring():
        experiment = build(config, strategy=strategy, opened=opened)
        with one_sentence(experiment.data):
            figures = experiment.trainer.evaluate_checkpoint(
                config.run.restore_step
            )
    if experiment.is_chief:
        for text in experiment.trainer.remarks:
            _print(text)
        path = os.path.join(folder, 'evaluation.jsonl')
        try:
            append(path, json.dumps(figures) + '\n')
        except OSError as error:
            # The folder of another user, or on a read-only medium.
            _print(f'{path} cannot be written ({error.strerror}).')
    return figures
