"""Callbacks of a run: their base class, a progress bar and TensorBoard."""

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
    """

    def figures(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Returns figures to add to the log entry of an epoch.

        Called after the evaluation of each epoch.

        Args:
            entry: the log entry so far.
        """
        return {}

    def state(self) -> dict[str, Any]:
        """Returns what `on_epoch_begin` measured, for a checkpoint.

        A run that resumes in the middle of an epoch hands it to `restore`, and
        calls `on_epoch_begin` only if it is empty.

        Returns:
            Arrays, and anything that JSON can hold.
        """
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes what `state` returned."""

    def remark(self, epoch: int, text: str) -> None:
        """Receives a remark of the method.

        Args:
            epoch: counted from 0.
            text: one sentence.
        """


class Progress(Callback):
    """A progress bar over the whole run with the remaining time.

    If the output is not a terminal, it prints one line per epoch instead.

    Args:
        costs: time of each epoch relative to the others.
        start: number of epochs already done.
        stream: where to print; standard error by default.
    """

    def __init__(
        self, costs: np.ndarray, start: int = 0, stream: TextIO | None = None
    ):
        super().__init__()
        self._epochs = len(costs)
        self._until = np.concatenate([[0], np.cumsum(costs)])
        self._start = start
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens the bar."""
        if self._stream.isatty():
            self._bar = tqdm(
                total=self._until[-1],
                initial=self._until[self._start],
                file=self._stream,
                dynamic_ncols=True,
                # Recent steps predict the remaining time best.
                smoothing=0.2,
                bar_format='{percentage:3.0f}%|{bar}| {desc}'
                '[{elapsed}, {remaining} left]{postfix}',
            )

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Moves the bar to the current position."""
        if self._bar is not None and logs:
            self._move(self._bar, logs['progress'])

    def _move(self, bar: tqdm, epochs: float) -> None:
        done = np.interp(epochs, np.arange(self._epochs + 1), self._until)
        bar.set_description_str(
            f'{epochs:.1f}/{self._epochs} epochs ', refresh=False
        )
        bar.update(max(0.0, float(done) - bar.n))

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Shows the figures of the epoch."""
        logs = logs or {}
        figures = ', '.join(
            f'{short} {logs[name]:.4f}'
            for name, short in SHOWN.items()
            if name in logs
        )
        if self._bar is not None:
            self._move(self._bar, epoch + 1)
            self._bar.set_postfix_str(figures)
            return
        seconds = logs.get('seconds', 0)
        print(
            f'epoch {epoch + 1}/{self._epochs}: {figures} ({seconds:.1f} s)',
            file=self._stream,
            flush=True,
        )

    def remark(self, epoch: int, text: str) -> None:
        """Prints a remark above the bar."""
        tqdm.write(f'epoch {epoch + 1}: {text}', file=self._stream)

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
        self._writer = tf.summary.create_file_writer(self._folder)

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
