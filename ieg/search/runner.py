"""Trains the trials of a search, one after the other in this process."""

import dataclasses
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg import config as ieg_config
from ieg import experiment
from ieg.config import Config
from ieg.errors import RunError, UsageError
from ieg.registry import METHODS
from ieg.search.store import Result, Trial
from ieg.training.rewind import Rewind

# A trial is hopeless whose validation accuracy, a tenth of the way, is not
# even half more than that of guessing.
HOPELESS_AFTER = 0.1
HOPELESS_BELOW = 1.5
# The last epochs that a score is the mean of.
LAST = 10


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a search must know of its trials.

    Attributes:
        epochs: of a whole trial.
        batch_size: examples per step.
        seconds: how long a whole trial should take.
    """

    epochs: int
    batch_size: int
    seconds: float


class Stop(keras.callbacks.Callback):
    """Ends a trial that is hopeless.

    Args:
        epoch: number of epochs after which that is decided.
        least: validation accuracy that it must have then.
    """

    def __init__(self, epoch: int, least: float):
        super().__init__()
        self._epoch = epoch
        self._least = least

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Decides at the one epoch."""
        accuracy = (logs or {}).get('valid_accuracy', 1.0)
        if epoch + 1 == self._epoch and accuracy < self._least:
            self.model.stop_training = True


class Runner:
    """Trains trials of one configuration.

    What trials have in common stays: the data, and the compiled steps as far
    as they differ in nothing but what a method reads between epochs.

    Args:
        config: of every trial, but for its own options.
    """

    def __init__(self, config: Config):
        self._config = config
        self._data = None
        self._built: tuple[dict, experiment.Experiment, Rewind] | None = None

    def facts(self, folder: str) -> Facts:
        """Makes a few steps to see how long a trial takes."""
        built = self._build(self._config, folder)
        epochs = built.settings.epochs
        batch_size = built.trainer.method.info.batch_size
        seconds = built.trainer.seconds_per_epoch() * epochs
        return Facts(epochs, batch_size, seconds)

    def run(self, trial: Trial, folder: str) -> Result:
        """Trains a trial, from its own checkpoint if there is one.

        Raises:
            UsageError: the checkpoint is of another trial.
        """
        options = self._config.flat() | trial.options | {'seed': trial.seed}
        try:
            built = self._build(ieg_config.resolve(options), folder)
        except UsageError as error:
            return Result('refused', -2.0, remark=str(error))
        os.makedirs(folder, exist_ok=True)
        try:
            result = self._train(built)
        except (RunError, tf.errors.OpError) as error:
            result = Result('failed', -2.0, remark=str(error).splitlines()[0])
        # From now on its record counts, and its log is for people.
        shutil.rmtree(os.path.join(folder, 'checkpoints'), ignore_errors=True)
        return result

    def _build(self, config: Config, folder: str) -> experiment.Experiment:
        """Returns a trial's experiment, at its beginning."""
        method = METHODS.get(config.train.method)
        fixed = {
            name: value
            for name, value in config.flat().items()
            if name not in method.host_options
        }
        if self._built and self._built[0] == fixed:
            _, built, rewind = self._built
            rewind.apply()
            return built.restart(config, folder)
        # Before the memory for another one is needed.
        self._built = None
        self._data = self._data or experiment.load_data(self._config)
        built = experiment.build(config, data=self._data, trial_folder=folder)
        epoch, least = hopeless(built)
        built.trainer.add_callback(Stop(epoch, least))
        self._built = fixed, built, Rewind(built.trainer.method)
        return built

    def _train(self, built: experiment.Experiment) -> Result:
        trainer, epochs = built.trainer, built.settings.epochs
        start = trainer.restore()
        epoch, least = hopeless(built)
        if not _stopped(trainer.log.entries, epoch, least):
            trainer.train(start)
        entries = trainer.log.entries
        accuracies = [entry['valid_accuracy'] for entry in entries]
        seconds = sum(entry['seconds'] for entry in entries)
        if _stopped(entries, epoch, least):
            return Result('stopped', accuracies[-1] - 1, len(entries), seconds)
        last = max(1, min(LAST, epochs // 4))
        score = float(np.mean(accuracies[-last:]))
        return Result('done', score, len(entries), seconds)


def hopeless(built: experiment.Experiment) -> tuple[int, float]:
    """Returns after how many epochs a trial must have which accuracy."""
    epoch = math.ceil(HOPELESS_AFTER * built.settings.epochs)
    return epoch, HOPELESS_BELOW / built.data.num_classes


def _stopped(
    entries: Sequence[Mapping[str, Any]], epoch: int, least: float
) -> bool:
    """Whether a trial has come to where it is given up."""
    return (
        len(entries) == epoch and entries[-1].get('valid_accuracy', 1) < least
    )
