"""The optimizer, learning-rate schedules and weight averages of the references.

Keras' `SGD` keeps velocity in units of weights and decays weights outside the
momentum. The reference codes (TF1, PyTorch) keep it in units of gradients and
add the decay to the gradient; after a drop of the learning rate the two differ.
"""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from ieg.errors import UsageError
from ieg.options import TrainConfig

# Share of a run before the linear schedule starts to fall (Co-teaching: 80 of
# 200 epochs).
LINEAR_START = 0.4


class SGD(keras.optimizers.Optimizer):
    """Momentum SGD with coupled L2 over all variables.

    g <- g + l2 * w;  v <- momentum * v + g;  w <- w - learning_rate * v.

    Args:
        learning_rate: initial value; the trainer assigns it before each step.
        momentum: in [0, 1); 0 keeps no velocity.
        l2: coefficient of w in the gradient (PyTorch's `weight_decay`).
        kernels_only: leave biases and the vectors of BatchNorm out of it.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        l2: float = 0.0,
        kernels_only: bool = False,
        name: str = 'sgd',
    ):
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = momentum
        self.l2 = l2
        self.kernels_only = kernels_only

    def l2_of(self, variable: keras.Variable) -> float:
        """Returns the coefficient of a variable in its own gradient."""
        return self._coefficients[self._get_variable_index(variable)]

    def velocity_of(self, variable: keras.Variable) -> keras.Variable:
        """Returns the velocity of a variable, in units of gradients."""
        return self.velocities[self._get_variable_index(variable)]

    def reset(self) -> None:
        """Forgets all steps made."""
        for velocity in self.velocities:
            velocity.assign(np.zeros(velocity.shape))

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes one velocity per variable."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, 'velocity')
        self._coefficients = [
            self.l2 if v.name == 'kernel' or not self.kernels_only else 0.0
            for v in variables
        ]

    def update_step(
        self,
        gradient: tf.Tensor,
        variable: keras.Variable,
        learning_rate: tf.Tensor,
    ) -> None:
        """Updates one variable, unless its gradient is not finite.

        The gradient is summed over replicas, so all of them decide alike.
        """
        finite = tf.reduce_all(tf.math.is_finite(gradient))
        # Python numbers take the variable's type; tf.cast would round them
        # to float32 on the way.
        gradient = gradient + self.l2_of(variable) * variable
        velocity = self.velocity_of(variable)
        moved = self.momentum * velocity + gradient
        rate = tf.cast(learning_rate, variable.dtype)
        self.assign(velocity, tf.where(finite, moved, velocity))
        self.assign(
            variable, tf.where(finite, variable - rate * moved, variable)
        )


class Adam(keras.optimizers.Optimizer):
    """Adam as PyTorch computes it, with a momentum that can change.

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
    w <- w - rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon),
    with the b1 of the moment in the correction. Keras' own adds epsilon before
    the correction, which moves single weights by up to half a step more or
    less at first, and bakes b1 into the traced step, where assigning another
    one is silently ignored.

    Args:
        learning_rate: initial value; the trainer assigns it before each step.
        momentum: initial b1, in [0, 1).
        beta_2: share of the old second moment that an update keeps.
        epsilon: added to the root of the second moment.
        l2: coefficient of w in the gradient (PyTorch's `weight_decay`).

    Attributes:
        beta_1: a variable; assign to it.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        l2: float = 0.0,
        name: str = 'adam',
    ):
        super().__init__(learning_rate=learning_rate, name=name)
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.l2 = l2
        # Not Keras' Constant, which rounds to float32 on the way.
        self.beta_1 = self.add_variable(
            (), lambda _, dtype: tf.constant(momentum, dtype), name='beta_1'
        )

    def reset(self) -> None:
        """Forgets all steps made, but not another beta1."""
        for moment in (*self.first_moments, *self.second_moments):
            moment.assign(np.zeros(moment.shape))
        self.iterations.assign(0)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes two moments per variable."""
        if self.built:
            return
        super().build(variables)
        self.first_moments = self.add_optimizer_variables(variables, 'm')
        self.second_moments = self.add_optimizer_variables(variables, 'v')

    def update_step(
        self,
        gradient: tf.Tensor,
        variable: keras.Variable,
        learning_rate: tf.Tensor,
    ) -> None:
        """Updates one variable, unless its gradient is not finite."""
        index = self._get_variable_index(variable)
        first, second = self.first_moments[index], self.second_moments[index]
        finite = tf.reduce_all(tf.math.is_finite(gradient))
        gradient = gradient + self.l2 * variable
        beta = tf.cast(self.beta_1.value, variable.dtype)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        m = beta * first + (1 - beta) * gradient
        v = self.beta_2 * second + (1 - self.beta_2) * gradient * gradient
        # 1 - b^t; in single precision 1 - 0.999 is off by one in 80,000.
        unbiased_m = m / -tf.math.expm1(step * tf.math.log(beta))
        unbiased_v = v / -tf.math.expm1(step * math.log(self.beta_2))
        rate = tf.cast(learning_rate, variable.dtype)
        moved = rate * unbiased_m / (tf.sqrt(unbiased_v) + self.epsilon)
        self.assign(first, tf.where(finite, m, first))
        self.assign(second, tf.where(finite, v, second))
        self.assign(variable, tf.where(finite, variable - moved, variable))


def check(config: TrainConfig) -> None:
    """Checks options that say how to optimize.

    Raises:
        UsageError: they do not fit together.
    """
    if config.optimizer == 'adam' and config.kernels_only_decay:
        raise UsageError('--kernels_only_decay needs --optimizer=sgd.')
    make_schedule(config, steps_per_epoch=1)


def make_optimizer(config: TrainConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer that training options describe.

    Args:
        config: see `check`.
    """
    rate, momentum = config.learning_rate, config.momentum
    if config.optimizer == 'adam':
        return Adam(rate, momentum, l2=config.weight_decay)
    return SGD(
        rate,
        momentum,
        l2=config.weight_decay,
        kernels_only=config.kernels_only_decay,
    )


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step.

    Steps are nominal: an epoch has `steps_per_epoch` of them, whatever number
    of batches a method really draws in it. So one schedule serves methods
    whose epochs vary in length.

    Attributes:
        name: constant, custom_step, exponential, cosine (warm restarts),
            cosine_one (one cosine to zero over the run), or linear (constant,
            then a straight stair to zero, one step an epoch).
        base: learning rate before any decay.
        decay_steps: steps of the drops (custom_step), the length of the first
            cycle (cosine), of one stair (exponential), or of the constant part
            (linear).
        decay_rate: factor of a drop or stair.
        cycle_growth: ratio of the lengths of consecutive cosine cycles.
        peak_decay: ratio of the peaks of consecutive cosine cycles.
        warmup_steps: linear rise from 0 before everything else.
        total_steps: length of the run.
        steps_per_epoch: nominal steps of one epoch.
    """

    name: str
    base: float
    decay_steps: tuple[float, ...] = ()
    decay_rate: float = 0.1
    cycle_growth: float = 1.5
    peak_decay: float = 0.9
    warmup_steps: float = 0
    total_steps: float = 1
    steps_per_epoch: int = 1

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Returns the rates, float64, in force at `steps` (counted from 0)."""
        steps = np.asarray(steps, np.float64)
        after = np.maximum(steps - self.warmup_steps, 0)
        rates = self.base * getattr(self, f'_{self.name}')(after)
        if not self.warmup_steps:
            return rates
        rise = self.base * steps / self.warmup_steps
        return np.where(steps < self.warmup_steps, rise, rates)

    def _constant(self, steps: np.ndarray) -> np.ndarray:
        return np.ones_like(steps)

    def _custom_step(self, steps: np.ndarray) -> np.ndarray:
        drops = np.searchsorted(np.sort(self.decay_steps), steps, 'right')
        return self.decay_rate**drops

    def _exponential(self, steps: np.ndarray) -> np.ndarray:
        return self.decay_rate ** np.floor(steps / self.decay_steps[0])

    def _cosine_one(self, steps: np.ndarray) -> np.ndarray:
        length = self.total_steps - self.warmup_steps
        return 0.5 * (1 + np.cos(np.pi * np.minimum(steps / length, 1)))

    def _linear(self, steps: np.ndarray) -> np.ndarray:
        # The rate of an epoch is that of its first step (Co-teaching's code).
        steps = np.floor(steps / self.steps_per_epoch) * self.steps_per_epoch
        start = self.decay_steps[0] if self.decay_steps else 0.0
        end = self.total_steps - self.warmup_steps
        left = (end - steps) / max(end - start, 1)
        return np.clip(left, 0, 1)

    def _cosine(self, steps: np.ndarray) -> np.ndarray:
        ends = self._cycle_ends(steps.max(initial=0))
        cycle = np.searchsorted(ends, steps, 'right')
        starts = np.concatenate([[0.0], ends])
        length = self.decay_steps[0] * self.cycle_growth**cycle
        part = (steps - starts[cycle]) / length
        return self.peak_decay**cycle * 0.5 * (1 + np.cos(np.pi * part))

    def _cycle_ends(self, until: float) -> np.ndarray:
        """Returns the ends of the cosine cycles up to one beyond `until`."""
        ends = [self.decay_steps[0]]
        while ends[-1] <= until:
            ends.append(
                ends[-1] + self.decay_steps[0] * self.cycle_growth ** len(ends)
            )
        return np.array(ends)

    def run_end(self, total_steps: int) -> int:
        """Returns where a run of about `total_steps` should end.

        With restarts that is the end of the last whole cycle: just after a
        restart the learning rate is high and the network at its worst. A cycle
        that ends within the next hundredth is still made whole.
        """
        if self.name != 'cosine':
            return total_steps
        most = total_steps * 1.01
        ends = np.round(self.warmup_steps + self._cycle_ends(most))
        whole = ends[ends <= most]
        return int(whole[-1]) if len(whole) else total_steps


