"""Policies of random operations: AutoAugment and RandAugment.

AutoAugment: Cubuk et al., CVPR 2019, the 95 sub-policies found for CIFAR-10
and the 25 of the reference for ImageNet. RandAugment: Cubuk et al., 2020.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from ieg.data.augment import image_ops

SHORT = {
    'AC': 'AutoContrast', 'Br': 'Brightness', 'Co': 'Color', 'Ct': 'Contrast',
    'Cu': 'Cutout', 'Eq': 'Equalize', 'In': 'Invert', 'Po': 'Posterize',
    'Ro': 'Rotate', 'SA': 'SolarizeAdd', 'SX': 'ShearX', 'SY': 'ShearY',
    'Sh': 'Sharpness', 'So': 'Solarize', 'TX': 'TranslateX', 'TY': 'TranslateY',
}  # fmt: skip
# Operation, probability, level, twice; '|' between sub-policies.
CIFAR = """
In .1 7;Ct .2 6|Ro .7 2;TX .3 9|Sh .8 1;Sh .9 3|SY .5 8;TY .7 9|AC .5 8;Eq .9 2
So .4 5;AC .9 3|TY .9 9;TY .7 9|AC .9 2;So .8 3|Eq .8 8;In .1 3|TY .7 9;AC .9 1
So .4 5;AC 0 2|TY .7 9;TY .7 9|AC .9 0;So .4 3|Eq .7 5;In .1 3|TY .7 9;TY .7 9
So .4 5;AC .9 1|TY .8 9;TY .9 9|AC .8 0;TY .7 9|TY .2 7;Co .9 6|Eq .7 6;Co .4 9
SY .2 7;Po .3 7|Co .4 3;Br .6 7|Sh .3 9;Br .7 9|Eq .6 5;Eq .5 1|Ct .6 7;Sh .6 5
Br .3 7;AC .5 8|AC .9 4;AC .5 6|So .3 5;Eq .6 5|TY .2 4;Sh .3 3|Br 0 8;Co .8 8
So .2 6;Co .8 6|So .2 6;AC .8 1|So .4 1;Eq .6 5|Br 0 0;So .5 2|AC .9 5;Br .5 3
Ct .7 5;Br 0 2|So .2 8;So .1 5|Ct .5 1;TY .2 9|AC .6 5;TY 0 9|AC .9 4;Eq .8 4
Br 0 7;Eq .4 7|So .2 5;Eq .7 5|Eq .6 8;Co .6 2|Co .3 7;Co .2 4|AC .5 2;So .7 2
AC .2 0;Eq .1 0|SY .6 5;Eq .6 5|Br .9 3;AC .4 1|Eq .8 8;Eq .7 7|Eq .7 7;So .5 0
Eq .8 4;TY .8 9|TY .8 9;TY .6 9|TY .9 0;TY .5 9|AC .5 3;So .3 4|So .5 3;Eq .4 4
Co .7 7;TX .5 8|Eq .3 7;AC .4 8|TY .4 3;Sh .2 6|Br .9 6;Co .2 8|So .5 2;In 0 3
AC .1 5;Br 0 0|Cu .2 4;Eq .1 1|Eq .7 7;AC .6 4|Co .1 8;SY .2 3|SY .4 2;Ro .7 0
SY .1 3;AC .9 5|TY .3 6;Cu .3 3|Eq .5 0;So .6 6|AC .3 5;Ro .2 7|Eq .8 2;In .4 0
Eq .9 5;Co .7 0|Eq .1 1;SY .1 3|AC .7 3;Eq .7 0|Br .5 1;Ct .1 7|Ct .1 4;So .6 5
So .2 3;SX 0 0|TX .3 0;TX .6 0|Eq .5 9;TY .6 7|SX .1 0;Sh .5 1|Eq .8 6;In .3 6
AC .3 9;Cu .5 3|SX .4 4;AC .9 2|SX 0 3;Po 0 3|So .4 3;Co .2 4|Eq .1 4;Eq .7 6
Eq .3 8;AC .4 3|So .6 4;AC .7 6|AC .2 9;Br .4 8|Eq .1 0;Eq 0 6|Eq .8 4;Eq 0 4
Eq .5 5;AC .1 2|So .5 5;AC .9 5|AC .6 1;AC .7 8|Eq .2 0;AC .1 2|Eq .6 9;Eq .4 4
"""
IMAGENET = """
Eq .8 1;SY .8 4|Co .4 9;Eq .6 3|Co .4 1;Ro .6 8|So .8 3;Eq .4 7|So .4 2;So .6 2
Co .2 0;Eq .8 8|Eq .4 8;SA .8 3|SX .2 9;Ro .6 8|Co .6 1;Eq 1 2|In .4 9;Ro .6 0
Eq 1 9;SY .6 3|Co .4 7;Eq .6 0|Po .4 6;AC .4 7|So .6 8;Co .6 9|So .2 4;Ro .8 9
Ro 1 7;TY .8 9|SX 0 0;So .8 4|SY .8 0;Co .6 4|Co 1 0;Ro .6 2|Eq .8 4;Eq 0 8
Eq 1 4;AC .6 2|SY .4 7;SA .6 7|Po .8 2;So .6 10|So .6 8;Eq .6 1|Co .8 6;Ro .4 5
"""
RANDOM = (
    'Identity', 'AutoContrast', 'Equalize', 'Rotate', 'Solarize', 'Color',
    'Contrast', 'Brightness', 'Sharpness', 'ShearX', 'ShearY', 'TranslateX',
    'TranslateY', 'Posterize',
)  # fmt: skip
LEVELS = 11
_NAMES = image_ops.OPERATIONS
_SIGNED = np.isin(_NAMES, image_ops.SIGNED)
_IN_PIXELS = np.isin(_NAMES, ['TranslateX', 'TranslateY', 'Cutout'])


def cifar_value(name: str, level: int) -> float:
    """Returns the value that `image_ops.operate` needs for a level."""
    if name in image_ops.ENHANCING:
        return level * 1.8 / 10 + 0.1
    return {
        'ShearX': 0.03 * level,
        'ShearY': 0.03 * level,
        'TranslateX': level,
        'TranslateY': level,
        'Rotate': 3 * level,
        'Solarize': 256 - int(25.6 * level),
        'Posterize': 4 - int(0.4 * level),
        'Cutout': level,
    }.get(name, 0)


def imagenet_value(name: str, level: int) -> float:
    """Returns the same for the ranges of ImageNet's policy."""
    return {
        'TranslateX': 25 * level,
        'TranslateY': 25 * level,
        'Solarize': int(25.6 * level),
        'SolarizeAdd': 11 * level,
        'Posterize': int(0.4 * level),
        'Cutout': 10 * level,
    }.get(name, cifar_value(name, level))


