"""Trains the trials of a search one after the other in this process."""

import dataclasses
import gc
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ieg import config as ieg_config
from ieg import experiment
from ieg.config import Config
from ieg.data.dataset import Data, Opened
from ieg.errors import RunError, UsageError
from ieg.methods.base import Method
from ieg.registry import METHODS
from ieg.search.store import LOWEST, Result, Trial
from ieg.training.callbacks import Callback
from ieg.training.checkpoint import Rewind
from ieg.utils.interrupt import Interrupt

# A trial is stopped if its validation accuracy after a tenth of its epochs (and
# at least some) is hardly better than chance. The factor is small, because with
# 90 % wrong labels a good network agrees with few of them.
HOPELESS_AFTER = 0.1
HOPELESS_EPOCHS = 3
HOPELESS_BELOW = 1.2
# A score is the mean over the last epochs, at most so many.
LAST = 10


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a search has to know about its trials.

    Attributes:
        epochs: number of epochs of a whole trial.
        batch_size: examples per step.
        steps_per_epoch: nominal steps of one epoch.
    """

    epochs: int
    batch_size: int
    steps_per_epoch: int


class Stop(Callback):
    """Stops a hopeless trial.

    Args:
        epochs: number of epochs of a whole trial.
        num_classes: C.

    Attributes:
        active: whether trials are stopped at all.
    """

    def __init__(self, epochs: int, num_classes: int):
        super().__init__()
        self.active = False
        after = max(HOPELESS_EPOCHS, math.ceil(HOPELESS_AFTER * epochs))
        # A trial is not stopped at its end.
        self._after = after if after < epochs else 0
        self._least = HOPELESS_BELOW / num_classes

    def gives_up(self, epochs: int, accuracy: float) -> bool:
        """Returns whether to stop a trial.

        Args:
            epochs: number of finished epochs.
            accuracy: validation accuracy after the last one.
        """
        return self.active and epochs == self._after and accuracy < self._least

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Stops the trial if it is hopeless."""
        if self.gives_up(epoch + 1, (logs or {})['valid_accuracy']):
            self.model.stop_training = True


class _Built:
    """An experiment that can be restarted."""

    def __init__(
        self,
        config: Config,
        data: Data,
        folder: str,
        interrupt: Interrupt | None,
    ):
        self.experiment = experiment.build(
            config, data=data, trial_folder=folder, interrupt=interrupt
        )
        self.stop = Stop(self.experiment.settings.epochs, data.num_classes)
        self.experiment.trainer.add_callback(self.stop)
        self._rewind = Rewind(self.experiment.trainer.method)

    def restart(self, config: Config, folder: str) -> None:
        """Resets everything to the beginning, for another trial."""
        self._rewind.apply()
        self.experiment = self.experiment.restart(config, folder)


class Runner:
    """Trains trials of one configuration.

    Trials share the data, and the compiled steps of the previous trial if only
    `Method.host_options` differ.

    Args:
        config: configuration of every trial, apart from the searched options.
        opened: the data set, if it has been opened already.
        interrupt: asked whether to stop; None for never.
    """

    def __init__(
        self,
        config: Config,
        opened: Opened | None = None,
        interrupt: Interrupt | None = None,
    ):
        self._config = config
        self._interrupt = interrupt
        self._opened = opened
        # Nothing is written to this folder.
        self._nowhere = os.path.join(
            ieg_config.folder_of(config), 'search', 'measure'
        )
        self._data: Data | None = None
        self._fixed: dict[str, Any] = {}
        self._built: _Built | None = None

    def facts(self) -> Facts:
        """Returns facts about the trials."""
        built = self._build(self._config, self._nowhere).experiment
        return Facts(
            built.settings.epochs,
            built.trainer.method.info.batch_size,
            built.settings.steps_per_epoch,
        )

    def seconds(self) -> float:
        """Runs a few steps; returns the estimated seconds of an epoch.

        Raises:
            RunError: there is not enough memory.
        """
        built = self._build(self._config, self._nowhere).experiment
        try:
            return built.trainer.seconds_per_epoch()
        except tf.errors.ResourceExhaustedError as error:
            raise RunError(
                'Not enough memory for a training step: lower --batch_size.'
            ) from error

    def run(
        self, trials: Sequence[tuple[Trial, str]]
    ) -> Iterator[tuple[Trial, Result]]:
        """Trains (trial, folder) pairs; yields each trial and its result."""
        for trial, folder in trials:
            yield trial, self.train(trial, folder)

    def train(self, trial: Trial, folder: str) -> Result:
        """Trains a trial, resuming from its checkpoint if there is one.

        Args:
            trial: the trial.
            folder: run folder of the trial.

        Raises:
            UsageError: the checkpoint is of another trial.
            RunError: the disk is full.
        """
        options = self._config.flat() | trial.options | {'seed': trial.seed}
        self._load()
        try:
            built = self._build(ieg_config.resolve(options), folder)
        except UsageError as error:
            return Result('refused', LOWEST, remark=str(error))
        # Promising and repeated trials are not stopped.
        built.stop.active = trial.stage == 'search'
        os.makedirs(folder, exist_ok=True)
        start = built.experiment.trainer.restore()
        try:
            return _train(built, start)
        except UsageError as error:
            # Some options only fail with what a method estimates.
            return Result('refused', LOWEST, remark=str(error))
        except (RunError, tf.errors.OpError) as error:
            if 'No space left on device' in str(error):
                raise RunError(
                    f'The disk of {folder} is full: make room, and run the '
                    'same command again to resume.'
                ) from error
            remark = (str(error) or type(error).__name__).splitlines()[0]
            return Result('failed', LOWEST, remark=remark)

    def close(self) -> None:
        """Frees the memory."""
        self._data = self._built = None
        # Models have reference cycles.
        gc.collect()

    def _load(self) -> Data:
        if self._data is None:
            self._data = experiment.load_data(self._config, self._opened)
        return self._data

    def _build(self, config: Config, folder: str) -> _Built:
        """Returns the experiment of a trial, at its beginning."""
        method: type[Method] = METHODS.get(config.train.method)
        fixed = {
            name: value
            for name, value in config.flat().items()
            if name not in method.host_options
        }
        if self._built and self._fixed == fixed:
            self._built.restart(config, folder)
            return self._built
        # Free the memory before building another one.
        self._built = None
        gc.collect()
        self._built = _Built(config, self._load(), folder, self._interrupt)
        self._fixed = fixed
        return self._built


def _train(built: _Built, start: int) -> Result:
    """Trains a trial from epoch `start` to its end."""
    trainer, epochs = built.experiment.trainer, built.experiment.settings.epochs
    entries = trainer.log.entries
    # The process may have been killed after the last epoch.
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
