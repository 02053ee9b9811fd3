"""A tracker that is fed by prediction passes over training rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ieg.label_issues import inputs
from ieg.tracker import PASS, LabelTracker

# Rows and their labels.
Part = tuple[Any, Any]


class Passes:
    """Records what a model predicts of training rows and held-out rows.

    Args:
        x: training rows, as the model takes them; None without passes over
            them.
        y: their given labels [n].
        held_out: further rows that the model is not trained on, and their given
            labels [m]; None without.
        every: a pass every so many epochs.
        classes: see `ieg.LabelTracker`.
        predictions: see `ieg.LabelTracker`.

    Attributes:
        tracker: rows from 0 on are the training rows, rows from n on those held
            out.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        held_out: Part | None = None,
        every: int = 1,
        classes: Sequence[Any] | None = None,
        predictions: str = PASS,
    ):
        if every < 1:
            raise ValueError(f'every must be at least 1, got {every}.')
        labels = inputs.array(y)
        self._x, self._count = x, len(labels)
        self._held: Any = None
        self._every = every
        if held_out is not None:
            if not isinstance(held_out, tuple) or len(held_out) != 2:
                raise ValueError('held_out must be a tuple (x, y).')
            self._held, others = held_out
            labels = np.concatenate([labels, inputs.array(others)])
        # Keras has labels of one column, too.
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        self.tracker = LabelTracker(
            labels, classes=classes, predictions=predictions
        )

    def record(self, epoch: int, predict: Callable[[Any], Any]) -> None:
        """Records a pass over all rows, if this epoch has one.

        Args:
            epoch: that has ended, counted from 0.
            predict: returns the outputs of the model for rows, see `outputs`.

        Raises:
            ValueError: the model has other outputs.
        """
        if epoch % self._every == 0:
            self.add(epoch, range(self._count), predict(self._x), predict)

    def add(
        self,
        epoch: int,
        index: Any,
        outputs: Any,
        predict: Callable[[Any], Any],
    ) -> None:
        """Records outputs of some training rows, and a pass over held-out rows.

        Args:
            epoch: that has ended, counted from 0.
            index: numbers of the training rows, int [k].
            outputs: the outputs of the model for these, see `outputs`.
            predict: returns the same for the held-out rows.
        """
        self.tracker.update(index, epoch=epoch, **self.outputs(outputs))
        if self._held is not None:
            said = self.outputs(predict(self._held))
            rows = range(self._count, len(self.tracker))
            self.tracker.held_out(rows, epoch=epoch, **said)

    def outputs(self, values: Any) -> dict[str, np.ndarray]:
        """Returns outputs of a model as an argument of the tracker.

        Args:
            values: logits or probabilities [k, C]; of two classes also those of
                the second one alone, [k] or [k, 1].
        """
        said = inputs.array(values).astype(np.float64)
        if len(self.tracker.classes) == 2 and said.size == len(said):
            said = said.reshape(-1, 1)
            is_softmax = bool(((said >= 0) & (said <= 1)).all())
            said = np.hstack([1 - said if is_softmax else 0 * said, said])
        elif said.ndim == 2:
            is_softmax = inputs.is_softmax(said)
        else:
            is_softmax = False
        return {'probabilities' if is_softmax else 'logits': said}
