"""What the readers of a user's own images share: classes, copies, wording."""

import decimal
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping

import numpy as np

from ieg.data.parts import Listing
from ieg.errors import UsageError

# Parts that measure a model, where an image of the training part would lie.
_MEASURING = ('test', 'valid')
_SAMPLE_BYTES = 4096


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: '1 file', '1,200 files'."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')


def listed(names: Collection[str], most: int = 5) -> str:
    """Returns quoted names, the first few if there are many."""
    shown = ', '.join(repr(name) for name in list(names)[:most])
    left = len(names) - most
    return shown + (f' and {left:,} more' if left > 0 else '')


def unreadable(kind: str, path: str, error: OSError) -> UsageError:
    """Returns the error for a file or folder that cannot be read.

    Args:
        kind: what it should be, such as 'folder'.
        path: of it.
        error: that the attempt to read it raised.
    """
    if not path:
        return UsageError(f'no {kind} is named: give the path of one.')
    if isinstance(error, FileNotFoundError):
        return UsageError(f'there is no {kind} {path}: check the path.')
    if isinstance(error, NotADirectoryError):
        return UsageError(f'{path} is a file and no {kind}: check the path.')
    if isinstance(error, IsADirectoryError):
        return UsageError(f'{path} is a folder and no {kind}: check the path.')
    if isinstance(error, PermissionError):
        return UsageError(
            f'the {kind} {path} may not be read: change its permissions.'
        )
    return UsageError(
        f'the {kind} {path} cannot be read ({error.strerror}): check the disk '
        'that it is on.'
    )


def normal(name: str) -> str:
    """Returns the form in which names are compared.

    One letter with an accent can be written in several ways, and programs
    that copy files change one into another.
    """
    return unicodedata.normalize('NFC', name)


def shown(name: str) -> str:
    """Returns a name that can be printed; bytes not of UTF-8 as '\\xe9'."""
    name_bytes = name.encode('utf-8', 'surrogateescape')
    return name_bytes.decode('utf-8', 'backslashreplace')


def number(name: str) -> decimal.Decimal | None:
    """Returns the number that a name is, if it is one: '-1', '10', '2.50'."""
    if re.fullmatch(r'[+-]?[0-9]+(\.[0-9]+)?', name):
        return decimal.Decimal(name)
    return None


def in_order(names: Iterable[str]) -> list[str]:
    """Returns names sorted in natural order, which depends on nothing else.

    Names that are numbers, all of them, are sorted as such. Others are
    compared piece by piece, where a piece is a run of the digits 0 to 9 (as a
    number) or of anything else (regardless of case, else by code points); so
    'class2' precedes 'class10'. What is then still equal ('a1', 'A01') is
    sorted by code points.
    """
    names = list(names)
    numbers = {name: number(name) for name in names}
    if None not in numbers.values():
        return sorted(names, key=lambda name: (numbers[name], name))
    return sorted(names, key=_natural_key)


def _natural_key(name: str) -> tuple:
    pieces = re.split('([0-9]+)', normal(name))
    # Every second piece is digits. int() refuses very many of them.
    pieces[1::2] = [
        (len(digits.lstrip('0')), digits.lstrip('0')) for digits in pieces[1::2]
    ]
    pieces[::2] = [text.casefold() for text in pieces[::2]]
    return tuple(pieces), normal(name), name


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


def copies(paths: list[str], others: list[str]) -> list[int]:
    """Returns which of the files are among the others, byte for byte."""
    mine: dict[int, tuple] = dict.fromkeys(range(len(paths)), ())
    theirs: dict[int, tuple] = dict.fromkeys(range(len(others)), ())
    # Each step is dearer than the one before, and is for fewer files.
    for fingerprint in (_size, _sample, _digest):
        mine = _refined(mine, paths, fingerprint)
        theirs = _refined(theirs, others, fingerprint)
        common = set(mine.values()) & set(theirs.values())
        mine = {i: key for i, key in mine.items() if key in common}
        theirs = {i: key for i, key in theirs.items() if key in common}
    return list(mine)


def _refined(
    keys: dict[int, tuple],
    paths: list[str],
    fingerprint: Callable[[str], Hashable],
) -> dict[int, tuple]:
    """Returns the keys with one more fingerprint, where a file has one."""
    refined = {}
    for index, key in keys.items():
        # Whoever reads the images says which files cannot be read.
        try:
            found = fingerprint(paths[index])
        except OSError:
            continue
        if found is not None:
            refined[index] = (*key, found)
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
