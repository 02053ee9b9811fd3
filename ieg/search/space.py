"""What a search chooses from: a unit cube whose points stand for options."""

import abc
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from ieg import config as ieg_config
from ieg.config import Config
from ieg.errors import UsageError, nearest
from ieg.randomness import generator
from ieg.training import keep

# How much more than the noise rate is worth dropping (Co-teaching, table 8).
MORE = 1.25


@dataclasses.dataclass(frozen=True)
class Warm:
    """Options known to be worth a trial before the search starts.

    Attributes:
        name: for the table of trials.
        options: what they differ in from the configuration.
        point: where they are in the unit cube `[d]`, or close to it; None
            where they are nowhere.
    """

    name: str
    options: dict[str, Any]
    point: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Axis:
    """One numeric option and its range.

    Attributes:
        name: of the option.
        low: smallest value.
        high: largest value.
        log: whether equal steps are equal ratios.
        kind: type of the option; a string holds the number as text.
    """

    name: str
    low: float
    high: float
    log: bool
    kind: type

    def value(self, place: float) -> Any:
        """Returns the value at a place in [0, 1]."""
        if self.kind is int:
            count = math.floor(place * (self.high - self.low + 1))
            return int(min(self.low + count, self.high))
        if self.log:
            value = self.low * (self.high / self.low) ** place
        else:
            value = self.low + (self.high - self.low) * place
        return str(value) if self.kind is str else float(value)


class Space(abc.ABC):
    """A unit cube of options.

    Attributes:
        dimension: how many numbers make a point.
    """

    dimension: int

    @abc.abstractmethod
    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[d]`."""

    def warm(self) -> list[Warm]:
        """Returns what to try before the search: the configuration itself."""
        return [Warm('as configured', {}, None)]

    def shorten(self, epochs: int) -> dict[str, Any]:
        """Returns the options of a trial that is shorter than the run."""
        return {'max_epoch': epochs, 'max_iteration': 0}

    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns what two trials have in common that do the same.

        Args:
            options: of a trial.
            epochs: its length.
            batch: examples per step.
        """
        del epochs, batch
        return json.dumps(options, sort_keys=True)


class OptionSpace(Space):
    """Numeric options of a method or of its training.

    Args:
        text: `name:low..high`, several separated by commas; `:log` behind one
            searches it by ratios.
        config: the configuration that is searched around.

    Raises:
        UsageError: the text is malformed, a range is reversed, or an option is
            unknown or no number.
    """

    def __init__(self, text: str, config: Config):
        self._axes = [_axis(part, config) for part in text.split(',')]
        names = [axis.name for axis in self._axes]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UsageError(f'--search names {min(twice)} twice.')
        self.dimension = len(self._axes)

    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[d]`."""
        return {
            axis.name: axis.value(place)
            for axis, place in zip(self._axes, point, strict=True)
        }


def _axis(text: str, config: Config) -> Axis:
    name, _, rest = text.strip().partition(':')
    numbers, _, scale = rest.partition(':')
    low, dots, high = numbers.partition('..')
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = (math.nan, math.nan)
    if not all(map(math.isfinite, ends)) or scale not in ('', 'log'):
        raise UsageError(
            f'--search={text} is not understood; write keep_schedule, or '
            'name:low..high or name:low..high:log, separated by commas.'
        )
    if not ends[0] < ends[1]:
        raise UsageError(
            f'--search={text} has a reversed or empty range: {low} is not '
            f'less than {high}.'
        )
    if scale and ends[0] <= 0:
        raise UsageError(
            f'--search={text} cannot go by ratios from {low}; begin above 0.'
        )
    return Axis(name, *ends, bool(scale), _kind(name, config))


def _kind(name: str, config: Config) -> type:
    """Returns the type of an option that can be searched."""
    known = {
        field.name: field.type
        for part in (config.train, config.method)
        for field in ieg_config.fields_of(type(part))
        if field.name not in ('seed', 'max_epoch', 'max_iteration')
    }
    if known.get(name) not in (int, float, str):
        raise UsageError(
            f'--search names {name!r}, which is no numeric option of '
            f'--method={config.train.method} or its training.'
            f'{nearest(name, known)}'
        )
    return known[name]


class ScheduleSpace(Space):
    """S2E's family of keep schedules (released code; ICML 2020).

    Args:
        config: the configuration that is searched around; its method must
            have a keep schedule.

    Raises:
        UsageError: it has none.
    """

    dimension = 12

    def __init__(self, config: Config):
        if not hasattr(config.method, 'keep_schedule'):
            raise UsageError(
                f'--method={config.train.method} has no keep schedule to '
                'search for; use --method=s2e.'
            )
        self._options = config.method
        self._epochs = config.train.max_epoch

    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[12]`."""
        numbers = ','.join(repr(float(place)) for place in point)
        return {'keep_schedule': f's2e:{numbers}'}

    def warm(self) -> list[Warm]:
        """Returns the configured schedule, and the same with more dropped."""
        more = self._options.tau_multiplier * MORE
        found = [Warm('as configured', {}, self._nearest(1))]
        if self._tau() * MORE < 1:
            found.append(
                Warm(
                    f'tau x {MORE}',
                    {'tau_multiplier': more},
                    self._nearest(MORE),
                )
            )
        return found

    def _tau(self) -> float:
        rate = self._options.noise_rate
        known = 0.0 if rate == 'auto' else float(rate)
        return known * self._options.tau_multiplier

    def _nearest(self, factor: float) -> np.ndarray | None:
        tau = self._tau() * factor
        if not tau:
            return None
        ramp = keep.KeepSchedule('reference_code', tau, gradual=10)
        return nearest_point(ramp.raw(keep.S2E_EPOCHS))

    def shorten(self, epochs: int) -> dict[str, Any]:
        """Returns the options of a trial, its ramp shortened like the rest."""
        found = super().shorten(epochs)
        if self._epochs:
            part = epochs / self._epochs
            gradual = round(self._options.num_gradual * part)
            late = round(self._options.beta1_epoch * part)
            found |= {'num_gradual': max(gradual, 1), 'beta1_epoch': late}
        return found

    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns a digest of how many examples are kept in each epoch."""
        text = options.get('keep_schedule', '')
        if not text.startswith('s2e:'):
            return super().key(options, epochs, batch)
        # A first epoch always keeps everything.
        rates = keep.parse(text, 0.0, 1, 1.0).rates(epochs)
        counts = np.floor(rates[1:] * batch).astype(np.int32)
        return hashlib.sha256(counts.tobytes()).hexdigest()


def nearest_point(rates: np.ndarray) -> np.ndarray:
    """Returns the point of S2E's space closest to a course of keep rates.

    Least squares from a few starts. Co-teaching's ramps are not in the space;
    they are met to a root mean square of 0.01.

    Args:
        rates: of a run of 200 epochs, `[200]`.
    """
    epochs = np.arange(keep.S2E_EPOCHS)
    starts = generator(0, 'nearest').uniform(0.1, 0.9, (4, 12))
    fits = [
        optimize.least_squares(
            lambda point: keep.s2e_curve(point, epochs) - rates,
            start,
            bounds=(1e-3, 1 - 1e-3),
        )
        for start in starts
    ]
    return min(fits, key=lambda fit: fit.cost).x


def make_space(config: Config) -> Space:
    """Returns the space that `--search` describes.

    Raises:
        UsageError: see the spaces.
    """
    text = config.search.search
    if text == 'keep_schedule':
        return ScheduleSpace(config)
    return OptionSpace(text, config)
