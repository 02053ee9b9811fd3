"""The dataset string: `cifar10_asymmetric_0.4` and its kin."""

import dataclasses
from collections.abc import Iterable

from ieg.errors import UsageError, nearest
from ieg.registry import DATASETS, NOISES


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set and what is done to its training labels.

    Args:
        base: registered name of the data set.
        noise: registered kind of noise, or None for the labels as they are.
        rate: share of labels given to the noise, in [0, 1]; None exactly
            where `noise` is None.

    Raises:
        UsageError: the rate is outside [0, 1], or there is a rate without a
            kind of noise or the reverse.
    """

    base: str
    noise: str | None = None
    rate: float | None = None

    def __post_init__(self):
        if self.noise is None and self.rate is not None:
            raise UsageError(
                f'the dataset {self.base!r} has a noise rate but no kind of '
                f'noise: write for example {self.base}_uniform_{self.rate}.'
            )
        if self.noise is None:
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

    def __str__(self) -> str:
        if self.noise is None:
            return self.base
        return f'{self.base}_{self.noise}_{self.rate}'


def parse(text: str, bases: Iterable[str] | None = None) -> DatasetSpec:
    """Reads a dataset string: `base` or `base_kind_rate`.

    The base is the longest known name that begins the string, because names
    contain underscores themselves (`fashion_mnist_uniform_0.4`).

    The canonical rate is Python's shortest decimal of a float (`0.4`, `1.0`),
    and `str(parse(s)) == s` for every canonical string. Any other way to
    write a number (`0.40`, `.4`, `4e-1`, `1`) is read too and normalised, so
    one setting always has one name.

    Args:
        text: the dataset string.
        bases: names of data sets; None means all that are registered.

    Raises:
        UsageError: no such data set or kind of noise, no rate, or a rate
            that is not a number in [0, 1].
    """
    bases = DATASETS.names() if bases is None else list(bases)
    base = _longest_prefix(text, bases)
    if base is None:
        raise _unknown_base(text, bases)
    if text == base:
        return DatasetSpec(base)
    rest = text[len(base) + 1 :]
    kind = _longest_prefix(rest, NOISES.names())
    if kind is None:
        raise _unknown_noise(text, base, rest)
    if rest == kind:
        return DatasetSpec(base, kind)  # Raises: there is no rate.
    number = rest[len(kind) + 1 :]
    try:
        rate = float(number)
    except ValueError:
        raise UsageError(
            f'the noise rate {number!r} in {text!r} is not a number: write '
            f'for example {base}_{kind}_0.4.'
        ) from None
    # Adding zero turns -0.0 into 0.0, which has one name only.
    return DatasetSpec(base, kind, rate + 0.0)


def _longest_prefix(text: str, names: Iterable[str]) -> str | None:
    """Returns the longest name that is `text` or begins it before a '_'."""
    fitting = [n for n in names if text == n or text.startswith(n + '_')]
    return max(fitting, key=len, default=None)


def _unknown_base(text: str, bases: list[str]) -> UsageError:
    """Returns the error for a string that begins with no known data set."""
    name = text
    for kind in NOISES.names():
        name = name.split(f'_{kind}')[0]
    return UsageError(
        f'there is no data set {name!r}.{nearest(name.lower(), bases)} '
        f'Known: {", ".join(sorted(bases))}.'
    )


def _unknown_noise(text: str, base: str, rest: str) -> UsageError:
    """Returns the error for a known data set with an unknown noise part."""
    name = rest.rsplit('_', 1)[0]
    known = NOISES.names()
    return UsageError(
        f'there is no kind of noise {name!r} in {text!r}.'
        f'{nearest(name.lower(), known)} Known: {", ".join(known)}; write for '
        f'example {base}_uniform_0.4.'
    )
