"""Views of images: batched, stateless functions `[b, H, W, C]` -> the same.

A view of an example depends on the seed of its step and on the example's
place in the global batch, never on how the batch is split over devices or
where the view is computed.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ieg.data.augment import image_ops, policies
from ieg.data.dataset import Preprocessing
from ieg.data.vectors import standardise
from ieg.ops import random as random_ops

# Named, so that no device or compiler takes another one.
GENERATOR = 'philox'
# Numbers for a crop, a flip and the place of a cutout.
FRAME = 5


@dataclasses.dataclass(frozen=True)
class Draws:
    """Random numbers for the examples of one step on one replica.

    Attributes:
        seed: int32 `[2]`.
        offset: place of this replica's first example in the global batch.
        count: examples of this replica, b.
        total: examples of the global batch.
    """

    seed: tf.Tensor
    offset: tf.Tensor
    count: int
    total: int

    def lane(self, number: int) -> 'Draws':
        """Returns independent draws for the same examples."""
        seed = random_ops.fold_in(self.seed, number)
        return dataclasses.replace(self, seed=seed)

    def uniform(self, numbers: int) -> tf.Tensor:
        """Returns float32 `[b, numbers]` in [0, 1)."""
        return self._own(random_ops.uniform([self.total, numbers], self.seed))

    def common(self, numbers: int) -> tf.Tensor:
        """Returns the same float32 `[b, numbers]` for all examples."""
        return tf.repeat(
            random_ops.uniform([1, numbers], self.seed), self.count, axis=0
        )

    def bytes(self, numbers: int) -> tf.Tensor:
        """Returns uint8 `[b, numbers]`, half of the work of `uniform`."""
        words = random_ops.bits([self.total, -(-numbers // 4)], self.seed)
        parts = tf.bitcast(self._own(words), tf.uint8)
        return tf.reshape(parts, [self.count, -1])[:, :numbers]

    def seeds(self) -> tf.Tensor:
        """Returns one seed per example, int32 `[b, 2]`."""
        return self._own(random_ops.bits([self.total, 2], self.seed))

    def _own(self, everything: tf.Tensor) -> tf.Tensor:
        return tf.slice(
            everything, [self.offset, 0], [self.count, everything.shape[1]]
        )


View = Callable[[tf.Tensor, Draws, Preprocessing], tf.Tensor]


def normalise(images: tf.Tensor, recipe: Preprocessing) -> tf.Tensor:
    """Returns uint8 images as float32, standardized per channel.

    Or vectors [b, d], per column.
    """
    if len(images.shape) == 2:
        return standardise(images, recipe.mean, recipe.std)
    scale, shift = _standard(recipe)
    return tf.cast(images, tf.float32) * scale + shift


def _standard(recipe: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Returns what to multiply values 0..255 by, and to add, per channel."""
    mean, std = np.array(recipe.mean), np.array(recipe.std)
    scale, shift = 1 / (255 * std), -mean / std
    return scale.astype(np.float32), shift.astype(np.float32)


def plain(images: tf.Tensor, draws: Draws, recipe: Preprocessing) -> tf.Tensor:
    """The image itself, standardized."""
    return normalise(images, recipe)


def weak(images: tf.Tensor, draws: Draws, recipe: Preprocessing) -> tf.Tensor:
    """Zero padding, a random crop of the old size, and a random flip.

    Padding is of the uint8 image, before it is standardized, as in the
    PyTorch references.
    """
    numbers = draws.uniform(3)
    span = 2 * recipe.padding + 1
    offsets = tf.cast(numbers[:, :2] * span, tf.int32)
    flipped = (numbers[:, 2] < 0.5) if recipe.flip else None
    return normalise(
        crop_and_flip(images, recipe.padding, offsets, flipped), recipe
    )


def crop_and_flip(
    images: tf.Tensor,
    padding: int,
    offsets: tf.Tensor,
    flipped: tf.Tensor | None,
) -> tf.Tensor:
    """Pads by zeros and cuts each image out at its own offset.

    One gather along the flattened pixels does the crop and the flip for the
    whole batch, on every device and under XLA.

    Args:
        images: `[b, H, W, C]` of any type.
        padding: pixels on each side.
        offsets: rows and columns into the padded image, int32 `[b, 2]`.
        flipped: bool `[b]`, which images to mirror; None for no one.

    Returns:
        Images `[b, H, W, C]` of the same type.
    """
    height, width, channels = images.shape[1:]
    padded = tf.pad(
        images, [[0, 0], [padding, padding], [padding, padding], [0, 0]]
    )
    columns = tf.range(width)[tf.newaxis]
    if flipped is not None:
        columns = tf.where(flipped[:, tf.newaxis], columns[:, ::-1], columns)
    columns = columns + offsets[:, 1:]
    rows = tf.range(height)[tf.newaxis] + offsets[:, :1]
    wide = width + 2 * padding
    pixels = rows[:, :, tf.newaxis] * wide + columns[:, tf.newaxis, :]
    flat = tf.reshape(padded, [-1, (height + 2 * padding) * wide, channels])
    chosen = tf.gather(
        flat, tf.reshape(pixels, [-1, height * width]), batch_dims=1
    )
    return tf.reshape(chosen, [-1, height, width, channels])


