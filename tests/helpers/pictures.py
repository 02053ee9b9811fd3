"""Files of images of every kind, and broken ones."""

import io
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


def png(width, height, bits, kind, rows, repeat=1, window=None):
    """Returns a PNG that Pillow would not write.

    `repeat` is how often the header is there, `window` the size that the
    compressed data claim to need, 2^(8 + window) bytes.
    """

    def chunk(name, data):
        check = struct.pack('>I', zlib.crc32(name + data))
        return struct.pack('>I', len(data)) + name + data + check

    head = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)
    packed = bytearray(zlib.compress(rows))
    if window is not None:
        packed[0] = window << 4 | 8
        packed[1] = -(packed[0] << 8) % 31
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        (
            repeat * chunk(b'IHDR', head),
            chunk(b'IDAT', bytes(packed)),
            chunk(b'IEND', b''),
        )
    )


def only_for_pillow(folder):
    """Makes images that Pillow reads and TensorFlow does not; returns paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH + 2, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'BMP')
    bmp = buffer.getvalue()
    rows = b''.join(b'\0' + row.tobytes() for row in np.tile(pixels, (9, 1, 1)))
    core = struct.pack('<IHHHH', 12, WIDTH + 2, HEIGHT, 1, 24)
    made = {
        'cut.bmp': bmp[:-1],
        'longer.bmp': bmp + b'\0\0',
        'os2.bmp': b'BM' + struct.pack('<IHHI', 0, 0, 0, 26) + core + bmp[54:],
        'headers.png': png(WIDTH + 2, HEIGHT, 8, 2, rows, repeat=2),
        'window.png': png(WIDTH + 2, 9 * HEIGHT, 8, 2, rows, window=0),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in made]


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
    add('vector.svg', b'<svg />', 'SVG files are not read')
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


DAMAGEABLE = ('BMP', 'PNG', 'JPEG', 'GIF', 'TIFF', 'WEBP')


def damaged_files(folder, count, seed=0):
    """Makes files with flipped bits, other bytes or without their end."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    whole = {}
    for kind in DAMAGEABLE:
        buffer = io.BytesIO()
        picture().resize((WIDTH + 2, HEIGHT)).save(buffer, kind)
        whole[kind] = buffer.getvalue()
    paths = []
    for number in range(count):
        content = bytearray(whole[DAMAGEABLE[number % len(DAMAGEABLE)]])
        # Where the header is, every second time.
        end = len(content) if rng.random() < 0.5 else 150
        for place in rng.integers(0, end, rng.integers(1, 4)):
            content[place] ^= 1 << rng.integers(8)
        if rng.random() < 0.3:
            content = content[: -int(rng.integers(1, len(content)))]
        elif rng.random() < 0.2:
            content = content[: -int(rng.integers(1, 9))]
        paths.append(folder / f'{number}.jpg')
        paths[-1].write_bytes(content)
    return paths
