"""Operations on images: Pillow's, to the last bit."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pillow_images import packed, pillow, rgba, unpacked

from ieg.data.augment import image_ops

SLOPES = 0.03 * np.arange(-10, 11)
PIXELS = range(-10, 11)
FACTORS = [0.1 + 1.8 * level / 10 for level in range(11)] + [0, 1, 2.5]
# For each operation of Pillow, the values to try.
VALUES = {
    'Identity': [0],
    'ShearX': SLOPES,
    'ShearY': SLOPES,
    'TranslateX': PIXELS,
    'TranslateY': PIXELS,
    'Rotate': [*range(-31, 32), 45, 90, 180, 270],
    'Color': FACTORS,
    'Contrast': FACTORS,
    'Brightness': FACTORS,
    'Sharpness': FACTORS,
    'AutoContrast': [0],
    'Equalize': [0],
    'Invert': [0],
    'Solarize': range(0, 257, 32),
    'Posterize': range(1, 9),
}


def operate(images, names, values, spot=None, in_blocks=True, **style):
    """Applies operations to images `[b, H, W, 4]`."""
    if spot is None:
        spot = np.zeros((len(images), 2))
    numbers = [image_ops.NUMBER[name] for name in names]
    return unpacked(
        image_ops.operate(
            packed(images),
            tf.constant(numbers),
            tf.constant(values, tf.float32),
            tf.constant(spot, tf.float32),
            image_ops.Style(**style),
            in_blocks,
        )
    )


@pytest.fixture(scope='module')
def results(images):
    """Computes all operations with all values on all images at once."""
    hole = np.zeros((32, 32), bool)
    hole[3:9, 5:30] = True
    hole[-4:] = True
    half = np.arange(len(images))[:, None, None] % 2 == 0
    inputs = rgba(images, half & hole)
    cases = [(n, v) for n, values in VALUES.items() for v in values]
    names, values = zip(*cases, strict=True)
    many = len(images)
    found = operate(
        np.tile(inputs, (len(cases), 1, 1, 1)),
        np.repeat(names, many),
        np.repeat(values, many),
        in_blocks=False,
    )
    found = found.reshape(len(cases), *inputs.shape)
    return inputs, dict(zip(cases, found, strict=True))


@pytest.mark.parametrize('name', VALUES)
def test_the_largest_difference_to_pillow_is_zero(results, name):
    inputs, found = results
    for value in VALUES[name]:
        expected = [
            np.asarray(pillow(Image.fromarray(image), name, value))
            for image in inputs
        ]
        np.testing.assert_array_equal(
            found[name, value], expected, err_msg=f'{name} {value}'
        )


def test_all_operations_are_tested():
    others = {'Cutout', 'SolarizeAdd'}
    assert set(image_ops.OPERATIONS) == set(VALUES) | others


@pytest.mark.parametrize('shape', [(8, 8), (5, 9), (2, 7), (1, 1), (40, 28)])
def test_images_may_have_other_sizes(shape):
    rng = np.random.default_rng(1)
    cases = [(name, v[len(v) // 3]) for name, v in VALUES.items()]
    inputs = rng.integers(0, 256, (len(cases), *shape, 4), np.uint8)
    inputs = rgba(inputs[..., :3], inputs[..., 3] < 50)
    names, values = zip(*cases, strict=True)
    found = operate(inputs, names, values)
    for image, name, value, result in zip(
        inputs, names, values, found, strict=True
    ):
        expected = np.asarray(pillow(Image.fromarray(image), name, value))
        np.testing.assert_array_equal(result, expected, err_msg=name)


def test_stretching_rounds_like_pillow_for_any_range():
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.integers(0, 256, (2, 3000)), axis=0)
    rows = np.clip(np.arange(256), low[:, None], high[:, None])
    inputs = np.repeat(rows.reshape(-1, 16, 16, 1), 3, -1).astype(np.uint8)
    found = operate(
        rgba(inputs, False),
        ['AutoContrast'] * 3000,
        np.zeros(3000),
        in_blocks=False,
    )
    # As in ImageOps.autocontrast, for all 256 values of each image.
    scale = 255.0 / np.maximum(high - low, 1)
    table = rows * scale[:, None] + (-low * scale)[:, None]
    table = np.where((high > low)[:, None], table.astype(int), rows)
    np.testing.assert_array_equal(found[..., 0].reshape(3000, 256), table)


def test_all_ways_to_compute_give_the_same(images):
    rng = np.random.default_rng(2)
    names = list(image_ops.OPERATIONS) * 2
    values = [rng.choice(VALUES.get(name, [1, 3])) for name in names]
    inputs = images[rng.integers(len(images), size=len(names))]
    arguments = (
        packed(rgba(inputs, inputs[..., 0] > 200)),
        tf.constant([image_ops.NUMBER[name] for name in names]),
        tf.constant(values, tf.float32),
        tf.constant(rng.random((len(names), 2)), tf.float32),
        image_ops.ADDONS,
    )
    compiled = tf.function(image_ops.operate, jit_compile=True, autograph=False)
    expected = image_ops.operate(*arguments, False)
    assert (expected != arguments[0]).numpy().any()
    np.testing.assert_array_equal(image_ops.operate(*arguments, True), expected)
    np.testing.assert_array_equal(compiled(*arguments, False), expected)
    np.testing.assert_array_equal(compiled(*arguments, True), expected)


def test_a_cutout_is_a_square_that_the_border_cuts_off():
    image = rgba(np.full((4, 6, 9, 3), 5, np.uint8), False)
    spot = np.array([[0, 0], [0.5, 0.5], [0.99, 0.99], [0.5, 0.5]])
    found = operate(image, ['Cutout'] * 4, [2, 2, 3, 0], spot)
    expected = np.full((4, 6, 9), 5)
    expected[0, :2, :2] = 128
    expected[1, 1:5, 2:6] = 128
    expected[2, 2:, 5:] = 128
    np.testing.assert_array_equal(found[..., 0], expected)
    np.testing.assert_array_equal(found[..., 3] == 0, expected == 128)


def test_solarize_add_lightens_dark_values_only():
    values = np.arange(256).reshape(1, 16, 16, 1).repeat(3, -1)
    found = operate(
        rgba(values.astype(np.uint8), False), ['SolarizeAdd'], [110]
    )
    expected = np.where(values < 128, np.minimum(values + 110, 255), values)
    np.testing.assert_array_equal(found[..., :3], expected)


def test_grey_images_are_colour_images_with_equal_channels():
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 256, (len(VALUES), 9, 7, 1), np.uint8)
    colour = image_ops.pack(np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(image_ops.pack(grey), colour)
    names = list(VALUES)
    values = [values[-1] for values in VALUES.values()]
    found = operate(rgba(np.repeat(grey, 3, -1), False), names, values)
    np.testing.assert_array_equal(found[..., 0], found[..., 1])
    np.testing.assert_array_equal(found[..., 0], found[..., 2])
    kept = found[names.index('Color'), ..., :1]
    np.testing.assert_array_equal(kept, grey[names.index('Color')])


@pytest.mark.parametrize('dtype', ['uint8', 'float16', 'float32', 'int64'])
@pytest.mark.parametrize('channels', [1, 3])
def test_packing_keeps_values(dtype, channels):
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (3, 4, 5, channels), np.uint8)
    pixels = image_ops.pack(tf.cast(images, dtype))
    assert image_ops.opaque(pixels).numpy().all()
    np.testing.assert_array_equal(image_ops.unpack(pixels, channels), images)


# TensorFlow Addons.


def addons(images, name, values):
    return operate(
        rgba(images, False),
        [name] * len(images),
        values,
        outside=image_ops.OPAQUE,
        centre=0.0,
    )[..., :3]


def test_rotations_are_those_of_tensorflow_addons(golden):
    found = addons(golden['images'], 'Rotate', golden['rotate_degrees'])
    np.testing.assert_array_equal(found, golden['rotate_nearest'])


@pytest.mark.parametrize('axis', ['X', 'Y'])
def test_shears_are_those_of_tensorflow_addons_but_for_ties(golden, axis):
    found = addons(golden['images'], f'Shear{axis}', golden['shear'])
    expected = golden[f'shear_{axis.lower()}_nearest']
    np.testing.assert_array_equal(found[:-1], expected[:-1])
    # A slope of -0.3 meets the middle between two pixels in rows 5, 15, 25.
    unequal = (found[-1] != expected[-1]).any(-1)
    unequal = unequal if axis == 'X' else unequal.T
    assert set(np.flatnonzero(unequal.any(1))) <= {5, 15, 25}


def test_translations_are_those_of_tensorflow_addons(golden):
    x, y = -golden['translate_xy'].T
    found = addons(golden['images'], 'TranslateX', x)
    found = addons(found, 'TranslateY', y)
    whole = x == np.round(x)
    assert whole.sum() == 5
    np.testing.assert_array_equal(
        found[whole], golden['translate_nearest'][whole]
    )


def test_equalizing_is_that_of_tensorflow_addons(golden):
    found = addons(golden['images'], 'Equalize', np.zeros(6))
    np.testing.assert_array_equal(found, golden['equalize'])
