"""Computes features in a process of its own, slowly, a shard for each batch.

As a command: `python tests/helpers/extracting.py FOLDER CACHE_DIR`.
"""

import pathlib
import sys
import time

from ieg.utils.cli import import_tensorflow

import_tensorflow()  # Without its notes.

import tensorflow as tf  # noqa: E402

from ieg.data.images.files import Framing  # noqa: E402
from ieg.data.images.squares import SquareImages  # noqa: E402
from ieg.features import cache, extract  # noqa: E402

SIDE, WIDTH = 16, 48


def network(pixels):
    """Returns means of 4 x 4 parts of images: features of them."""
    parts = tf.reshape(tf.cast(pixels, tf.float32), [-1, 4, 4, 4, 4, 3])
    return tf.reshape(tf.reduce_mean(parts, [2, 4]), [-1, WIDTH])


def features(folder, cache_dir, shown=network):
    """Returns features of all files of a folder."""
    paths = sorted(map(str, pathlib.Path(folder).iterdir()))
    framing = Framing(SIDE, fraction=1.0, squares=True)
    images = extract.Files(SquareImages(paths, framing))
    key = cache.Key('weights', SIDE, images.framing)
    held = cache.Cache(cache.root(str(cache_dir)), key, (1, WIDTH))
    return extract.features(images, shown, WIDTH, held, 'tiny').stored


def slowly(pixels):
    time.sleep(0.05)
    return network(pixels)


if __name__ == '__main__':
    extract.BATCH, extract._SECONDS = 4, 0.0
    features(*sys.argv[1:], slowly)
