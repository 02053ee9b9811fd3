"""Any TFDS set for image classification, by its name."""

from typing import Any

import numpy as np

from ieg.data import tfds_files
from ieg.data.files import FileImages, Framing
from ieg.data.image_sets import OWN_AREA, complete
from ieg.data.memory import InMemory
from ieg.data.parts import Part, Source
from ieg.errors import UsageError

# Encoded images that are held in memory.
_ENCODED_BYTES = 2**33


def _image_and_label(builder: Any) -> tuple[str, str]:
    """Returns the names of the image and of the label among the features.

    Raises:
        UsageError: it has not one of each.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = {
        'image': tfds.features.Image,
        'label': tfds.features.ClassLabel,
    }
    found = []
    for what, kind in kinds.items():
        names = (
            [n for n in features if isinstance(features[n], kind)]
            if hasattr(features, '__iter__')
            else []
        )
        if what in names:
            names = [what]
        if len(names) != 1:
            raise UsageError(
                f'the TFDS set {builder.name!r} has {len(names)} features that '
                f'are {"an image" if what == "image" else "a class label"} and '
                'one is needed: choose a set for image classification.'
            )
        found += names
    return found[0], found[1]


def facts(
    name: str, data_dir: str | None
) -> tuple[int, int, tuple[int, int, int] | None]:
    """Returns what TFDS knows of a set.

    Returns:
        Training images, classes, and the shape (H, W, channels) of all
        images, or None where it varies.

    Raises:
        UsageError: it is not there, or not for image classification.
    """
    builder = tfds_files.tfds_builder(name, data_dir)
    image, label = _image_and_label(builder)
    features = builder.info.features
    shape = features[image].shape
    return (
        builder.info.splits[_train_name(builder)].num_examples,
        features[label].num_classes,
        None if None in shape else shape,
    )


def _train_name(builder: Any) -> str:
    """Returns the name of the training split.

    Raises:
        UsageError: there is none.
    """
    splits = builder.info.splits
    if 'train' not in splits:
        raise UsageError(
            f'the TFDS set {builder.name!r} has no split named train, only '
            f'{", ".join(splits)}: choose another set.'
        )
    return 'train'


def source(name: str, data_dir: str | None, image_size: int) -> Source:
    """Returns any TFDS set for image classification as a data set.

    Images of one size are held in memory as they are; others encoded.

    Args:
        name: of the set in TFDS.
        data_dir: as in `tfds_files.tfds_builder`.
        image_size: side of the square that a network sees; 0 takes images as
            they are, or 224 pixels where their sizes vary.

    Raises:
        UsageError: it is not there, not for image classification, or too
            large for the memory.
    """
    builder = tfds_files.tfds_builder(name, data_dir)
    image, label = _image_and_label(builder)
    names = {'train': _train_name(builder)}
    splits = builder.info.splits
    held_out = [
        name
        for name in ('test', 'validation')
        if name in splits and splits[name].num_examples
    ]
    # A validation split beside a test split stays what it is.
    names |= dict(zip(('test', 'valid'), held_out, strict=False))
    feature = builder.info.features[image]
    shape = feature.shape
    if shape[-1] not in (1, 3, None) or feature.np_dtype != np.uint8:
        raise UsageError(
            f'the images of the TFDS set {name!r} are {feature.np_dtype} with '
            f'{shape[-1]} channels: uint8 with 1 or 3 are needed.'
        )
    count = sum(splits[split].num_examples for split in names.values())
    whole = None not in shape and image_size in (0, shape[0])
    whole = whole and count * int(np.prod(shape)) <= _ENCODED_BYTES
    parts = {
        part: _tfds_part(builder, split, image, label, image_size, whole)
        for part, split in names.items()
    }
    class_names = tuple(builder.info.features[label].names)
    for part, found in parts.items():
        if found.labels.min() < 0:
            raise UsageError(
                f'the split {names[part]} of the TFDS set {name!r} has '
                'examples without a class: choose another set.'
            )
    return complete(parts, class_names, (), flip=shape[-1] != 1)


def _tfds_part(
    builder: Any,
    split: str,
    image: str,
    label: str,
    image_size: int,
    whole: bool,
) -> Part:
    """Returns a split of TFDS; `whole` where its images fit in one array."""
    if whole:
        images, labels = tfds_files.tfds_split(builder, split, image, label)
        return Part(InMemory(images), labels)
    size = builder.info.splits[split].num_bytes
    if size > _ENCODED_BYTES:
        raise UsageError(
            f'the split {split} of {builder.name!r} has {size / 2**30:.0f} GiB '
            'of images of different sizes, which are held in memory; write '
            'them to class folders and use --dataset=folder.'
        )
    encoded, labels = tfds_files.encoded_split(builder, split, image, label)
    channels = builder.info.features[image].shape[-1] or 3
    side = image_size or 224
    framing = Framing(side, channels, area=OWN_AREA)
    odd = np.zeros(len(labels), bool)
    return Part(FileImages(encoded, odd, framing, encoded=True), labels)
