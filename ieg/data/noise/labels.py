"""Label noise: drawing it, and the file it leaves.

Most kinds of noise are a transition matrix; some are an `ImageNoise`, which
looks at the images too (`kinds`). A sampler is a way to draw labels: the
default one is fast, the others repeat, number by number, the draws of published
reference codes, so that a result can be compared on the very same noisy labels.
Human labels (`human`) are not drawn.
"""

import dataclasses
import hashlib
import random
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from ieg.data.noise.kinds import ImageNoise, State
from ieg.errors import UsageError, nearest
from ieg.registry import NOISES
from ieg.utils.files import atomic_open
from ieg.utils.randomness import generator


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


@dataclasses.dataclass(frozen=True)
class Request:
    """What noise to put on labels.

    Attributes:
        kind: registered kind of noise, or a variant of human labels.
        rate: nominal rate in [0, 1]; None where the labels are given.
        base: name of the data set, which asymmetric noise depends on.
        num_classes: C.
        seed: of the sampler, 0..2**32-1. Published Co-teaching and S2E runs
            all used 0, DivideMix 123, IEG 12345, Me-Momentum 1, CORES2 0.
        sampler: a name in `SAMPLERS`.
    """

    kind: str
    rate: float | None
    base: str
    num_classes: int
    seed: int
    sampler: str = 'numpy'

    def checked_rate(self) -> float:
        """Returns the rate after all checks.

        Raises:
            UsageError: as in `check`, or the seed is out of range.
        """
        check(self.kind, self.rate, self.sampler)
        if not 0 <= self.seed < 2**32:
            raise UsageError(
                f'the noise seed {self.seed} is not in 0..2**32-1.'
            )
        if self.rate is None:
            raise ValueError(f'the noise {self.kind!r} has no rate')
        return self.rate


# Samplers.


def _draw_numpy(
    labels: np.ndarray, matrix: np.ndarray, asked: Request
) -> np.ndarray:
    """Inverts the cumulative distribution for all labels at once."""
    cumulative = np.cumsum(matrix, axis=1)
    # Rounding must not leave a gap below 1: the last class would fill it.
    cumulative /= cumulative[:, -1:]
    u = generator(asked.seed, 'noise').random(len(labels))
    return (u[:, None] >= cumulative[labels]).sum(axis=1)


def _draw_coteaching(
    labels: np.ndarray, matrix: np.ndarray, asked: Request
) -> np.ndarray:
    """One legacy multinomial draw per label, in order.

    Cannot be vectorised: the legacy generator uses up as many numbers as it
    needs to hit a class. Source: Co-teaching, S2E, Co-teaching+, JoCoR,
    Me-Momentum.
    """
    state = np.random.RandomState(asked.seed)
    return np.array([state.multinomial(1, matrix[c]).argmax() for c in labels])


def _draw_dividemix(
    labels: np.ndarray, matrix: np.ndarray, asked: Request
) -> np.ndarray:
    """Exactly int(rate * N) labels, chosen by a shuffle, then in order.

    Source: DivideMix, where `uniform` is called sym and `asymmetric` asym.
    """
    generator = random.Random(asked.seed)
    order = list(range(len(labels)))
    generator.shuffle(order)
    noisy = labels.copy()
    for index in sorted(order[: int(asked.checked_rate() * len(labels))]):
        if asked.kind == 'uniform':
            noisy[index] = generator.randint(0, len(matrix) - 1)
        else:
            others = matrix[labels[index]].copy()
            others[labels[index]] = 0.0
            if others.any():
                noisy[index] = others.argmax()
    return noisy


def _draw_ieg(
    labels: np.ndarray, matrix: np.ndarray, asked: Request
) -> np.ndarray:
    """The noise of `_split_ieg` where there is no probe."""
    return _split_ieg(labels, matrix, asked, 0)[1]


