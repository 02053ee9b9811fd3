"""Judges labels without a training: by probabilities, features, or both."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.errors import UsageError
from ieg.label_issues import floor, inputs, listing, neighbours, score
from ieg.label_issues.score import Shares
from ieg.utils.randomness import generator

FOLDS = 5
# Labels without which nothing can be said.
LEAST = 2 * FOLDS
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
    if probabilities is None and features is None:
        raise ValueError('give probabilities, features, or both.')
    is_matrix = np.ndim(probabilities) == 2
    columns = np.shape(probabilities)[1] if is_matrix else None
    given, names = inputs.labels(labels, columns, classes)
    count, width = len(given), len(names)
    if count < LEAST:
        raise ValueError(f'at least {LEAST} labels are needed, got {count}.')
    vectors = None if features is None else inputs.features(features, count)
    try:
        if probabilities is not None:
            said = inputs.predictions(probabilities, None, count, width)
            found = _direct(given, said, vectors)
        else:
            assert vectors is not None
            found = _crossed(given, width, vectors, seed)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return _listed(given, names, *found)


def _listed(
    given: np.ndarray,
    names: Sequence[Any],
    predicted: np.ndarray,
    near: np.ndarray | None,
    folds: np.ndarray,
) -> pd.DataFrame:
    """Returns the list, with the summary.

    Args:
        given: given labels, int [n].
        names: the classes, C of them.
        predicted: probabilities [n, C].
        near: shares of neighbours' labels [n, C], or None.
        folds: number of the fold of each row, int [n].
    """
    both = predicted if near is None else (predicted + near) / 2
    each = (folds == fold for fold in np.unique(folds))
    result = floor.estimate([(both[rows], given[rows]) for rows in each])

    def shares(block: slice) -> Shares:
        close = None if near is None else near[block]
        return Shares(both[block], predicted[block], close)

    rows = np.arange(len(given))
    part = score.look('held_out', rows, given, len(names), shares)
    table, summary = listing.make([part], names, result)
    table.attrs['summary'] = summary
    return table


def assign(labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns the fold of each example, int [n], balanced in each class.

    Args:
        labels: given labels, int [n].
        seed: of the run, or of the call.
    """
    order = generator(seed, 'folds').permutation(len(labels))
    order = order[np.argsort(labels[order], kind='stable')]
    numbers = np.empty(len(labels), int)
    numbers[order] = np.arange(len(labels)) % FOLDS
    return numbers


def _direct(
    given: np.ndarray, said: np.ndarray, vectors: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Returns calibrated probabilities, shares of neighbours, and one fold.

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
    return _calibrated(said, given), near, np.zeros(len(given), int)


def _crossed(
    given: np.ndarray, num_classes: int, vectors: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the same of five folds, each judged by the other four.

    Args:
        given: given labels, int [n].
        num_classes: C.
        vectors: [n, d].
        seed: of the folds.

    Raises:
        ValueError: the labels have too few classes.
    """
    if (np.bincount(given) > 1).sum() < 2:
        raise ValueError(
            'features alone need at least 2 labels of each of 2 classes.'
        )
    folds = assign(given, seed)
    predicted, near = np.zeros((2, len(given), num_classes))
    for fold in range(FOLDS):
        rows, rest = folds == fold, folds != fold
        labels, known = given[rest], vectors[rest]
        predicted[rows] = _calibrated(
            _regression(known, labels, vectors[rows], num_classes), given[rows]
        )
        k = neighbours.NEIGHBOURS
        ids = neighbours.nearest(vectors[rows], known, k, same=False).ids
        near[rows] = neighbours.shares(ids, labels, num_classes)
    return predicted, near, folds


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
    logits = np.log(np.maximum(said, inputs.LEAST_PROBABILITY))
    return floor.snapshot(0, logits, given).probabilities
