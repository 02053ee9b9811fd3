"""Pillow's image operations for whole batches, another one per example.

Everything is arithmetic of whole numbers, or of floats rounded as Pillow
rounds them, so results are Pillow's, on every device, with and without XLA.
All shapes are static. The functions are written for
`tf.function(jit_compile=True)`, which makes a few loops of them; op by op
they are right but slow.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

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


def shift(
    numbers: tf.Tensor, bits: int | Sequence[int] | Sequence[Sequence[int]]
) -> tf.Tensor:
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


SIGNED = ('ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate')
MOVING = (*SIGNED, 'Cutout')
MAPPING = ('Invert', 'Solarize', 'SolarizeAdd', 'Posterize')
ENHANCING = ('Color', 'Contrast', 'Brightness', 'Sharpness')
OPERATIONS = (
    'Identity',
    *MOVING,
    *MAPPING,
    *ENHANCING,
    'AutoContrast',
    'Equalize',
)
NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
# Examples that a processor works on at once; they fit into its cache.
BLOCK = 4


@dataclasses.dataclass(frozen=True)
class Style:
    """What libraries do differently.

    Attributes:
        outside: the pixel that geometric operations put where they have none.
        hole: the pixel that Cutout writes.
        centre: place of the first pixel's centre; 0.5 in Pillow, where images
            reach from 0 to their width, and 0 in TensorFlow Addons.
    """

    outside: int = 0
    hole: int = GREY
    centre: float = 0.5


PILLOW = Style()
# TensorFlow Addons, with grey where there is nothing to show.
ADDONS = Style(OPAQUE | GREY, OPAQUE | GREY, 0.0)


def operate(
    pixels: tf.Tensor,
    operation: tf.Tensor,
    value: tf.Tensor,
    spot: tf.Tensor,
    style: Style = PILLOW,
    in_blocks: bool = True,
) -> tf.Tensor:
    """Applies one operation to each example.

    Args:
        pixels: int32 `[b, H, W]`.
        operation: numbers of `OPERATIONS`, int32 `[b]`.
        value: float32 `[b]`; degrees of Rotate, pixels of Translate, slope of
            Shear, factor of the enhancing operations, threshold of Solarize,
            what SolarizeAdd adds, bits that Posterize keeps, and half the
            side of a Cutout. Other operations ignore it.
        spot: centre of a Cutout, float32 `[b, 2]` in [0, 1).
        style: of the library that is followed.
        in_blocks: compute an operation only for the examples that ask for
            it, a few at a time, which is best on a CPU. If not, compute all
            operations for all and choose. Results are the same.

    Returns:
        Pixels of the same shape.
    """
    groups = (
        (MOVING, functools.partial(_moved, style=style)),
        (MAPPING, _mapped),
        (ENHANCING, _enhanced),
        (('AutoContrast',), _stretched),
        (('Equalize',), _equalized),
    )
    replaced = _replaced_in_blocks if in_blocks else _replaced_at_once
    done = pixels
    for names, function in groups:
        asked = _is(operation, *names)
        done = replaced(done, asked, function, (pixels, operation, value, spot))
    return done


def _replaced_at_once(
    done: tf.Tensor,
    asked: tf.Tensor,
    function: Callable[..., tf.Tensor],
    inputs: tuple[tf.Tensor, ...],
) -> tf.Tensor:
    """Returns `done` with a function's results for examples that ask."""
    return tf.where(_wide(asked), function(*inputs), done)


