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
from ieg.catalog import options_of
from ieg.config import Config
from ieg.errors import UsageError, nearest
from ieg.methods import keep_schedules
from ieg.utils.randomness import generator

# How much more than the noise rate is worth dropping (Co-teaching, table 8).
MORE = 1.25
# Of so many random points, the fit of a schedule starts at the best few.
NEAREST_DRAWS, NEAREST_STARTS = 500, 4
# Options that count epochs.
SHRINKING = {'warmup_epochs', 'num_gradual', 'beta1_epoch', 'init_epoch'}


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
    """One numeric option and its range, ends included.

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
        # Each whole number has a part of [0, 1] for itself.
        top = self.high + 1 if self.kind is int else self.high
        if self.log:
            value = self.low * (top / self.low) ** place
        else:
            value = self.low + (top - self.low) * place
        if self.kind is int:
            value = math.floor(value)
        # Rounding must not lead beyond an end.
        value = min(max(value, self.low), self.high)
        return str(value) if self.kind is str else self.kind(value)

    def place(self, value: Any) -> float | None:
        """Returns where a value is in [0, 1]; None = nowhere."""
        try:
            number = float(value)
        except ValueError:  # Such as auto.
            return None
        if not self.low <= number <= self.high:
            return None
        top = self.high
        if self.kind is int:
            number, top = number + 0.5, top + 1
        if self.log:
            return math.log(number / self.low) / math.log(top / self.low)
        return (number - self.low) / (top - self.low)


class Space(abc.ABC):
    """A unit cube of options.

    Attributes:
        dimension: how many numbers make a point.
    """

    dimension: int

    @abc.abstractmethod
    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[d]`."""

    @abc.abstractmethod
    def warm(self, epochs: int) -> list[Warm]:
        """Returns what to try before the search, first the configuration.

        Args:
            epochs: length of a trial.
        """

    @abc.abstractmethod
    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns what two trials have in common that do the same.

        Args:
            options: of a trial.
            epochs: its length.
            batch: examples per step.

        Raises:
            UsageError: the options are impossible.
        """


class OptionSpace(Space):
    """Numeric options of a method or of its training.

    Args:
        text: `name:low..high`, several separated by commas; `:log` behind one
            searches it by ratios.
        config: the configuration that is searched around.

    Raises:
        UsageError: the text is malformed, a range is reversed, or an option is
            unknown, no number, or cannot have these values.
    """

    def __init__(self, text: str, config: Config):
        self._axes = [_axis(part.strip(), config) for part in text.split(',')]
        names = [axis.name for axis in self._axes]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UsageError(f'--search names {min(twice)} twice.')
        self.dimension = len(self._axes)
        values = config.flat()
        self._configured = {name: values[name] for name in names}

    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[d]`."""
        return {
            axis.name: axis.value(place)
            for axis, place in zip(self._axes, point, strict=True)
        }

    def warm(self, epochs: int) -> list[Warm]:
        """Returns the configuration itself, whether it is in range or not."""
        del epochs
        values = self._configured.values()
        places = [a.place(v) for a, v in zip(self._axes, values, strict=True)]
        point = None if None in places else np.array(places)
        return [Warm('as configured', {}, point)]

    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns the values of all options that are searched."""
        del epochs, batch
        return json.dumps(self._configured | dict(options), sort_keys=True)


def _axis(text: str, config: Config) -> Axis:
    name, _, rest = text.partition(':')
    numbers, _, scale = rest.partition(':')
    low, _, high = numbers.partition('..')
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
    axis = Axis(name, *ends, bool(scale), _kind(name, config))
    _check_axis(axis, text, config)
    return axis


def _check_axis(axis: Axis, text: str, config: Config) -> None:
    """Makes sure that an option can have the values at both ends."""
    if axis.kind is int and not (axis.low % 1 == axis.high % 1 == 0):
        raise UsageError(
            f'--search={text} needs whole numbers: --{axis.name} is one.'
        )
    for place in (0.0, 1.0):
        try:
            value = {axis.name: axis.value(place)}
            ieg_config.resolve(config.flat() | value)
        except UsageError as error:
            raise UsageError(f'--search={text} is impossible: {error}') from (
                error
            )


def _kind(name: str, config: Config) -> type:
    """Returns the type of an option that can be searched."""
    known = {
        option.name: option.type
        for part in (config.train, config.method)
        for option in options_of(type(part))
        if option.name not in ('seed', 'max_epoch', 'max_iteration')
        and _is_numeric(option.type, getattr(part, option.name))
    }
    if name not in known:
        raise UsageError(
            f'--search names {name!r}, which is no numeric option of '
            f'--method={config.train.method} or its training.'
            f'{nearest(name, known)}'
        )
    return known[name]


def _is_numeric(kind: type, value: Any) -> bool:
    """Whether an option is a number, or a text that holds one (or auto)."""
    if kind is not str:
        return kind in (int, float)
    try:
        return value == 'auto' or math.isfinite(float(value))
    except ValueError:
        return False


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
        self._options = vars(config.method)

    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[12]`."""
        numbers = ','.join(repr(float(place)) for place in point)
        return {'keep_schedule': f's2e:{numbers}'}

    def warm(self, epochs: int) -> list[Warm]:
        """Returns the configured schedule, and the same with more dropped."""
        more = {'tau_multiplier': self._options['tau_multiplier'] * MORE}
        found = [Warm('as configured', {}, self._nearest({}, epochs))]
        if self._tau(more) < 1:
            point = self._nearest(more, epochs)
            found.append(Warm(f'tau x {MORE}', more, point))
        return found

    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns a digest of how many examples are kept in each epoch."""
        schedule = self._schedule(options)
        if schedule is None:
            return json.dumps(options, sort_keys=True)
        sizes = np.array([batch])
        if self._options['selection'] == 'coteaching_plus':
            # It chooses among parts of the batch as well.
            sizes = np.arange(batch + 1)
        counts = np.floor(np.outer(schedule.rates(epochs), sizes))
        return hashlib.sha256(counts.astype(np.int32).tobytes()).hexdigest()

    def _tau(self, options: Mapping[str, Any]) -> float:
        """Returns the share to drop, 0 where the noise rate is not known."""
        found = self._options | dict(options)
        rate = 0.0 if found['noise_rate'] == 'auto' else found['noise_rate']
        return float(rate) * found['tau_multiplier']

    def _schedule(
        self, options: Mapping[str, Any]
    ) -> keep_schedules.KeepSchedule | None:
        """Returns the schedule of a trial; None = it depends on what it finds.

        Raises:
            UsageError: the schedule is impossible.
        """
        found = self._options | dict(options)
        text = found['keep_schedule']
        if found['noise_rate'] == 'auto' and not text.startswith('s2e:'):
            return None
        return keep_schedules.parse(
            text, self._tau(options), found['num_gradual'], found['exponent']
        )

    def _nearest(
        self, options: Mapping[str, Any], epochs: int
    ) -> np.ndarray | None:
        schedule = self._schedule(options)
        if schedule is None:
            return None
        if schedule.form == 's2e':
            return np.array(schedule.numbers)
        return nearest_point(schedule.rates(epochs))


def nearest_point(rates: np.ndarray) -> np.ndarray:
    """Returns the point of S2E's space closest to a course of keep rates.

    Least squares from a few starts. Co-teaching's ramps are not in the space;
    they are met to a root mean square of 0.012.

    Args:
        rates: of all epochs of a run, `[T]`.
    """
    epochs = np.arange(len(rates)) * (keep_schedules.S2E_EPOCHS / len(rates))

    def gaps(points: np.ndarray) -> np.ndarray:
        return keep_schedules.s2e_curve(points, epochs) - rates

    def slopes(point: np.ndarray) -> np.ndarray:
        # All at once, which is much faster than what SciPy does.
        steps = 1e-6 * np.eye(len(point))
        return (gaps(point + steps) - gaps(point - steps)).T / 2e-6

    draws = generator(0, 'nearest').uniform(0.01, 0.99, (NEAREST_DRAWS, 12))
    order = np.argsort(np.sum(gaps(draws) ** 2, axis=1), kind='stable')
    fits = [
        optimize.least_squares(
            gaps, start, slopes, bounds=(1e-3, 1 - 1e-3), max_nfev=100
        )
        for start in draws[order[:NEAREST_STARTS]]
    ]
    # Rounded, for another machine may have other last digits.
    return min(fits, key=lambda fit: fit.cost).x.round(4)


def make_space(text: str, config: Config) -> Space:
    """Returns the space that `--search` describes.

    Args:
        text: of `--search`.
        config: of a trial.

    Raises:
        UsageError: see the spaces.
    """
    if text == 'keep_schedule':
        return ScheduleSpace(config)
    return OptionSpace(text, config)


def shorten(config: Config, epochs: int) -> dict[str, Any]:
    """Returns the options of trials that are shorter than the run.

    What training and keep schedules count in epochs or steps shrinks with
    them.

    Raises:
        UsageError: the run is not longer, or its length is not in epochs.
    """
    whole = config.train.max_epoch
    if not whole:
        raise UsageError(
            '--search_epochs needs a run whose length is given by --max_epoch.'
        )
    if epochs > whole:
        raise UsageError(
            f'--search_epochs={epochs} is more than the {whole} epochs of the '
            'run; a trial cannot be longer.'
        )
    part, values = epochs / whole, config.flat()
    found: dict[str, Any] = {'max_epoch': epochs}
    for name in SHRINKING & values.keys():
        if values[name]:  # 0 stands for something else.
            found[name] = max(1, round(values[name] * part))
    for name in ('decay_epochs', 'decay_steps'):
        numbers = [float(n) for n in values[name].split(',') if n.strip()]
        found[name] = ','.join(f'{number * part:g}' for number in numbers)
    return found
