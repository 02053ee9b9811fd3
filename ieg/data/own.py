"""A user's own images: checks, sizes, missing parts, and options that suit."""

import dataclasses
import hashlib
import os
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, NamedTuple

import numpy as np

from ieg.data import splits, whereabouts
from ieg.data.dataset import (
    Advice,
    Examples,
    FoundArrays,
    FoundFiles,
    Listing,
    Look,
    Opened,
    Part,
    Preprocessing,
    Source,
    fits_in_memory,
    hash_of_listings,
    open_listings,
    policy_for,
)
from ieg.data.images.files import Framing, inspect, progress_bar
from ieg.data.images.survey import Survey, survey
from ieg.data.published import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    remarks_on_skipped,
    shown_problems,
)
from ieg.data.vectors import Vectors
from ieg.errors import UsageError
from ieg.utils.text import counted, listed, number

# Of the images, for a test part that the owner does not have.
_TEST_SHARE = 0.2
_SEED = 20240229
# A user's images are not all of an object in the middle.
OWN_AREA = (0.25, 1.0)


def own_path(name: str, data_dir: str | None) -> str:
    """Returns where a user's data set is.

    Raises:
        UsageError: that is not given, or nothing is there.
    """
    whereabouts.check(name, data_dir)
    return os.path.expanduser(data_dir or '')


def open_own(name: str, found: FoundFiles) -> Opened:
    """Returns a user's image files as a data set that has been opened."""
    paths, classes = found.parts['train'].paths, len(found.class_names)
    held = share_held_out(len(paths), 'test' in found.parts)
    return Opened(
        lambda image_size: own_source(found, image_size),
        lambda image_size: of_files(name, paths, classes, image_size, held),
        lambda framing, look: own_source(found, framing.size, framing, look),
    )


def inspected(part: str, paths: Sequence[str]) -> Survey:
    """Returns what is known of files, after decoding all of them; a `Look`."""
    del part
    with progress_bar(len(paths)) as bar:
        return inspect(paths, bar.update)


def own_source(
    found: FoundFiles,
    image_size: int,
    framing: Framing | None = None,
    look: Look = inspected,
) -> Source:
    """Returns a user's image files as a data set.

    Files that are not images are left out, with a remark.

    Args:
        found: the files.
        image_size: side of the square that a network sees; 0 by the images.
        framing: what is shown of the images; None for the usual one.
        look: finds out which of them are images.

    Raises:
        UsageError: no image is left.
    """
    listings, grey, sizes, skipped = _readable(found, look)
    remarks = [*found.remarks]
    remarks += remarks_on_skipped(found, skipped)
    if 'test' not in listings:
        remarks.append(_hold_out(listings))
        # Files that are there twice are not on both sides.
        train = listings['train']
        twins = copies(train.paths, listings['test'].paths)
        listings['train'] = train.without(twins)
    if framing is None:
        side = image_size or usual_side(sizes)
        framing = Framing(side, 1 if grey else 3, area=OWN_AREA)
        held = fits_in_memory(framing, listings)
        if held:
            framing = Framing(side, framing.channels, fraction=1.0)
    else:
        held = False
    return complete(
        open_listings(listings, framing, held),
        found.class_names,
        tuple(remarks),
        skipped=tuple(skipped),
        flip=not grey,
        fingerprint=hash_of_listings(listings),
        framing=framing,
    )


class _Readable(NamedTuple):
    """The images among a user's files.

    Attributes:
        listings: of each part, without the files that are not images.
        grey: whether all of these are grey.
        sizes: of the training images in pixels, int [N, 2].
        skipped: (path, reason) of each file that is not an image.
    """

    listings: dict[str, Listing]
    grey: bool
    sizes: np.ndarray
    skipped: list[tuple[str, str]]


def _readable(found: FoundFiles, look: Look) -> _Readable:
    """Returns the images among the files.

    Raises:
        UsageError: no image of some class is left for training.
    """
    listings: dict[str, Listing] = {}
    grey, sizes = True, np.zeros((0, 2), int)
    skipped: list[tuple[str, str]] = []
    for name, listing in found.parts.items():
        seen = look(name, listing.paths)
        kept = np.flatnonzero(seen.readable)
        skipped += shown_problems(seen)
        grey = grey and bool(seen.grey[kept].all())
        if name == 'train':
            sizes = seen.sizes[kept]
        listings[name] = dataclasses.replace(listing, odd=seen.odd).take(kept)
    before, after = found.parts['train'].labels, listings['train'].labels
    lost = np.setdiff1d(before, after)
    if len(lost):
        raise UsageError(
            f'No training image of the class {found.class_names[lost[0]]!r} '
            f'can be read; {skipped[0][0]}: {skipped[0][1]}.'
        )
    return _Readable(listings, grey, sizes, skipped)


