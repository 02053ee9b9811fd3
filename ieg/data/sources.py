"""The data sets: where their images come from and how they are prepared."""

import contextlib
import dataclasses
import logging
import os
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ieg.errors import UsageError
from ieg.registry import DATASETS

# Part of the data sets `digits` and `fake`: another seed is another data set.
_SEED = 20240229
_DIGITS_TEST_EXAMPLES = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """A data set in memory, in its own order.

    Attributes:
        train_images: uint8 [N, H, W, channels].
        train_labels: int32 [N], clean.
        test_images: uint8 [M, H, W, channels].
        test_labels: int32 [M], clean.
        class_names: one name per class.
        padding: pixels that the weak view pads on each side before it crops.
        flip: whether a mirrored image still belongs to its class.
        mean: per channel, in units of pixels scaled to [0, 1].
        std: per channel, in the same units.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    padding: int
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def choose(
    labels: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws a given number of examples of each class, without replacement.

    Args:
        labels: int [N], classes.
        counts: int [C], how many of each class; at most as many as there are.
        rng: source of the draws.

    Returns:
        Positions in `labels`, int64, ascending.
    """
    return np.sort(np.concatenate(_of_each_class(labels, counts, rng)))


def choose_interleaved(
    labels: np.ndarray,
    per_class: int,
    num_classes: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws as many examples of each class, without replacement.

    Args:
        labels: int [N], classes.
        per_class: how many of each class, P.
        num_classes: C.
        rng: source of the draws.

    Returns:
        Positions in `labels`, int64 [C * P], of classes 0, ..., C - 1, 0, ...
    """
    counts = np.full(num_classes, per_class)
    return np.stack(_of_each_class(labels, counts, rng), axis=1).ravel()


def _of_each_class(
    labels: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Returns positions, int64, of each class, in random order."""
    return [
        rng.choice(np.flatnonzero(labels == c), count, replace=False)
        for c, count in enumerate(counts)
    ]


def choose_stratified(
    labels: np.ndarray, total: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws exactly `total` examples with the class shares of all examples.

    Arguments and result as in `choose`.
    """
    exact = np.bincount(labels) * (total / len(labels))
    counts = np.floor(exact + 1e-9).astype(np.int64)
    # The classes that rounding down treated worst get one more each.
    worst = np.argsort(counts - exact, kind='stable')
    counts[worst[: total - counts.sum()]] += 1
    return choose(labels, counts, rng)


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
    """Returns coloured blobs, 8x8, in four classes: a data set for tests.

    256 training and 128 test examples, the same in every process; the colour
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


def _register_tfds(
    name: str,
    padding: int,
    flip: bool,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Callable[[str | None], Arrays]:
    """Registers a data set of TFDS with its preparation; returns its loader."""

    @DATASETS.register(name)
    def load(data_dir: str | None) -> Arrays:
        builder = tfds_builder(name, data_dir)
        train_images, train_labels = tfds_split(builder, 'train')
        test_images, test_labels = tfds_split(builder, 'test')
        return Arrays(
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            class_names=tuple(builder.info.features['label'].names),
            padding=padding,
            flip=flip,
            mean=mean,
            std=std,
        )

    return load


mnist = _register_tfds('mnist', 2, False, (0.1307,), (0.3081,))
fashion_mnist = _register_tfds('fashion_mnist', 2, True, (0.2860,), (0.3530,))
# Padding, mean and std of both CIFAR sets: DivideMix.
cifar10 = _register_tfds(
    'cifar10', 4, True, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
)
cifar100 = _register_tfds(
    'cifar100', 4, True, (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)
)


def tfds_builder(name: str, data_dir: str | None) -> Any:
    """Returns the TFDS builder of a data set that is on the disk.

    A missing data set is downloaded, if there is a network.

    Args:
        name: of the data set in TFDS.
        data_dir: TFDS folder; None is the default of TFDS, which the
            environment variable TFDS_DATA_DIR overrides.

    Returns:
        A `tfds.core.DatasetBuilder`, prepared.

    Raises:
        UsageError: there is no such folder, or the data set is not in it and
            cannot be downloaded.
    """
    if data_dir is not None and not os.path.isdir(data_dir):
        raise UsageError(
            f'there is no data folder {data_dir}: create it, or give another '
            'one with --data_dir.'
        )
    import tensorflow_datasets as tfds

    with _without_absl_warnings():
        # TFDS reads the variable only once, when it is imported.
        root = data_dir or os.environ.get('TFDS_DATA_DIR')
        builder = tfds.builder(name, data_dir=root)
        if not builder.is_prepared():
            _download(builder)
    return builder


def tfds_split(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads a whole split into memory, in the order of TFDS.

    Args:
        builder: of a prepared data set.
        split: 'train' or 'test'.

    Returns:
        Images, uint8 [N, H, W, channels], and labels, int32 [N].

    Raises:
        UsageError: the files are damaged.
    """
    import tensorflow as tf

    try:
        # One batch of everything: decoding runs in parallel, and the images
        # are copied once. On a GPU they would only be in the way.
        with tf.device('CPU:0'):
            whole = builder.as_dataset(split=split, batch_size=-1)
    except tf.errors.OpError as error:
        raise UsageError(
            f'the data set {builder.name!r} in {builder.data_dir} cannot be '
            f'read ({type(error).__name__}): delete that folder and download '
            'it again.'
        ) from error
    return whole['image'].numpy(), whole['label'].numpy().astype(np.int32)


def _download(builder: Any) -> None:
    """Downloads and prepares a data set.

    Raises:
        UsageError: that is impossible.
    """
    import tensorflow_datasets as tfds

    root = os.path.dirname(os.path.dirname(str(builder.data_dir)))
    # With one download folder for both, `fashion_mnist` silently becomes
    # `mnist`: the file names are the same.
    folder = os.path.join(root, 'downloads', 'ieg', builder.name)
    try:
        # TFDS itself would try ten times, for minutes, file by file.
        with urllib.request.urlopen(next(iter(builder.url_infos)), timeout=10):
            pass
        builder.download_and_prepare(
            download_dir=folder,
            download_config=tfds.download.DownloadConfig(
                try_download_gcs=False
            ),
        )
    # Whatever goes wrong in there (network, checksum, disk, rights), the user
    # needs the same sentence.
    except Exception as error:
        raise UsageError(
            f'the data set {builder.name!r} is neither in {root} nor can it '
            f'be downloaded ({type(error).__name__}): run "tfds build '
            f'{builder.name}" where there is a network and copy the folder, or '
            'give the folder that has it with --data_dir.'
        ) from error


@contextlib.contextmanager
def _without_absl_warnings() -> Iterator[None]:
    """Silences what TFDS reports about a folder that is not there yet."""
    logger = logging.getLogger('absl')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
