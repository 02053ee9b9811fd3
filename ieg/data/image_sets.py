"""From what a reader found to a data set: sizes, decoding, missing parts."""

import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ieg.data import own, sources
from ieg.data.files import FileImages, Framing
from ieg.data.memory import InMemory
from ieg.data.own_checks import shown
from ieg.data.parts import Found, Listing, Part, Source
from ieg.data.survey import survey
from ieg.data.web_recipes import SetRecipe
from ieg.errors import UsageError

# Sides of the square that a network sees, and up to which short side each.
SIDES = ((32, 48), (64, 96), (128, 160), (224, None))
# Images up to this side are decoded once, if all of them fit; larger ones are
# decoded for every batch.
_HELD_SIDE, _HELD_BYTES = 64, 2**30
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Of the images, for a test part that the owner does not have.
_TEST_SHARE = 0.2
_SEED = 20240229
# A user's images are not all of an object in the middle.
OWN_AREA = (0.25, 1.0)


def own_source(found: Found, image_size: int) -> Source:
    """Returns a user's image files as a data set.

    Files that are no images are left out and said so.

    Args:
        found: the files.
        image_size: side of the square that a network sees; 0 by the images.

    Raises:
        UsageError: no image is left.
    """
    listings, odd, grey, skipped, remarks = _readable(found)
    sizes = listings.pop('sizes')
    side = image_size or usual_side(sizes)
    framing = Framing(side, 1 if grey else 3, area=OWN_AREA)
    count = sum(map(len, listings.values()))
    held = _is_held(side, framing.channels, count)
    if held:
        framing = Framing(side, framing.channels, fraction=1.0)
    parts = {
        name: Part(
            FileImages(_encoded_names(listing.paths), odd[name], framing),
            listing.labels,
            listing.clean,
        )
        for name, listing in listings.items()
    }
    if held:
        parts = {name: _decoded(part) for name, part in parts.items()}
    return complete(
        parts,
        found.class_names,
        (*found.remarks, *remarks),
        skipped=tuple(skipped),
        flip=not grey,
    )


def usual_side(sizes: np.ndarray) -> int:
    """Returns the side for images of sizes [N, 2] in pixels."""
    short = np.median(sizes.min(axis=1))
    return next(s for s, most in SIDES if not most or short <= most)


def _is_held(side: int, channels: int, count: int) -> bool:
    return side <= _HELD_SIDE and count * side**2 * channels <= _HELD_BYTES


def _encoded_names(paths: list[str]) -> list[bytes]:
    return [os.fsencode(path) for path in paths]


def _readable(found: Found) -> tuple:
    """Returns the images among the files, and what is known of them.

    Raises:
        UsageError: no training image is left.
    """
    listings, odd, grey, sizes, skipped = {}, {}, [], [], []
    for name, listing in found.parts.items():
        seen = survey(listing.paths)
        kept = np.flatnonzero(seen.readable)
        skipped += [(shown(path), reason) for path, reason in seen.problems]
        odd[name] = seen.odd[kept]
        grey.append(seen.grey[kept].all())
        if name == 'train':
            sizes = seen.sizes[kept]
        listings[name] = Listing(
            [listing.paths[place] for place in kept],
            listing.labels[kept],
            None if listing.clean is None else listing.clean[kept],
        )
    remarks = []
    if skipped:
        path, reason = skipped[0]
        remarks.append(
            f'{len(skipped)} of {sum(map(len, found.parts.values()))} files '
            f'are left out, because they are no images; the first is {path}: '
            f'{reason}'
        )
    counts = np.bincount(
        listings['train'].labels, minlength=len(found.class_names)
    )
    if not counts.all():
        missing = found.class_names[int(np.argmin(counts))]
        raise UsageError(
            f'No training image of the class {missing!r} can be read; '
            + (f'{skipped[0][0]}: {skipped[0][1]}.' if skipped else 'add some.')
        )
    return listings | {'sizes': sizes}, odd, all(grey), skipped, remarks


