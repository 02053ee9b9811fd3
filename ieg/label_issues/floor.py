"""How many labels are wrong: at least, at most, and a point between.

Wrong labels and errors of a model cannot be told apart in general. What can be
said about examples that a model was not trained on: at most all disagreement
between their given labels and its predictions is noise, and at least the
disagreement that is left where the model is surest, the floor. Between the two
lies the rate that fits if errors of labels are as common among hard examples as
among easy ones.

Predictions are a mean of the model's probabilities, at the epoch and the
temperature that explain the given labels best, and the labels of the nearest
training examples. Source: the floor estimator of this package's own study of
150 trainings (`docs/label_issues.md`).
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.special import (
    betaincinv,
    log_softmax,
    logsumexp,
    softmax,
    xlog1py,
    xlogy,
)

TEMPERATURES = np.geomspace(0.15, 6, 30)
BINS = 20
CENTRES = (np.arange(BINS) + 0.5) / BINS
# The surest shares whose disagreement limits the floor.
SUREST = np.array([0.1, 0.2, 0.3])
# The grid of the fit.
RATES = np.concatenate([[0, 0.0025, 0.005, 0.0075], np.arange(1, 86) / 100])
HEIGHTS = np.arange(41) / 40
POWERS = np.array([0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8])
MOST_ERRORS = 0.97
# Half of the 95 % quantile of a chi-square variable.
WITHIN = 1.92
TAIL = 0.025
LEAST_LOWER = 0.01
# Beyond these the model is too weak to tell, and of fewer examples no curve can
# be fitted: the study had 150 or more. The last limit is not the study's: the
# runs of `benchmarks/evidence.py` that only it refuses said that twice as many
# labels are wrong as were.
MOST_EXCESS, MOST_SUREST, MOST_DISAGREEMENT = 0.30, 0.50, 0.55
LEAST = 50
# In `label_issues` of `summary.json`.
RATE, INTERVAL, EVIDENCE = 'noise_rate', 'noise_rate_interval', 'evidence'


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """Predictions of a network for examples that it was not trained on.

    Attributes:
        epoch: counted from 0, at whose end they were made.
        loss: mean negative log-likelihood of the given labels.
        temperature: what the logits were multiplied by.
        probabilities: [m, C].
    """

    epoch: int
    loss: float
    temperature: float
    probabilities: np.ndarray


def combined(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the networks' mean probabilities [m, C].

    Args:
        logits: [m, networks, C]; an example of which one is not finite counts
            as equally probable in all classes.
    """
    bad = ~np.isfinite(logits).all(axis=(1, 2), keepdims=True)
    logs = log_softmax(np.where(bad, 0.0, logits).astype(np.float64), axis=-1)
    return logsumexp(logs, axis=1) - np.log(logits.shape[1])


def snapshot(epoch: int, logits: np.ndarray, given: np.ndarray) -> Snapshot:
    """Returns predictions at the temperature that explains the labels best.

    Args:
        epoch: counted from 0.
        logits: [m, C].
        given: given labels, int [m].
    """
    logits = logits.astype(np.float64)
    own = logits[np.arange(len(given)), given]

    @functools.cache
    def loss(place: int) -> float:
        scale = TEMPERATURES[place]
        return float(np.mean(logsumexp(scale * logits, axis=1) - scale * own))

    # The loss is a convex function of the temperature.
    low, high = 0, len(TEMPERATURES) - 1
    while low < high:
        middle = (low + high) // 2
        if loss(middle + 1) < loss(middle):
            low = middle + 1
        else:
            high = middle
    scale = float(TEMPERATURES[low])
    return Snapshot(epoch, loss(low), scale, softmax(scale * logits, axis=1))


def best(logits: Iterable[np.ndarray], given: np.ndarray) -> Snapshot:
    """Returns the predictions of the epoch that explains the labels best.

    Args:
        logits: [m, C] for each epoch.
        given: given labels, int [m].
    """
    every = (snapshot(epoch, z, given) for epoch, z in enumerate(logits))
    return min(every, key=lambda shot: shot.loss)


