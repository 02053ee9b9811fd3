"""What watches a run: a progress bar and TensorBoard."""

import sys
from collections.abc import Mapping
from typing import Any

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


class Progress(keras.callbacks.Callback):
    """A bar over the whole run with the time that is left of it.

    Where the output is no terminal it prints one line per epoch instead.

    Args:
        costs: how long each epoch takes relative to the others.
        start: epochs done before.
        stream: where to print.
    """

    def __init__(self, costs: np.ndarray, start: int = 0, stream=None):
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
                # Recent steps tell most.
                smoothing=0.2,
                bar_format='{percentage:3.0f}%|{bar}| {desc}'
                '[{elapsed}, {remaining} left]{postfix}',
            )

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Moves the bar to what is done."""
        if self._bar is not None and logs:
            self._move(logs['progress'])

    def _move(self, epochs: float) -> None:
        done = np.interp(epochs, np.arange(self._epochs + 1), self._until)
        self._bar.set_description_str(
            f'{epochs:.1f}/{self._epochs} epochs ', refresh=False
        )
        self._bar.update(max(0.0, done - self._bar.n))

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Shows the figures of the epoch and what the method remarks."""
        logs = logs or {}
        figures = ', '.join(
            f'{short} {logs[name]:.4f}'
            for name, short in SHOWN.items()
            if name in logs
        )
        if self._bar is not None:
            self._move(epoch + 1)
            self._bar.set_postfix_str(figures)
            return
        seconds = logs.get('seconds', 0)
        print(
            f'epoch {epoch + 1}/{self._epochs}: {figures} ({seconds:.1f} s)',
            file=self._stream,
            flush=True,
        )

    def remark(self, epoch: int, text: str) -> None:
        """Prints a sentence without tearing the bar."""
        tqdm.write(f'epoch {epoch + 1}: {text}', file=self._stream)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes the figures of `log.jsonl` for TensorBoard.

    Args:
        folder: where the event files go.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder
        self._writer = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Opens an event file."""
        self._writer = tf.summary.create_file_writer(self._folder)

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Writes one point per figure."""
        with self._writer.as_default():
            for name, value in (logs or {}).items():
                tf.summary.scalar(name, value, step=epoch)
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Closes the event file."""
        self._writer.close()
