"""Finds wrong labels with `fit` of Keras."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from ieg.integrations.passes import Part, Passes
from ieg.tracker import PASS, SEEN, LabelTracker


class LabelAudit(keras.callbacks.Callback):
    """Records predictions at the end of epochs, with any backend.

    These are predictions of a pass over the training rows or, if the model has
    the mixin `Seen`, those of the training steps. Outputs may be logits or
    probabilities.

    Args:
        x: training rows, as `predict` takes them; None for a model with `Seen`.
        y: their given labels [n].
        held_out: rows that are not trained on, and their labels (x, y), such as
            `validation_data`. Without them the rate of wrong labels is unknown.
        every: a pass every so many epochs.
        classes: see `ieg.LabelTracker`.
        batch_size: of a pass.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        held_out: Part | None = None,
        every: int = 1,
        classes: Sequence[Any] | None = None,
        batch_size: int = 256,
    ):
        super().__init__()
        kind = SEEN if x is None else PASS
        self._passes = Passes(x, y, held_out, every, classes, kind)
        self._is_seen, self._count = x is None, len(y)
        self._batch_size = batch_size

    @property
    def tracker(self) -> LabelTracker:
        """Has the results: `issues`, `summary`, `report`."""
        return self._passes.tracker

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepares a model with `Seen`."""
        if self._is_seen != isinstance(self.model, Seen):
            raise ValueError(
                'LabelAudit needs x, or the mixin ieg.integrations.keras.Seen '
                'in the model, and not both.'
            )
        if self._is_seen:
            self.model.remember(self._count, len(self.tracker.classes))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Records the predictions of an epoch."""
        if self._is_seen:
            rows, outputs = self.model.remembered()
            self._passes.add(epoch, rows, outputs, self._predict)
        else:
            self._passes.record(epoch, self._predict)

    def _predict(self, x: Any) -> np.ndarray:
        return self.model.predict(x, self._batch_size, verbose=0)


class Seen:
    """Mixin of a `keras.Model` on TensorFlow: remembers what steps predict.

    Train with `fit(x, (index, y))`, where `index` numbers the training rows, or
    a data set of such batches, on one device. Outputs stay there until an epoch
    ends: n x C float32.
    """

    # Names that Keras does not use. Outputs of all rows; rows of the step.
    _seen: Any = None
    _seen_rows: Any = None
    make_train_function: Callable[..., Any]

    def remember(self, count: int, num_classes: int) -> None:
        """Makes room for the outputs of `count` rows."""
        if keras.backend.backend() != 'tensorflow':
            raise ValueError(
                'Seen needs the backend tensorflow: give LabelAudit the rows x.'
            )
        import tensorflow as tf

        shape = (count + 1, num_classes)
        if self._seen is None or self._seen.shape != shape:
            # The last row gets what is out of range.
            empty = tf.fill(shape, np.float32(np.nan))
            self._seen = tf.Variable(empty, trainable=False)
            # A step that was traced before has the old variable.
            self.make_train_function(force=True)

    def remembered(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows of an epoch and their outputs [k, C], and forgets them.

        Of a row that the epoch had twice the last outputs count.

        Raises:
            ValueError: a row was out of range.
        """
        outputs = self._seen.numpy()
        self._seen.assign(np.full_like(outputs, np.nan))
        rows = np.flatnonzero(~np.isnan(outputs).all(axis=1))
        if len(outputs) - 1 in rows:
            raise ValueError(
                f'index must be from 0 to {len(outputs) - 2}, one number for '
                'each label that LabelAudit has.'
            )
        return rows, outputs[rows]

    def train_step(self, data: Any) -> Any:
        """Trains on a batch (x, (index, y)) as on (x, y)."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(y, tuple | list) or len(y) != 2:
            raise ValueError('fit needs (index, y) in place of y.')
        self._seen_rows, y = y
        parent: Any = super()
        logs = parent.train_step((x, y, weight))
        self._seen_rows = None
        return logs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the loss, and remembers the outputs of a training step."""
        if self._seen_rows is not None and self._seen is not None:
            self._note(y_pred)
        parent: Any = super()
        return parent.compute_loss(x, y, y_pred, sample_weight, training)

    def _note(self, outputs: Any) -> None:
        import tensorflow as tf

        last, width = self._seen.shape[0] - 1, self._seen.shape[1]
        if outputs.shape[1:] != (width,):
            raise ValueError(
                f'Seen needs {width} outputs, one for each class, got '
                f'{outputs.shape[1:]}: give LabelAudit the rows x.'
            )
        index = tf.reshape(tf.cast(self._seen_rows, tf.int64), (-1, 1))
        outside = tf.constant(last, tf.int64)
        index = tf.where((index < 0) | (index > last), outside, index)
        rows = tf.cast(tf.stop_gradient(outputs), tf.float32)
        self._seen.scatter_nd_update(index, rows)
