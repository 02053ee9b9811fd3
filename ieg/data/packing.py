"""Whole pixels in one number each.

Red, green and blue have a byte of an int32, and a bit says whether the pixel
is opaque. So one gather moves a whole pixel, and the transparency that Pillow
leaves outside a rotated image is carried along. Grey images are colour images
with three equal channels.
"""

import tensorflow as tf

# Of the channels in a pixel.
UNITS = (1, 1 << 8, 1 << 16)
OPAQUE = 1 << 24
GREY = 128 * sum(UNITS)


def pack(images: tf.Tensor) -> tf.Tensor:
    """Returns opaque pixels, int32 `[b, H, W]`.

    Args:
        images: whole numbers in 0..255 of any type, `[b, H, W, 1 or 3]`.
    """
    values = tf.cast(images, tf.int32)
    if images.shape[-1] == 1:
        return values[..., 0] * sum(UNITS) + OPAQUE
    return join(tf.unstack(values, axis=-1)) + OPAQUE


def unpack(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns the values int32 `[..., channels]` of pixels `[...]`."""
    shifts = [8 * number for number in range(channels)]
    return shift(pixels[..., tf.newaxis], shifts) & 255


def opaque(pixels: tf.Tensor) -> tf.Tensor:
    """Returns which pixels are not transparent, bool of the same shape."""
    return pixels >= OPAQUE


def channel(pixels: tf.Tensor, number: int) -> tf.Tensor:
    """Returns red, green or blue, of the same shape."""
    return shift(pixels, 8 * number) & 255


def join(channels: list[tf.Tensor]) -> tf.Tensor:
    """Returns transparent pixels of red, green and blue."""
    red, green, blue = channels
    return red + green * UNITS[1] + blue * UNITS[2]


def shift(numbers: tf.Tensor, bits: int | list) -> tf.Tensor:
    """Returns numbers without their last bits; negative ones go down."""
    return tf.bitwise.right_shift(numbers, bits)


def square(
    half: tf.Tensor, spot: tf.Tensor, height: int, width: int
) -> tf.Tensor:
    """Returns where squares are, bool `[b, H, W]`.

    Args:
        half: half their sides in pixels, float32 `[b]`.
        spot: their centres, float32 `[b, 2]` in [0, 1).
        height: of the image, which cuts squares off.
        width: of the image.
    """

    def near(size: int, place: tf.Tensor) -> tf.Tensor:
        distance = tf.range(float(size)) - tf.floor(place * size)
        return (distance >= -reach) & (distance < reach)

    reach = half[:, tf.newaxis]
    rows = near(height, spot[:, :1])
    return rows[:, :, tf.newaxis] & near(width, spot[:, 1:])[:, tf.newaxis]
