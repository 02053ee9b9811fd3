"""Arrays of any kind as images."""

import numpy as np
import pytest

from ieg.data.images.arrays import Pixels

GREY = np.arange(24).reshape(2, 4, 3)


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (GREY.astype(np.uint8), GREY),
        (GREY, GREY),
        (GREY + 0.4, GREY),
        # One black and white image is no image of two dark greys.
        (GREY % 2 == 1, GREY % 2 * 255),
        (GREY % 2, GREY % 2 * 255),
        (GREY // 2, np.rint(GREY // 2 * (255 / 16))),
        (GREY / 23, np.rint(GREY * (255 / 23))),
        ((GREY % 2).astype(np.uint8), GREY % 2),
        (GREY.astype(object), GREY),
        (GREY.tolist(), GREY),
    ],
)
def test_the_largest_value_says_the_scale(values, expected):
    found = Pixels.learnt(values).images(values)
    assert found.dtype == np.uint8 and found.shape == (2, 4, 3, 1)
    np.testing.assert_array_equal(found[..., 0], expected)


def test_later_images_are_on_the_scale_of_the_first_ones():
    learnt = Pixels.learnt(GREY / 23)
    np.testing.assert_array_equal(learnt.images(GREY * 0 + 0.2), 51)
    with pytest.raises(ValueError, match='from 0 to 1, as in fit'):
        learnt.images(GREY)
    learnt = Pixels.learnt(GREY)
    np.testing.assert_array_equal(learnt.images(GREY * 0 + 1.0), 1)


def test_shapes():
    flat = np.zeros((5, 60), np.uint8)
    colours = np.zeros((5, 4, 5, 3), np.uint8)
    learnt = Pixels.learnt(flat, (4, 5, 3))
    assert learnt == Pixels.learnt(colours) == Pixels((4, 5, 3), 255)
    assert learnt.images(flat).shape == learnt.images(colours).shape
    for other in (
        flat[:, 1:],
        colours[..., :1],
        colours[..., 0],
        colours[:, 1:],
    ):
        with pytest.raises(ValueError, match='is expecting'):
            learnt.images(other)
    with pytest.raises(ValueError, match='1 dimensions'):
        learnt.images(flat[0])
