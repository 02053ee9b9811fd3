"""Kinds of noise: transition matrices, and noise that depends on the image.

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

from ieg.errors import UsageError
from ieg.registry import NOISES

State = np.random.RandomState | np.random.Generator
# Standard deviation of the rates of the images, in both codes.
_DEVIATION = 0.1
# CORES2 draws so many rates, whatever the number of images.
_CORES_RATES = 10**6
# What the mean rate of a construction can be: cut off at 0, the half of a
# normal distribution around 0 still has the mean 0.1 * sqrt(2 / pi) = 0.08.
_RATES = (0.08, 0.92)
# The coarse label of each fine label of CIFAR-100, as the data set gives it.
CIFAR100_SUPERCLASS = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11,
    6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5,
    5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17,
    10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip


def _next_in_superclass() -> dict[int, int]:
    """Returns fine label -> next fine label of the same superclass, cyclic."""
    groups: dict[int, list[int]] = {}
    for fine, coarse in enumerate(CIFAR100_SUPERCLASS):
        groups.setdefault(coarse, []).append(fine)
    return {
        fine: group[(position + 1) % len(group)]
        for group in groups.values()
        for position, fine in enumerate(group)
    }


# 7 -> 1, 2 -> 7, 3 -> 8, 5 <-> 6 (Patrini et al. 2017).
_DIGITS = {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}

# Data set -> {class: the class it is mistaken for}; other classes stay clean.
ASYMMETRIC_MAPS: dict[str, dict[int, int]] = {
    # Truck -> automobile, bird -> airplane, cat <-> dog, deer -> horse
    # (Patrini et al. 2017).
    'cifar10': {9: 1, 2: 0, 3: 5, 5: 3, 4: 7},
    # The usual extension of the rule. Blocks of five consecutive fine labels,
    # found in some codes, are not the superclasses.
    'cifar100': _next_in_superclass(),
    'digits': _DIGITS,
    'mnist': _DIGITS,
    # Boot -> sneaker, sneaker -> sandal, pullover -> shirt, coat <-> dress
    # (Zhang and Sabuncu 2018, generalized cross-entropy).
    'fashion_mnist': {9: 7, 7: 5, 2: 6, 4: 3, 3: 4},
    'fake': {0: 1, 1: 0, 2: 3, 3: 2},
}


# Transition matrices.


@NOISES.register('uniform')
def uniform(rate: float, num_classes: int, base: str) -> np.ndarray:
    """Returns the matrix of a draw from all classes, the true one included.

    So a share of `rate * (1 - 1 / C)` of the labels becomes wrong. This is
    what IEG and DivideMix do.

    Args:
        rate: share of the labels that are drawn again.
        num_classes: C.
        base: name of the data set; not used.

    Returns:
        float64 [C, C], rows are true classes and sum to 1.
    """
    del base
    others = np.full((num_classes, num_classes), rate / num_classes)
    return (1 - rate) * np.eye(num_classes) + others


@NOISES.register('symmetric')
def symmetric(rate: float, num_classes: int, base: str) -> np.ndarray:
    """Returns the matrix of a draw from the C - 1 wrong classes.

    Source: Co-teaching. Arguments and result as in `uniform`.
    """
    del base
    matrix = np.full((num_classes, num_classes), rate / (num_classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


@NOISES.register('pairflip')
def pairflip(rate: float, num_classes: int, base: str) -> np.ndarray:
    """Returns the matrix that moves each class to the next, the last to 0.

    Source: Co-teaching. Arguments and result as in `uniform`.
    """
    del base
    following = {c: (c + 1) % num_classes for c in range(num_classes)}
    return _mapped(rate, num_classes, following)


@NOISES.register('asymmetric')
def asymmetric(rate: float, num_classes: int, base: str) -> np.ndarray:
    """Returns the matrix that moves some classes to a similar one.

    The classes are those of `ASYMMETRIC_MAPS[base]`. On CIFAR-10 half of the
    classes move, so a rate of 0.4 makes 20 % of all labels wrong. Arguments
    and result as in `uniform`.

    Raises:
        UsageError: no map is known for this data set.
    """
    if base not in ASYMMETRIC_MAPS:
        raise UsageError(
            f'asymmetric noise is not defined for the data set {base!r}: use '
            'pairflip, which is defined for any, or one of '
            f'{", ".join(sorted(ASYMMETRIC_MAPS))}.'
        )
    return _mapped(rate, num_classes, ASYMMETRIC_MAPS[base])


def _mapped(rate: float, num_classes: int, moves: dict[int, int]) -> np.ndarray:
    """Returns the matrix [C, C] that moves classes with probability `rate`."""
    matrix = np.eye(num_classes)
    for source, target in moves.items():
        matrix[source, source] = 1 - rate
        matrix[source, target] = rate
    return matrix


# Noise that depends on the image.


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
            them: height, width, channels; or vectors float32 [N, d].
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
    # SciPy takes as long to import as all that help needs.
    from scipy import special

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
        pixels: uint8 or float32 [N, S].
        labels: integers [N], true classes.
        rates: float64 [N], of the images.
        projections: C matrices [S, C], one for each true class; their type is
            that of the computation.

    Returns:
        [N, C], of the same type.
    """
    odds = np.empty(0)
    from scipy import special  # See `flip_rates`.

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
