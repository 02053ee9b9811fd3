"""Image files that tests write, all of them different."""

import io

import numpy as np
from PIL import Image


def pixels(number, height=48, width=64):
    """Returns a smooth picture with some grain, uint8 [height, width, 3]."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    smooth = coarse.resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (height, width, 3))
    return np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)


def encoded(image, kind='JPEG', **options):
    """Returns the bytes of a file with an image."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def write(folder, count, first=0, **sizes):
    """Writes JPEGs; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    paths = [folder / f'{number:03}.jpg' for number in numbers]
    for number, path in enumerate(paths, first):
        path.write_bytes(encoded(pixels(number, **sizes), quality=90))
    return [str(path) for path in paths]