class Steps(NamedTuple):
    """Operations to apply one after the other; see `image_ops.operate`.

    Attributes:
        operation: int32 `[steps, b]`.
        value: float32 `[steps, b]`.
        spot: float32 `[b, 2]`, one for all steps.
    """

    operation: tf.Tensor
    value: tf.Tensor
    spot: tf.Tensor


class Policy(Protocol):
    """Turns random numbers into operations.

    Attributes:
        numbers: how many it needs for an example.
        shared: how many of them, the first ones, a batch has in common.
        style: of its operations.
    """

    numbers: int
    shared: int
    style: image_ops.Style

    def steps(self, numbers: tf.Tensor, width: int) -> Steps:
        """Returns what to do with each example.

        Args:
            numbers: float32 `[b, numbers]` in [0, 1).
            width: of the images; translations and cutouts grow with it.
        """
        ...


class Ranges:
    """The value of each operation at each level.

    Args:
        value: maps the name of an operation and a level to a value.
        width: of the images for which pixels are meant.
    """

    def __init__(self, value: Callable[[str, int], float], width: int):
        levels = range(LEVELS)
        self._values = np.array(
            [[value(n, level) for level in levels] for n in _NAMES], np.float32
        )
        self._width = width

    def values(
        self,
        operation: tf.Tensor,
        level: tf.Tensor,
        negative: tf.Tensor,
        width: int,
    ) -> tf.Tensor:
        """Returns the values of operations at whole levels.

        Args:
            operation: numbers of operations, int32.
            level: int32 of the same shape.
            negative: bool of the same shape; where to change the sign, if the
                operation is one that has both directions.
            width: of the images.
        """
        places = operation * LEVELS + level
        values = tf.gather(self._values.reshape(-1), places)
        pixels = np.float32(width / self._width)
        values *= tf.gather(np.where(_IN_PIXELS, pixels, 1), operation)
        turned = negative & tf.gather(_SIGNED, operation)
        return tf.where(turned, -values, values)


