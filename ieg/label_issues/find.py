"""Judges labels without a training: by probabilities, features, or both."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.errors import UsageError
from ieg.label_issues import floor, inputs, listing, neighbours
from ieg.label_issues.listing import Shares
from ieg.utils.randomness import generator

FOLDS = 5
# Labels without which nothing can be said.
LEAST = 2 * FOLDS
# The least probability, whose logarithm is finite.
LEAST_PROBABILITY = 1e-12
# Of the logistic regression: inverse strength of regularization, and steps.
STRENGTH, STEPS = 0.01, 200


def find_label_issues(
    labels: Any,
    probabilities: Any = None,
    features: Any = None,
    classes: Sequence[Any] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Finds wrong labels from predictions or features, without training.

    With features alone, the predictions are those of logistic regressions,
    each fitted to four fifths of the standardized features, for the other
    fifth. With both, neighbours by the features are added to the predictions.

    Args:
        labels: given labels [n]: class numbers, or names.
        probabilities: predictions [n, C], each by a model that was not trained
            on that row, as from scikit-learn's `cross_val_predict`.
        features: vectors that are near each other for similar examples [n, d].
        classes: the classes in the order of the columns of `probabilities`; by
            default numbers from 0 on, or the sorted names.
        seed: of the fifths.

    Returns:
        One row per label, the most suspicious first, with the columns of
        `LabelTracker.issues`; `split` is 'held_out'. Its `attrs['summary']` has
        noise_rate, noise_rate_interval, count, marks, never_predicted and
        statement as `LabelTracker.summary`.

    Raises:
        ValueError: an argument is invalid, or neighbours would take hours.
    """
    width = None
    if probabilities is not None:
        width = np.shape(probabilities)[-1] if np.ndim(probabilities) else 0
    elif features is None:
        raise ValueError('give probabilities, features, or both.')
    given, names = inputs.labels(labels, width, classes)
    if len(given) < LEAST:
        raise ValueError(
            f'at least {LEAST} labels are needed, got {len(given)}.'
        )
    count, width = len(given), len(names)
    numbers = np.zeros(count, int)
    vectors = None if features is None else inputs.features(features, count)
    try:
        if probabilities is not None:
            said = inputs.predictions(probabilities, None, count, width)
            predicted, near = _direct(given, said, vectors)
        else:
            assert vectors is not None
            numbers = _folds(given, seed)
            predicted, near = _crossed(given, width, numbers, vectors)
    except UsageError as error:
        raise ValueError(str(error)) from None
    both = predicted if near is None else (predicted + near) / 2
    folds = [numbers == fold for fold in np.unique(numbers)]
    parts = [(both[rows], given[rows]) for rows in folds]

    def shares(block: slice) -> Shares:
        close = None if near is None else near[block]
        return Shares(both[block], predicted[block], close)

    part = listing.look('held_out', np.arange(count), given, width, shares)
    table, summary = listing.make([part], names, floor.estimate(parts))
    table.attrs['summary'] = summary
    return table


def _folds(given: np.ndarray, seed: int) -> np.ndarray:
    """Returns the fold of each row, int [n], balanced in each class."""
    order = generator(seed, 'folds').permutation(len(given))
    order = order[np.argsort(given[order], kind='stable')]
    numbers = np.empty(len(given), int)
    numbers[order] = np.arange(len(given)) % FOLDS
    return numbers


def _direct(
    given: np.ndarray, said: np.ndarray, vectors: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns calibrated probabilities, and shares of neighbours' labels.

    Args:
        given: given labels, int [n].
        said: probabilities [n, C].
        vectors: [n, d], or None.
    """
    near = None
    if vectors is not None:
        k = neighbours.NEIGHBOURS
        ids = neighbours.nearest(vectors, vectors, k, same=True).ids
        near = neighbours.shares(ids, given, said.shape[1])
    return _calibrated(said, given), near


def _crossed(
    given: np.ndarray,
    num_classes: int,
    numbers: np.ndarray,
    vectors: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the same of each fold, by the examples of the other folds.

    Args:
        given: given labels, int [n].
        num_classes: C.
        numbers: fold of each row, int [n].
        vectors: [n, d].

    Raises:
        ValueError: the labels have too few classes.
    """
    if (np.bincount(given) > 1).sum() < 2:
        raise ValueError(
            'features alone need at least 2 labels of each of 2 classes.'
        )
    predicted, near = np.zeros((2, len(given), num_classes))
    for fold in range(FOLDS):
        rows, rest = numbers == fold, numbers != fold
        labels, known = given[rest], vectors[rest]
        predicted[rows] = _calibrated(
            _regression(known, labels, vectors[rows], num_classes), given[rows]
        )
        k = neighbours.NEIGHBOURS
        ids = neighbours.nearest(vectors[rows], known, k, same=False).ids
        near[rows] = neighbours.shares(ids, labels, num_classes)
    return predicted, near


def _regression(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, num_classes: int
) -> np.ndarray:
    """Returns probabilities [m, C] by a logistic regression.

    Args:
        known: vectors [n, d].
        labels: their labels, int [n].
        asked: vectors [m, d].
        num_classes: C.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=STRENGTH, max_iter=STEPS)
    model = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        # The last of many steps is good enough.
        warnings.simplefilter('ignore', ConvergenceWarning)
        model.fit(known, labels)
    said = np.zeros((len(asked), num_classes))
    said[:, model.classes_] = model.predict_proba(asked)
    return said


def _calibrated(said: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Returns probabilities at the temperature that explains labels best."""
    logits = np.log(np.maximum(said, LEAST_PROBABILITY))
    return floor.snapshot(0, logits, given).probabilities