def make_schedule(
    config: TrainConfig, steps_per_epoch: int, total_steps: int = 1
) -> Schedule:
    """Returns the schedule that training options describe.

    Args:
        config: options of training.
        steps_per_epoch: nominal steps of one epoch.
        total_steps: length of the run, for a schedule that needs it.

    Raises:
        UsageError: the drops are missing or not a list of numbers.
    """
    steps = _numbers(config.decay_steps, 'decay_steps')
    steps += [
        epochs * steps_per_epoch
        for epochs in _numbers(config.decay_epochs, 'decay_epochs')
    ]
    if config.lr_schedule == 'cosine' and not steps:
        steps = [steps_per_epoch]
    if config.lr_schedule == 'linear' and not steps:
        steps = [LINEAR_START * total_steps]
    single = ('cosine', 'exponential', 'linear')
    if config.lr_schedule in single and len(steps) > 1:
        raise UsageError(
            f'--lr_schedule={config.lr_schedule} takes one number from '
            '--decay_epochs or --decay_steps, not several.'
        )
    if config.lr_schedule == 'cosine' and steps[0] < total_steps / 1e6:
        raise UsageError(
            'The first cycle of --lr_schedule=cosine must be at least a '
            f'millionth of the run, got {steps[0]:g} of {total_steps} steps.'
        )
    if config.lr_schedule in ('custom_step', 'exponential') and not steps:
        raise UsageError(
            f'--lr_schedule={config.lr_schedule} needs --decay_epochs or '
            '--decay_steps: a number, or several separated by commas.'
        )
    return Schedule(
        name=config.lr_schedule,
        base=config.learning_rate,
        decay_steps=tuple(steps),
        decay_rate=config.decay_rate,
        cycle_growth=config.cos_t_mul,
        peak_decay=config.cos_m_mul,
        warmup_steps=config.warmup_epochs * steps_per_epoch,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
    )