class AutoAugment:
    """Draws one sub-policy of two operations for each image.

    Each operation is then applied with its own probability.

    Args:
        table: the sub-policies, as in `CIFAR`.
        ranges: the values of the levels.
        style: of the operations.
    """

    numbers = 7
    shared = 0

    def __init__(self, table: str, ranges: Ranges, style: image_ops.Style):
        self.policies = parse(table)
        self.style = style
        self._ranges = ranges
        names, chances, levels = np.moveaxis(
            np.array(self.policies, object), -1, 0
        )
        numbers = np.vectorize(image_ops.NUMBER.get)(names)
        self._operations = numbers.astype(np.int32)
        self._chances = chances.astype(np.float32)
        self._levels = levels.astype(np.int32)

    def steps(self, numbers: tf.Tensor, width: int) -> Steps:
        """See `Policy`."""
        count = len(self.policies)
        chosen = tf.cast(numbers[:, 0] * count, tf.int32)
        operation = tf.gather(self._operations, chosen)
        level = tf.gather(self._levels, chosen)
        applied = numbers[:, 1:3] < tf.gather(self._chances, chosen)
        negative = numbers[:, 3:5] < 0.5
        value = self._ranges.values(operation, level, negative, width)
        operation = tf.where(applied, operation, 0)
        return Steps(
            tf.transpose(operation), tf.transpose(value), numbers[:, 5:7]
        )


class RandAugment:
    """Draws two of 14 operations at random levels from 1 to 9.

    Each is then applied with probability 0.5.

    Args:
        per_batch: draw the operations and levels once for the whole batch.
    """

    numbers = 8
    style = image_ops.PILLOW

    def __init__(self, per_batch: bool = False):
        self.shared = 4 if per_batch else 0
        self._operations = np.array(
            [image_ops.NUMBER[name] for name in RANDOM], np.int32
        )
        self._ranges = Ranges(cifar_value, 32)

    def steps(self, numbers: tf.Tensor, width: int) -> Steps:
        """See `Policy`."""
        chosen = tf.cast(numbers[:, :2] * len(RANDOM), tf.int32)
        operation = tf.gather(self._operations, chosen)
        level = 1 + tf.cast(numbers[:, 2:4] * 9, tf.int32)
        applied = numbers[:, 4:6] < 0.5
        negative = numbers[:, 6:8] < 0.5
        value = self._ranges.values(operation, level, negative, width)
        operation = tf.where(applied, operation, 0)
        # None of the operations has a place.
        spot = tf.zeros_like(value)
        return Steps(tf.transpose(operation), tf.transpose(value), spot)


def parse(table: str) -> list[tuple[tuple[str, float, int], ...]]:
    """Returns sub-policies: pairs of operation, probability and level."""
    policies = []
    for policy in table.strip().replace('\n', '|').split('|'):
        words = [step.split() for step in policy.split(';')]
        policies.append(
            tuple((SHORT[n], float(p), int(level)) for n, p, level in words)
        )
    return policies


def perform(
    pixels: tf.Tensor,
    steps: Steps,
    style: image_ops.Style,
    in_blocks: bool = True,
) -> tf.Tensor:
    """Applies operations one after the other.

    Args:
        pixels: int32 `[b, H, W]`.
        steps: what to do.
        style: of the operations.
        in_blocks: see `image_ops.operate`.
    """

    def step(
        number: tf.Tensor, pixels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = image_ops.operate(
            pixels,
            steps.operation[number],
            steps.value[number],
            steps.spot,
            style,
            in_blocks,
        )
        return number + 1, pixels

    # A loop, so that XLA finishes one step before it begins the next. Else it
    # may compute a pixel of the first again for each that needs it.
    _, pixels = tf.while_loop(
        lambda number, _: number < steps.operation.shape[0],
        step,
        (tf.constant(0), pixels),
        parallel_iterations=1,
    )
    return pixels


def cifar() -> AutoAugment:
    """Returns the policy of CIFAR-10."""
    return AutoAugment(CIFAR, Ranges(cifar_value, 32), image_ops.PILLOW)


def imagenet() -> AutoAugment:
    """Returns the policy v0 of ImageNet.

    The reference's Contrast mixes with a constant that has nothing to do with
    the image, by mistake; here it is the mean. Its colors and tables are
    those of Pillow too, at most some units from the reference's.
    """
    return AutoAugment(IMAGENET, Ranges(imagenet_value, 224), image_ops.ADDONS)
