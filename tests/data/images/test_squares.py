"""Images as squares: whatever they are, upright, decoded once."""

import pathlib

import numpy as np
import photographs
import pytest
from PIL import Image, UnidentifiedImageError

from ieg.data.images.files import FileImages, Framing
from ieg.data.images.squares import SquareImages, Window, squares, windows

SIDE = 32


def scaled(image, side=SIDE):
    """Returns the centre of an image, scaled by Pillow from all pixels."""
    height, width = image.shape[:2]
    short = min(height, width)
    top, left = (height - short) / 2, (width - short) / 2
    box = (left, top, left + short, top + short)
    square = Image.fromarray(image).resize(
        (side, side), Image.Resampling.BILINEAR, box
    )
    return np.asarray(square)


@pytest.mark.parametrize('size', [(48, 64), (65, 33), (32, 32), (20, 30)])
def test_the_centre_of_a_png_is_that_of_pillow(size):
    image = photographs.pixels(0, *size)
    (square,) = squares(photographs.encoded(image, 'PNG'), SIDE)
    np.testing.assert_array_equal(square, scaled(image))


@pytest.mark.parametrize(
    ('size', 'decoded'),
    [((63, 80), 1), ((64, 80), 2), ((128, 200), 4), ((1000, 257), 8)],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_suffices(
    monkeypatch, size, decoded
):
    seen = []
    resize = Image.Image.resize

    def spy(image, *args):
        seen.append(image.size[::-1])
        return resize(image, *args)

    content = photographs.encoded(photographs.pixels(1, *size), quality=95)
    full = np.asarray(Image.open(photographs.io.BytesIO(content)))
    monkeypatch.setattr(Image.Image, 'resize', spy)
    (square,) = squares(content, SIDE)
    assert seen == [tuple(-(-length // decoded) for length in size)]
    monkeypatch.undo()
    # About what all of its pixels give.
    error = np.abs(square.astype(int) - scaled(full)).mean()
    assert error < 5


@pytest.mark.parametrize('turn', range(1, 9))
def test_it_is_upright(turn):
    image = photographs.pixels(2, 60, 90)
    exif = Image.Exif()
    exif[0x0112] = turn
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(image)
    if turn > 1:
        stored = stored.transpose(back[turn])
    content = photographs.encoded(np.asarray(stored), 'PNG', exif=exif)
    (square,) = squares(content, SIDE)
    np.testing.assert_array_equal(square, scaled(image))
    # Windows are of the upright image, too.
    (_, corner) = squares(content, SIDE, [Window(10, 40, 40, 50)])
    np.testing.assert_array_equal(
        corner,
        Image.fromarray(image).resize(
            (SIDE, SIDE), Image.Resampling.BILINEAR, (40, 10, 90, 50)
        ),
    )


@pytest.mark.parametrize(
    ('kind', 'mode'),
    [('PNG', 'L'), ('PNG', 'P'), ('PNG', 'LA'), ('WEBP', 'RGB'), ('GIF', 'P')],
)
def test_odd_files_are_read_like_others(kind, mode):
    picture = Image.fromarray(photographs.pixels(3)).convert(mode)
    content = photographs.io.BytesIO()
    picture.save(content, kind)
    (square,) = squares(content.getvalue(), SIDE)
    assert square.shape == (SIDE, SIDE, 3)
    assert square.std() > 10


def test_one_decode_serves_all_views(monkeypatch):
    image = photographs.pixels(4, 160, 200)
    content = photographs.encoded(image)
    opened = []
    real = Image.open
    monkeypatch.setattr(
        Image, 'open', lambda *a, **k: opened.append(1) or real(*a, **k)
    )
    shown = squares(
        content,
        SIDE,
        [Window(0, 0, 160, 160), Window(0, 0, 160, 160, flip=True)],
    )
    assert opened == [1]
    np.testing.assert_array_equal(shown[2], shown[1][:, ::-1])
    assert np.abs(shown[1].astype(int) - shown[0]).mean() > 1


def test_windows_follow_from_their_numbers():
    framing = Framing(SIDE, area=(0.25, 1.0), squares=True)
    content = photographs.encoded(photographs.pixels(5, 120, 90))
    numbers = np.arange(60, dtype=np.int32).reshape(20, 3)
    parts = windows(content, numbers, framing)
    assert parts == windows(content, numbers, framing)
    assert parts[3:5] == windows(content, numbers[3:5], framing)
    shares = [part.height * part.width / (120 * 90) for part in parts]
    assert 0.2 < min(shares) < 0.5 < max(shares) <= 1
    assert len(set(parts)) == 20 and {p.flip for p in parts} == {True, False}
    for part in parts:
        assert part.top >= 0 and part.top + part.height <= 120
        assert part.left >= 0 and part.left + part.width <= 90


@pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG'])
def test_what_is_no_image_raises(content):
    with pytest.raises(UnidentifiedImageError):
        squares(content, SIDE)


def test_a_file_that_is_cut_off_raises():
    content = photographs.encoded(photographs.pixels(6))
    with pytest.raises(OSError, match='(?i)truncated'):
        squares(content[: len(content) // 2], SIDE)


def test_images_of_files_and_of_bytes_are_equal(tmp_path):
    paths = photographs.write(tmp_path, 4)
    framing = Framing(SIDE, fraction=1.0, squares=True)
    files = SquareImages(paths, framing)
    contents = [pathlib.Path(path).read_bytes() for path in paths]
    held = SquareImages(contents, framing, True)
    fetched = files.fetch([2, 0]).numpy()
    assert fetched.shape == (2, *files.shape) and fetched.dtype == np.uint8
    np.testing.assert_array_equal(fetched, held.fetch([2, 0]).numpy())
    np.testing.assert_array_equal(
        fetched, files.take(np.array([2, 0])).fetch([0, 1]).numpy()
    )
    assert files.fetch([]).shape == (0, *files.shape)
    # Those of a training are nearly the same.
    others = FileImages(
        [p.encode() for p in paths],
        np.zeros(4, bool),
        Framing(SIDE, fraction=1),
    )
    difference = others.fetch([2, 0], None).numpy().astype(int) - fetched
    assert np.abs(difference).mean() < 2
