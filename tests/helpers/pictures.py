"""Files of images of every kind, and broken ones."""

import os
import struct
import zlib

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60
ORIENTATION = 0x0112


def picture(mode='RGB'):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (8, 12, 3), np.uint8))
    return small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).convert(mode)


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def png(width, height, bits, kind, rows):
    """Returns a PNG that Pillow would not write."""

    def chunk(name, data):
        check = struct.pack('>I', zlib.crc32(name + data))
        return struct.pack('>I', len(data)) + name + data + check

    head = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        (
            chunk(b'IHDR', head),
            chunk(b'IDAT', zlib.compress(rows)),
            chunk(b'IEND', b''),
        )
    )


# Names, modes and options of saving; whether Pillow must read them.
READABLE = {
    'rgb.jpg': ('RGB', {}, False),
    'grey.jpg': ('L', {}, False),
    'progressive.jpg': ('RGB', {'progressive': True}, False),
    'upright.jpg': ('RGB', {'exif': turned(1)}, False),
    'nonsense.jpg': ('RGB', {'exif': turned(99)}, False),
    'turned.jpg': ('RGB', {'exif': turned(3)}, True),
    'cmyk.jpg': ('CMYK', {}, True),
    'several.mpo': (
        'RGB',
        {'save_all': True, 'append_images': [picture()]},
        False,
    ),
    'rgb.png': ('RGB', {}, False),
    'grey.png': ('L', {}, False),
    'bits.png': ('1', {}, False),
    'palette.png': ('P', {}, True),
    'alpha.png': ('RGBA', {}, True),
    'grey_alpha.png': ('LA', {}, True),
    'one_colour.png': ('RGB', {'transparency': (1, 2, 3)}, True),
    '16.png': ('I;16', {}, True),
    'turned.png': ('RGB', {'exif': turned(3)}, True),
    'rgb.bmp': ('RGB', {}, False),
    'grey.bmp': ('L', {}, True),
    'palette.bmp': ('P', {}, True),
    'still.gif': ('P', {}, True),
    'rgb.webp': ('RGB', {}, True),
    'rgb.tif': ('RGB', {}, True),
    'floats.tif': ('F', {}, True),
    'rgb.ppm': ('RGB', {}, True),
}


def readable_files(folder):
    """Makes one file of each kind; returns their paths."""
    for name, (mode, options, _) in READABLE.items():
        image = picture('L' if mode == 'I;16' else mode)
        if mode == 'I;16':
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        image.save(folder / name, **options)
    return [folder / name for name in READABLE]


def broken_files(folder):
    """Makes files that are no images; returns the reasons by path."""
    made = {}

    def add(name, content, reason):
        (folder / name).write_bytes(content)
        made[folder / name] = reason

    unknown = 'is not an image of a known format'
    damaged = 'is cut off or damaged'
    picture().save(folder / 'good.jpg')
    picture().save(folder / 'good.png')
    jpeg = (folder / 'good.jpg').read_bytes()
    whole = (folder / 'good.png').read_bytes()
    add('empty.jpg', b'', 'is empty')
    add('text.jpg', b'not an image', unknown)
    add('magic.jpg', jpeg[:3], unknown)
    add('zeros.png', bytes(5000), unknown)
    add('cut.jpg', jpeg[: len(jpeg) // 2], damaged)
    add('cut.png', whole[: len(whole) // 2], damaged)
    add('header.png', whole[:33], unknown)
    add('crc.png', whole[:60] + b'????' + whole[64:], damaged)
    add('bomb.png', png(20_000, 20_000, 8, 0, b''), 'has more than 89 million')
    add('large.png', png(10_000, 9_000, 8, 0, b''), 'has more than 89 million')
    add('nothing.png', png(0, 0, 8, 0, b''), '')
    add('vector.svg', b'<svg xmlns="http://www.w3.org/2000/svg"/>', unknown)
    add('script.eps', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', '')
    Image.merge('LAB', picture().split()).save(folder / 'lab.tif')
    made[folder / 'lab.tif'] = 'has colors of the kind LAB'
    (folder / 'folder.jpg').mkdir()
    made[folder / 'folder.jpg'] = 'is a folder'
    made[folder / 'missing.jpg'] = 'does not exist'
    (folder / 'dangling.jpg').symlink_to(folder / 'nowhere.jpg')
    made[folder / 'dangling.jpg'] = 'is a link to nothing'
    (folder / 'loop.jpg').symlink_to(folder / 'loop.jpg')
    made[folder / 'loop.jpg'] = 'symbolic links'
    os.mkfifo(folder / 'pipe.jpg')
    made[folder / 'pipe.jpg'] = 'is not a file'
    made[folder / 'good.jpg' / 'below.jpg'] = 'Not a directory'
    made[folder / ('x' * 300)] = 'File name too long'
    return made
