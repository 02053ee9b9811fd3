"""How long an audit takes on this machine, and what fits into a budget."""

import dataclasses
import math
import os
import time

import tensorflow as tf

from ieg import config as ieg_config
from ieg import run_folder
from ieg.config import Config, folder_of
from ieg.data.dataset import Data
from ieg.errors import UsageError
from ieg.networks import create_network
from ieg.utils.text import duration

# Seconds for compilation, the list, the report and the model.
_REST = 20.0
# Seconds of a step of a network for vectors, with those of the folds.
_STEP = 5e-3
# A training step in forward passes.
_PASSES = 3.0
# With fewer, a network from scratch learns next to nothing.
LEAST_EPOCHS = 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """What takes time, in seconds.

    Attributes:
        epochs: of the training.
        epoch: each of them.
        rest: everything else.
    """

    epochs: int
    epoch: float
    rest: float = _REST

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.epochs * self.epoch + self.rest

    def __str__(self) -> str:
        return (
            f'This takes about {duration(self.seconds)} on this machine: '
            f'{self.epochs} epochs of {duration(self.epoch)} each, and '
            f'{duration(self.rest)} for everything else.'
        )


def of_run(config: Config, data: Data) -> Plan:
    """Returns how long a run takes; a network of images is measured."""
    train, count = config.train, len(data.train)
    steps = math.ceil(count / train.batch_size)
    epochs = train.max_epoch or math.ceil(train.max_iteration / steps)
    if data.is_vectors:
        return Plan(epochs, steps * _STEP)
    others = sum(len(s) for s in (data.valid, data.test) if s is not None)
    shown = _PASSES * count + others
    return Plan(epochs, shown * _seconds_per_image(config, data))


def _seconds_per_image(config: Config, data: Data) -> float:
    """Returns the time of an image in a forward pass of the network."""
    network = create_network(
        config.train.network_name,
        data.num_classes,
        data.image_shape,
        **ieg_config.network_options(config.train),
    )
    compute = tf.function(lambda images: network(images, training=False))
    images = tf.zeros([min(32, config.train.batch_size), *data.image_shape])
    compute(images)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        compute(images).numpy()
        times.append(time.perf_counter() - started)
    return min(times) / len(images)


def started(config: Config) -> int:
    """Returns how many epochs the run in the folder was started with.

    Returns:
        0 without a run, and where its length does not matter.
    """
    path = os.path.join(folder_of(config), run_folder.IDENTITY)
    if not os.path.exists(path):
        return 0
    return run_folder.read_object(path).get('max_epoch', 0)


def with_epochs(config: Config, epochs: int) -> Config:
    """Returns the configuration of a run of another length."""
    train = dataclasses.replace(config.train, max_epoch=epochs, max_iteration=0)
    return dataclasses.replace(config, train=train)


def epochs_within(minutes: float, plan: Plan, is_fixed: bool) -> int:
    """Returns how many epochs fit into a budget, at most all of the plan.

    Args:
        minutes: of the budget.
        plan: of the run.
        is_fixed: whether the user has given its length.

    Raises:
        UsageError: the run does not fit.
    """
    if plan.seconds <= 60 * minutes:
        return plan.epochs
    epochs = int((60 * minutes - plan.rest) / plan.epoch)
    if is_fixed or epochs < LEAST_EPOCHS:
        least = plan.epochs if is_fixed else min(plan.epochs, LEAST_EPOCHS)
        needed = dataclasses.replace(plan, epochs=least).seconds / 60
        raise UsageError(
            f'--time_budget={minutes:g} is too short: {least} epochs need '
            f'{math.ceil(needed):,} minutes on this machine.'
        )
    return epochs
