"""Checks of a user's own images."""

import hashlib
import os
from collections.abc import Callable, Collection, Hashable, Mapping

import numpy as np

from ieg.data.dataset import Listing
from ieg.errors import UsageError
from ieg.utils.text import counted, listed

_WANTED = {'folder': 'folder', 'csv': 'CSV file', 'npz': 'npz file'}


def own_path(name: str, data_dir: str | None) -> str:
    """Returns where a user's data set is.

    Raises:
        UsageError: that is not given.
    """
    if not data_dir:
        raise UsageError(
            f'--dataset={name} needs --data_dir, the {_WANTED[name]} of your '
            'images.'
        )
    return os.path.expanduser(data_dir)


# Parts that measure a model, where an image of the training part would lie.
_MEASURING = ('test', 'valid')
_SAMPLE_BYTES = 4096


def check_classes(
    class_names: Collection[str],
    labels: Mapping[str, np.ndarray],
    sources: Mapping[str, str],
    clean: np.ndarray | None = None,
) -> list[str]:
    """Checks that the parts have the classes that they need.

    Args:
        class_names: of all classes.
        labels: of each part, integers.
        sources: where each part is from; for messages.
        clean: true classes of the training part, if known.

    Returns:
        remarks about classes that a part lacks.

    Raises:
        UsageError: there is one class only, or the probe part lacks one.
    """
    names = list(class_names)
    if len(names) < 2:
        raise UsageError(
            f'{sources["train"]} has only the class {listed(names)}: one class '
            'is nothing to learn, so add images of another.'
        )
    trained = set(labels['train'].tolist())
    trained |= set() if clean is None else set(clean.tolist())
    remarks = []
    if idle := [name for i, name in enumerate(names) if i not in trained]:
        remarks.append(
            f'{sources["train"]} has no training image of {listed(idle)}, so '
            'the network never learns to predict it.'
        )
    for part in labels:
        lacking = sorted(trained - set(labels[part].tolist()))
        if part == 'train' or not lacking:
            continue
        wanted = [names[index] for index in lacking]
        if part == 'probe':
            raise UsageError(
                f'{sources[part]} has no probe image of {listed(wanted)}: add '
                'at least one of every class.'
            )
        remarks.append(
            f'{sources[part]} has no {part} image of {listed(wanted)}, so '
            f'nothing is measured on {"it" if len(wanted) == 1 else "them"}.'
        )
    return remarks


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
        rest = train.take(np.delete(np.arange(len(train)), twins))
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
                'learnt: remove them from one of both.'
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