def _hold_out(parts: dict[str, Examples]) -> str:
    """Moves training examples into a test part; returns a remark on it."""
    train = parts['train']
    rest, test = held_out(train.labels)
    parts['train'], parts['test'] = train.take(rest), train.take(test)
    figures = (
        'Their labels may be wrong too, so test accuracy is approximate.'
        if train.clean is None
        else 'Test figures use their true labels.'
    )
    held = counted(len(test), 'example')
    return f'No test set found: held out {held}. {figures}'


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
    # Images of one color have no deviation to divide by.
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
        remarks += (_hold_out(parts),)
    images = parts['train'].images
    if isinstance(images, Vectors):
        return Source.of_parts(
            parts,
            class_names=class_names,
            preprocessing=Preprocessing.of_vectors(images),
            remarks=remarks,
            skipped=skipped,
            fingerprint=fingerprint,
        )
    height, width, channels = images.shape
    array = images.array
    if array is None:
        mean, std = _of_imagenet(channels)
    else:
        mean, std = _statistics(array)
    return Source.of_parts(
        parts,
        class_names=class_names,
        preprocessing=Preprocessing(
            padding=0 if array is None else min(height, width) // 8,
            flip=flip,
            mean=mean,
            std=std,
            policy=policy_for(height),
            framing=framing,
        ),
        remarks=remarks,
        skipped=skipped,
        fingerprint=fingerprint,
    )


def of_arrays(found: FoundArrays) -> Source:
    """Returns a user's arrays as a data set."""
    fingerprint = hashlib.sha256()
    for name, part in sorted(found.parts.items()):
        fingerprint.update(name.encode())
        fingerprint.update(np.ascontiguousarray(part.images.array).data)
        if isinstance(part.images, Vectors) and part.images.views is not None:
            fingerprint.update(np.ascontiguousarray(part.images.views).data)
        fingerprint.update(part.labels.astype('<i4').tobytes())
    return complete(
        found.parts,
        found.class_names,
        found.remarks,
        flip=found.parts['train'].images.shape[2:] == (3,),
        fingerprint=fingerprint.hexdigest(),
    )


def open_vectors(name: str, found: FoundArrays) -> Opened:
    """Returns a user's vectors as a data set that has been opened."""
    train = found.parts['train']
    (width,) = train.images.shape
    return Opened(
        lambda _: of_arrays(found),
        lambda _: of_vectors(name, len(train), width, len(found.class_names)),
    )


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
            f'{len(labels)} examples are too few to hold a test part out; add '
            'some, or a test part.'
        )
    return rest, test


# Checks.

# Parts that measure a model, where an image of the training part would lie.
_MEASURING = ('test', 'valid')
_SAMPLE_BYTES = 4096


def _what(examples: Listing | Part) -> str:
    """Returns what examples are called in sentences."""
    images = examples.images if isinstance(examples, Part) else None
    return 'example' if isinstance(images, Vectors) else 'image'


