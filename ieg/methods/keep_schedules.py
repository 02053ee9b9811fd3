"""Keep rates: the share of a batch that small-loss selection trains on.

Papers and codes disagree about how the rate falls, so every reading has its
name. Your own form is a function in `KEEP_SCHEDULES` (see `--plugin`).
"""

import dataclasses

import numpy as np

from ieg.errors import UsageError
from ieg.registry import KEEP_SCHEDULES

# The epochs that S2E's curves are written for.
S2E_EPOCHS = 200
# What S2E's twelve numbers in [0, 1] are multiplied by, in the order of its
# code: w1 a1 b1 a2 b2 a3 b3 w2 a5 b5 b4 a4.
S2E_SCALES = np.array([1, 1, 0.5, 1, 0.5, 2, 0.5, 1, 1, 0.5, 0.5, 2])


@dataclasses.dataclass(frozen=True)
class KeepSchedule:
    """The keep rate R as a function of the epoch.

    Attributes:
        form: a name in `KEEP_SCHEDULES`.
        tau: share of a batch that is dropped in the end, in [0, 1).
        gradual: epochs over which the rate falls (T_k in the papers).
        exponent: of the fall (c in the papers); what it applies to is what
            the forms differ in.
        numbers: parameters of a form that has its own.
    """

    form: str
    tau: float
    gradual: int = 10
    exponent: float = 1.0
    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            UsageError: one is impossible, or the form is unknown.
        """
        KEEP_SCHEDULES.get(self.form)
        if not 0 <= self.tau < 1:
            raise UsageError(
                f'The noise rate tau is {self.tau:g} and must be at least 0 '
                'and less than 1: it is the share of each batch to drop.'
            )
        if self.gradual < 1 or not self.exponent > 0:
            raise UsageError(
                'A keep schedule falls over at least one epoch and has a '
                'positive exponent.'
            )

    def raw(self, epochs: int) -> np.ndarray:
        """Returns what the form gives, float64 `[epochs]`, unchecked."""
        form = KEEP_SCHEDULES.get(self.form)
        return np.asarray(form(self, np.arange(epochs), epochs), np.float64)

    def rates(self, epochs: int) -> np.ndarray:
        """Returns the keep rate of each epoch, float64 `[epochs]`, at most 1.

        Raises:
            UsageError: the form gave something else than a rate per epoch.
        """
        rates = self.raw(epochs)
        if rates.shape != (epochs,) or not np.isfinite(rates).all():
            raise UsageError(
                f'The keep schedule {self.form} must give one finite number '
                f'for each of the {epochs} epochs.'
            )
        return np.minimum(rates, 1)

    def counts(self, epochs: int, batch_size: int) -> np.ndarray:
        """Returns how many of a batch are kept, int32 `[epochs]`.

        In double precision: in single precision some products fall below the
        whole number they stand for.

        Raises:
            UsageError: nothing is kept in some epoch.
        """
        rates = self.rates(epochs)
        counts = np.floor(rates * batch_size).astype(np.int32)
        if (counts < 1).any():
            epoch = int(np.argmax(counts < 1))
            raise UsageError(
                f'The keep schedule {self.form} keeps nothing in epoch '
                f'{epoch + 1}: {rates[epoch]:.2%} of a batch of {batch_size}; '
                'lower --noise_rate or --tau_multiplier, or choose another '
                '--keep_schedule.'
            )
        return counts


def parse(text: str, tau: float, gradual: int, exponent: float) -> KeepSchedule:
    """Returns the schedule that an option describes.

    Args:
        text: a form, or a form and its numbers: `s2e:0.5,0.5,...`.
        tau: see `KeepSchedule`.
        gradual: see `KeepSchedule`.
        exponent: see `KeepSchedule`.

    Raises:
        UsageError: the form is unknown, or its numbers are not numbers.
    """
    form, _, rest = text.partition(':')
    try:
        numbers = tuple(float(part) for part in rest.split(',') if part)
        if not np.isfinite(numbers).all():
            raise ValueError
    except ValueError as error:
        raise UsageError(
            f'--keep_schedule={text} has something else than numbers after '
            'the colon.'
        ) from error
    return KeepSchedule(form, tau, gradual, exponent, numbers)


@KEEP_SCHEDULES.register('paper_main')
def paper_main(
    schedule: KeepSchedule, epochs: np.ndarray, total: int
) -> np.ndarray:
    """Co-teaching, Algorithm 1: 1 - min(tau T / T_k, tau), T from 1, no c."""
    if schedule.exponent != 1:
        raise UsageError(
            'The keep schedule paper_main has no exponent; choose '
            'paper_ablation, s2e_restatement or reference_code.'
        )
    tau = schedule.tau
    return 1 - np.minimum(tau * (epochs + 1) / schedule.gradual, tau)


@KEEP_SCHEDULES.register('paper_ablation')
def paper_ablation(
    schedule: KeepSchedule, epochs: np.ndarray, total: int
) -> np.ndarray:
    """Co-teaching, section 4.2: 1 - tau min(T^c / T_k, 1), T from 1."""
    powers = (epochs + 1.0) ** schedule.exponent
    return 1 - schedule.tau * np.minimum(powers / schedule.gradual, 1)


@KEEP_SCHEDULES.register('s2e_restatement')
def s2e_restatement(
    schedule: KeepSchedule, epochs: np.ndarray, total: int
) -> np.ndarray:
    """S2E's reading of Co-teaching: 1 - tau min((t / t_k)^c, 1), t from 0."""
    powers = (epochs / schedule.gradual) ** schedule.exponent
    return 1 - schedule.tau * np.minimum(powers, 1)


