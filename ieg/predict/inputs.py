"""What a user names as images: files, folders of them, and arrays."""

import contextlib
import dataclasses
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from ieg.data.images.survey import EXTENSIONS
from ieg.errors import UsageError
from ieg.utils.files import walk
from ieg.utils.text import shown, unreadable

ARRAYS = ('.npy', '.npz')
_NPY = b'\x93NUMPY'


@dataclasses.dataclass(frozen=True, eq=False)
class Array:
    """Images of an array.

    Attributes:
        name: of the file, and of the array in it.
        images: uint8 [N, H, W, channels], of 1 or 3 channels.
    """

    name: str
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def names(self) -> Iterator[str]:
        """Yields what each image is called: 'x.npy[0]', 'x.npz[test][0]'."""
        for number in range(len(self.images)):
            yield f'{self.name}[{number}]'


def find(arguments: Sequence[str]) -> list[list[str] | Array]:
    """Returns what arguments stand for, in their order.

    Of a folder, at any depth, all files with the extension of an image,
    sorted; those that are hidden are passed over. A file that is named itself
    is one of an image whatever its extension, unless that is of arrays. A
    file that is found again is left out.

    Args:
        arguments: paths.

    Returns:
        Paths of files that are next to each other, or an array.

    Raises:
        UsageError: a path leads nowhere, nothing is in a folder, or an array
            is none of images.
    """
    found: list[list[str] | Array] = []
    seen: set[str] = set()
    for argument in arguments:
        path = os.path.expanduser(argument)
        if path.lower().endswith(ARRAYS) and not os.path.isdir(path):
            found += _arrays(path)
            continue
        by_place = {os.path.normpath(p): p for p in _files(path)}
        paths = [p for place, p in by_place.items() if place not in seen]
        seen.update(by_place)
        if found and isinstance(found[-1], list):
            found[-1] += paths
        elif paths:
            found.append(paths)
    return found


def _files(path: str) -> list[str]:
    """Returns the paths of the images that a path stands for."""
    if not os.path.isdir(path):
        # A link to nothing is there, and can be told like other bad files.
        if not os.path.lexists(path):
            raise UsageError(
                f'there is no file or folder {shown(path)}: check the path.'
            )
        return [path]
    try:
        # A link to nothing is an image that cannot be read.
        paths = sorted(
            inner
            for folder in walk(path, seen=set())
            for inner in (*folder.files, *folder.others)
            if inner.lower().endswith(EXTENSIONS)
        )
    except OSError as error:
        where = shown(str(error.filename or path))
        raise unreadable('folder', where, error) from None
    if not paths:
        raise UsageError(
            f'the folder {shown(path)} has no images '
            f'({", ".join(EXTENSIONS)}): name one that has, or the files.'
        )
    return paths


def _arrays(path: str) -> list[Array]:
    """Returns the arrays of images in a file.

    Raises:
        UsageError: there is none.
    """
    shown_path = shown(path)
    try:
        with open(path, 'rb') as file:
            if file.read(len(_NPY)) == _NPY:
                # What is asked for is read, when it is asked for.
                array = np.load(path, mmap_mode='r', allow_pickle=False)
                return [Array(shown_path, _checked(array, shown_path))]
            with zipfile.ZipFile(file):
                file.seek(0)
                arrays = dict(_readable(np.load(file, allow_pickle=False)))
    except OSError as error:
        raise unreadable('file of arrays', shown_path, error) from None
    # No array file, pickles, or damaged.
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f'{shown_path} cannot be read as arrays of numbers: write it by '
            'numpy.save or numpy.savez.'
        ) from error
    # Labels are often in the same file.
    images = {
        f'{shown_path}[{name}]': array
        for name, array in arrays.items()
        if array.ndim >= 3
    }
    if not images:
        raise UsageError(
            f'{shown_path} has no array of images, which are uint8 [N, H, W] '
            'or [N, H, W, channels].'
        )
    return [Array(name, _checked(a, name)) for name, a in images.items()]


def _readable(
    held: np.lib.npyio.NpzFile,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the arrays of a file but those of Python's objects."""
    for name in held.files:
        with contextlib.suppress(ValueError):
            yield name, held[name]


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    """Returns images as [N, H, W, channels].

    A single image [H, W, 3] is taken for what it is.

    Raises:
        UsageError: they are none.
    """
    images = array
    if images.ndim == 3:
        colours = images.shape[-1] == 3
        images = images[np.newaxis] if colours else images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise UsageError(
            f'{name} has the shape {list(array.shape)}: images are [N, H, W] '
            'or [N, H, W, channels] with 1 or 3 channels.'
        )
    if images.dtype != np.uint8:
        raise UsageError(
            f'{name} is {images.dtype}: images are uint8, from 0 to 255.'
        )
    return images