class Strong:
    """A policy, a random crop and flip, and a cutout.

    It starts from the raw image, where the reference takes the weak view, so
    that nothing is cropped twice; and all offsets of the crop are possible,
    where the reference misses the last one. What the crop, the cutout and the
    policy leave empty is mid-grey, between the values 127 and 128.

    The computation is compiled by XLA wherever it runs; on a CPU that makes
    it several times faster than TensorFlow's operations.

    Args:
        policy: draws operations for the examples; None for no operations.
        padding: height of the image over the padding; None for the padding of
            the data's recipe.
        cutout: height of the image over the side of the cutout.
        hole: pixel in the cutout; transparent ones become mid-grey.
    """

    def __init__(
        self,
        policy: policies.Policy | None = None,
        padding: int | None = 8,
        cutout: int = 2,
        hole: int = 0,
    ):
        self._policy = policy
        self._padding = padding
        self._cutout = cutout
        self._hole = hole
        # Two functions, as XLA would find a pixel's place again for each of
        # its channels.
        compiled = functools.partial(
            tf.function, jit_compile=True, autograph=False
        )
        self._to_pixels = compiled(self._pixels)
        self._to_floats = compiled(_floats)

    def __call__(
        self, images: tf.Tensor, draws: Draws, recipe: Preprocessing
    ) -> tf.Tensor:
        """See `View`."""
        levels = np.append(np.arange(256, dtype=np.float32), 127.5)
        scale, shift = _standard(recipe)
        # From a table, floats do not depend on who multiplies and adds.
        table = levels[:, np.newaxis].astype(np.float32) * scale + shift
        pixels = self._to_pixels(
            images,
            self._numbers(draws),
            recipe.padding if self._padding is None else self._pad(images),
            recipe.flip,
        )
        return self._to_floats(pixels, table)

    def _pad(self, images: tf.Tensor) -> int:
        return images.shape[1] // self._padding

    def _numbers(self, draws: Draws) -> tf.Tensor:
        """Returns those of the policy, then `FRAME` for all after it."""
        if self._policy is None:
            return draws.uniform(FRAME)
        numbers = draws.uniform(self._policy.numbers + FRAME)
        shared = self._policy.shared
        if not shared:
            return numbers
        common = draws.lane(0).common(shared)
        return tf.concat([common, numbers[:, shared:]], axis=1)

    def _pixels(
        self,
        images: tf.Tensor,
        numbers: tf.Tensor,
        padding: int,
        flip: bool,
    ) -> tf.Tensor:
        height, width = images.shape[1:3]
        pixels = image_ops.pack(images)
        if self._policy is not None:
            pixels = policies.perform(
                pixels,
                self._policy.steps(numbers, width),
                self._policy.style,
                # The pipeline has bytes on the host and floats on a device.
                in_blocks=images.dtype == tf.uint8,
            )
        numbers = numbers[:, -FRAME:]
        offsets = tf.cast(numbers[:, :2] * (2 * padding + 1), tf.int32)
        flipped = numbers[:, 2] < 0.5 if flip else None
        pixels = crop_and_flip(
            pixels[..., tf.newaxis], padding, offsets, flipped
        )[..., 0]
        half = tf.fill(tf.shape(pixels)[:1], height // self._cutout / 2)
        hole = image_ops.square(half, numbers[:, 3:], height, width)
        return tf.where(hole, self._hole, pixels)


def _floats(pixels: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Returns what a table `[257, C]` has for each value `[b, H, W, C]`."""
    channels = table.shape[1]
    opaque = image_ops.opaque(pixels)[..., tf.newaxis]
    values = tf.where(opaque, image_ops.unpack(pixels, channels), 256)
    places = values * channels + tf.range(channels)
    return tf.gather(tf.reshape(table, [-1]), places)


VIEWS: dict[str, View] = {
    'plain': plain,
    'weak': weak,
    'autoaug': Strong(policies.cifar()),
    'randaug': Strong(policies.RandAugment()),
    'randaug_batch': Strong(policies.RandAugment(per_batch=True)),
    # Images that were cropped when they were read; the hole is black and has
    # 16 of 224 pixels.
    'imagenet_autoaug': Strong(policies.imagenet(), None, 14, image_ops.OPAQUE),
    'default': Strong(),
}