@KEEP_SCHEDULES.register('reference_code')
def reference_code(
    schedule: KeepSchedule, epochs: np.ndarray, total: int
) -> np.ndarray:
    """Co-teaching's code: a line to tau^c in T_k epochs, then tau."""
    forget = np.full(len(epochs), schedule.tau)
    ramp = np.linspace(0, schedule.tau**schedule.exponent, schedule.gradual)
    rising = epochs < schedule.gradual
    forget[rising] = ramp[epochs[rising]]
    return 1 - forget


@KEEP_SCHEDULES.register('s2e')
def s2e(schedule: KeepSchedule, epochs: np.ndarray, total: int) -> np.ndarray:
    """S2E's family: twelve numbers in [0, 1], whatever tau is.

    Raises:
        UsageError: there are not twelve of them.
    """
    numbers = np.array(schedule.numbers)
    if numbers.shape != (12,) or not ((numbers >= 0) & (numbers <= 1)).all():
        raise UsageError(
            'The keep schedule s2e takes twelve numbers from 0 to 1: '
            '--keep_schedule=s2e:0.5,0.5,... .'
        )
    return s2e_curve(numbers, epochs * (S2E_EPOCHS / total))


def s2e_curve(numbers: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns R(t) of S2E's search space (released code; ICML 2020).

    A convex combination of three falling curves (exponential, power,
    logarithm), and two rising ones on top. Not limited to [0, 1].

    Args:
        numbers: in [0, 1], `[..., 12]`.
        t: epochs in a run of 200, `[T]`.

    Returns:
        Keep rates `[..., T]`.
    """
    t = np.asarray(t, np.float64)
    scaled = np.moveaxis(numbers * S2E_SCALES, -1, 0)[..., np.newaxis]
    w1, a1, b1, a2, b2, a3, b3, w2, a5, b5, b4, a4 = scaled
    slow = np.log1p(a5 + b5 * t)
    # 0/0 where a5 = 0 and t = 0, where every falling curve starts at 1.
    log_part = np.divide(
        np.log1p(a5) + 0 * t, slow, out=np.ones_like(slow), where=slow > 0
    )
    falling = w1 * np.exp(-b1 * t**a1) + (1 - w1) * (
        w2 * (1 + b2 * t) ** -a2 + (1 - w2) * log_part
    )
    rising = b3 * (t / S2E_EPOCHS) ** a3
    rising += b4 * np.log1p(t**a4) / np.log1p(float(S2E_EPOCHS) ** a4)
    return falling + rising