@dataclasses.dataclass(frozen=True, eq=False)
class Floor:
    """How many labels are wrong, of m held-out examples.

    Attributes:
        examples, disagreeing: number of examples in each of 20 bins, and of
            those whose prediction is not their given label; the bins go from
            the surest predictions to the least sure ones.
        disagreement: share of all that disagree.
        surest: the same of the surest 10, 20 and 30 %.
        point: the rate if wrong labels are as common among hard examples.
        fitted: lower limit of the point, by the likelihood of the fit.
        lower, upper: the rate is at least and at most this.
        refused: whether the model is too weak, or the examples too few, to
            tell more than `upper`.
        height, power: of the fitted curve, see `curve`.
        folds: number of parts that were held out, each from other networks.
    """

    examples: np.ndarray
    disagreeing: np.ndarray
    disagreement: float
    surest: np.ndarray
    point: float
    fitted: float
    lower: float
    upper: float
    refused: bool
    height: float
    power: float
    folds: int

    def figures(self) -> dict[str, Any]:
        """Returns the statement for `summary.json`, and what it rests on.

        A review changes the rate and its interval, but never what is below
        `EVIDENCE`.
        """
        lower = 0.0 if self.refused else self.lower
        rate = {
            RATE: None if self.refused else self.point,
            INTERVAL: [lower, self.upper],
        }
        evidence = {
            'folds': self.folds,
            'examples': self.examples.tolist(),
            'disagreeing': self.disagreeing.tolist(),
            'floor': self.point,
            'height': self.height,
            'power': self.power,
        }
        return {**rate, EVIDENCE: rate | evidence}


def estimate(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Floor:
    """Estimates how many labels are wrong.

    Args:
        parts: (predictions [m, C], given labels int [m]) of the held-out
            examples of each fold; confidences are compared within a fold.
    """
    ranked = [_ranked(*part) for part in parts]
    rank = np.concatenate([rank for rank, _ in ranked])
    differs = np.concatenate([differs for _, differs in ranked])
    places = (rank * BINS).astype(int)
    examples = np.bincount(places, minlength=BINS)
    disagreeing = np.bincount(places[differs], minlength=BINS)
    wrong, count = int(differs.sum()), len(differs)
    sure = rank[:, np.newaxis] <= SUREST
    sure_wrong, sure_count = (sure & differs[:, np.newaxis]).sum(0), sure.sum(0)
    surest = sure_wrong / np.maximum(sure_count, 1)
    point, fitted, height, power = _fit(examples, disagreeing)
    lower = min(fitted, limits(sure_wrong, sure_count)[0].min())
    share = wrong / count
    return Floor(
        examples,
        disagreeing,
        share,
        surest,
        point,
        fitted,
        float(lower) if lower >= LEAST_LOWER else 0.0,
        float(limits(wrong, count)[1]),
        bool(
            share - point > MOST_EXCESS
            or surest[-1] > MOST_SUREST
            or share > MOST_DISAGREEMENT
            or count < LEAST
        ),
        height,
        power,
        len(parts),
    )


def _ranked(
    predictions: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ranks in (0, 1), 0 = surest, and who disagrees, both [m]."""
    top = np.partition(predictions, -2, axis=1)
    order = np.argsort(top[:, -2] - top[:, -1], kind='stable')
    rank = np.empty(len(given))
    rank[order] = (np.arange(len(given)) + 0.5) / len(given)
    return rank, predictions.argmax(axis=1) != given


def limits(hits: Any, count: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the limits of Clopper and Pearson, 2.5 % on either side.

    Args:
        hits, count: numbers of hits, and of all; arrays of the same shape, or
            scalars.
    """
    hits, rest = np.asarray(hits), np.asarray(count) - hits
    # The inverse is not defined where nothing or everything is a hit.
    low = betaincinv(np.maximum(hits, 1), rest + 1, TAIL)
    high = betaincinv(hits + 1, np.maximum(rest, 1), 1 - TAIL)
    return np.where(hits > 0, low, 0.0), np.where(rest > 0, high, 1.0)


def curve(rank: Any, rate: Any, height: Any, power: Any) -> np.ndarray:
    """Returns the expected disagreement at some ranks of confidence.

    That is rho + (1 - rho) min(0.97, a r^gamma); arguments are broadcast.

    Args:
        rank: r in (0, 1), 0 is the surest.
        rate: rho, the share of wrong labels, which is the floor.
        height, power: a and gamma, of the errors of the model.
    """
    errors = np.minimum(height * np.asarray(rank) ** power, MOST_ERRORS)
    return rate + (1 - rate) * errors


def _fit(
    examples: np.ndarray, disagreeing: np.ndarray
) -> tuple[float, float, float, float]:
    """Fits `curve` by its likelihood.

    Args:
        examples, disagreeing: their numbers in each bin.

    Returns:
        The most likely rate, the least that is nearly as likely, and the
        height and the power that are most likely with the first.
    """
    rates, heights, powers = np.ix_(RATES, HEIGHTS, POWERS)
    share = curve(
        CENTRES, *(axis[..., np.newaxis] for axis in (rates, heights, powers))
    )
    logs = xlogy(disagreeing, share)
    logs += xlog1py(examples - disagreeing, -share)
    every = logs.sum(axis=-1)
    likelihood = every.max(axis=(1, 2))
    near = likelihood >= likelihood.max() - WITHIN
    most = int(likelihood.argmax())
    height, power = np.unravel_index(every[most].argmax(), every.shape[1:])
    return (
        float(RATES[most]),
        float(RATES[near.argmax()]),
        float(HEIGHTS[height]),
        float(POWERS[power]),
    )
