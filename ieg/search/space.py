"""Search spaces: a unit cube whose points represent options."""

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
from ieg.methods import keep_schedules
from ieg.utils.randomness import generator

# It can pay to drop more than the noise rate (Co-teaching, table 8).
MORE = 1.25
# The fit of a schedule starts from the best few of so many random points.
NEAREST_DRAWS, NEAREST_STARTS = 500, 4
# Options in epochs.
SHRINKING = {'warmup_epochs', 'num_gradual', 'beta1_epoch', 'init_epoch'}


@dataclasses.dataclass(frozen=True)
class Warm:
    """Promising options to try before the search starts.

    Attributes:
        options: options that differ from the configuration.
        point: the (nearest) point of the unit cube `[d]`; None if the options
            are outside.
    """

    options: dict[str, Any]
    point: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Axis:
    """One numeric option and its range, ends included.

    Attributes:
        name: name of the option.
        low: smallest value.
        high: largest value.
        log: whether the scale is logarithmic.
        kind: type of the option; a string option has the number as text.
    """

    name: str
    low: float
    high: float
    log: bool
    kind: type

    def value(self, place: float) -> Any:
        """Returns the value at a place in [0, 1]."""
        # Each integer has an interval of [0, 1].
        top = self.high + 1 if self.kind is int else self.high
        if self.log:
            value = self.low * (top / self.low) ** place
        else:
            value = self.low + (top - self.low) * place
        if self.kind is int:
            value = math.floor(value)
        # Rounding must not exceed the range.
        value = min(max(value, self.low), self.high)
        return str(value) if self.kind is str else self.kind(value)

    def place(self, value: Any) -> float | None:
        """Returns the place of a value in [0, 1]; None if it is outside."""
        try:
            number = float(value)
        except ValueError:  # For instance auto.
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
        dimension: d, the number of coordinates.
    """

    dimension: int

    @abc.abstractmethod
    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[d]`."""

    @abc.abstractmethod
    def warm(self, epochs: int) -> list[Warm]:
        """Returns options to try before the search, the configured ones first.

        Args:
            epochs: number of epochs of a trial.
        """

    @abc.abstractmethod
    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns a key that is equal for equivalent trials.

        Args:
            options: options of a trial.
            epochs: number of epochs of a trial.
            batch: examples per step.

        Raises:
            UsageError: the options are impossible.
        """


class OptionSpace(Space):
    """Numeric options of a method or of its training.

    Args:
        text: `name:low..high`, several separated by commas; with `:log` at the
            end, the scale is logarithmic.
        config: configuration of the trials.

    Raises:
        UsageError: the text is malformed, a range is reversed, or an option is
            unknown, not numeric, or cannot have these values.
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
        """Returns the configured options, in range or not."""
        del epochs
        values = self._configured.values()
        places = [a.place(v) for a, v in zip(self._axes, values, strict=True)]
        point = None if None in places else np.array(places)
        return [Warm({}, point)]

    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns the values of all searched options."""
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
            f'--search={text} must be keep_schedule, name:low..high or '
            'name:low..high:log, separated by commas.'
        )
    if not ends[0] < ends[1]:
        raise UsageError(
            f'--search={text}: the range is reversed or empty, {low} must be '
            f'less than {high}.'
        )
    if scale and ends[0] <= 0:
        raise UsageError(
            f'--search={text}: a logarithmic range must start above 0, not '
            f'at {low}.'
        )
    axis = Axis(name, *ends, bool(scale), _kind(name, config))
    _check_axis(axis, text, config)
    return axis


def _check_axis(axis: Axis, text: str, config: Config) -> None:
    """Checks that an option can have the values at both ends."""
    if axis.kind is int and not (axis.low % 1 == axis.high % 1 == 0):
        raise UsageError(
            f'--search={text}: the range of --{axis.name} must consist of '
            'integers.'
        )
    for place in (0.0, 1.0):
        try:
            value = {axis.name: axis.value(place)}
            ieg_config.resolve(config.flat() | value)
        except UsageError as error:
            raise UsageError(f'--search={text}: {error}') from error


def _kind(name: str, config: Config) -> type:
    """Returns the type of an option that can be searched."""
    known = {
        option: type(value)
        for part in (config.train, config.method)
        for option, value in vars(part).items()
        if option not in ('seed', 'max_epoch', 'max_iteration')
        and _is_numeric(value)
    }
    if name not in known:
        raise UsageError(
            f'--search: {name!r} is not a numeric option of '
            f'--method={config.train.method} or its training.'
            f'{nearest(name, known)}'
        )
    return known[name]


def _is_numeric(value: object) -> bool:
    """Returns whether a value is a number, text of one, or 'auto'."""
    if not isinstance(value, str):
        return type(value) in (int, float)
    try:
        return value == 'auto' or math.isfinite(float(value))
    except ValueError:
        return False


class ScheduleSpace(Space):
    """S2E's family of keep schedules (released code; ICML 2020).

    Args:
        config: configuration of the trials; its method must have a keep
            schedule.

    Raises:
        UsageError: the method has no keep schedule.
    """

    dimension = 12

    def __init__(self, config: Config):
        self._options = vars(config.method)
        if 'keep_schedule' not in self._options:
            raise UsageError(
                '--search=keep_schedule needs a method with a keep schedule, '
                f'such as --method=s2e; {config.train.method} has none.'
            )

    def decode(self, point: Sequence[float]) -> dict[str, Any]:
        """Returns the options at a point of the unit cube `[12]`."""
        numbers = ','.join(repr(float(place)) for place in point)
        return {'keep_schedule': f's2e:{numbers}'}

    def warm(self, epochs: int) -> list[Warm]:
        """Returns the configured schedule, and one that drops more."""
        more = {'tau_multiplier': self._options['tau_multiplier'] * MORE}
        starts = [Warm({}, self._nearest({}, epochs))]
        if self._tau(more) < 1:
            starts.append(Warm(more, self._nearest(more, epochs)))
        return starts

    def key(self, options: Mapping[str, Any], epochs: int, batch: int) -> str:
        """Returns a digest of the number of kept examples per epoch."""
        schedule = self._schedule(options)
        if schedule is None:
            return json.dumps(options, sort_keys=True)
        sizes = np.array([batch])
        if self._options['selection'] == 'coteaching_plus':
            # It also selects among parts of the batch.
            sizes = np.arange(batch + 1)
        counts = np.floor(np.outer(schedule.rates(epochs), sizes))
        return hashlib.sha256(counts.astype(np.int32).tobytes()).hexdigest()

    def _tau(self, options: Mapping[str, Any]) -> float:
        """Returns the share to drop, 0 if the noise rate is not known."""
        values = self._options | dict(options)
        rate = 0.0 if values['noise_rate'] == 'auto' else values['noise_rate']
        return float(rate) * values['tau_multiplier']

    def _schedule(
        self, options: Mapping[str, Any]
    ) -> keep_schedules.KeepSchedule | None:
        """Returns the schedule of a trial; None if the method estimates it.

        Raises:
            UsageError: the schedule is impossible.
        """
        values = self._options | dict(options)
        text = values['keep_schedule']
        if values['noise_rate'] == 'auto' and not text.startswith('s2e:'):
            return None
        return keep_schedules.parse(
            text, self._tau(options), values['num_gradual'], values['exponent']
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
    """Returns the point of S2E's space nearest to given keep rates, `[12]`.

    Least squares from a few starts. Co-teaching's ramps are not in the space;
    they are approximated to a root mean square error of 0.012.

    Args:
        rates: keep rate of each epoch of a run, `[T]`.
    """
    epochs = np.arange(len(rates)) * (keep_schedules.S2E_EPOCHS / len(rates))

    def gaps(points: np.ndarray) -> np.ndarray:
        return keep_schedules.s2e_curve(points, epochs) - rates

    def slopes(point: np.ndarray) -> np.ndarray:
        # All at once, which is much faster than SciPy's own differences.
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
    # Rounded, because the last digits depend on the machine.
    return min(fits, key=lambda fit: fit.cost).x.round(4)


def make_space(text: str, config: Config) -> Space:
    """Returns the space that `--search` describes.

    Args:
        text: value of `--search`.
        config: configuration of the trials.

    Raises:
        UsageError: see `ScheduleSpace` and `OptionSpace`.
    """
    if text == 'keep_schedule':
        return ScheduleSpace(config)
    return OptionSpace(text, config)


def shorten(config: Config, epochs: int) -> dict[str, Any]:
    """Returns the options of trials that are shorter than the run.

    Options in epochs or steps are scaled accordingly.

    Args:
        config: configuration of the run.
        epochs: number of epochs of a trial.

    Raises:
        UsageError: the run is shorter, or its length is not in epochs.
    """
    whole = config.train.max_epoch
    if not whole:
        raise UsageError('--search_epochs needs --max_epoch.')
    if epochs > whole:
        raise UsageError(
            f'--search_epochs={epochs} must be at most the {whole} epochs of '
            'the run.'
        )
    part, values = epochs / whole, config.flat()
    options: dict[str, Any] = {'max_epoch': epochs}
    for name in SHRINKING & values.keys():
        if values[name]:  # 0 has another meaning.
            options[name] = max(1, round(values[name] * part))
    for name in ('decay_epochs', 'decay_steps'):
        numbers = [float(n) for n in values[name].split(',') if n.strip()]
        options[name] = ','.join(f'{number * part:g}' for number in numbers)
    return options
