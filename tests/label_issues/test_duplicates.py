import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ieg.label_issues import duplicates, neighbours

SIDE = duplicates.SIDE


def photograph(rng, size=96):
    """Returns smooth random colors with texture, uint8 [size, size, 3]."""
    image = np.zeros((size, size, 3))
    for cells, weight in ((4, 90), (9, 50), (24, 25)):
        small = Image.fromarray(
            rng.integers(0, 256, (cells, cells, 3), np.uint8)
        ).resize((size, size), Image.Resampling.BICUBIC)
        image += (np.asarray(small) - 127.5) * weight / 127.5
    return np.clip(127.5 + image, 0, 255).astype(np.uint8)


def jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
    return np.asarray(Image.open(buffer))


def scaled(image, share):
    sides = [round(side * share) for side in image.shape[1::-1]]
    return np.asarray(Image.fromarray(image).resize(sides))


CHANGES = {
    'equal': lambda image: image,
    'compressed': lambda image: jpeg(image, 50),
    'scaled': lambda image: scaled(image, 0.8),
    'cut': lambda image: image[3:80, 12:89],
    'mirrored': lambda image: image[:, ::-1],
    'grey': lambda image: np.asarray(Image.fromarray(image).convert('L')),
    'all': lambda image: jpeg(scaled(image[10:95, 5:90], 0.8), 60)[:, ::-1],
}


def thumbnail(image):
    grey = Image.fromarray(np.asarray(image, np.uint8)).convert('L')
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    return [photograph(rng) for _ in range(40)]


@pytest.mark.parametrize('change', CHANGES)
def test_copies_are_told_from_other_pictures(change, pictures):
    copies = map(CHANGES[change], pictures)
    shown = np.stack([thumbnail(image) for image in (*pictures, *copies)])
    first = np.arange(40)
    pairs = np.concatenate(
        [
            np.stack([first, 40 + first], axis=1),
            np.stack([first, 40 + np.roll(first, 1)], axis=1),
            np.stack([first, np.roll(first, 2)], axis=1),
        ]
    )
    found = duplicates.by_pixels(pairs, pairs[80:], shown)
    np.testing.assert_array_equal(found, pairs[:40])


def test_pictures_without_detail_are_compared_by_their_mean():
    shown = np.stack(
        [np.full((SIDE, SIDE), grey, np.uint8) for grey in (0, 1, 90, 255)]
    )
    pairs = np.array([[0, 1], [0, 2], [2, 3]])
    likeness = duplicates.compare(pairs, shown)
    np.testing.assert_array_equal(likeness, [1, 0, 0])


def test_pictures_of_little_detail_are_not_all_copies():
    images = load_digits().images[:300]
    ids, _ = neighbours.nearest(
        images.reshape(300, -1), images.reshape(300, -1), 20, same=True
    )
    pairs = duplicates.pairs_of(ids)
    shown = np.stack([thumbnail(15 * image) for image in images])
    shown[150:160] = shown[:10]
    copies = np.stack([np.arange(10), np.arange(150, 160)], axis=1)
    pairs = np.concatenate([copies, pairs])
    none = pairs[:0]
    plain = len(duplicates.by_pixels(pairs, none, shown))
    others = duplicates.others_of(ids)
    found = duplicates.by_pixels(pairs, others, shown)
    assert plain > 40 > 20 > len(found)
    np.testing.assert_array_equal(found[:10], copies)


def test_vectors_are_copies_if_they_are_next_to_equal():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 6)) * [1, 1, 1, 1, 1, 1e6] + 1e3
    vectors[:, 5] += 1e9
    vectors[150:160] = vectors[:10]
    vectors[160:170] = vectors[10:20] + rng.standard_normal((10, 6)) * 1e-3
    first = np.arange(100)
    pairs = np.concatenate(
        [
            np.stack([first, first + 100], axis=1),
            np.stack([np.arange(20), np.arange(150, 170)], axis=1),
        ]
    )
    found = duplicates.by_distance(pairs, vectors)
    np.testing.assert_array_equal(found, pairs[-20:])


def test_pairs_are_those_of_the_nearest_neighbours_once():
    ids = np.array([[1, 2], [0, 2], [1, 0]])
    np.testing.assert_array_equal(
        duplicates.pairs_of(ids), [[0, 1], [0, 2], [1, 2]]
    )
    many = np.arange(1, 31)[np.newaxis]
    assert len(duplicates.pairs_of(many)) == duplicates.CANDIDATES
    assert duplicates.pairs_of(np.zeros((1, 0), int)).shape == (0, 2)


def test_groups_are_numbered_by_their_first_examples():
    pairs = np.array([[5, 8], [1, 7], [7, 8], [2, 4]])
    np.testing.assert_array_equal(
        duplicates.groups(pairs, 10), [0, 1, 2, 0, 2, 1, 0, 1, 1, 0]
    )
    none = duplicates.groups(np.zeros((0, 2), int), 3)
    np.testing.assert_array_equal(none, [0, 0, 0])


def test_nothing_to_compare_is_no_error():
    none = np.zeros((0, 2), int)
    shown = np.zeros((3, SIDE, SIDE), np.uint8)
    assert not len(duplicates.by_pixels(none, none, shown))
    assert not len(duplicates.by_distance(none, np.zeros((3, 2))))