def check_classes(
    class_names: Collection[str],
    parts: Mapping[str, Examples],
    sources: Mapping[str, str],
) -> list[str]:
    """Checks that the parts have the classes that they need.

    Args:
        class_names: of all classes.
        parts: by name.
        sources: where each part is from; for messages.

    Returns:
        remarks about classes that a part lacks.

    Raises:
        UsageError: there is one class only, or the probe part lacks one.
    """
    names, train = list(class_names), parts['train']
    what = _what(train)
    if len(names) < 2:
        raise UsageError(
            f'{sources["train"]} has only the class {listed(names)}: add '
            f'{what}s of another class.'
        )
    trained = set(train.labels.tolist()) | set(train.truth.tolist())
    remarks = []
    for key, how in (
        (str.casefold, 'differ only in upper and lower case'),
        # As '1' and '1.0', which tables with empty cells mix.
        (_number_or_name, 'are the same number'),
    ):
        remarks += [
            f'The classes {listed(alike)} in {sources["train"]} {how}, but '
            'are counted as different classes.'
            for alike in _alike(names, key)
        ]
    if idle := [name for i, name in enumerate(names) if i not in trained]:
        remarks.append(
            f'{sources["train"]} has no training {what} of {listed(idle)}, '
            'so the network never learns to predict it.'
        )
    for part, examples in parts.items():
        lacking = sorted(trained - set(examples.labels.tolist()))
        if part == 'train' or not lacking:
            continue
        wanted = [names[index] for index in lacking]
        if part == 'probe':
            raise UsageError(
                f'{sources[part]} has no probe {what} of {listed(wanted)}: '
                'add at least one of every class.'
            )
        remarks.append(
            f'{sources[part]} has no {part} {what} of {listed(wanted)}, '
            f'so nothing is measured on {"it" if len(wanted) == 1 else "them"}.'
        )
    return remarks


def _number_or_name(name: str) -> Hashable:
    value = number(name)
    return name if value is None else value


