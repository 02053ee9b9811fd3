"""Label noise that depends on the image: each one has odds of its own.

Two constructions go by the name of instance-dependent noise. In both, image i
has a rate q_i from a normal distribution that is cut off at 0 and 1, and a
random projection of its raw pixels says which wrong class it is mistaken for.
Pixels of 0..255 make the softmax of the projection nearly one-hot, so the wrong
class is all but fixed by the image; and as images have much in common, so is
it by the class: such noise is close to flips into one or two other classes, and
its transition matrix depends strongly on the seed.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from scipy import special

from ieg.data.noise.samplers import State
from ieg.errors import UsageError
from ieg.registry import NOISES

# Standard deviation of the rates of the images, in both codes.
_DEVIATION = 0.1
# CORES2 draws so many rates, whatever the number of images.
_CORES_RATES = 10**6
# What the mean rate of a construction can be: cut off at 0, the half of a
# normal distribution around 0 still has the mean 0.1 * sqrt(2 / pi) = 0.08.
_RATES = (0.08, 0.92)


@dataclasses.dataclass(frozen=True)
class ImageNoise:
    """A kind of noise that is not a transition matrix.

    Attributes:
        draw: (images [N, ...], labels [N], rate, C, generator) -> noisy
            labels, integers [N].
        rates: smallest and largest rate that it can have.
    """

    draw: Callable[[np.ndarray, np.ndarray, float, int, State], np.ndarray]
    rates: tuple[float, float] = (0.0, 1.0)

    def check(self, kind: str, rate: float) -> None:
        """Checks a rate.

        Raises:
            UsageError: the construction cannot have it.
        """
        least, most = self.rates
        if not least <= rate <= most:
            raise UsageError(
                f'{kind} noise of rate {rate} is impossible, because the rates '
                'of its images are cut off at 0 and 1 and so cannot have that '
                f'mean: choose a rate from {least} to {most}.'
            )


def instance(
    images: np.ndarray,
    labels: np.ndarray,
    rate: float,
    num_classes: int,
    state: State,
) -> np.ndarray:
    """Draws noisy labels with one projection for each true class.

    Source: Xia et al. 2020 (part-dependent noise), and the codes of PDN,
    Me-Momentum, PES and others. The mean of the rates is not quite `rate`:
    0.2055 for 0.2, 0.39998 for 0.4.

    Args:
        images: uint8 [N, ...], pixels in the order in which the reference has
            them: height, width, channels.
        labels: integers [N], true classes.
        rate: mean of the normal distribution of the rates, before it is cut
            off.
        num_classes: C.
        state: all draws come from it: rates, projections, labels.

    Returns:
        Noisy labels, int64 [N].
    """
    odds = instance_odds(images, labels, rate, num_classes, state)
    return _draw(odds, state.random(len(labels)))


def instance_odds(
    images: np.ndarray,
    labels: np.ndarray,
    rate: float,
    num_classes: int,
    state: State,
) -> np.ndarray:
    """Returns the probability of each label, float32 [N, C].

    Arguments as in `instance`.
    """
    rates = flip_rates(rate, state.random(len(labels)))
    pixels = images.reshape(len(images), -1)
    shape = (pixels.shape[1], num_classes)
    # One class at a time: those of CIFAR-100 would fill 246 MB together.
    projections = (
        state.standard_normal(shape).astype(np.float32)
        for _ in range(num_classes)
    )
    return _odds(pixels, labels, rates, projections)


def flip_rates(rate: float, uniform: np.ndarray) -> np.ndarray:
    """Returns rates of images from a normal distribution cut off at 0 and 1.

    Args:
        rate: mean of the normal distribution.
        uniform: numbers in [0, 1), one for each image [N].

    Returns:
        float64 [N], the inverse of the cumulative distribution at `uniform`.
    """
    low, high = special.ndtr((np.array([0.0, 1.0]) - rate) / _DEVIATION)
    normal = special.ndtri(low + uniform * (high - low))
    return np.clip(rate + _DEVIATION * normal, 0.0, 1.0)


def cores(
    images: np.ndarray,
    labels: np.ndarray,
    rate: float,
    num_classes: int,
    state: State,
) -> np.ndarray:
    """Draws noisy labels with one projection for all classes.

    Source: CORES2 (Cheng et al. 2021), which the CIFAR-N authors use too.
    Arguments and result as in `instance`, but for the rates: those outside
    (0, 1) are left out.
    """
    count = len(labels)
    rates = state.normal(rate, _DEVIATION, max(_CORES_RATES, 2 * count))
    rates = rates[(rates > 0.0) & (rates < 1.0)][:count]
    pixels = images.reshape(count, -1)
    projection = state.standard_normal((pixels.shape[1], num_classes))
    odds = _odds(pixels, labels, rates, [projection] * num_classes)
    return _draw(odds / odds.sum(axis=1, keepdims=True), state.random(count))


def _odds(
    pixels: np.ndarray,
    labels: np.ndarray,
    rates: np.ndarray,
    projections: Iterable[np.ndarray],
) -> np.ndarray:
    """Returns the probability of each label.

    Args:
        pixels: uint8 [N, S].
        labels: integers [N], true classes.
        rates: float64 [N], of the images.
        projections: C matrices [S, C], one for each true class; their type is
            that of the computation.

    Returns:
        [N, C], of the same type.
    """
    odds = np.empty(0)
    for c, projection in enumerate(projections):
        if c == 0:
            shape = (len(labels), projection.shape[1])
            odds = np.empty(shape, projection.dtype)
        rows = labels == c
        scores = pixels[rows].astype(projection.dtype) @ projection
        scores[:, c] = -np.inf
        q = rates[rows]
        softmax = special.softmax(scores, axis=1)
        odds[rows] = q.astype(projection.dtype)[:, None] * softmax
        odds[rows, c] = 1.0 - q
    return odds


def _draw(odds: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns what `np.random.choice` draws from each row by one number."""
    cumulative = np.cumsum(odds, axis=1, dtype=np.float64)
    cumulative /= cumulative[:, -1:]
    return (cumulative <= uniform[:, None]).sum(axis=1)


NOISES.register('instance')(ImageNoise(instance, _RATES))
NOISES.register('cores')(ImageNoise(cores, _RATES))
