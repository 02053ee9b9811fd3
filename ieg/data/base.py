"""From a reader's result to a data set: sizes, decoding, missing parts."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ieg.data import splits
from ieg.data.advice import of_files, usual_side
from ieg.data.checks import copies
from ieg.data.dataset import (
    Found,
    InMemory,
    Listing,
    Opened,
    Part,
    Preprocessing,
    Source,
)
from ieg.data.images.files import FileImages, Framing
from ieg.data.images.survey import survey
from ieg.data.lists import IMAGENET_MEAN, IMAGENET_STD, SetRecipe
from ieg.errors import UsageError
from ieg.utils.text import shown

# Images up to this side are decoded once, if all of them fit; larger ones are
# decoded for every batch.
_HELD_SIDE, _HELD_BYTES = 64, 2**30
# Of the images, for a test part that the owner does not have.
_TEST_SHARE = 0.2
_SEED = 20240229
# A user's images are not all of an object in the middle.
OWN_AREA = (0.25, 1.0)


def open_own(name: str, found: Found) -> Opened:
    """Returns a user's image files as a data set that has been opened."""
    paths, classes = found.parts['train'].paths, len(found.class_names)
    return Opened(
        lambda image_size: own_source(found, image_size),
        lambda image_size: of_files(name, paths, classes, image_size),
    )


def own_source(found: Found, image_size: int) -> Source:
    """Returns a user's image files as a data set.

    Files that are not images are left out, with a remark.

    Args:
        found: the files.
        image_size: side of the square that a network sees; 0 by the images.

    Raises:
        UsageError: no image is left.
    """
    readable = _readable(found)
    listings, odd, remarks = readable.listings, readable.odd, readable.remarks
    if 'test' not in listings:
        remarks.append(_hold_out(listings, odd))
    side = image_size or usual_side(readable.sizes)
    framing = Framing(side, 1 if readable.grey else 3, area=OWN_AREA)
    count = sum(map(len, listings.values()))
    held = _is_held(side, framing.channels, count)
    if held:
        framing = Framing(side, framing.channels, fraction=1.0)
    parts = {
        name: Part(
            FileImages(_encoded_names(listing.paths), odd[name], framing),
            listing.labels,
            listing.clean,
            listing.names,
        )
        for name, listing in listings.items()
    }
    if held:
        parts = {name: _decoded(part) for name, part in parts.items()}
    return complete(
        parts,
        found.class_names,
        (*found.remarks, *remarks),
        skipped=tuple(readable.skipped),
        flip=not readable.grey,
        fingerprint=_fingerprint(listings),
        framing=framing,
    )


def _hold_out(listings: dict[str, Listing], odd: dict[str, np.ndarray]) -> str:
    """Moves training files into a test part; returns what to say of it.

    Files that are there twice are not on both sides.
    """
    train, was_odd = listings['train'], odd['train']
    rest, test = held_out(train.labels)
    paths = np.array(train.paths, object)
    twins = copies(paths[rest].tolist(), paths[test].tolist())
    for part, chosen in (('train', np.delete(rest, twins)), ('test', test)):
        listings[part] = train.take(chosen)
        odd[part] = was_odd[chosen]
    return _about_test(len(test), train.clean is not None)


def _about_test(count: int, known: bool) -> str:
    labels = 'true' if known else 'given'
    return (
        f'there is no test part, so {count} of the images are held out, and '
        f'test figures are by their {labels} labels'
    )


def _fingerprint(listings: Mapping[str, Listing]) -> str:
    """Returns a hash of names and labels of all files."""
    digest = hashlib.sha256()
    every = [path for listing in listings.values() for path in listing.paths]
    start = len(os.path.commonpath([os.path.dirname(path) for path in every]))
    for part, listing in sorted(listings.items()):
        digest.update(part.encode())
        for path, label in zip(listing.paths, listing.labels, strict=True):
            digest.update(os.fsencode(path[start:]) + b'\0%d\n' % label)
        if listing.clean is not None:
            digest.update(listing.clean.astype('<i4').tobytes())
    return digest.hexdigest()


def _is_held(side: int, channels: int, count: int) -> bool:
    return side <= _HELD_SIDE and count * side**2 * channels <= _HELD_BYTES


def _encoded_names(paths: list[str]) -> list[bytes]:
    return [os.fsencode(path) for path in paths]


class _Readable(NamedTuple):
    """The images among a user's files.

    Attributes:
        listings: of each part, without the files that are not images.
        odd: bool [N] of each part, those that Pillow must read.
        grey: whether all of these are grey.
        sizes: of the training images in pixels, int [N, 2].
        skipped: (path, reason) of each file that is not an image.
        remarks: whole sentences about these.
    """

    listings: dict[str, Listing]
    odd: dict[str, np.ndarray]
    grey: bool
    sizes: np.ndarray
    skipped: list[tuple[str, str]]
    remarks: list[str]


