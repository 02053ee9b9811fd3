"""The dataset string: `cifar10_asymmetric_0.4` and its kin."""

import dataclasses
import os
import re
from collections.abc import Iterable

from ieg.data.noise.human import HUMAN_SETS, human_set
from ieg.data.noise.kinds import ASYMMETRIC_MAPS
from ieg.errors import UsageError, nearest
from ieg.registry import DATASETS, NOISES

_TAIL = 'imbal'
# Any set of TFDS: tfds:NAME.
TFDS_PREFIX = 'tfds:'
# Data sets whose name does not say which images they are.
OWN = ('folder', 'csv', 'npz')
# Those of the data sets to which noise is usually added.
_NUM_CLASSES = {
    'animal10n': 10,
    'cifar10': 10,
    'cifar100': 100,
    'digits': 10,
    'fake': 4,
    'fashion_mnist': 10,
    'mnist': 10,
}
# Kinds of noise whose rate is the share of wrong labels.
_EXACT = ('symmetric', 'asymmetric', 'pairflip', 'instance', 'cores')


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set and what is done to its training examples.

    Args:
        base: registered name of the data set that has the images; that of
            `cifar10n_worse` is cifar10.
        noise: registered kind of noise, or a variant of human labels (see
            `noise.human.HUMAN_SETS`), or None for the labels as they are.
        rate: share of labels given to the noise, in [0, 1]; None without
            noise, and for human labels.
        imbalance: size of the rarest class over that of the most frequent
            one, in (0, 1]; None for the classes as they are. The long tail is
            made before the noise.

    Raises:
        UsageError: a number is outside its range, or a rate is missing or has
            nothing to do.
    """

    base: str
    noise: str | None = None
    rate: float | None = None
    imbalance: float | None = None

    def __post_init__(self) -> None:
        # NaN is in no interval.
        if self.imbalance is not None and not 0.0 < self.imbalance <= 1.0:
            raise UsageError(
                f'the imbalance {self.imbalance} is outside (0, 1]: write for '
                f'example {self.base}_{_TAIL}_0.01, where the rarest class '
                'has a hundredth of the most frequent one.'
            )
        if self.noise is None and self.rate is not None:
            raise UsageError(
                f'the dataset {self.base!r} has a noise rate but no kind of '
                f'noise: write for example {self.base}_uniform_{self.rate}.'
            )
        if self.noise is None:
            return
        if self.human is not None:
            if self.rate is not None:
                raise UsageError(
                    f'{self.human}_{self.noise} takes no rate, because its '
                    f'labels are given: leave out {self.rate}.'
                )
            return
        if self.rate is None:
            raise UsageError(
                f'the noise {self.noise!r} needs a rate in [0, 1]: write for '
                f'example {self.base}_{self.noise}_0.4.'
            )
        if not 0.0 <= self.rate <= 1.0:
            raise UsageError(
                f'the noise rate {self.rate} in '
                f"'{self.base}_{self.noise}_{self.rate}' is outside [0, 1]: "
                f'write for example {self.base}_{self.noise}_0.4.'
            )

    @property
    def has_recipe(self) -> bool:
        """Whether it is known how to train on it, before it is looked at."""
        return self.base not in OWN and not self.base.startswith(TFDS_PREFIX)

    @property
    def human(self) -> str | None:
        """The name in `HUMAN_SETS`, where the labels are people's."""
        return human_set(self.base, self.noise)

    @property
    def expected_noise_rate(self) -> float | None:
        """The share of wrong training labels that the name promises, 0 to 1.

        None where it does not say: where the share depends on the class, a
        long tail changes it; and that of uniform noise depends on the number
        of classes.
        """
        balanced = self.imbalance is None
        if self.human is not None and self.noise is not None:
            published = HUMAN_SETS[self.human].variants[self.noise].rate
            return published if balanced else None
        if self.rate is None:
            return None
        num_classes = _NUM_CLASSES.get(self.base)
        if self.noise == 'uniform':
            # The true class is among those that are drawn from.
            return num_classes and self.rate * (1 - 1 / num_classes)
        if self.noise == 'asymmetric' and self.base in ASYMMETRIC_MAPS:
            assert num_classes is not None
            moved = len(ASYMMETRIC_MAPS[self.base]) / num_classes
            return self.rate * moved if balanced or moved == 1 else None
        return self.rate if self.noise in _EXACT else None

    @property
    def of_features(self) -> 'DatasetSpec':
        """What methods are asked for presets of, on features of the images.

        What suits the images does not suit their features, but the noise is
        the same.
        """
        if not self.has_recipe:
            return self
        rate, base = self.expected_noise_rate, OWN[-1]
        if self.noise is None or rate is None:
            return DatasetSpec(base)
        kind = self.noise if self.noise in _EXACT else 'symmetric'
        return DatasetSpec(base, kind, rate, self.imbalance)

    def __str__(self) -> str:
        parts: list[str | float] = [self.human or self.base]
        if self.imbalance is not None:
            parts += [_TAIL, self.imbalance]
        if self.noise is not None:
            parts.append(self.noise)
        if self.rate is not None:
            parts.append(self.rate)
        return '_'.join(map(str, parts))


