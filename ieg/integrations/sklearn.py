"""Finds wrong labels with classifiers of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from ieg.integrations.passes import Part, Passes
from ieg.label_issues import inputs
from ieg.tracker import LabelTracker
from ieg.utils.randomness import generator


def partial_fit(
    model: Any,
    x: Any,
    y: Any,
    *,
    held_out: Part | None = None,
    epochs: int = 10,
    every: int = 1,
    batch_size: int = 32,
    seed: int = 0,
) -> LabelTracker:
    """Trains a classifier by `partial_fit`, with a pass after each epoch.

    Args:
        model: has `partial_fit` and `predict_proba`.
        x: training rows, an array or a sparse matrix [n, d].
        y: their given labels [n].
        held_out: further rows that are not trained on, and their labels (x, y).
        epochs: passes of the training over the rows.
        every: predictions every so many epochs.
        batch_size: rows of a step.
        seed: of the order of the rows.

    Returns:
        A tracker; rows from 0 on are the training rows, rows from n on those
        held out.

    Raises:
        ValueError: an argument is invalid.
    """
    if not hasattr(model, 'partial_fit'):
        raise ValueError(f'{type(model).__name__} has no partial_fit.')
    _check(model, 'predict_proba')
    x, y = check_array(x, accept_sparse='csr', dtype=None), inputs.array(y)
    check_consistent_length(x, y)
    classes = np.unique(y)
    passes = Passes(x, y, held_out, every, classes.tolist())
    for epoch in range(epochs):
        order = generator(seed, 'order', epoch).permutation(len(y))
        for rows in np.split(order, np.arange(batch_size, len(y), batch_size)):
            model.partial_fit(x[rows], y[rows], classes=classes)
        passes.record(epoch, model.predict_proba)
    return passes.tracker


def staged(
    model: Any, x: Any, y: Any, *, held_out: Part | None = None, every: int = 1
) -> LabelTracker:
    """Returns what the stages of a fitted ensemble predict.

    Args:
        model: fitted to `x` and `y`; has `staged_predict_proba`, as gradient
            boosting and AdaBoost.
        x: training rows [n, d].
        y: their given labels [n].
        held_out: further rows that are not trained on, and their labels (x, y).
        every: predictions of every so many stages.

    Returns:
        A tracker; see `partial_fit`.

    Raises:
        ValueError: an argument is invalid.
    """
    _check(model, 'staged_predict_proba')
    parts, others = [x], None
    if held_out is not None:
        parts, others = [x, held_out[0]], (1, held_out[1])
    # A pass asks for the predictions of a part by its number.
    passes = Passes(0, y, others, every, model.classes_.tolist())
    every_part = [model.staged_predict_proba(part) for part in parts]
    for stage, said in enumerate(zip(*every_part, strict=True)):
        passes.record(stage, said.__getitem__)
    return passes.tracker


def _check(model: Any, name: str) -> None:
    """Raises ValueError if a classifier cannot predict probabilities."""
    if not hasattr(model, name):
        raise ValueError(
            f'{type(model).__name__} has no {name}, which gives probabilities.'
        )
