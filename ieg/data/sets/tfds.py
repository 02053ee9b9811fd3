"""Data sets of TensorFlow Datasets, known ones and any other."""

import contextlib
import hashlib
import logging
import os
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ieg.data.dataset import Advice, Arrays, InMemory, Opened, Part, Source
from ieg.data.images.files import FileImages, Framing
from ieg.data.noise import human as human_labels
from ieg.data.own import OWN_AREA, complete, schedule
from ieg.data.spec import TFDS_PREFIX
from ieg.errors import UsageError
from ieg.registry import DATASETS


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
        UsageError: the folder does not exist, or lacks the data set, which
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
        try:
            builder = tfds.builder(name, data_dir=root)
        except tfds.core.DatasetNotFoundError as error:
            raise UsageError(
                f'TFDS knows no data set {name!r} and {root or "its folder"} '
                'has none; see "tfds list" for the names.'
            ) from error
        # What TFDS raises for a name that is none, or lacks a package.
        except (ValueError, AssertionError, ImportError) as error:
            reason = (str(error).splitlines() or ['no such name'])[0]
            raise UsageError(
                f'TFDS cannot open the data set {name!r}: {reason}'
            ) from error
        if not builder.is_prepared():
            _download(builder)
    return builder


def tfds_split(
    builder: Any,
    split: str,
    image: str = 'image',
    label: str = 'label',
    encoded: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a whole split into memory, in the order of TFDS.

    Args:
        builder: of a prepared data set.
        split: its name.
        image: the feature that is the image.
        label: the one that is the class.
        encoded: leave the images encoded.

    Returns:
        Images, uint8 [N, H, W, channels], or bytes [N] if they are encoded;
        and labels, int32 [N].

    Raises:
        UsageError: the files are damaged.
    """
    import tensorflow_datasets as tfds

    skip = {image: tfds.decode.SkipDecoding()} if encoded else None
    whole = _whole(builder, split, decoders=skip)
    return whole[image].numpy(), whole[label].numpy().astype(np.int32)


def numbered(builder: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads the training split with the published number of each example.

    Returns:
        Images and labels as in `tfds_split`, and int64 [N].

    Raises:
        UsageError: the files are damaged.
    """
    whole = _whole(builder, 'train')
    labels = whole['label'].numpy().astype(np.int32)
    if 'id' in whole:
        numbers = numbers_of(whole['id'].numpy())
    else:
        numbers = shuffled_by_tfds('train', len(labels))
    return whole['image'].numpy(), labels, numbers


def numbers_of(ids: Iterable[bytes]) -> np.ndarray:
    """Returns the numbers int64 in TFDS ids such as b'train_00123'."""
    return np.array([int(text.rpartition(b'_')[2]) for text in ids], np.int64)


def shuffled_by_tfds(split: str, count: int) -> np.ndarray:
    """Returns the numbers of examples that TFDS keyed 0, 1, ..., in its order.

    It sorts them by the MD5 of split and key, and promises not to change that
    for a version of a data set. So the published order of MNIST, whose
    examples have no id, is known.

    Args:
        split: its name in TFDS.
        count: of its examples, N.

    Returns:
        int64 [N].
    """
    digests = [
        hashlib.md5(f'{split}{key}'.encode(), usedforsecurity=False).digest()
        for key in range(count)
    ]
    return np.array(sorted(range(count), key=digests.__getitem__), np.int64)


def _whole(builder: Any, split: str, **options: Any) -> dict[str, Any]:
    """Returns all features of a split as tensors.

    Raises:
        UsageError: the files are damaged.
    """
    import tensorflow as tf

    try:
        # One batch of everything: decoding runs in parallel, and the images
        # are copied once. On a GPU they would only be in the way.
        with tf.device('CPU:0'):
            return builder.as_dataset(split=split, batch_size=-1, **options)
    except tf.errors.OpError as error:
        raise UsageError(
            f'the data set {builder.name!r} in {builder.data_dir} cannot be '
            f'read ({type(error).__name__}): delete that folder and download '
            'it again.'
        ) from error


def read_human_labels(
    name: str, file: str, data_dir: str | None
) -> tuple[dict[str, np.ndarray], str]:
    """Reads human labels from wherever they are.

    Args:
        name: in `human.HUMAN_SETS`.
        file: path of the file; '' looks in the TFDS folder for a file of a
            usual name, then for the set that TFDS has of them.
        data_dir: as in `tfds_builder`.

    Returns:
        Arrays by name, each [N], in the order of the published files; and
        where they are from.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    root = data_dir or os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
    root = os.path.expanduser(root)
    path = os.path.expanduser(file) if file else human_labels.find(name, root)
    if path is not None:
        return human_labels.read(path), path
    folder = human_labels.newest(name, root)
    if folder is None:
        raise human_labels.missing(name, root)
    return _human_labels_of_tfds(name, folder), folder


def _human_labels_of_tfds(name: str, folder: str) -> dict[str, np.ndarray]:
    """Returns the arrays in a prepared TFDS set of human labels.

    Raises:
        UsageError: the files are damaged.
    """
    import tensorflow_datasets as tfds

    variants = human_labels.HUMAN_SETS[name].variants.values()
    wanted = {key for variant in variants for key in variant.keys}
    builder = tfds.builder_from_directory(folder)
    wanted &= set(builder.info.features)
    # The images would take longer, and are those of the base.
    decoders = tfds.decode.PartialDecoding({'id', 'label', *wanted})
    whole = _whole(builder, 'train', decoders=decoders)
    order = np.argsort(numbers_of(whole['id'].numpy()))
    arrays = {key: whole[key].numpy()[order] for key in wanted}
    return arrays | {'clean_label': whole['label'].numpy()[order]}


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


# Encoded images that are held in memory.
_ENCODED_BYTES = 2**33


def _image_and_label(builder: Any) -> tuple[str, str]:
    """Returns the names of the image and of the label among the features.

    Raises:
        UsageError: it has not one of each.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        features = {}

    def only(what: str, kind: type, words: str) -> str:
        names = [n for n in features if isinstance(features[n], kind)]
        names = [what] if what in names else names
        if len(names) != 1:
            raise UsageError(
                f'the TFDS set {builder.name!r} has {len(names)} features that '
                f'are {words} and one is needed: choose a set for image '
                'classification.'
            )
        return names[0]

    return (
        only('image', tfds.features.Image, 'an image'),
        only('label', tfds.features.ClassLabel, 'a class label'),
    )


def _train_count(builder: Any) -> int:
    """Returns how many training examples there are.

    Raises:
        UsageError: there is no training split.
    """
    splits = builder.info.splits
    if 'train' not in splits:
        raise UsageError(
            f'the TFDS set {builder.name!r} has no split named train, only '
            f'{", ".join(splits)}: choose another set.'
        )
    return splits['train'].num_examples


def _source(builder: Any, image: str, label: str, image_size: int) -> Source:
    """Returns a TFDS set for image classification as a data set.

    Images of one size are held in memory as they are; others encoded.

    Args:
        builder: of the set, prepared.
        image: name of its feature with the images.
        label: name of its feature with the classes.
        image_size: side of the square that a network sees; 0 takes images as
            they are, or 224 pixels where their sizes vary.

    Raises:
        UsageError: its images or labels cannot be used, or it is too large
            for the memory.
    """
    names = {'train': 'train'}
    splits = builder.info.splits
    held_out = [
        name
        for name in ('test', 'validation')
        if name in splits and splits[name].num_examples
    ]
    # Where there is a test split, a validation split stays what it is.
    names |= dict(zip(('test', 'valid'), held_out, strict=False))
    feature = builder.info.features[image]
    shape = feature.shape
    if shape[-1] not in (1, 3, None) or feature.np_dtype != np.uint8:
        raise UsageError(
            f'the images of the TFDS set {builder.name!r} are '
            f'{feature.np_dtype} with {shape[-1]} channels: uint8 with 1 or 3 '
            'are needed.'
        )
    count = sum(splits[split].num_examples for split in names.values())
    whole = None not in shape and image_size in (0, shape[0])
    whole = whole and count * int(np.prod(shape)) <= _ENCODED_BYTES
    framing = None
    if not whole:
        framing = Framing(image_size or 224, shape[-1] or 3, area=OWN_AREA)
    parts = {
        part: _tfds_part(builder, split, image, label, framing)
        for part, split in names.items()
    }
    class_names = tuple(builder.info.features[label].names)
    for name, part in parts.items():
        if part.labels.min() < 0:
            raise UsageError(
                f'the split {names[name]} of the TFDS set {builder.name!r} '
                'has examples without a class: choose another set.'
            )
    return complete(
        parts, class_names, (), flip=shape[-1] != 1, framing=framing
    )


def _tfds_part(
    builder: Any,
    split: str,
    image: str,
    label: str,
    framing: Framing | None,
) -> Part:
    """Returns a split of TFDS; without framing its images are one array."""
    if framing is None:
        images, labels = tfds_split(builder, split, image, label)
        return Part(InMemory(images), labels)
    size = builder.info.splits[split].num_bytes
    if size > _ENCODED_BYTES:
        raise UsageError(
            f'the split {split} of {builder.name!r} has {size / 2**30:.0f} GiB '
            'of images of different sizes, which are held in memory; write '
            'them to class folders and use --dataset=folder.'
        )
    encoded, labels = tfds_split(builder, split, image, label, encoded=True)
    odd = np.zeros(len(labels), bool)
    return Part(FileImages(encoded, odd, framing, encoded=True), labels)


def open_any(name: str, data_dir: str | None) -> Opened:
    """Opens any TFDS set for image classification.

    Args:
        name: of the set in TFDS.
        data_dir: as in `tfds_builder`.

    Raises:
        UsageError: it is not there, or not for image classification.
    """
    builder = tfds_builder(name, data_dir)
    image, label = _image_and_label(builder)
    features = builder.info.features
    # (H, W, channels) of all images; where it varies, something is None.
    shape = features[image].shape
    count = _train_count(builder)
    classes = features[label].num_classes

    def advise(image_size: int) -> Advice:
        if None in shape:
            side = image_size or 224
            values, size, channels = {'image_size': side}, '', 3
        else:
            side, values, channels = image_size or min(shape[:2]), {}, shape[2]
            size = f', {shape[1]} x {shape[0]} pixels'
        return Advice(
            values | schedule(side, count, channels),
            f'{TFDS_PREFIX}{name}: {count} training images of {classes} '
            f'classes{size}.',
        )

    return Opened(lambda side: _source(builder, image, label, side), advise)


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
        train_images, train_labels, published = numbered(builder)
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
