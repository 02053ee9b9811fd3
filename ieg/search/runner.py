"""Trains the trials of a search, one after the other in this process."""

import dataclasses
import gc
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg import config as ieg_config
from ieg import experiment
from ieg.config import Config
from ieg.data.dataset import Opened
from ieg.errors import RunError, UsageError
from ieg.registry import METHODS
from ieg.search.store import LOWEST, Result, Trial
from ieg.training.checkpoint import Rewind

# A trial is hopeless whose validation accuracy, a tenth of the way and not in
# the first epochs, is hardly that of guessing. Hardly: where nine of ten
# labels are wrong, a good network is right about few of them.
HOPELESS_AFTER = 0.1
HOPELESS_EPOCHS = 3
HOPELESS_BELOW = 1.2
# The last epochs that a score is the mean of.
LAST = 10


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a search must know of its trials.

    Attributes:
        epochs: of a whole trial.
        batch_size: examples per step.
        steps_per_epoch: nominal steps of one epoch.
    """

    epochs: int
    batch_size: int
    steps_per_epoch: int


class Stop(keras.callbacks.Callback):
    """Ends a trial that is hopeless.

    Args:
        epochs: of a whole trial.
        num_classes: C.

    Attributes:
        active: whether trials are given up at all.
    """

    def __init__(self, epochs: int, num_classes: int):
        super().__init__()
        self.active = False
        after = max(HOPELESS_EPOCHS, math.ceil(HOPELESS_AFTER * epochs))
        # Whoever has come to the end is not given up any more.
        self._after = after if after < epochs else 0
        self._least = HOPELESS_BELOW / num_classes

    def gives_up(self, epochs: int, accuracy: float) -> bool:
        """Whether a trial ends here.

        Args:
            epochs: how many it has behind it.
            accuracy: on the validation split, after the last one.
        """
        return self.active and epochs == self._after and accuracy < self._least

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Decides at the one epoch."""
        if self.gives_up(epoch + 1, logs['valid_accuracy']):
            self.model.stop_training = True


class _Built:
    """An experiment with what it takes to run it again and again."""

    def __init__(self, config: Config, data: Any, folder: str):
        self.experiment = experiment.build(
            config, data=data, trial_folder=folder
        )
        self.stop = Stop(self.experiment.settings.epochs, data.num_classes)
        self.experiment.trainer.add_callback(self.stop)
        self._rewind = Rewind(self.experiment.trainer.method)

    def restart(self, config: Config, folder: str) -> None:
        """Brings everything back to the beginning, for another trial."""
        self._rewind.apply()
        self.experiment = self.experiment.restart(config, folder)


class Runner:
    """Trains trials of one configuration.

    What trials have in common stays: the data, and the compiled steps as far
    as they differ in nothing but what a method reads between epochs.

    Args:
        config: of every trial, but for its own options.
        opened: the data set, if it has been opened already.
    """

    def __init__(self, config: Config, opened: Opened | None = None):
        self._config = config
        self._opened = opened
        # Nothing is written there.
        self._nowhere = os.path.join(
            ieg_config.folder_of(config), 'search', 'measure'
        )
        self._data = None
        self._fixed: dict[str, Any] = {}
        self._built: _Built | None = None

    def facts(self) -> Facts:
        """Returns what a search must know of its trials."""
        built = self._build(self._config, self._nowhere).experiment
        return Facts(
            built.settings.epochs,
            built.trainer.method.info.batch_size,
            built.settings.steps_per_epoch,
        )

    def seconds(self) -> float:
        """Makes a few steps; returns how long an average epoch should take.

        Raises:
            RunError: there is not enough memory.
        """
        built = self._build(self._config, self._nowhere).experiment
        try:
            return built.trainer.seconds_per_epoch()
        except tf.errors.ResourceExhaustedError as error:
            raise RunError(
                'There is not enough memory for a step; lower --batch_size.'
            ) from error

    def run(
        self, trials: Sequence[tuple[Trial, str]]
    ) -> Iterator[tuple[Trial, Result]]:
        """Trains trials in their folders and yields each when it is done."""
        for trial, folder in trials:
            yield trial, self.train(trial, folder)

    def train(self, trial: Trial, folder: str) -> Result:
        """Trains a trial, from its own checkpoint if there is one.

        Raises:
            UsageError: the checkpoint is of another trial.
            RunError: nothing can be trained, for the disk is full.
        """
        options = self._config.flat() | trial.options | {'seed': trial.seed}
        self._load()
        try:
            built = self._build(ieg_config.resolve(options), folder)
        except UsageError as error:
            return Result('refused', LOWEST, remark=str(error))
        # A trial that is known to be good, or was good once, is not given up.
        built.stop.active = trial.stage == 'search'
        os.makedirs(folder, exist_ok=True)
        start = built.experiment.trainer.restore()
        try:
            return _train(built, start)
        except UsageError as error:
            # What a method finds out may be at odds with its options.
            return Result('refused', LOWEST, remark=str(error))
        except (RunError, tf.errors.OpError) as error:
            if 'No space left on device' in str(error):
                raise RunError(
                    f'The disk of {folder} is full; make room, and the same '
                    'command goes on from here.'
                ) from error
            remark = (str(error) or type(error).__name__).splitlines()[0]
            return Result('failed', LOWEST, remark=remark)

    def close(self) -> None:
        """Gives memory back."""
        self._data = self._built = None
        # Models have references to themselves.
        gc.collect()

    def _load(self) -> None:
        if self._data is None:
            self._data = experiment.load_data(self._config, self._opened)

    def _build(self, config: Config, folder: str) -> _Built:
        """Returns a trial's experiment, at its beginning."""
        method = METHODS.get(config.train.method)
        fixed = {
            name: value
            for name, value in config.flat().items()
            if name not in method.host_options
        }
        if self._built and self._fixed == fixed:
            self._built.restart(config, folder)
            return self._built
        # Before the memory for another one is needed.
        self._built = None
        gc.collect()
        self._load()
        self._built = _Built(config, self._data, folder)
        self._fixed = fixed
        return self._built


def _train(built: _Built, start: int) -> Result:
    """Trains a trial from epoch `start` to its end."""
    trainer, epochs = built.experiment.trainer, built.experiment.settings.epochs
    entries = trainer.log.entries
    # A kill can come between its last epoch and its record.
    if not _is_given_up(built, entries):
        trainer.train(start)
    entries = trainer.log.entries
    accuracies = [entry['valid_accuracy'] for entry in entries]
    seconds = sum(entry['seconds'] for entry in entries)
    if _is_given_up(built, entries):
        return Result('stopped', accuracies[-1] - 1, len(entries), seconds)
    last = max(1, min(LAST, epochs // 4))
    score = float(np.mean(accuracies[-last:]))
    return Result('done', score, len(entries), seconds)


def _is_given_up(built: _Built, entries: Sequence[Mapping[str, Any]]) -> bool:
    return bool(entries) and built.stop.gives_up(
        len(entries), entries[-1]['valid_accuracy']
    )
