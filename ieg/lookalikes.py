"""Compares the examples of a run with each other, at its end.

Features are the vectors themselves (of images, those of the backbone). Runs on
the pixels of a user's own images have what the last layer of their last network
gets, which takes one pass over the images.
"""

from collections.abc import Callable

import numpy as np

from ieg import held_out
from ieg.data.dataset import Data, Split
from ieg.data.images import thumbnails
from ieg.data.spec import OWN
from ieg.data.vectors import Pictures
from ieg.label_issues import neighbours, similar
from ieg.label_issues.duplicates import SIDE
from ieg.training.trainer import Trainer


def examine(
    trainer: Trainer, data: Data, say: Callable[[str], None]
) -> tuple[similar.Similar | None, str]:
    """Compares all examples whose labels are judged.

    Args:
        trainer: at the end of a run.
        data: of the run.
        say: gets a sentence before what takes minutes.

    Returns:
        similar: what was found. None where the examples are not a user's own,
            the network has no features, or there are too many examples.
        reason: a sentence about the last case; '' otherwise.
    """
    names = ['train', *held_out.judged(data)]
    if not data.is_vectors and (
        data.spec.base not in OWN or trainer.method.features_network() is None
    ):
        return None, ''
    parts = [
        similar.Part(name, split.indices, split.labels, vectors)
        for name in names
        for split in (data[name],)
        for vectors in (_features(trainer, name, split),)
    ]
    count, width = sum(map(len, parts)), parts[0].vectors.shape[1]
    work = neighbours.operations(count, count, width)
    if work > neighbours.MOST_OPERATIONS:
        return None, (
            f'Near duplicates and outliers were not looked for: to compare '
            f'{count:,} examples with each other would take hours.'
        )
    held_out.announce(count, work, say)
    pictures = _pictures([data[name] for name in names])
    return similar.examine(parts, pictures), ''


def _features(trainer: Trainer, name: str, split: Split) -> np.ndarray:
    """Returns the features of a split, float32 [n, d]."""
    if split.vectors is not None:
        return split.vectors.array
    return held_out.features(trainer, name)


def _pictures(splits: list[Split]) -> similar.Pictures | None:
    """Returns thumbnails of all examples, None where they are no images."""
    parts = [_thumbnails(split) for split in splits]
    made = [part for part in parts if part is not None]
    if len(made) < len(parts):
        return None
    shown, known = map(np.concatenate, zip(*made, strict=True))
    return similar.Pictures(shown, known)


def _thumbnails(split: Split) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns thumbnails [n, SIDE, SIDE], and whether each is known [n]."""
    source: Split | Pictures = split
    held = split.images
    if split.vectors is not None:
        if split.vectors.pictures is None:
            return None
        source = split.vectors.pictures
        held = source.array
    if split.names is not None:
        # The whole of each image, not the square that networks see.
        return thumbnails.of_files(list(split.names), SIDE)
    shown = thumbnails.of_images(
        lambda ids: source.fetch(ids, None) if held is None else held[ids],
        len(split),
        SIDE,
    )
    return shown, np.ones(len(split), bool)
