"""Small data sets that need no download: digits and blobs."""

import numpy as np

from ieg.data.dataset import Arrays
from ieg.data.splits import choose_stratified
from ieg.registry import DATASETS

# Part of the data sets `digits` and `fake`: another seed is another data set.
_SEED = 20240229
_DIGITS_TEST_EXAMPLES = 500


@DATASETS.register('digits')
def digits(data_dir: str | None) -> Arrays:
    """Returns the 8x8 digits that scikit-learn brings along.

    There is no official split: 500 test examples are chosen once and for
    all, with equal shares of the classes.

    Args:
        data_dir: not used; the data are part of scikit-learn.
    """
    from sklearn.datasets import load_digits

    del data_dir
    images, labels = load_digits(return_X_y=True)
    images = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.int32)
    test = choose_stratified(
        labels, _DIGITS_TEST_EXAMPLES, np.random.default_rng(_SEED)
    )
    is_train = np.ones(len(labels), bool)
    is_train[test] = False
    return Arrays(
        train_images=images[is_train],
        train_labels=labels[is_train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple('0123456789'),
        padding=1,
        flip=False,
        mean=(0.3053,),
        std=(0.3759,),
    )


@DATASETS.register('fake')
def fake(data_dir: str | None) -> Arrays:
    """Returns colored blobs, 8x8, in four classes: a data set for tests.

    256 training and 128 test examples, the same in every process; the color
    alone tells the class.

    Args:
        data_dir: not used; the images are computed.
    """
    del data_dir
    rng = np.random.default_rng(_SEED)
    colours = np.array(
        [[220, 40, 40], [40, 200, 40], [50, 60, 230], [220, 200, 40]], float
    )
    labels = (np.arange(256 + 128) % len(colours)).astype(np.int32)
    pixels = np.arange(8)
    centres = rng.uniform(2.5, 4.5, (2, len(labels), 1))
    rows, columns = np.exp(-((pixels - centres) ** 2) / 6.0)
    blobs = rows[:, :, None] * columns[:, None, :]
    images = 40.0 + blobs[..., None] * (colours[labels][:, None, None] - 40.0)
    images += rng.normal(0.0, 12.0, images.shape)
    images = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    return Arrays(
        train_images=images[:256],
        train_labels=labels[:256],
        test_images=images[256:],
        test_labels=labels[256:],
        class_names=('red', 'green', 'blue', 'yellow'),
        padding=1,
        flip=False,
        mean=(0.26, 0.25, 0.21),
        std=(0.17, 0.15, 0.14),
    )
