"""The data sets: where their images come from and how they are prepared."""

import dataclasses
from collections.abc import Callable

import numpy as np

from ieg.data import tfds_files
from ieg.data.memory import InMemory
from ieg.data.parts import Part, Source
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
        published: int64 [N], number of each training example in the files as
            they were published, which TFDS puts into another order; None
            where there is no other order.
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
    published: np.ndarray | None = None

    def source(self) -> Source:
        """Returns the same as parts."""
        return Source(
            train=_known(self.train_images, self.train_labels),
            test=_known(self.test_images, self.test_labels),
            class_names=self.class_names,
            padding=self.padding,
            flip=self.flip,
            mean=self.mean,
            std=self.std,
            published=self.published,
        )


def _known(images: np.ndarray, labels: np.ndarray) -> Part:
    """Returns the part of images whose labels are true."""
    return Part(InMemory(images), labels, labels)


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
        builder = tfds_files.tfds_builder(name, data_dir)
        train_images, train_labels, published = tfds_files.numbered(builder)
        test_images, test_labels = tfds_files.tfds_split(builder, 'test')
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
            published=published,
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