def _readable(found: Found) -> _Readable:
    """Returns the images among the files.

    Raises:
        UsageError: no training image is left.
    """
    listings: dict[str, Listing] = {}
    odd: dict[str, np.ndarray] = {}
    grey, sizes = True, np.zeros((0, 2), int)
    skipped: list[tuple[str, str]] = []
    for name, listing in found.parts.items():
        seen = survey(listing.paths)
        kept = np.flatnonzero(seen.readable)
        skipped += [
            (shown(os.fsdecode(path)), reason) for path, reason in seen.problems
        ]
        odd[name] = seen.odd[kept]
        grey = grey and bool(seen.grey[kept].all())
        if name == 'train':
            sizes = seen.sizes[kept]
        listings[name] = listing.take(kept)
    remarks = []
    if skipped:
        path, reason = skipped[0]
        remarks.append(
            f'{len(skipped)} of {sum(map(len, found.parts.values()))} files '
            f'are left out, because they are no images; the first is {path}: '
            f'{reason}'
        )
    before, after = found.parts['train'].labels, listings['train'].labels
    lost = np.setdiff1d(before, after)
    if len(lost):
        raise UsageError(
            f'No training image of the class {found.class_names[lost[0]]!r} '
            f'can be read; {skipped[0][0]}: {skipped[0][1]}.'
        )
    return _Readable(listings, odd, grey, sizes, skipped, remarks)


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
    return dataclasses.replace(part, images=InMemory(array))


def _statistics(
    array: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
    fingerprint: str = '',
    framing: Framing | None = None,
) -> Source:
    """Returns a user's data set; images in memory are shifted by padding."""
    parts = dict(parts)
    if 'test' not in parts:
        train = parts['train']
        rest, test = held_out(train.labels)
        parts['train'], parts['test'] = train.take(rest), train.take(test)
        remarks += (_about_test(len(test), train.clean is not None),)
    height, width, channels = parts['train'].images.shape
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
        preprocessing=Preprocessing(
            padding=0 if array is None else min(height, width) // 8,
            flip=flip,
            mean=mean,
            std=std,
            policy=_policy(height),
            framing=framing,
        ),
        remarks=remarks,
        skipped=skipped,
        fingerprint=fingerprint,
    )


def _policy(side: int) -> str:
    """Returns the AutoAugment policy that suits a size."""
    return 'imagenet_autoaug' if side >= 96 else 'autoaug'


def _of_imagenet(
    channels: int,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std of ImageNet; grey images have their means."""
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    mean, std = (
        float(np.mean(values)) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (mean,) * channels, (std,) * channels


def held_out(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which examples stay in training, and which are for tests.

    Raises:
        UsageError: there are too few.
    """
    total = max(1, round(len(labels) * _TEST_SHARE))
    # The same whatever the seed of the run, so that runs compare.
    test = splits.choose_stratified(labels, total, np.random.default_rng(_SEED))
    rest = np.setdiff1d(np.arange(len(labels)), test)
    if len(np.setdiff1d(labels, labels[rest])):
        raise UsageError(
            f'{len(labels)} images are too few to hold a test part out; add '
            'images, or a test part.'
        )
    return rest, test


def web_source(found: Found, recipe: SetRecipe, image_size: int) -> Source:
    """Returns a published set of JPEG files as a data set.

    The files are opened when they are needed.

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
            listing.names,
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
        preprocessing=Preprocessing(
            padding=(recipe.padding or side // 8) if held else 0,
            flip=recipe.flip,
            mean=recipe.mean,
            std=recipe.std,
            policy=_policy(side),
            framing=framing,
        ),
        further={n: p for n, p in parts.items() if n not in known},
        remarks=found.remarks,
        fingerprint=_fingerprint(found.parts),
    )


# Where the IEG code base keeps its data sets, and TFDS.
_USUAL_PLACES = (
    'data/tensorflow_datasets',
    os.path.expanduser('~/tensorflow_datasets'),
)


def web_set(
    read: Callable[..., Found],
    recipe: SetRecipe,
    data_dir: str | None,
    **options: Any,
) -> Opened:
    """Opens a published set of image files.

    Args:
        read: folder -> what is in it.
        recipe: of the set.
        data_dir: where the set is; None for the usual places.
        **options: further ones of `read`.

    Raises:
        UsageError: it is not there.
    """
    name = read.__name__
    places = [data_dir] if data_dir else [*_USUAL_PLACES]
    if not data_dir and 'TFDS_DATA_DIR' in os.environ:
        places.insert(0, os.environ['TFDS_DATA_DIR'])
    folder = next((p for p in places if os.path.isdir(p)), None)
    if folder is None:
        raise UsageError(
            f'the set {name} is not in {" or ".join(places)}; give its folder '
            'with --data_dir (it cannot be downloaded).'
        )
    found = read(folder, **options)
    return Opened(lambda image_size: web_source(found, recipe, image_size))
