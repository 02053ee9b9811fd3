"""Views of images: batched, stateless functions `[b, H, W, C]` -> the same.

A view of an example depends on the seed of its step and on the example's
place in the global batch, never on how the batch is split over devices or
where the view is computed.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import tensorflow as tf


class Recipe(Protocol):
    """What the views of a data set need to know of it."""

    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


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
        seed = tf.random.fold_in(self.seed, number)
        return dataclasses.replace(self, seed=seed)

    def uniform(self, numbers: int) -> tf.Tensor:
        """Returns float32 `[b, numbers]` in [0, 1)."""
        everything = tf.random.stateless_uniform(
            [self.total, numbers], self.seed
        )
        return self._own(everything)

    def seeds(self) -> tf.Tensor:
        """Returns one seed per example, int32 `[b, 2]`."""
        everything = tf.random.stateless_uniform(
            [self.total, 2], self.seed, None, None, tf.int32
        )
        return self._own(everything)

    def _own(self, everything: tf.Tensor) -> tf.Tensor:
        return tf.slice(
            everything, [self.offset, 0], [self.count, everything.shape[1]]
        )


View = Callable[[tf.Tensor, Draws, Recipe], tf.Tensor]


def normalise(images: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Returns uint8 images as float32, standardised per channel."""
    scale = tf.constant([1 / (255 * s) for s in recipe.std], tf.float32)
    shift = tf.constant(
        [-m / s for m, s in zip(recipe.mean, recipe.std, strict=True)],
        tf.float32,
    )
    return tf.cast(images, tf.float32) * scale + shift


def plain(images: tf.Tensor, draws: Draws, recipe: Recipe) -> tf.Tensor:
    """The image itself, standardised."""
    return normalise(images, recipe)


def weak(images: tf.Tensor, draws: Draws, recipe: Recipe) -> tf.Tensor:
    """Zero padding, a random crop of the old size, and a random flip.

    Padding is of the uint8 image, before it is standardised, as in the
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


VIEWS: dict[str, View] = {'plain': plain, 'weak': weak}
