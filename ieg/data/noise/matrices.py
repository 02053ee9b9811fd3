"""Kinds of noise that are a transition matrix."""

import numpy as np

from ieg.errors import UsageError
from ieg.registry import NOISES

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
