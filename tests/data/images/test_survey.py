import os
import warnings

import numpy as np
import pytest
from pictures import (
    HEIGHT,
    READABLE,
    WIDTH,
    broken_files,
    picture,
    readable_files,
    turned,
)
from PIL import Image, ImageOps

from ieg.data.images.survey import read_odd, survey


def look(path, **options):
    """Returns what is said of one file."""
    seen = survey([path], **options)
    return (
        bool(seen.readable[0]),
        bool(seen.odd[0]),
        tuple(seen.sizes[0].tolist()),
        seen.problems[0][1] if seen.problems else '',
    )


@pytest.mark.parametrize('full', [True, False])
def test_every_kind_of_image_is_known(tmp_path, full):
    paths = readable_files(tmp_path)
    seen = survey(paths, full)
    assert seen.problems == []
    assert seen.readable.all()
    odd = dict(zip(READABLE, seen.odd.tolist(), strict=True))
    assert odd == {name: kind[2] for name, kind in READABLE.items()}
    assert (seen.sizes == [HEIGHT, WIDTH]).all()
    grey = {'L', '1', 'LA', 'I;16', 'F'}
    assert seen.grey.tolist() == [k[0] in grey for k in READABLE.values()]
    assert seen.sizes.dtype == np.int32


def test_whatever_is_no_image_is_told_with_the_reason(tmp_path):
    made = broken_files(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        seen = survey(list(made), threads=2)
    problems = dict(seen.problems)
    assert list(problems) == list(made)
    for path, reason in made.items():
        assert reason in problems[path], path
        assert len(problems[path]) < 50
    assert not (seen.readable | seen.odd | seen.grey).any()
    assert not seen.sizes.any()


def test_headers_alone_do_not_show_what_is_cut_off(tmp_path):
    path = tmp_path / 'cut.jpg'
    picture().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert look(path, full=False)[0]
    assert not look(path, full=True)[0]


def test_forbidden_files_are_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, 'Permission denied')

    path = tmp_path / 'secret.jpg'
    picture().save(path)
    monkeypatch.setattr('builtins.open', refuse)
    assert look(path)[3] == 'may not be read'


def test_the_content_counts_and_not_the_name(tmp_path):
    path = tmp_path / 'really_png.jpg'
    picture().save(path, 'PNG')
    assert look(path) == (True, False, (HEIGHT, WIDTH), '')


def test_names_of_every_kind(tmp_path):
    picture().save(tmp_path / 'plain.jpg')
    folder = os.fsencode(tmp_path)
    names = [
        os.path.join(folder, name)
        for name in (b'\xff\xfe undecodable.jpg', 'ünï 図.jpg'.encode())
    ]
    for name in names:
        os.symlink(tmp_path / 'plain.jpg', name)
    paths = [*names, *map(os.fsdecode, names), tmp_path / 'plain.jpg']
    assert survey(paths).readable.all()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_images_are_put_upright(tmp_path, orientation):
    path = tmp_path / 'phone.png'
    picture().save(path, exif=turned(orientation))
    sideways = orientation > 4
    size = (WIDTH, HEIGHT) if sideways else (HEIGHT, WIDTH)
    assert look(path) == (True, orientation != 1, size, '')
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_odd(path, 3), upright)


@pytest.mark.parametrize('size', [1, 60_000])
def test_exif_that_makes_no_sense_is_ignored(tmp_path, size):
    path = tmp_path / 'exif.jpg'
    noise = np.random.default_rng(1).bytes(size)
    picture().save(path, exif=b'Exif\0\0II*\0\x08\0\0\0' + noise)
    assert look(path)[:3] == (True, False, (HEIGHT, WIDTH))


def test_no_files_and_many():
    seen = survey([])
    assert seen.sizes.shape == (0, 2) and seen.problems == []
    done = []
    seen = survey(['/nowhere'] * 1000, threads=3, progress=done.append)
    assert len(seen.problems) == 1000
    assert sum(done) == 1000 and len(done) > 2


def test_transparency_is_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = 200, 100, 50, 255
    pixels[0, 1] = 0, 0, 0, 127
    path = tmp_path / 'alpha.png'
    Image.fromarray(pixels).save(path)
    seen = read_odd(path, 3)
    assert seen[0, 0].tolist() == [200, 100, 50]
    assert seen[0, 1].tolist() == [128] * 3
    assert (seen[1] == 255).all()
    assert read_odd(path, 1).shape == (2, 2, 1)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), 'P')
    palette.putpalette([9, 8, 7, 1, 2, 3])
    path = tmp_path / 'palette.png'
    palette.save(path, transparency=1)
    assert read_odd(path, 3)[0].tolist() == [[9, 8, 7], [255] * 3]


def test_deep_pixels_become_bytes(tmp_path):
    values = np.array([[0, 128, 129, 257 * 77, 65535]], np.uint16)
    path = tmp_path / '16.png'
    Image.fromarray(values).save(path)
    expected = [0, 0, 1, 77, 255]
    assert read_odd(path, 1)[0, :, 0].tolist() == expected
    assert (read_odd(path, 3)[0].T == expected).all()
    path = tmp_path / 'floats.tif'
    floats = np.array([[0, 0.5, 1, np.nan, -3]], np.float32)
    Image.fromarray(floats).save(path)
    assert read_odd(path, 1)[0, :, 0].tolist() == [0, 128, 255, 0, 0]
    Image.fromarray(floats * 200).save(path)
    assert read_odd(path, 1)[0, :, 0].tolist() == [0, 100, 200, 0, 0]


def test_the_first_frame_of_an_animation_counts(tmp_path):
    path = tmp_path / 'film.gif'
    frames = [Image.new('RGB', (5, 4), colour) for colour in ('red', 'blue')]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert look(path) == (True, True, (4, 5), '')
    assert (read_odd(path.read_bytes(), 3) == [255, 0, 0]).all()


def test_damage_anywhere_never_raises(tmp_path):
    rng = np.random.default_rng(2)
    paths = []
    for kind in ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM'):
        whole = tmp_path / kind
        picture().save(whole, kind)
        content = bytearray(whole.read_bytes())
        for number in range(40):
            copy = content.copy()
            for place in rng.integers(0, len(copy), 3):
                copy[place] = rng.integers(256)
            paths.append(tmp_path / f'{kind}{number}')
            paths[-1].write_bytes(copy[: rng.integers(1, 2 * len(copy))])
    for full in (True, False):
        seen = survey(paths, full)
        assert seen.readable.sum() + len(seen.problems) == len(paths)