def _split_ieg(
    labels: np.ndarray,
    matrix: np.ndarray,
    asked: Request,
    per_class: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws probe and noise from one generator, along one shuffled order.

    Source: IEG. The order of the draws is its own: a shuffle of everything,
    the probe of each class, the noise on the rest, a shuffle of the rest,
    shuffles of the probe.
    """
    state = np.random.RandomState(asked.seed)
    order = state.permutation(len(labels))
    shuffled = labels[order]
    probe: list[np.ndarray] = []
    # Choosing none would use up random numbers too.
    for c in range(len(matrix) if per_class else 0):
        places = np.flatnonzero(shuffled == c)
        probe.append(state.choice(places, per_class, replace=False))
    is_rest = np.ones(len(labels), bool)
    is_rest[np.array(probe, int)] = False
    rest = order[is_rest]
    noisy = labels.copy()
    if asked.kind == 'uniform':
        selected = rest[state.rand(len(rest)) <= asked.checked_rate()]
        noisy[selected] = state.choice(len(matrix), len(selected))
    else:
        noisy[rest] = _draw_coteaching(labels[rest], matrix, asked)
    # IEG's order of training. Not used, but the next numbers depend on it.
    state.permutation(len(rest))
    rows = [order[state.permutation(places)] for places in probe]
    return np.array(rows, np.int64).T.ravel(), noisy


def memomentum_train_part(count: int, ratio: float, seed: int) -> np.ndarray:
    """Returns which examples are not for validation.

    Source: Me-Momentum, which uses one seed for this and for the noise.

    Args:
        count: number of noisy examples, N.
        ratio: share for validation.
        seed: of the noise.

    Returns:
        Positions int64, about (1 - ratio) * N of them, in the code's order of
        training; those for validation are the others, ascending.
    """
    # Rounding must not turn the 54000 that are meant into 53999.
    size = int((1.0 - ratio) * count + 1e-9)
    state = np.random.RandomState(seed)
    return state.choice(count, size, replace=False)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A way to draw noisy labels.

    Attributes:
        draw: (labels [N], matrix [C, C], request) -> integers [N]; for kinds
            of noise that are a matrix.
        kinds: the kinds of noise it can draw; empty means all.
        split: for a code whose noise depends on how its probe was chosen;
            (the arguments of `draw`, probe examples per class P) -> positions
            of the probe [C * P], of classes 0, ..., C - 1, 0, ...; and
            integers [N], which are the given labels there. None where the
            probe is chosen apart.
        state: seed -> source of the draws; for kinds that depend on images.
            That of the reference codes unless it says otherwise.
        train_part: (number of noisy examples, share for validation, seed) ->
            positions of those that are not for validation. None where these
            are chosen apart.
        published: whether the code reads the examples in the order of the
            published files, and not in that of TFDS.
    """

    draw: Callable[[np.ndarray, np.ndarray, Request], np.ndarray]
    kinds: tuple[str, ...] = ()
    split: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None
    state: Callable[[int], State] = np.random.RandomState
    train_part: Callable[[int, float, int], np.ndarray] | None = None
    published: bool = False


SAMPLERS: dict[str, Sampler] = {
    'numpy': Sampler(_draw_numpy, state=lambda seed: generator(seed, 'noise')),
    'coteaching': Sampler(
        _draw_coteaching, ('asymmetric', 'pairflip', 'symmetric')
    ),
    'cores': Sampler(_draw_coteaching, ('cores',), published=True),
    'dividemix': Sampler(_draw_dividemix, ('asymmetric', 'uniform')),
    'ieg': Sampler(_draw_ieg, ('asymmetric', 'uniform'), _split_ieg),
    # Me-Momentum; its instance-dependent noise is that of PDN and PES.
    'memomentum': Sampler(
        _draw_coteaching,
        ('instance', 'pairflip', 'symmetric'),
        train_part=memomentum_train_part,
        published=True,
    ),
}


def check_sampler(sampler: str, kind: str | None) -> None:
    """Checks that a sampler exists and can draw a kind of noise.

    Raises:
        UsageError: it does not, or it cannot.
    """
    if sampler not in SAMPLERS:
        raise UsageError(
            f'there is no noise sampler {sampler!r}.'
            f'{nearest(sampler, SAMPLERS)} Known: {", ".join(SAMPLERS)}.'
        )
    kinds = SAMPLERS[sampler].kinds
    if kind and kinds and kind not in kinds:
        raise UsageError(
            f'the noise sampler {sampler!r} repeats a reference code that has '
            f'no {kind} noise: use the sampler numpy, or one of the kinds '
            f'{", ".join(kinds)}.'
        )


# Drawing.


def check(kind: str | None, rate: float | None, sampler: str) -> None:
    """Checks what can be known before there are any data.

    Args:
        kind: registered kind of noise, a variant of human labels, or None.
        rate: nominal rate; None where the labels are given.
        sampler: a name in `SAMPLERS`.

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
    asked: Request,
    images: np.ndarray | None = None,
    order: np.ndarray | None = None,
) -> NoisyLabels:
    """Draws noisy labels.

    Args:
        labels: integers [N] in 0..C-1, the true labels in the order of the
            data set.
        asked: what to draw.
        images: uint8 [N, H, W, channels], or vectors [N, d]; needed by an
            `ImageNoise` only.
        order: positions [N] in the order in which the draws are made, on
            which those of the reference samplers depend; None for 0..N-1.

    Raises:
        UsageError: unknown kind or sampler, a sampler that cannot draw this
            kind, or a rate or seed out of range.
    """
    rate = asked.checked_rate()
    clean = np.asarray(labels).astype(np.int32)
    if order is None:
        order = np.arange(len(clean))
    definition, how = NOISES.get(asked.kind), SAMPLERS[asked.sampler]
    if isinstance(definition, ImageNoise):
        if images is None:
            raise ValueError(f'the noise {asked.kind!r} depends on the images')
        state = how.state(asked.seed)
        drawn = definition.draw(
            images[order], clean[order], rate, asked.num_classes, state
        )
    else:
        matrix = definition(rate, asked.num_classes, asked.base)
        drawn = how.draw(clean[order], matrix, asked)
    noisy = np.empty_like(clean)
    noisy[order] = drawn
    return given(clean, noisy, asked)


def split_and_corrupt(
    labels: np.ndarray, per_class: int, asked: Request
) -> tuple[np.ndarray, NoisyLabels]:
    """Draws a probe and the noisy labels of all others, as one code does.

    Args:
        labels: as in `corrupt`, those of the probe included.
        per_class: probe examples of each class P; 0 for no probe.
        asked: what to draw, with a sampler that has a `split`; its seed is
            that of probe and noise.

    Returns:
        The positions of the probe int64 [C * P], of classes 0, ..., C - 1,
        0, ...; and the noise of the N - C * P others in ascending order.

    Raises:
        UsageError: as in `corrupt`.
    """
    rate = asked.checked_rate()
    matrix = NOISES.get(asked.kind)(rate, asked.num_classes, asked.base)
    clean = np.asarray(labels).astype(np.int32)
    split = SAMPLERS[asked.sampler].split
    if split is None:
        raise ValueError(f'the sampler {asked.sampler!r} does not draw a probe')
    probe, noisy = split(clean, matrix, asked, per_class)
    return probe, given(np.delete(clean, probe), np.delete(noisy, probe), asked)


def given(labels: np.ndarray, noisy: np.ndarray, asked: Request) -> NoisyLabels:
    """Describes noisy labels, those that people gave or that were drawn.

    Args:
        labels: integers [N], the true labels.
        noisy: integers [N].
        asked: of which only the number of classes changes anything.
    """
    clean, noisy = (
        np.asarray(values).astype(np.int32) for values in (labels, noisy)
    )
    return NoisyLabels(
        noisy=noisy,
        clean=clean,
        kind=asked.kind,
        rate=None if asked.rate is None else float(asked.rate),
        realised_rate=float(np.mean(noisy != clean)),
        transition=realised_transition(clean, noisy, asked.num_classes),
        seed=asked.seed,
        sampler=asked.sampler,
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
            'restore it, or delete it and start the run again.'
        ) from error
    if _digest(noise.noisy) != noise.sha256:
        raise UsageError(
            f'the noisy labels in {path} do not match their SHA-256: restore '
            'the file, or delete it and start the run again.'
        )
    return noise


def _digest(labels: np.ndarray) -> str:
    """Returns the SHA-256 of labels as little-endian int32."""
    return hashlib.sha256(labels.astype('<i4').tobytes()).hexdigest()