def _numbers(text: str, flag: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(',') if part.strip()]
    except ValueError:
        numbers = [-1.0]
    if not all(0 < number < math.inf for number in numbers):
        raise UsageError(
            f'--{flag}={text} must be positive finite numbers, separated by '
            'commas.'
        )
    return numbers


class WeightAverage:
    """Exponential moving average of a network's weights in a twin network.

    The decay warms up as min(limit, (1 + t) / (10 + t)). Unlike the reference
    it covers the statistics of BatchNorm too, so the averaged network is
    evaluated with statistics that belong to it.

    Args:
        source: the network that is trained.
        average: a network of the same architecture; holds the average.
        limit: largest decay.
    """

    def __init__(self, source: keras.Model, average: keras.Model, limit: float):
        self.limit = limit
        self._pairs = [
            (mean, value)
            for mean, value in zip(
                average.variables, source.variables, strict=True
            )
            if value.dtype.startswith('float')
        ]
        for mean, value in self._pairs:
            mean.assign(value)

    def update(self, step: tf.Tensor) -> None:
        """Moves the average towards the weights after update number `step`."""
        for mean, value in self._pairs:
            count = tf.cast(step, mean.dtype)
            keep = tf.minimum((1 + count) / (10 + count), self.limit)
            mean.assign(keep * mean + (1 - keep) * value)