def _decoded(part: Part) -> Part:
    """Returns a part with all of its images in memory."""
    count = len(part)
    array = np.empty((count, *part.images.shape), np.uint8)
    dataset = (
        tf.data.Dataset.range(count)
        .batch(256)
        .map(
            lambda ids: part.images.fetch(ids, None),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(1)
    )
    done = 0
    for images in dataset:
        array[done : done + len(images)] = images.numpy()
        done += len(images)
    return Part(InMemory(array), part.labels, part.clean)


def _statistics(array: np.ndarray) -> tuple[tuple, tuple]:
    """Returns mean and std per channel of [N, H, W, C], of pixels in [0, 1]."""
    channels = array.shape[-1]
    counts = np.stack(
        [
            np.bincount(array[..., channel].ravel(), minlength=256)
            for channel in range(channels)
        ]
    )
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(axis=1)
    variance = counts @ levels**2 / counts.sum(axis=1) - mean**2
    # Images of one colour have no deviation to divide by.
    std = np.sqrt(np.maximum(variance, 1e-4))
    return tuple(mean.tolist()), tuple(std.tolist())


def complete(
    parts: Mapping[str, Part],
    class_names: tuple[str, ...],
    remarks: tuple[str, ...],
    flip: bool,
    skipped: tuple[tuple[str, str], ...] = (),
) -> Source:
    """Returns a user's data set; images in memory are shifted by padding."""
    parts = dict(parts)
    if 'test' not in parts:
        parts['train'], parts['test'] = _test_held_out(parts['train'])
        remarks += (
            f'there is no test part, so {len(parts["test"])} of the images are '
            'held out, and test figures are by their given labels',
        )
    height, _, channels = parts['train'].images.shape
    array = parts['train'].images.array
    if array is None:
        mean, std = _of_imagenet(channels)
    else:
        mean, std = _statistics(array)
    return Source(
        train=parts['train'],
        test=parts['test'],
        valid=parts.get('valid'),
        probe=parts.get('probe'),
        class_names=class_names,
        padding=0 if array is None else height // 8,
        flip=flip,
        mean=mean,
        std=std,
        policy='imagenet_autoaug' if height >= 96 else 'autoaug',
        remarks=remarks,
        skipped=skipped,
    )


def _of_imagenet(channels: int) -> tuple[tuple, tuple]:
    """Returns mean and std of ImageNet; grey images have their means."""
    if channels == 3:
        return _IMAGENET
    mean, std = (float(np.mean(values)) for values in _IMAGENET)
    return (mean,) * channels, (std,) * channels


def _test_held_out(train: Part) -> tuple[Part, Part]:
    """Returns the training examples without the test examples, and those.

    Raises:
        UsageError: there are too few.
    """
    total = max(1, round(len(train) * _TEST_SHARE))
    # The same whatever the seed of the run, so that runs compare.
    test = sources.choose_stratified(
        train.labels, total, np.random.default_rng(_SEED)
    )
    rest = np.setdiff1d(np.arange(len(train)), test)
    kept = np.bincount(train.labels[rest], minlength=train.labels.max() + 1)
    if not kept.all():
        raise UsageError(
            f'{len(train)} images are too few to hold a test part out; add '
            'images, or a test part.'
        )
    return train.take(rest), train.take(test)


def of_arrays(found: own.Arrays) -> Source:
    """Returns a user's arrays as a data set."""
    parts = {
        name: Part(InMemory(part.images), part.labels, part.clean)
        for name, part in found.parts.items()
    }
    colour = parts['train'].images.shape[-1] == 3
    return complete(parts, found.class_names, tuple(found.remarks), flip=colour)


def web_source(found: Found, recipe: SetRecipe, image_size: int) -> Source:
    """Returns a published set of JPEG files as a data set.

    Nobody opens the files before they are needed.

    Args:
        found: the files.
        recipe: of the set.
        image_size: side of the square that a network sees; 0 as usual.
    """
    side = image_size or recipe.size
    small = image_size and image_size != recipe.size
    framing = Framing(
        side,
        3,
        crop=recipe.crop,
        # The usual one of a size that is not the set's.
        fraction=224 / 256 if small and side > 64 else recipe.fraction,
    )
    parts = {
        name: Part(
            FileImages(
                _encoded_names(listing.paths),
                np.zeros(len(listing), bool),
                framing,
            ),
            listing.labels,
            listing.clean,
        )
        for name, listing in found.parts.items()
    }
    held = _is_held(side, 3, sum(map(len, parts.values())))
    if held:
        parts = {name: _decoded(part) for name, part in parts.items()}
    known = ('train', 'test', 'valid', 'probe')
    return Source(
        train=parts['train'],
        test=parts['test'],
        valid=parts.get('valid'),
        probe=parts.get('probe'),
        class_names=found.class_names,
        padding=recipe.padding if held else 0,
        flip=recipe.flip,
        mean=recipe.mean,
        std=recipe.std,
        further={n: p for n, p in parts.items() if n not in known},
        policy='imagenet_autoaug' if side >= 96 else 'autoaug',
        remarks=found.remarks,
    )
