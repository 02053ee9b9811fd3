"""Label noise: its definitions, and the file it leaves.

A kind of noise is a transition matrix; a sampler (`ieg.data.samplers`) is a
way to draw labels from it.
"""

import dataclasses
import hashlib
import os
import zipfile
import zlib

import numpy as np

from ieg.data.samplers import SAMPLERS, check_sampler
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
        rate: share of the labels that are drawn anew.
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


@dataclasses.dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Corrupted labels and all that is needed to check or repeat them.

    Attributes:
        noisy: int32 [N], what a learner may see.
        clean: int32 [N], the true labels.
        kind: registered kind of noise.
        rate: nominal rate, as in the dataset string.
        realised_rate: share of labels that are really wrong.
        transition: float64 [C, C], the counts that came out, each row (true
            class) divided by its sum; the row of a class without examples is
            that of the identity.
        seed: seed of the sampler.
        sampler: name of the sampler.
        sha256: hex digest of `noisy` as little-endian int32.
    """

    noisy: np.ndarray
    clean: np.ndarray
    kind: str
    rate: float
    realised_rate: float
    transition: np.ndarray
    seed: int
    sampler: str
    sha256: str


def corrupt(
    labels: np.ndarray,
    kind: str,
    rate: float,
    base: str,
    num_classes: int,
    seed: int,
    sampler: str = 'numpy',
) -> NoisyLabels:
    """Draws noisy labels.

    Args:
        labels: integers [N] in 0..C-1, the true labels in the order of the
            data set; the reference samplers depend on the order.
        kind: registered kind of noise.
        rate: nominal rate in [0, 1].
        base: name of the data set, which asymmetric noise depends on.
        num_classes: C.
        seed: of the sampler, 0..2**32-1. Published Co-teaching and S2E runs
            all used 0, DivideMix 123, IEG 12345.
        sampler: a name in `ieg.data.samplers.SAMPLERS`.

    Raises:
        UsageError: unknown kind or sampler, a sampler that cannot draw this
            kind, or a rate or seed out of range.
    """
    matrix = _matrix(kind, rate, base, num_classes, seed, sampler)
    clean = np.asarray(labels).astype(np.int32)
    noisy = SAMPLERS[sampler].draw(clean, matrix, kind, rate, seed)
    return _described(clean, noisy, kind, rate, num_classes, seed, sampler)


def split_and_corrupt(
    labels: np.ndarray,
    per_class: int,
    kind: str,
    rate: float,
    base: str,
    num_classes: int,
    seed: int,
    sampler: str,
) -> tuple[np.ndarray, NoisyLabels]:
    """Draws a probe and the noisy labels of all others, as one code does.

    Args:
        labels: as in `corrupt`, those of the probe included.
        per_class: probe examples of each class P; 0 for no probe.
        kind: as in `corrupt`, like all that follow.
        rate: nominal rate in [0, 1].
        base: name of the data set.
        num_classes: C.
        seed: of probe and noise.
        sampler: name of a sampler that has a `split`.

    Returns:
        The positions of the probe int64 [C * P], of classes 0, ..., C - 1,
        0, ...; and the noise of the N - C * P others in ascending order.

    Raises:
        UsageError: as in `corrupt`.
    """
    matrix = _matrix(kind, rate, base, num_classes, seed, sampler)
    clean = np.asarray(labels).astype(np.int32)
    split = SAMPLERS[sampler].split
    probe, noisy = split(clean, matrix, kind, rate, seed, per_class)
    clean, noisy = np.delete(clean, probe), np.delete(noisy, probe)
    return probe, _described(
        clean, noisy, kind, rate, num_classes, seed, sampler
    )


def _matrix(
    kind: str,
    rate: float,
    base: str,
    num_classes: int,
    seed: int,
    sampler: str,
) -> np.ndarray:
    """Returns the matrix [C, C] to draw from, if the request is possible."""
    check_sampler(sampler, kind)
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f'the noise rate {rate} is outside [0, 1]: change it.')
    if not 0 <= seed < 2**32:
        raise UsageError(f'the noise seed {seed} is not in 0..2**32-1.')
    return NOISES.get(kind)(rate, num_classes, base)


def _described(
    clean: np.ndarray,
    noisy: np.ndarray,
    kind: str,
    rate: float,
    num_classes: int,
    seed: int,
    sampler: str,
) -> NoisyLabels:
    noisy = noisy.astype(np.int32)
    return NoisyLabels(
        noisy=noisy,
        clean=clean,
        kind=kind,
        rate=float(rate),
        realised_rate=float(np.mean(noisy != clean)),
        transition=realised_transition(clean, noisy, num_classes),
        seed=seed,
        sampler=sampler,
        sha256=_digest(noisy),
    )


def realised_transition(
    clean: np.ndarray, noisy: np.ndarray, num_classes: int
) -> np.ndarray:
    """Returns float64 [C, C]: share of each noisy class per true class."""
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (clean, noisy), 1)
    empty = counts.sum(axis=1) == 0
    counts[empty, empty] = 1
    return counts / counts.sum(axis=1, keepdims=True)


# Fields that bear the same name in the file; `noisy` and `clean` do not.
_SAVED = (
    'transition', 'kind', 'rate', 'realised_rate', 'seed', 'sampler', 'sha256',
)  # fmt: skip


def save(path: str, noise: NoisyLabels) -> None:
    """Writes `noise.npz`; a reader never sees half a file.

    Keys: noisy_labels, clean_labels and `_SAVED`.
    """
    beside = f'{path}.{os.getpid()}.tmp'
    with open(beside, 'wb') as file:
        np.savez_compressed(
            file,
            noisy_labels=noise.noisy,
            clean_labels=noise.clean,
            **{name: getattr(noise, name) for name in _SAVED},
        )
    os.replace(beside, path)


def load(path: str) -> NoisyLabels:
    """Reads what `save` wrote and verifies the SHA-256 of the noisy labels.

    Raises:
        UsageError: the file is missing, unreadable, or was altered.
    """
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with open(path, 'rb') as raw, np.load(raw) as file:
            noise = NoisyLabels(
                noisy=file['noisy_labels'],
                clean=file['clean_labels'],
                kind=str(file['kind']),
                rate=float(file['rate']),
                realised_rate=float(file['realised_rate']),
                transition=file['transition'],
                seed=int(file['seed']),
                sampler=str(file['sampler']),
                sha256=str(file['sha256']),
            )
    except FileNotFoundError:
        raise UsageError(f'there is no noise file {path}.') from None
    except (
        OSError, EOFError, KeyError, ValueError, TypeError, AttributeError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise UsageError(
            f'the noise file {path} cannot be read ({type(error).__name__}): '
            'restore it, or delete it and start the run anew.'
        ) from error
    if _digest(noise.noisy) != noise.sha256:
        raise UsageError(
            f'the noisy labels in {path} do not match their SHA-256: restore '
            'the file, or delete it and start the run anew.'
        )
    return noise


def _digest(labels: np.ndarray) -> str:
    """Returns the SHA-256 of labels as little-endian int32."""
    return hashlib.sha256(labels.astype('<i4').tobytes()).hexdigest()
