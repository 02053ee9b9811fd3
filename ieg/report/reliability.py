"""The section on calibration: how far confidences can be trusted.

The expected calibration error of Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017: over bins of equal width, the mean gap between confidence
and accuracy, weighted by the share of examples in each bin. And their remedy,
one temperature for all logits, at the smallest negative log-likelihood.
"""

import dataclasses

import numpy as np
from markupsafe import Markup
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ieg.report.charts import diagram
from ieg.report.html import render
from ieg.report.run import PREDICTIONS, RunFolder

BINS = 15
# Temperatures are sought between 1/50 and 50.
LARGEST = 50.0
LABELS = {
    'valid': 'validation examples with their given labels',
    'test': 'test examples with their best known labels',
}


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy, in bins of equal width of the confidence.

    Attributes:
        ece: expected calibration error, in [0, 1].
        nll: mean negative log-likelihood of the labels, in nats.
        shares: [BINS], of the examples in each bin.
        confidence: [BINS], mean of the largest probability; NaN where empty.
        accuracy: [BINS], share of correct predictions; NaN where empty.
    """

    ece: float
    nll: float
    shares: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Reliability before and after logits are divided by a temperature.

    Attributes:
        temperature: divisor of the logits; above 1, the network is
            overconfident.
        before: with the logits as they are.
        after: with the logits divided by the temperature.
    """

    temperature: float
    before: Reliability
    after: Reliability

    @property
    def helps(self) -> bool:
        """Whether the temperature improves both measures."""
        return (
            self.after.ece < self.before.ece
            and self.after.nll < self.before.nll
        )


def calibration(
    logits: np.ndarray, labels: np.ndarray, temperature: float | None = None
) -> Calibration:
    """Returns how well confidence matches accuracy, before and after.

    Args:
        logits: [n, C], n > 0, finite.
        labels: int [n].
        temperature: the temperature; None fits it to these labels, which
            makes `after` too optimistic.
    """
    if temperature is None:
        temperature = fit_temperature(logits, labels)
    return Calibration(
        temperature=temperature,
        before=reliability(logits, labels),
        after=reliability(np.asarray(logits, float) / temperature, labels),
    )


def fit_temperature(
    logits: np.ndarray,
    labels: np.ndarray,
) -> float:
    """Returns the temperature with the smallest negative log-likelihood.

    If all predictions are correct, there is no minimum: the smaller, the
    better.

    Args:
        logits: [n, C].
        labels: int [n].
    """
    logits = np.asarray(logits, float)
    # The likelihood is a concave function of the scale.
    refined = minimize_scalar(
        lambda log_scale: _nll(np.exp(log_scale) * logits, labels),
        bounds=(-np.log(LARGEST), np.log(LARGEST)),
        method='bounded',
        options={'xatol': 1e-4},
    )
    return float(np.exp(-refined.x))


def reliability(logits: np.ndarray, labels: np.ndarray) -> Reliability:
    """Returns the expected calibration error, and the figures of each bin.

    A bin holds confidences above its lower border up to its upper one.

    Args:
        logits: [n, C].
        labels: int [n].
    """
    logits = np.asarray(logits, float)
    highest = np.exp(log_softmax(logits, axis=-1).max(axis=-1))
    right = logits.argmax(axis=-1) == labels
    places = np.ceil(highest * BINS).astype(int) - 1
    places = places.clip(0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    filled = np.where(counts, counts, np.nan)
    confidence = np.bincount(places, highest, BINS) / filled
    accuracy = np.bincount(places, right, BINS) / filled
    shares = counts / len(labels)
    return Reliability(
        ece=float(np.nansum(shares * np.abs(confidence - accuracy))),
        nll=_nll(logits, labels),
        shares=shares,
        confidence=confidence,
        accuracy=accuracy,
    )


def _nll(logits: np.ndarray, labels: np.ndarray) -> float:
    likelihoods = log_softmax(logits, axis=-1)
    return float(-likelihoods[np.arange(len(labels)), labels].mean())


def build(run: RunFolder) -> Markup:
    """Returns the section."""
    held = {
        split: pair
        for split in ('valid', 'test')
        if (pair := _held_out(run, split)) is not None
    }
    if not held:
        return render(
            'reliability.html',
            calibrations={},
            has_predictions=run.predictions is not None,
            file=PREDICTIONS,
        )
    # Validation labels are for fitting, test labels to measure.
    fitted_to, measured_on = list(held)[0], list(held)[-1]
    temperature = fit_temperature(*held[fitted_to])
    calibrations = {
        split: calibration(*pair, temperature) for split, pair in held.items()
    }
    measured = calibrations[measured_on]
    return render(
        'reliability.html',
        calibrations=calibrations,
        fitted_to=fitted_to,
        measured_on=measured_on,
        wrong_share=_wrong_share(run),
        diagrams=[
            diagram('As trained', measured.before),
            diagram(f'Divided by {temperature:.2f}', measured.after),
        ],
        labels=LABELS,
        sizes={split: len(labels) for split, (_, labels) in held.items()},
        bins=BINS,
    )


def _held_out(
    run: RunFolder, split: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns logits [n, C] and labels [n] of a split that has any."""
    arrays = run.predictions or {}
    logits = arrays.get(f'{split}_logits')
    if logits is None or not len(logits) or not np.isfinite(logits).all():
        return None
    return logits.astype(float), arrays[f'{split}_labels'].astype(int)


def _wrong_share(run: RunFolder) -> float | None:
    """Returns the share of wrong validation labels, None if unknown."""
    arrays = run.predictions or {}
    clean, labels = arrays.get('valid_clean'), arrays.get('valid_labels')
    if clean is None or labels is None or clean.shape != labels.shape:
        return None
    return float(np.mean(clean != labels))
