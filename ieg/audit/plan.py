"""How long an audit takes on this machine, and what fits into a budget."""

import dataclasses
import math
import os
import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ieg import config as ieg_config
from ieg import held_out, run_folder
from ieg.audit.place import Place
from ieg.config import Config, folder_of
from ieg.data import own
from ieg.data.dataset import Data
from ieg.errors import UsageError
from ieg.features import names
from ieg.label_issues import neighbours
from ieg.networks import create_network
from ieg.utils.text import counted, duration

# Seconds for compilation, the list, the report and the model.
_REST = 8.0
# Seconds of a step on vectors, and of each number that it is shown.
_STEP, _NUMBER = 4e-4, 5e-9
# A run on vectors trains five folds of four fifths of its examples first, and
# looks after each of their epochs at what is held out, in these seconds.
_FOLDS, _LOOK = 5 * 0.8, 5 * 0.03
# Seconds until a character of a text has become numbers, and how many are
# worth a word.
_CHARACTER, _LEAST = 4e-6, 3.0
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
        features: those of images.
        pace: images that become features, per second.
    """

    epochs: int
    epoch: float
    rest: float = _REST
    features: float = 0.0
    pace: float = 0.0

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.features + self.epochs * self.epoch + self.rest

    def __str__(self) -> str:
        features = ''
        if self.pace and not self.features:
            features = 'features are kept, '
        elif self.pace:
            features = (
                f'{duration(self.features)} for features ({self.pace:.0f} '
                'images per second), '
            )
        return (
            f'This takes about {duration(self.seconds)} on this machine: '
            f'{features}{duration(self.epochs * self.epoch)} for '
            f'{self.epochs} epochs, and {duration(self.rest)} for everything '
            'else.'
        )


def of_features(
    given: Mapping[str, Any],
    found: Place,
    width: int,
    pace: float,
    known: float,
) -> Plan:
    """Returns how long a run on features of images takes.

    Args:
        given: options by name.
        found: the images.
        width: of their features.
        pace: images that become features, per second.
        known: share of those whose features are there.
    """
    count, classes = sum(found.counts.values()), len(found.counts)
    # 0 is the default of those that matter.
    chosen = {name: value for name, value in given.items() if value}
    train = {**own.of_vectors('', count, width, classes).values, **chosen}
    return dataclasses.replace(
        _of_vectors(train, count, found.total, width),
        features=found.total * (1 - known) / pace,
        pace=pace,
    )


def of_texts(found: Place) -> float:
    """Returns how many seconds it takes to make vectors of texts; 0 for few."""
    seconds = _CHARACTER * found.characters
    return seconds if seconds >= _LEAST else 0.0


def of_run(config: Config, data: Data) -> Plan:
    """Returns how long a run takes; a network of images is measured."""
    train, count = config.train, len(data.train)
    others = sum(len(s) for s in (data.valid, data.test) if s is not None)
    if data.is_vectors:
        (width,) = data.image_shape
        return _of_vectors(vars(train), count, count + others, width)
    shown = _PASSES * count + others
    seconds = shown * _seconds_per_image(config, data)
    return Plan(_epochs(vars(train), count), seconds)


def _of_vectors(
    train: Mapping[str, Any], count: int, total: int, width: int
) -> Plan:
    """Returns how long a run on vectors takes.

    Args:
        train: options of the training by name.
        count: number of training examples.
        total: number of all examples, which are compared with each other.
        width: numbers of each.
    """
    batch = train['batch_size']
    steps = (1 + _FOLDS) * math.ceil(count / batch)
    epoch = steps * (_STEP + _NUMBER * batch * width) + _LOOK
    compared = neighbours.operations(total, total, width)
    rest = _REST + 60 * compared / held_out.PER_MINUTE
    return Plan(_epochs(train, count), epoch, rest)


def _epochs(train: Mapping[str, Any], count: int) -> int:
    """Returns the number of epochs of a run."""
    if iterations := train.get('max_iteration'):
        return math.ceil(iterations / math.ceil(count / train['batch_size']))
    return train['max_epoch']


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


def started(config: Config) -> dict[str, Any]:
    """Returns what a budget decided for the run in the folder, by option.

    Whatever would be measured now, it resumes with that. Nothing is returned
    where there is no run.
    """
    path = os.path.join(folder_of(config), run_folder.IDENTITY)
    if not os.path.exists(path):
        return {}
    saved, asked = run_folder.read_object(path), config.data.backbone
    kept = {}
    if saved.get('max_epoch'):
        kept['max_epoch'] = saved['max_epoch']
    if saved.get('backbone') in names.smaller(asked):
        kept['backbone'] = saved['backbone']
    return kept


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
    left = 60 * minutes - plan.rest - plan.features
    epochs = int(left / plan.epoch)
    if is_fixed or epochs < LEAST_EPOCHS:
        least = plan.epochs if is_fixed else min(plan.epochs, LEAST_EPOCHS)
        whole = dataclasses.replace(plan, epochs=least)
        needed = duration(whole.seconds)
        if whole.seconds > 60:
            # A rounded number might be too short again.
            needed = counted(math.ceil(whole.seconds / 60), 'minute')
        at = ''
        if plan.pace:
            at = f', with features at {plan.pace:.0f} images per second'
        raise UsageError(
            f'--time_budget={minutes:g} is too short: {least} epochs need '
            f'{needed} on this machine{at}.'
        )
    return epochs
