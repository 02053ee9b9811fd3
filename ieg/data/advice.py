"""Options that suit a data set, for those not given."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.data.dataset import Advice
from ieg.data.images.survey import survey
from ieg.errors import UsageError

# Sides of the square that a network sees, and up to which short side each.
SIDES = ((32, 48), (64, 96), (128, 160), (224, None))


def usual_side(sizes: np.ndarray) -> int:
    """Returns the side for images of sizes [N, 2] in pixels."""
    short = np.median(sizes.min(axis=1))
    return next(s for s, most in SIDES if not most or short <= most)


# Headers that are read to find out how large images are.
_SAMPLE = 300


def of_files(
    name: str, paths: Sequence[str], num_classes: int, asked: int
) -> Advice:
    """Returns what suits image files.

    Args:
        name: of the kind of data set.
        paths: of the training images; the headers of some are read.
        num_classes: how many classes they have.
        asked: side of the square that a network sees; 0 = by the images.

    Raises:
        UsageError: none of them can be read.
    """
    places = np.linspace(0, len(paths) - 1, min(_SAMPLE, len(paths)))
    seen = survey([paths[int(place)] for place in places], full=False)
    if not seen.readable.any():
        path, reason = seen.problems[0]
        raise UsageError(
            f'None of the first {len(seen.readable)} files is an image; '
            f'{os.fsdecode(path)}: {reason}.'
        )
    sizes = seen.sizes[seen.readable]
    height, width = np.median(sizes, axis=0).astype(int)
    side = asked or usual_side(sizes)
    values = {'image_size': side} | schedule(side, len(paths), 3)
    return Advice(
        values,
        f'{name}: {len(paths)} training images of {num_classes} classes, '
        f'typically {width} x {height} pixels.',
    )


def schedule(side: int, count: int, channels: int) -> dict[str, Any]:
    """Returns network and length for images of some size."""
    if side < 32:
        network = 'lenet' if channels == 1 and side >= 28 else 'cnn'
    else:
        network = 'preact_resnet18' if side <= 64 else 'resnet50'
    # At least ten steps in an epoch, and some two million images in a run.
    batch = 64 if side <= 64 else 32
    while batch > 8 and count < 10 * batch:
        batch //= 2
    return {
        'network_name': network,
        # Some may be held out for tests, validation or a probe.
        'batch_size': max(1, min(batch, count // 2)),
        'max_epoch': int(np.clip(2_000_000 // count, 20, 100)),
        'learning_rate': 0.02,
        'lr_schedule': 'cosine_one',
    }