def parse(text: str, bases: Iterable[str] | None = None) -> DatasetSpec:
    """Reads a dataset string: `base[_imbal_number][_kind_rate]`.

    Human labels have a name in the place of the base and a variant in that of
    `kind_rate`: `cifar10n_worse`. The name alone is the default variant, where
    there is one: `cifar100n` is `cifar100n_noisy`.

    The base is the longest known name that begins the string, because names
    contain underscores themselves (`fashion_mnist_uniform_0.4`).

    A canonical number is Python's shortest decimal of a float (`0.4`, `1.0`),
    and `str(parse(s)) == s` for every canonical string. Any other way to
    write a number (`0.40`, `.4`, `4e-1`, `1`) is read too and normalized, so
    one setting always has one name.

    Args:
        text: the dataset string.
        bases: names of data sets; None means all that are registered.

    Raises:
        UsageError: no such data set, kind of noise or variant, no rate, or a
            number that is none or out of range.
    """
    bases = DATASETS.names() if bases is None else list(bases)
    if text.startswith(TFDS_PREFIX):
        bases.append(without_noise(text))
    human = [name for name, known in HUMAN_SETS.items() if known.base in bases]
    name = _longest_prefix(text, bases + human)
    if name is None:
        raise _unknown_base(text, bases + human)
    rest = None if text == name else text[len(name) + 1 :]
    imbalance, rest = _imbalance(text, name, rest)
    noise: str | None
    if name in human:
        base, noise, rate = _variant(text, name, rest)
    else:
        base, noise, rate = name, *_noise(text, name, rest)
    return DatasetSpec(base, noise, rate, imbalance)


def without_noise(text: str) -> str:
    """Returns `tfds:NAME` of `tfds:NAME_...`, without tail and noise.

    Also of the names of other collections than TFDS.

    Raises:
        UsageError: the name is missing.
    """
    kinds = '|'.join([_TAIL, *NOISES.names()])
    name = re.split(f'_(?:{kinds})(?=_|$)', text)[0]
    if name.endswith(':'):
        raise UsageError(
            f'{text!r} names no data set: write for example {name}beans.'
        )
    return name


def _imbalance(
    text: str, name: str, rest: str | None
) -> tuple[float | None, str | None]:
    """Returns the imbalance that begins `rest`, if one does, and what follows.

    What follows is None where nothing does, not even an underscore.

    Raises:
        UsageError: it is not a number.
    """
    if rest is None or _longest_prefix(rest, [_TAIL]) is None:
        return None, rest
    number, underscore, rest = rest[len(_TAIL) + 1 :].partition('_')
    example = f'{name}_{_TAIL}_0.01'
    imbalance = _number(number, text, 'imbalance', example)
    return imbalance, rest if underscore else None


def _noise(
    text: str, base: str, rest: str | None
) -> tuple[str | None, float | None]:
    """Returns kind and rate of `kind_rate`, or twice None for nothing.

    Raises:
        UsageError: the kind is unknown, or the rate is not a number.
    """
    if rest is None:
        return None, None
    kind = _longest_prefix(rest, NOISES.names())
    if kind is None:
        raise _unknown_noise(text, base, rest)
    if rest == kind:
        return kind, None  # What is made of it raises: there is no rate.
    number = rest[len(kind) + 1 :]
    return kind, _number(number, text, 'noise rate', f'{base}_{kind}_0.4')


def _variant(
    text: str, name: str, rest: str | None
) -> tuple[str, str, float | None]:
    """Returns base, variant and rate (which is a mistake) of human labels.

    Raises:
        UsageError: the variant is unknown.
    """
    human = HUMAN_SETS[name]
    rest = human.default if rest is None else rest
    variant = _longest_prefix(rest, human.variants)
    if variant is None:
        known = ', '.join(f'{name}_{v}' for v in human.variants)
        problem = (
            f'{text!r} does not say which human labels'
            if not rest
            else f'there are no human labels {rest!r} in {text!r}'
        )
        raise UsageError(
            f'{problem}.{nearest(rest, human.variants)} Known: {known}; '
            f'{human.base} has the true labels, and other kinds of noise.'
        )
    if rest == variant:
        return human.base, variant, None
    number = rest[len(variant) + 1 :]
    rate = _number(number, text, 'noise rate', f'{name}_{variant}')
    return human.base, variant, rate


def _number(number: str, text: str, what: str, example: str) -> float:
    """Returns a number that is part of a dataset string.

    Raises:
        UsageError: it is none.
    """
    try:
        # Adding zero turns -0.0 into 0.0, which has one name only.
        return float(number) + 0.0
    except ValueError:
        raise UsageError(
            f'the {what} {number!r} in {text!r} is not a number: write for '
            f'example {example}.'
        ) from None


def _longest_prefix(text: str, names: Iterable[str]) -> str | None:
    """Returns the longest name that is `text` or begins it before a '_'."""
    fitting = [n for n in names if text == n or text.startswith(n + '_')]
    return max(fitting, key=len, default=None)


def _unknown_base(text: str, bases: list[str]) -> UsageError:
    """Returns the error for a string that begins with no known data set."""
    if '/' in text or os.path.exists(text):
        form = os.path.splitext(text)[1].lower().removeprefix('.')
        kind = form if form in OWN else 'folder'
        return UsageError(
            f'--dataset={text} is a path: write --dataset={kind} '
            f'--data_dir={text}.'
        )
    name = text
    for kind in NOISES.names():
        name = name.split(f'_{kind}')[0]
    return UsageError(
        f'there is no data set {name!r}.{nearest(name.lower(), bases)} '
        f'Known: {", ".join(sorted(bases))}, {TFDS_PREFIX}NAME.'
    )


def _unknown_noise(text: str, base: str, rest: str) -> UsageError:
    """Returns the error for a known data set with an unknown noise part."""
    name = rest.rsplit('_', 1)[0]
    known = [*NOISES.names(), _TAIL]
    return UsageError(
        f'there is no kind of noise {name!r} in {text!r}.'
        f'{nearest(name.lower(), known)} Known: {", ".join(known)}; write for '
        f'example {base}_uniform_0.4.'
    )
