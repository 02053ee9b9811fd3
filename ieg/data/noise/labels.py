"""Label noise: drawing it, and the file it leaves.

Most kinds of noise are a transition matrix (`matrices`); some are an
`ImageNoise`, which looks at the images too (`instance`). A sampler
(`samplers`) is a way to draw labels. Human labels
(`human`) are not drawn.
"""

import dataclasses
import hashlib
import zipfile
import zlib

import numpy as np

from ieg.data.noise import matrices  # noqa: F401  # Registers its kinds of noise.
from ieg.data.noise.instance import ImageNoise
from ieg.data.noise.samplers import SAMPLERS, check_sampler
from ieg.errors import UsageError
from ieg.registry import NOISES
from ieg.utils.files import atomic_open


@dataclasses.dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Corrupted labels and all that is needed to check or repeat them.

    Attributes:
        noisy: int32 [N], what a learner may see.
        clean: int32 [N], the true labels.
        kind: registered kind of noise, or a variant of human labels.
        rate: nominal rate, as in the dataset string; None for human labels.
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
    rate: float | None
    realised_rate: float
    transition: np.ndarray
    seed: int
    sampler: str
    sha256: str


def check(kind: str | None, rate: float | None, sampler: str) -> None:
    """Checks what can be known before there are any data.

    Args:
        kind: registered kind of noise, a variant of human labels, or None.
        rate: nominal rate; None where the labels are given.
        sampler: a name in `ieg.data.noise.samplers.SAMPLERS`.

    Raises:
        UsageError: unknown kind or sampler, a sampler that cannot draw this
            kind, or a rate that the kind cannot have.
    """
    check_sampler(sampler, kind)
    if kind is None or rate is None:
        return
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f'the noise rate {rate} is outside [0, 1]: change it.')
    definition = NOISES.get(kind)
    if isinstance(definition, ImageNoise):
        definition.check(kind, rate)


def needs_images(kind: str) -> bool:
    """Returns whether a registered kind of noise depends on the images."""
    return isinstance(NOISES.get(kind), ImageNoise)


def corrupt(
    labels: np.ndarray,
    kind: str,
    rate: float,
    base: str,
    num_classes: int,
    seed: int,
    sampler: str = 'numpy',
    images: np.ndarray | None = None,
    order: np.ndarray | None = None,
) -> NoisyLabels:
    """Draws noisy labels.

    Args:
        labels: integers [N] in 0..C-1, the true labels in the order of the
            data set.
        kind: registered kind of noise.
        rate: nominal rate in [0, 1].
        base: name of the data set, which asymmetric noise depends on.
        num_classes: C.
        seed: of the sampler, 0..2**32-1. Published Co-teaching and S2E runs
            all used 0, DivideMix 123, IEG 12345, Me-Momentum 1, CORES2 0.
        sampler: a name in `ieg.data.noise.samplers.SAMPLERS`.
        images: uint8 [N, H, W, channels]; needed by an `ImageNoise` only.
        order: positions [N] in the order in which the draws are made, on
            which those of the reference samplers depend; None for 0..N-1.

    Raises:
        UsageError: unknown kind or sampler, a sampler that cannot draw this
            kind, or a rate or seed out of range.
    """
    check(kind, rate, sampler)
    _check_seed(seed)
    clean = np.asarray(labels).astype(np.int32)
    if order is None:
        order = np.arange(len(clean))
    definition, how = NOISES.get(kind), SAMPLERS[sampler]
    if isinstance(definition, ImageNoise):
        if images is None:
            raise ValueError(f'the noise {kind!r} depends on the images')
        drawn = definition.draw(
            images[order], clean[order], rate, num_classes, how.state(seed)
        )
    else:
        matrix = definition(rate, num_classes, base)
        drawn = how.draw(clean[order], matrix, kind, rate, seed)
    noisy = np.empty_like(clean)
    noisy[order] = drawn
    return _described(clean, noisy, kind, rate, num_classes, seed, sampler)


def given(
    labels: np.ndarray,
    noisy: np.ndarray,
    kind: str,
    num_classes: int,
    seed: int,
    sampler: str,
) -> NoisyLabels:
    """Describes noisy labels that were not drawn.

    Args:
        labels: integers [N], the true labels.
        noisy: integers [N], those that people gave.
        kind: the variant of them.
        num_classes: C.
        seed: what the request has, as in `corrupt`; changes nothing.
        sampler: likewise.
    """
    clean = np.asarray(labels).astype(np.int32)
    return _described(clean, noisy, kind, None, num_classes, seed, sampler)


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
    check(kind, rate, sampler)
    _check_seed(seed)
    matrix = NOISES.get(kind)(rate, num_classes, base)
    clean = np.asarray(labels).astype(np.int32)
    split = SAMPLERS[sampler].split
    if split is None:
        raise ValueError(f'the sampler {sampler!r} does not draw a probe')
    probe, noisy = split(clean, matrix, kind, rate, seed, per_class)
    clean, noisy = np.delete(clean, probe), np.delete(noisy, probe)
    return probe, _described(
        clean, noisy, kind, rate, num_classes, seed, sampler
    )


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f'the noise seed {seed} is not in 0..2**32-1.')


def _described(
    clean: np.ndarray,
    noisy: np.ndarray,
    kind: str,
    rate: float | None,
    num_classes: int,
    seed: int,
    sampler: str,
) -> NoisyLabels:
    noisy = noisy.astype(np.int32)
    return NoisyLabels(
        noisy=noisy,
        clean=clean,
        kind=kind,
        rate=None if rate is None else float(rate),
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

    Keys: noisy_labels, clean_labels and `_SAVED`; no rate is NaN.
    """
    fields = {name: vars(noise)[name] for name in _SAVED}
    if noise.rate is None:
        fields['rate'] = np.nan  # None would be pickled.
    with atomic_open(path, 'wb') as file:
        np.savez_compressed(
            file,
            noisy_labels=noise.noisy,
            clean_labels=noise.clean,
            **fields,
        )


def load(path: str) -> NoisyLabels:
    """Reads what `save` wrote and verifies the SHA-256 of the noisy labels.

    Raises:
        UsageError: the file is missing, unreadable, or was altered.
    """
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with open(path, 'rb') as raw, np.load(raw) as file:
            rate = float(file['rate'])
            noise = NoisyLabels(
                noisy=file['noisy_labels'],
                clean=file['clean_labels'],
                kind=str(file['kind']),
                rate=None if np.isnan(rate) else rate,
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
