"""Callbacks of a run: their base class, its progress and TensorBoard."""

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

SHOWN = {
    'loss': 'loss',
    'train_accuracy': 'train',
    'valid_accuracy': 'valid',
    'test_accuracy': 'test',
}


class Callback(keras.callbacks.Callback):
    """A Keras callback that can also add to the log and receive remarks.

    The trainer accepts plain Keras callbacks as well.

    Attributes:
        measured: what `on_epoch_begin` has measured: arrays, and anything that
            JSON can hold. A run that resumes in the middle of an epoch sets it
            instead of calling `on_epoch_begin`, unless it was empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.measured: dict[str, Any] = {}

    def figures(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Returns figures to add to the log entry of an epoch.

        Called after the evaluation of each epoch.

        Args:
            entry: the log entry so far.
        """
        return {}

    def remark(self, epoch: int, text: str) -> None:
        """Receives a remark of the method.

        Args:
            epoch: counted from 0.
            text: one sentence.
        """


class Progress(Callback):
    """Prints one line per epoch, with the remaining time.

    On a terminal, a progress bar over the whole run is below the lines.

    Args:
        costs: expected time of each epoch relative to the others. It serves
            for epochs whose like has not been measured yet.
        start: number of epochs already done.
        stream: where to print; standard error by default.
    """

    def __init__(
        self, costs: np.ndarray, start: int = 0, stream: TextIO | None = None
    ):
        super().__init__()
        self._epochs = len(costs)
        self._costs = costs
        self._until = np.concatenate([[0], np.cumsum(costs)])
        self._start = start
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None
        # Cost -> seconds of the last epoch of this cost; the last one is last.
        self._seconds: dict[float, float] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens the bar."""
        if self._stream.isatty():
            self._bar = tqdm(
                total=self._until[-1],
                initial=self._until[self._start],
                file=self._stream,
                dynamic_ncols=True,
                bar_format='{percentage:3.0f}%|{bar}| {desc}[{elapsed}]',
            )

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Moves the bar to the current position."""
        if self._bar is not None and logs:
            self._move(self._bar, logs['progress'], logs['seconds'])

    def _move(self, bar: tqdm, epochs: float, spent: float = 0.0) -> None:
        done = np.interp(epochs, np.arange(self._epochs + 1), self._until)
        left = f'{epochs:.1f}/{self._epochs} epochs{self._left(epochs, spent)} '
        bar.set_description_str(left, refresh=False)
        bar.update(max(0.0, float(done) - bar.n))

    def _left(self, epochs: float, spent: float = 0.0) -> str:
        """Returns the remaining time after `epochs`, for people.

        Args:
            epochs: number of epochs done so far.
            spent: seconds of the last one, if it is partial.
        """
        seconds, whole = dict(self._seconds), int(epochs)
        share = epochs - whole
        if share and not seconds:
            seconds[self._costs[whole]] = spent / share
        if not seconds or whole == self._epochs:
            return ''
        cost, known = next(reversed(seconds.items()))
        kinds, counts = np.unique(self._costs[whole:], return_counts=True)
        each = [seconds.get(kind, known * kind / cost) for kind in kinds]
        left = float(counts @ each)
        left -= share * each[int(np.searchsorted(kinds, self._costs[whole]))]
        return f', {tqdm.format_interval(left)} left'

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Shows the figures of the epoch."""
        logs = logs or {}
        cost = self._costs[epoch]
        self._seconds.pop(cost, None)
        self._seconds[cost] = logs.get('seconds', 0.0)
        figures = ', '.join(
            f'{short} {logs[name]:.4f}'
            for name, short in SHOWN.items()
            if name in logs
        )
        self._print(
            f'epoch {epoch + 1}/{self._epochs}: {figures} '
            f'({self._seconds[cost]:.1f} s{self._left(epoch + 1)})'
        )
        if self._bar is not None:
            self._move(self._bar, epoch + 1)

    def remark(self, epoch: int, text: str) -> None:
        """Prints a remark."""
        self._print(f'epoch {epoch + 1}: {text}')

    def _print(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        tqdm.write(line, file=self._stream)
        self._stream.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()


class TensorBoardScalars(Callback):
    """Writes the figures of `log.jsonl` for TensorBoard.

    Args:
        folder: where to write the event files.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens an event file."""
        # TensorFlow would not encode a name that is not UTF-8.
        folder = os.fsencode(self._folder)
        self._writer = tf.summary.create_file_writer(folder)

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Writes one point per figure."""
        if self._writer is None:
            return
        with self._writer.as_default():
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value, step=epoch)
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
