import io
import os

import numpy as np
import pytest
import tensorflow as tf
from pictures import broken_files, only_for_pillow, readable_files
from PIL import Image, ImageOps

from ieg.data.images.files import FileImages, Framing, inspect, lost
from ieg.data.images.survey import read_odd, survey

EVERYTHING = Framing(1, fraction=1.0)
SIZES = ((60, 80), (80, 60), (48, 48), (1, 1), (2, 300), (300, 2), (3, 1))


def picture(height=60, width=80, mode='RGB', seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    size = (width, height)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    return image.convert(mode)


def encode(image, kind='PNG', **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def in_memory(contents, framing, odd=None):
    odd = np.zeros(len(contents), bool) if odd is None else np.array(odd)
    return FileImages(contents, odd, framing, encoded=True)


def seeds_of(count):
    rng = np.random.default_rng(7)
    return rng.integers(-(2**31), 2**31, (count, 2)).astype(np.int32)


def centre(image, fraction):
    """Returns the square that evaluation sees."""
    side = max(1, round(min(image.size) * fraction))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def scaled(image, size):
    """Returns what Pillow makes of an image, uint8 [size, size, channels]."""
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.array(image).reshape(size, size, -1)


def differences(some, others):
    return np.abs(np.asarray(some).astype(int) - np.asarray(others))


# What decoders make of files.

NATIVE = {
    'jpeg': ('RGB', 'JPEG', {'subsampling': 0}),
    'jpeg 4:2:2': ('RGB', 'JPEG', {'subsampling': 1}),
    'jpeg 4:2:0': ('RGB', 'JPEG', {'subsampling': 2}),
    'jpeg progressive': ('RGB', 'JPEG', {'progressive': True}),
    'jpeg poor': ('RGB', 'JPEG', {'quality': 5}),
    'jpeg grey': ('L', 'JPEG', {}),
    'png': ('RGB', 'PNG', {}),
    'png grey': ('L', 'PNG', {}),
    'png bits': ('1', 'PNG', {}),
    'bmp': ('RGB', 'BMP', {}),
}


@pytest.mark.parametrize('channels', [3, 1])
def test_pixels_are_exactly_those_of_pillow(channels):
    mode = 'RGB' if channels == 3 else 'L'
    contents, expected = [], []
    for kind in NATIVE.values():
        for seed in range(3):
            # The crop of 0.75 of 64 is 48, so nothing is scaled.
            image = picture(64, 97, kind[0], seed)
            contents.append(encode(image, kind[1], **kind[2]))
            with Image.open(io.BytesIO(contents[-1])) as seen:
                expected.append(scaled(centre(seen.convert(mode), 0.75), 48))
    images = in_memory(contents, Framing(48, channels, fraction=0.75))
    seen = images.fetch(np.arange(len(contents)), None)
    # JPEGs too, and at the edge of the part that is decoded.
    np.testing.assert_array_equal(seen, expected)
    assert seen.dtype == tf.uint8 and images.shape == (48, 48, channels)


def odd_files():
    """Returns encoded images that need Pillow, and what they show."""
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = picture(mode='RGBA')
    clear.putalpha(picture(mode='L', seed=1))
    white = Image.new('RGBA', clear.size, 'white')
    palette = picture(mode='P')
    made = [
        (encode(clear), Image.alpha_composite(white, clear)),
        (encode(palette), palette),
        (encode(palette, 'GIF'), palette),
    ]
    for kind, mode, options in (
        ('JPEG', 'RGB', {'exif': exif}),
        ('JPEG', 'CMYK', {}),
        ('WEBP', 'RGB', {}),
        ('TIFF', 'RGB', {}),
        ('PNG', 'RGB', {'exif': exif}),
    ):
        content = encode(picture(mode=mode), kind, **options)
        with Image.open(io.BytesIO(content)) as image:
            made.append((content, ImageOps.exif_transpose(image)))
    return made


def test_odd_images_and_others_share_a_batch():
    made = odd_files()
    plain = encode(picture())
    contents, expected, odd = [], [], []
    for content, image in made:
        contents += [content, plain]
        expected += [image.convert('RGB'), picture()]
        odd += [True, False]
    images = in_memory(contents, Framing(48, fraction=0.8), odd)
    seen = images.fetch(np.arange(len(contents)), None)
    expected = [scaled(centre(image, 0.8), 48) for image in expected]
    np.testing.assert_array_equal(seen, expected)


def test_the_survey_says_which_are_odd(tmp_path):
    contents = [content for content, _ in odd_files()]
    contents += [
        encode(picture(mode=mode), kind, **options)
        for mode, kind, options in NATIVE.values()
    ]
    paths = [tmp_path / str(place) for place in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    odd = survey(paths).odd
    assert odd.tolist() == [True] * len(odd_files()) + [False] * len(NATIVE)
    names = [os.fsencode(path) for path in paths]
    framing = Framing(32)
    seen = FileImages(names, odd, framing).fetch(np.arange(len(odd)), None)
    by_pillow = FileImages(names, np.ones_like(odd), framing)
    np.testing.assert_array_equal(
        seen, by_pillow.fetch(np.arange(len(odd)), None)
    )


def test_content_of_another_kind_than_said_is_read_too():
    contents = [content for content, _ in odd_files()][1:3]
    images = in_memory(contents, Framing(8))
    assert images.fetch([0, 1], None).shape == (2, 8, 8, 3)


# Sizes.


@pytest.mark.parametrize('size', [48, 7, 130])
def test_scaling_is_that_of_pillow(size):
    contents = [encode(picture(*sides)) for sides in SIZES]
    images = in_memory(contents, Framing(size, fraction=0.9))
    seen = images.fetch(np.arange(len(SIZES)), None)
    expected = [scaled(centre(picture(*sides), 0.9), size) for sides in SIZES]
    # Pillow's weights have fewer bits.
    assert differences(seen, expected).max() <= 1


@pytest.mark.parametrize('crop', ['area', 'shift'])
def test_images_of_every_shape_can_be_cropped(crop):
    contents = [encode(picture(*sides)) for sides in (*SIZES, (3000, 2))]
    images = in_memory(contents, Framing(16, crop=crop))
    ids = np.tile(np.arange(len(contents)), 10)
    seen = images.fetch(ids, seeds_of(len(ids)))
    assert seen.shape == (len(ids), 16, 16, 3)


# Where images are asked for.


@pytest.fixture(scope='module')
def mixed():
    contents = [content for content, _ in odd_files()[:4]]
    contents += [encode(picture(seed=s), 'JPEG') for s in range(4)]
    return in_memory(contents, Framing(24), [True] * 4 + [False] * 4)


@pytest.mark.parametrize('random', [True, False])
def test_an_image_does_not_depend_on_its_batch(mixed, random):
    ids, seeds = np.arange(8), seeds_of(8)
    whole = mixed.fetch(ids, seeds if random else None).numpy()
    order = np.random.default_rng(0).permutation(8)
    other = mixed.fetch(order, seeds[order] if random else None).numpy()
    np.testing.assert_array_equal(whole[order], other)
    for place in (0, 5):
        one = slice(place, place + 1)
        alone = mixed.fetch(ids[one], seeds[one] if random else None)
        np.testing.assert_array_equal(alone[0], whole[place])


@pytest.mark.parametrize('random', [True, False])
def test_a_pipeline_sees_the_same(mixed, random):
    ids, seeds = np.arange(8).reshape(4, 2), seeds_of(8).reshape(4, 2, 2)
    images = mixed.take(np.arange(8))  # Its tensors are made in the graph.

    def batch(ids, seeds):
        result = images.fetch(ids, seeds if random else None)
        assert result.shape == (2, 24, 24, 3)
        return result

    dataset = tf.data.Dataset.from_tensor_slices((ids, seeds)).map(
        tf.autograph.experimental.do_not_convert(batch),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    for _ in range(2):
        seen = np.stack(list(dataset.as_numpy_iterator()))
        expected = mixed.fetch(
            ids.ravel(), seeds.reshape(-1, 2) if random else None
        )
        np.testing.assert_array_equal(seen.reshape(expected.shape), expected)


def test_some_images_in_another_order(mixed):
    some = mixed.take(np.array([6, 2, 2]))
    assert len(some) == 3 and some.array is None
    np.testing.assert_array_equal(
        some.fetch([0, 1, 2], None), mixed.fetch([6, 2, 2], None)
    )
    assert mixed.take(np.array([], int)).fetch([], None).shape[0] == 0


# Random crops. Red of a pixel is its column, green its row.

SIDE = 200


def windows(framing, count=1500, height=SIDE, width=SIDE):
    """Returns left, top, width and height of random crops, as fractions."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width) * (200 // width)
    pixels[..., 1] = np.arange(height)[:, np.newaxis] * (200 // height)
    images = in_memory([encode(Image.fromarray(pixels))], framing)
    seen = images.fetch(np.zeros(count, int), seeds_of(count)).numpy()
    first, last = seen[:, 0, 0, :2] / 200, seen[:, -1, -1, :2] / 200
    # From the middle of the first to that of the last of S pixels.
    sides = (last - first) * framing.size / (framing.size - 1)
    return first - sides / 2 / framing.size, sides


def test_areas_and_aspects_are_those_of_torchvision():
    # All of these fit, so the first attempt counts.
    start, sides = windows(Framing(40, area=(0.1, 0.5), aspect=(0.5, 1.0)))
    areas = sides.prod(axis=1)
    aspects = np.log(sides[:, 0] / sides[:, 1])
    assert 0.08 < areas.min() and areas.max() < 0.53
    assert np.log(0.5) - 0.1 < aspects.min() and aspects.max() < 0.1
    # The moments of uniform numbers, with 4 standard errors.
    assert abs(areas.mean() - 0.3) < 0.012
    assert abs(areas.std() - 0.4 / 12**0.5) < 0.008
    assert abs(aspects.mean() - np.log(0.5) / 2) < 0.02
    assert abs(aspects.std() - np.log(2) / 12**0.5) < 0.015
    room = start / (1 - sides)
    assert np.abs(room.mean(axis=0) - 0.5).max() < 0.04
    assert np.abs(room.std(axis=0) - 12**-0.5).max() < 0.03


def test_where_no_area_fits_it_is_in_the_middle():
    framing = Framing(40, area=(1.0, 1.0), aspect=(0.5, 0.5))
    start, sides = windows(framing, 20)
    np.testing.assert_allclose(sides, [[0.5, 1]] * 20, atol=0.03)
    np.testing.assert_allclose(start, [[0.25, 0]] * 20, atol=0.03)


def test_shifts_are_anywhere_and_of_one_size():
    start, sides = windows(Framing(50, crop='shift', fraction=0.5))
    np.testing.assert_allclose(sides, 0.5, atol=0.03)
    places = np.rint(start * SIDE).astype(int)
    assert places.min() <= 1 and 99 <= places.max() <= 101
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.1
    assert np.abs(places.mean(axis=0) - 50).max() < 3


def test_a_crop_of_the_result_s_size_is_anywhere_and_not_touched():
    image = picture(58, 58)
    framing = Framing(56, crop='shift', fraction=56 / 58)
    images = in_memory([encode(image)], framing)
    seen = images.fetch(np.zeros(150, int), seeds_of(150)).numpy()
    pixels = np.array(image)
    possible = {
        pixels[top : top + 56, left : left + 56].tobytes()
        for top in range(3)
        for left in range(3)
    }
    assert {one.tobytes() for one in seen} == possible


# Files.


def test_names_of_every_kind_and_links(tmp_path):
    folder = os.fsencode(tmp_path)
    names = [
        os.path.join(folder, name)
        for name in (b'plain.png', b'\xff\xfe.png', 'ü 図.png'.encode())
    ]
    for seed, name in enumerate(names):
        with open(name, 'wb') as file:
            file.write(encode(picture(seed=seed)))
    names.append(os.path.join(folder, b'link'))
    os.symlink(names[1], names[3])
    seen = FileImages(names, [False, False, True, True], EVERYTHING)
    expected = in_memory(
        [encode(picture(seed=s)) for s in (0, 1, 2, 1)], EVERYTHING
    )
    ids = np.arange(4)
    np.testing.assert_array_equal(
        seen.fetch(ids, None), expected.fetch(ids, None)
    )


def test_one_graph_serves_all_sets_of_images(caplog):
    for count in range(1, 9):
        contents = [encode(picture(seed=count))] * count
        in_memory(contents, EVERYTHING).fetch(np.arange(count), None)
    # TensorFlow warns on standard error of code that is traced again and again.
    assert not caplog.records


DAMAGE = {
    'gone': None,
    'empty': lambda content: b'',
    'cut off': lambda content: content[: len(content) // 2],
    'a text': lambda content: b'no image any more',
    'one byte': lambda content: content[:1],
}


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
@pytest.mark.parametrize('odd', [False, True])
def test_an_error_has_the_name_of_the_file(tmp_path, kind, odd):
    names = [os.path.join(os.fsencode(tmp_path), b'a \xff ok')]
    for name in DAMAGE:
        names.append(os.fsencode(tmp_path / f'the {name} file'))
    content = encode(picture(), kind)
    for name in names:
        with open(name, 'wb') as file:
            file.write(content)
    images = FileImages(names, np.full(len(names), odd), Framing(8))
    images.fetch(np.arange(len(names)), None)
    for place, (name, damage) in enumerate(DAMAGE.items(), 1):
        os.remove(names[place])
        if damage:
            with open(names[place], 'wb') as file:
                file.write(damage(content))
        with pytest.raises(tf.errors.OpError, match=f'the {name} file'):
            images.fetch([0, place], None)


def test_damage_in_the_middle_is_an_error_too():
    content = bytearray(encode(picture()))
    content[60:80] = bytes(20)
    images = in_memory([bytes(content)], Framing(8))
    with pytest.raises(tf.errors.InvalidArgumentError, match='PNG'):
        images.fetch([0], None)


def test_images_in_memory_are_named_by_number():
    images = in_memory([encode(picture()), b''], Framing(8))
    with pytest.raises(tf.errors.InvalidArgumentError, match='image 1 cannot'):
        images.fetch([0, 1], None)


@pytest.mark.parametrize(
    'wrong',
    [
        {'size': 0},
        {'size': 8, 'channels': 4},
        {'size': 8, 'crop': 'centre'},
        {'size': 8, 'fraction': 0.0},
        {'size': 8, 'area': (0.5, 0.1)},
    ],
)
def test_a_framing_that_is_impossible(wrong):
    with pytest.raises(ValueError):
        Framing(**wrong)


def test_every_image_says_whether_it_is_odd():
    with pytest.raises(ValueError, match='odd'):
        in_memory([b'', b''], EVERYTHING, [True])


def test_what_only_pillow_reads_is_read_by_pillow(tmp_path):
    paths = only_for_pillow(tmp_path)
    assert not survey(paths).odd.any()
    seen = inspect(paths)
    assert seen.readable.all() and seen.odd.all() and not seen.problems
    names = [os.fsencode(path) for path in paths]
    images = FileImages(names, seen.odd, Framing(16, fraction=1.0))
    found = images.fetch(np.arange(len(paths)), None).numpy()
    for path, image in zip(paths, found, strict=True):
        expected = scaled(centre(Image.fromarray(read_odd(path, 3)), 1.0), 16)
        assert differences(image, expected).max() <= 1


def test_an_inspection_agrees_with_the_survey(tmp_path):
    paths = [*broken_files(tmp_path), *readable_files(tmp_path)]
    counts = []
    seen, expected = inspect(paths, counts.append), survey(paths)
    for name in ('readable', 'odd', 'sizes', 'grey'):
        np.testing.assert_array_equal(
            getattr(seen, name), getattr(expected, name)
        )
    assert seen.problems == expected.problems
    assert sum(counts) == len(paths)
    assert inspect([]).sizes.shape == (0, 2)


def test_a_lost_file_is_named(tmp_path):
    paths = readable_files(tmp_path)
    assert lost(paths) is None
    paths[3].unlink()
    assert f'{paths[3]} can no longer be read (does not' in str(lost(paths))