def _replaced_in_blocks(
    done: tf.Tensor,
    asked: tf.Tensor,
    function: Callable[..., tf.Tensor],
    inputs: tuple[tf.Tensor, ...],
) -> tf.Tensor:
    """Does the same as `_replaced_at_once`.

    Shapes stay static; only the number of blocks depends on the data.
    """
    count = tf.reduce_sum(tf.cast(asked, tf.int32))
    # Those that ask come first.
    order = tf.argsort(tf.cast(~asked, tf.int32), stable=True)

    def one_block(
        first: tf.Tensor, done: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # The last block repeats the last example.
        rows = tf.minimum(first + tf.range(BLOCK), count - 1)
        rows = tf.gather(order, rows)
        new = function(*(tf.gather(values, rows) for values in inputs))
        done = tf.tensor_scatter_nd_update(done, rows[:, tf.newaxis], new)
        return first + BLOCK, done

    _, done = tf.while_loop(
        lambda first, _: first < count,
        one_block,
        (tf.constant(0), done),
        parallel_iterations=1,
    )
    return done


def _is(operation: tf.Tensor, *names: str) -> tf.Tensor:
    """Returns which examples have one of some operations, bool `[b]`."""
    matches = operation == NUMBER[names[0]]
    for name in names[1:]:
        matches |= operation == NUMBER[name]
    return matches


def _wide(numbers: tf.Tensor) -> tf.Tensor:
    """Returns numbers per example for use with pixels, `[b, 1, 1]`."""
    return numbers[:, tf.newaxis, tf.newaxis]


# Operations that move pixels. Like all the others below they take all that
# `operate` takes, for examples that ask for one of them.


def _moved(
    pixels: tf.Tensor,
    operation: tf.Tensor,
    value: tf.Tensor,
    spot: tf.Tensor,
    style: Style,
) -> tf.Tensor:
    """Shears, translates, rotates, or cuts a square out.

    Places are whole numbers of 1/65536 of a pixel, as in Pillow.
    """
    height, width = pixels.shape[1:]
    middle = ((width - 1) / 2 + style.centre, (height - 1) / 2 + style.centre)
    m = _fixed(_matrix(operation, value, middle), style.centre)
    y = tf.range(height)[:, tf.newaxis]
    x = tf.range(width)
    columns = shift(m[0] * x + m[1] * y + m[2], 16)
    rows = shift(m[3] * x + m[4] * y + m[5], 16)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places = tf.where(inside, rows * width + columns, 0)
    first = tf.range(tf.shape(pixels)[0]) * (height * width)
    moved = tf.gather(tf.reshape(pixels, [-1]), _wide(first) + places)
    moved = tf.where(inside, moved, style.outside)
    half = tf.where(_is(operation, 'Cutout'), tf.round(value), 0.0)
    return tf.where(square(half, spot, height, width), style.hole, moved)


def _matrix(
    operation: tf.Tensor, value: tf.Tensor, middle: tuple[float, float]
) -> list[tf.Tensor]:
    """Returns a, b, c, d, e, f, each float64 `[b]`.

    The result at (x, y) is the image at (a x + b y + c, d x + e y + f).
    """
    value = tf.cast(value, tf.float64)

    def only(name: str) -> tf.Tensor:
        return tf.where(_is(operation, name), value, tf.zeros_like(value))

    radians = only('Rotate') * (-math.pi / 180)
    cosine, sine = tf.cos(radians), tf.sin(radians)
    x, y = middle
    return [
        cosine,
        sine + only('ShearX'),
        x - (cosine * x + sine * y) + only('TranslateX'),
        only('ShearY') - sine,
        cosine,
        y - (cosine * y - sine * x) + only('TranslateY'),
    ]


def _fixed(matrix: list[tf.Tensor], centre: float) -> list[tf.Tensor]:
    """Returns a matrix for numbers of pixels, in 1/65536, each `[b, 1, 1]`."""

    def fix(number: tf.Tensor) -> tf.Tensor:
        scaled = tf.floor(number * 65536 + 0.5)
        return _wide(tf.cast(scaled, tf.int32))

    a, b, c, d, e, f = matrix
    # From a number to its pixel's centre, and back to the pixel around it.
    rest = 0.5 - centre
    return [
        fix(a),
        fix(b),
        fix(c + (a + b) * centre + rest),
        fix(d),
        fix(e),
        fix(f + (d + e) * centre + rest),
    ]


# Operations that go through RGB in Pillow: all pixels become opaque.


def _mapped(
    pixels: tf.Tensor, operation: tf.Tensor, value: tf.Tensor, spot: tf.Tensor
) -> tf.Tensor:
    """Inverts, solarizes or posterizes."""
    value = tf.cast(value, tf.int32)
    threshold = tf.where(_is(operation, 'Solarize'), value, 256)
    threshold = _wide(tf.where(_is(operation, 'Invert'), 0, threshold))
    added = _wide(tf.where(_is(operation, 'SolarizeAdd'), value, 0))
    bits = tf.where(_is(operation, 'Posterize'), value, 8)
    mask = _wide(-tf.bitwise.left_shift(1, 8 - bits))

    def change(values: tf.Tensor) -> tf.Tensor:
        lighter = tf.minimum(values + tf.where(values < 128, added, 0), 255)
        return tf.where(values < threshold, lighter, 255 - values) & mask

    return join([change(channel(pixels, c)) for c in range(3)]) + OPAQUE


def _stretched(pixels: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
    """Makes the values of each channel reach from 0 to 255."""

    def change(values: tf.Tensor) -> tf.Tensor:
        low = tf.reduce_min(values, [1, 2], keepdims=True)
        high = tf.reduce_max(values, [1, 2], keepdims=True)
        span = tf.cast(tf.maximum(high - low, 1), tf.float64)
        scale = 255 / span
        # Two products, as in Pillow; (values - low) * scale rounds otherwise.
        start = _rounded(tf.cast(low, tf.float64) * scale)
        new = _rounded(tf.cast(values, tf.float64) * scale) - start
        new = tf.clip_by_value(tf.cast(new, tf.int32), 0, 255)
        return tf.where(high > low, new, values)

    return join([change(channel(pixels, c)) for c in range(3)]) + OPAQUE


def _equalized(pixels: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
    """Makes the values of each channel about equally frequent."""
    shape = tf.shape(pixels)
    flat = tf.reshape(pixels, [-1, 1, math.prod(pixels.shape[1:])])
    values = shift(flat, [[0], [8], [16]]) & 255
    first = tf.reshape(tf.range(shape[0] * 3) * 256, [-1, 3, 1])
    counts = tf.math.unsorted_segment_sum(
        tf.ones_like(values), first + values, shape[0] * 768
    )
    counts = tf.reshape(counts, [-1, 3, 256])
    below = _sums_before(counts)
    # All pixels but those of the largest value, over 255.
    most = tf.reduce_max(tf.where(counts > 0, below, 0), -1, keepdims=True)
    step = tf.cast(most // 255, tf.float32)
    # A half keeps the rounding of the division away from whole numbers.
    start = tf.floor(step / 2) + 0.5
    below = tf.gather(tf.reshape(below, [-1]), first + values)
    new = (start + tf.cast(below, tf.float32)) / tf.maximum(step, 1.0)
    new = tf.minimum(tf.cast(new, tf.int32), 255)
    new = tf.where(step > 0, new, values)
    return tf.reshape(join(tf.unstack(new, axis=1)), shape) + OPAQUE


def _sums_before(counts: tf.Tensor) -> tf.Tensor:
    """Returns the sum of all earlier ones of 256 counts `[b, 3, 256]`.

    Sums of 16, and of 16 of those, in whole numbers on every device.
    """
    earlier = tf.range(16)[:, tf.newaxis] < tf.range(16)
    earlier = tf.cast(earlier, tf.int32)

    def before(numbers: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(numbers[..., tf.newaxis] * earlier, -2)

    blocks = tf.reshape(counts, [-1, 3, 16, 16])
    sums = before(tf.reduce_sum(blocks, -1))
    return tf.reshape(before(blocks) + sums[..., tf.newaxis], [-1, 3, 256])


def _rounded(product: tf.Tensor) -> tf.Tensor:
    """Returns a product that is rounded before something is added to it.

    XLA else multiplies and adds at once, without the rounding in between.
    The bound is never reached.
    """
    return tf.minimum(product, tf.constant(1e9, product.dtype))


# Operations that mix an image with a worse one, and keep transparency.


def _enhanced(
    pixels: tf.Tensor, operation: tf.Tensor, value: tf.Tensor, spot: tf.Tensor
) -> tf.Tensor:
    """Changes color, contrast, brightness or sharpness by a factor."""
    size = math.prod(pixels.shape[1:])
    red, green, blue = (channel(pixels, c) for c in range(3))
    luma = red * 19595 + green * 38470 + blue * 7471
    luma = shift(luma + (1 << 15), 16)
    mean = (2 * tf.reduce_sum(luma, [1, 2]) + size) // (2 * size)
    flat = _wide(tf.where(_is(operation, 'Contrast'), mean, 0))
    grey = tf.where(_wide(_is(operation, 'Color')), luma, flat)
    smooth = _smooth(pixels)
    sharp = _wide(_is(operation, 'Sharpness'))

    def change(number: int) -> tf.Tensor:
        worse = tf.where(sharp, channel(smooth, number), grey)
        step = tf.cast(channel(pixels, number) - worse, tf.float32)
        mixed = tf.cast(worse, tf.float32) + _rounded(_wide(value) * step)
        return tf.cast(tf.clip_by_value(mixed, 0.0, 255.0), tf.int32)

    return join([change(c) for c in range(3)]) + (pixels & OPAQUE)


def _smooth(pixels: tf.Tensor) -> tf.Tensor:
    """Returns colors blurred by ones around a five; the rim is kept."""
    height, width = pixels.shape[1:]
    if min(height, width) < 3:
        return pixels
    # Red and blue in one number: their sums stay below 65536.
    red_blue = _weighted(pixels & 0xFF00FF)
    inner = join(
        [
            _thirteenth(red_blue & 65535),
            _thirteenth(_weighted(channel(pixels, 1))),
            _thirteenth(shift(red_blue, 16)),
        ]
    )
    inner = tf.pad(inner, [[0, 0], [1, 1], [1, 1]])
    y = tf.range(height)[:, tf.newaxis]
    x = tf.range(width)
    rim = (y == 0) | (y == height - 1) | (x == 0) | (x == width - 1)
    return tf.where(rim, pixels, inner)


def _weighted(values: tf.Tensor) -> tf.Tensor:
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return box + 4 * values[:, 1:-1, 1:-1]


def _thirteenth(sums: tf.Tensor) -> tf.Tensor:
    """Returns thirteenths, to the nearest whole number."""
    return (2 * sums + 13) // 26