def _alike(
    names: Iterable[str], key: Callable[[str], Hashable]
) -> list[list[str]]:
    """Returns the names that have one key, where several have it."""
    groups: dict[Hashable, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def leave_out_copies(
    parts: Mapping[str, Listing], class_names: Collection[str]
) -> tuple[dict[str, Listing], list[str]]:
    """Leaves training images out that are test or validation images, too.

    Equal are files with the same bytes, so links to one file are as well. The
    same picture stored in two ways is not noticed.

    Args:
        parts: by name.
        class_names: of all classes.

    Returns:
        The parts, and remarks about what was left out.

    Raises:
        UsageError: a class would have no training image left.
    """
    train = parts['train']
    remarks = []
    if 'probe' in parts:
        _check_probe_copies(parts)
    for part in _MEASURING:
        twins = copies(train.paths, parts[part].paths) if part in parts else []
        if not twins:
            continue
        first = train.paths[twins[0]]
        remarks.append(
            f'Left out of training: {counted(len(twins), "image")} that the '
            f'{part} part has, too, byte for byte, such as {first!r}.'
        )
        rest = train.without(twins)
        lost = np.setdiff1d(train.labels, rest.labels)
        if len(lost):
            names = [list(class_names)[index] for index in lost]
            raise UsageError(
                f'all training images of {listed(names)} are in the {part} '
                f'part, too, such as {first!r}: give each part images of its '
                'own.'
            )
        train = rest
    return {**parts, 'train': train}, remarks


def _check_probe_copies(parts: Mapping[str, Listing]) -> None:
    """Raises UsageError where probe images are measured on, too."""
    probe = parts['probe'].paths
    for part in _MEASURING:
        twins = copies(probe, parts[part].paths) if part in parts else []
        if twins:
            raise UsageError(
                f'{probe[twins[0]]!r} and {len(twins) - 1} more probe images '
                f'are in the {part} part, too, from which nothing may be '
                'learned: remove them from one of both.'
            )


# Fingerprints of a file.
_Key = tuple[Hashable, ...]


def copies(paths: list[str], others: list[str]) -> list[int]:
    """Returns which of the files are among the others, byte for byte."""
    mine: dict[int, _Key] = dict.fromkeys(range(len(paths)), ())
    theirs: dict[int, _Key] = dict.fromkeys(range(len(others)), ())
    # Each step is dearer than the one before, and is for fewer files.
    for fingerprint in (_size, _sample, _digest):
        mine = _refined(mine, paths, fingerprint)
        theirs = _refined(theirs, others, fingerprint)
        common = set(mine.values()) & set(theirs.values())
        mine = {i: key for i, key in mine.items() if key in common}
        theirs = {i: key for i, key in theirs.items() if key in common}
    return list(mine)


def _refined(
    keys: dict[int, _Key],
    paths: list[str],
    fingerprint: Callable[[str], Hashable],
) -> dict[int, _Key]:
    """Returns the keys with one more fingerprint, where a file has one."""
    refined = {}
    for index, key in keys.items():
        # Whoever reads the images says which files cannot be read.
        try:
            digest = fingerprint(paths[index])
        except OSError:
            continue
        if digest is not None:
            refined[index] = (*key, digest)
    return refined


def _size(path: str) -> int | None:
    """Returns the size of a file; None if it is empty, hence no image."""
    return os.stat(path).st_size or None


def _sample(path: str) -> bytes:
    """Returns some bytes of the middle, as files of one camera begin alike."""
    with open(path, 'rb', buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size // 2 - _SAMPLE_BYTES // 2))
        return hashlib.sha256(file.read(_SAMPLE_BYTES)).digest()


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


# Options that suit a data set, for those not given.

# Sides of the square that a network sees, and up to which short side each.
SIDES = ((32, 48), (64, 96), (128, 160), (224, None))


def usual_side(sizes: np.ndarray) -> int:
    """Returns the side for images of sizes [N, 2] in pixels."""
    short = np.median(sizes.min(axis=1))
    return next(s for s, most in SIDES if not most or short <= most)


# Headers that are read to find out how large images are.
_SAMPLE = 300


def of_files(
    name: str,
    paths: Sequence[str],
    num_classes: int,
    asked: int,
    held_out: Mapping[str, Any],
) -> Advice:
    """Returns what suits image files.

    Args:
        name: of the kind of data set.
        paths: of the training images; the headers of some are read.
        num_classes: how many classes they have.
        asked: side of the square that a network sees; 0 = by the images.
        held_out: see `share_held_out`.

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
    values |= held_out
    return Advice(
        values,
        f'{name}: {len(paths):,} images of {num_classes:,} classes, '
        f'typically {width} x {height} pixels.',
    )


def schedule(side: int, count: int, channels: int) -> dict[str, Any]:
    """Returns network and length for images of some size."""
    if side < 32:
        network = 'lenet' if channels == 1 and side >= 28 else 'cnn'
    else:
        network = 'preact_resnet18' if side <= 64 else 'resnet50'
    return {
        'network_name': network,
        'batch_size': _batch_size(count, 64 if side <= 64 else 32),
        # Some two million images in a run.
        'max_epoch': int(np.clip(2_000_000 // count, 20, 100)),
        'learning_rate': 0.02,
        'lr_schedule': 'cosine_one',
    }


def share_held_out(count: int, has_test: bool) -> dict[str, Any]:
    """Returns what share of so many images is held out to judge labels.

    At least 50 images: fewer say nothing (`label_issues.floor.LEAST`).

    Args:
        count: of the training images.
        has_test: whether none of these will be held out for tests.
    """
    left = count if has_test else count - round(count * _TEST_SHARE)
    if left < 250:
        return {}
    return {'valid_ratio': 0.1 if left >= 500 else 0.2}


# A hidden layer pays off for a few numbers of many examples, such as columns of
# a table (`benchmarks/defaults.py`); on features of a backbone it does not.
_MOST_DEEP, _EACH = 256, 20


def of_vectors(name: str, count: int, width: int, num_classes: int) -> Advice:
    """Returns what suits vectors.

    Args:
        name: of the kind of data set.
        count: how many training examples there are.
        width: how many numbers each has.
        num_classes: how many classes they have.
    """
    # Standardised vectors have squared length `width`, on which the size of a
    # step and of suitable weights depends. The loss of labels that a network
    # does not believe (`gce`) pulls the less, the more classes there are.
    is_deep = width <= _MOST_DEEP and count >= _EACH * width
    values = {
        'network_name': 'mlp' if is_deep else 'linear',
        'batch_size': _batch_size(count, 128, steps=16),
        'max_epoch': 20,
        'optimizer': 'sgd',
        'learning_rate': min(0.1, _rounded(50 / width)),
        'momentum': 0.9,
        'weight_decay': _rounded(2e-4 * width / num_classes),
        'lr_schedule': 'cosine_one',
        'val_batch_size': 1000,
    }
    return Advice(
        values,
        f'{name}: {count:,} examples of {num_classes:,} classes, '
        f'{counted(width, "number")} each.',
        vectors=True,
    )


def _batch_size(count: int, usual: int, steps: int = 10) -> int:
    """Returns a batch size with at least so many steps in an epoch."""
    batch = usual
    while batch > 8 and count < steps * batch:
        batch //= 2
    # Some may be held out for tests, validation or a probe.
    return max(1, min(batch, count // 2))


def _rounded(value: float) -> float:
    """Returns a number with two significant digits, as it is shown."""
    return float(f'{value:.1e}')
