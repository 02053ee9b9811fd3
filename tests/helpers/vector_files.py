"""Vectors of classes that are apart, with some wrong labels, as files."""

import numpy as np

CLASSES, WIDTH = 3, 6


def blobs(count=120, wrong=0.2, width=WIDTH, seed=0):
    """Returns vectors float32 [count, width], given and true labels."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % CLASSES
    centers = np.random.default_rng(9).normal(0, 2, (CLASSES, width))
    vectors = centers[true] + rng.normal(size=(count, width))
    given = true.copy()
    moved = rng.permutation(count)[: round(wrong * count)]
    given[moved] = (given[moved] + 1) % CLASSES
    return vectors.astype(np.float32), given, true


def make_npz(path, views=0, **more):
    """Writes blobs with a test part; returns the path."""
    x, given, true = blobs()
    x_test, _, y_test = blobs(60, 0, seed=1)
    arrays = dict(x_train=x, y_train=given, clean_train=true)
    arrays |= dict(x_test=x_test, y_test=y_test)
    if views:
        noise = np.random.default_rng(2).normal(0, 0.3, (len(x), views, WIDTH))
        arrays['views_train'] = (x[:, None] + noise).astype(np.float16)
    np.savez(path, **(arrays | more))
    return str(path)
