import numpy as np
from PIL import Image

from ieg.data.images import thumbnails


def gradient(height, width):
    """Returns an image that grows brighter to the right, redder downwards."""
    right = np.linspace(0, 255, width)[np.newaxis, :, np.newaxis]
    image = np.repeat(np.repeat(right, height, 0), 3, 2)
    return image.astype(np.uint8)


def test_thumbnails_show_whole_files_upright(tmp_path):
    image = Image.fromarray(gradient(600, 1000))
    paths = [str(tmp_path / name) for name in ('a.png', 'b.jpg', 'c.jpg')]
    image.save(paths[0])
    image.save(paths[1], quality=95)
    exif = Image.Exif()
    # To be turned by 180 degrees.
    exif[0x0112] = 3
    image.save(paths[2], quality=95, exif=exif)
    shown, known = thumbnails.of_files(paths, 16)
    assert shown.shape == (3, 16, 16) and shown.dtype == np.uint8
    assert known.all()
    wanted = np.tile(np.linspace(8, 247, 16), (16, 1))
    for picture in (shown[0], shown[1], shown[2][:, ::-1]):
        np.testing.assert_allclose(picture, wanted, atol=6)


def test_files_that_cannot_be_read_are_unknown(tmp_path):
    Image.fromarray(gradient(20, 20)).save(tmp_path / 'fine.png')
    (tmp_path / 'cut.png').write_bytes(b'\x89PNG')
    paths = [str(tmp_path / n) for n in ('cut.png', 'fine.png', 'gone.png')]
    _, known = thumbnails.of_files(paths, 8)
    assert known.tolist() == [False, True, False]


def test_thumbnails_of_arrays_are_grey():
    images = np.stack([gradient(24, 24), 255 - gradient(24, 24)])
    for channels in (1, 3, 4):
        seen = np.concatenate([images, images[..., :1]], axis=3)[..., :channels]
        shown = thumbnails.of_images(lambda ids, s=seen: s[ids], 2, 12)
        np.testing.assert_allclose(shown[0], 255 - shown[1].astype(int), atol=2)
        assert (np.diff(shown[0][0].astype(int)) > 0).all()
