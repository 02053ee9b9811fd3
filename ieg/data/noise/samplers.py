"""Random draws of noisy labels.

The default sampler is fast. The others repeat, number by number, the draws of
published reference codes, so that a result can be compared on the very same
noisy labels.
"""

import dataclasses
import random
from collections.abc import Callable

import numpy as np

from ieg.errors import UsageError, nearest
from ieg.utils.randomness import generator

State = np.random.RandomState | np.random.Generator


def _draw_numpy(
    labels: np.ndarray, matrix: np.ndarray, kind: str, rate: float, seed: int
) -> np.ndarray:
    """Inverts the cumulative distribution for all labels at once."""
    del kind, rate
    cumulative = np.cumsum(matrix, axis=1)
    # Rounding must not leave a gap below 1: the last class would fill it.
    cumulative /= cumulative[:, -1:]
    u = generator(seed, 'noise').random(len(labels))
    return (u[:, None] >= cumulative[labels]).sum(axis=1)


def _draw_coteaching(
    labels: np.ndarray, matrix: np.ndarray, kind: str, rate: float, seed: int
) -> np.ndarray:
    """One legacy multinomial draw per label, in order.

    Cannot be vectorised: the legacy generator uses up as many numbers as it
    needs to hit a class. Source: Co-teaching, S2E, Co-teaching+, JoCoR,
    Me-Momentum.
    """
    del kind, rate
    state = np.random.RandomState(seed)
    return np.array([state.multinomial(1, matrix[c]).argmax() for c in labels])


def _draw_dividemix(
    labels: np.ndarray, matrix: np.ndarray, kind: str, rate: float, seed: int
) -> np.ndarray:
    """Exactly int(rate * N) labels, chosen by a shuffle, then in order.

    Source: DivideMix, where `uniform` is called sym and `asymmetric` asym.
    """
    generator = random.Random(seed)
    order = list(range(len(labels)))
    generator.shuffle(order)
    noisy = labels.copy()
    for index in sorted(order[: int(rate * len(labels))]):
        if kind == 'uniform':
            noisy[index] = generator.randint(0, len(matrix) - 1)
        else:
            others = matrix[labels[index]].copy()
            others[labels[index]] = 0.0
            if others.any():
                noisy[index] = others.argmax()
    return noisy


def _draw_ieg(
    labels: np.ndarray, matrix: np.ndarray, kind: str, rate: float, seed: int
) -> np.ndarray:
    """The noise of `_split_ieg` where there is no probe."""
    return _split_ieg(labels, matrix, kind, rate, seed, 0)[1]


def _split_ieg(
    labels: np.ndarray,
    matrix: np.ndarray,
    kind: str,
    rate: float,
    seed: int,
    per_class: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws probe and noise from one generator, along one shuffled order.

    Source: IEG. The order of the draws is its own: a shuffle of everything,
    the probe of each class, the noise on the rest, a shuffle of the rest,
    shuffles of the probe.
    """
    state = np.random.RandomState(seed)
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
    if kind == 'uniform':
        selected = rest[state.rand(len(rest)) <= rate]
        noisy[selected] = state.choice(len(matrix), len(selected))
    else:
        noisy[rest] = _draw_coteaching(labels[rest], matrix, kind, rate, seed)
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
        draw: (labels [N], matrix [C, C], kind, rate, seed) -> integers [N];
            for kinds of noise that are a matrix.
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

    draw: Callable[[np.ndarray, np.ndarray, str, float, int], np.ndarray]
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
