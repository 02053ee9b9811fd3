"""Finds the examples of a command line: files, folders, arrays and tables."""

import contextlib
import dataclasses
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from ieg.data.images.survey import EXTENSIONS
from ieg.errors import UsageError
from ieg.utils.arrays import check_arrays_fit
from ieg.utils.files import open_regular, walk
from ieg.utils.text import shown, unreadable

ARRAYS = ('.npy', '.npz')
TABLE = '.csv'
_NPY = b'\x93NUMPY'


@dataclasses.dataclass(frozen=True, eq=False)
class Array:
    """Images or vectors of an array.

    Attributes:
        name: the file, and the name of the array in it.
        images: uint8 [N, H, W, channels] with 1 or 3 channels, or floating
            [N, d].
    """

    name: str
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def names(self) -> Iterator[str]:
        """Yields names such as 'x.npy[0]' and 'x.npz[test][0]'."""
        for number in range(len(self.images)):
            yield f'{self.name}[{number}]'


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of vectors, read when it is known what the model takes."""

    path: str


Group = list[str] | Array | Table


def find(arguments: Sequence[str]) -> list[Group]:
    """Returns the examples of the arguments, in order.

    A folder stands for all files with the extension of an image at any depth,
    sorted, without hidden ones. A file given by its path counts as an image
    whatever its extension, except for .npy, .npz and .csv. Repeated files are
    dropped.

    Args:
        arguments: paths.

    Returns:
        Lists of consecutive files, arrays, and tables.

    Raises:
        UsageError: a path does not exist, a folder has no image, or an array
            does not have the shape and type of images or vectors.
    """
    groups: list[Group] = []
    seen: set[str] = set()
    for argument in arguments:
        path = os.path.expanduser(argument)
        if path.lower().endswith(ARRAYS) and not os.path.isdir(path):
            groups += _arrays(path)
            continue
        if path.lower().endswith(TABLE) and os.path.isfile(path):
            groups.append(Table(path))
            continue
        named = {os.path.normpath(p): p for p in _files(path)}
        paths = [p for key, p in named.items() if key not in seen]
        seen |= named.keys()
        last = groups[-1] if groups else None
        if isinstance(last, list):
            last += paths
        elif paths:
            groups.append(paths)
    return groups


def _files(path: str) -> list[str]:
    """Returns the image files of a path."""
    if not os.path.isdir(path):
        # A broken link is reported with the unreadable files.
        if not os.path.lexists(path):
            raise UsageError(
                f'there is no file or folder {shown(path)}: check the path.'
            )
        return [path]
    try:
        # A broken link counts as an image that cannot be read.
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
            f'({", ".join(EXTENSIONS)}): give another folder, or files.'
        )
    return paths


def _arrays(path: str) -> list[Array]:
    """Returns the arrays of images in a file, or those of vectors.

    Raises:
        UsageError: the file cannot be read, or has neither.
    """
    shown_path = shown(path)
    try:
        with open_regular(path) as file:
            if file.read(len(_NPY)) == _NPY:
                # Reads images on access.
                array = np.load(path, mmap_mode='r', allow_pickle=False)
                return [Array(shown_path, _checked(array, shown_path))]
            check_arrays_fit(file, shown_path)
            arrays = dict(_readable(np.load(file, allow_pickle=False)))
    except OSError as error:
        raise unreadable('file of arrays', shown_path, error) from None
    # Not a file of arrays, pickled objects, or damaged.
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f'{shown_path} cannot be read as arrays of numbers: write it with '
            'numpy.save or numpy.savez.'
        ) from error
    # Labels are often in the same file, and views next to vectors.
    for fits in (_is_bytes, _is_vectors, _has_space):
        images = {
            f'{shown_path}[{name}]': array
            for name, array in arrays.items()
            if fits(array)
        }
        if images:
            break
    if not images:
        raise UsageError(
            f'{shown_path} has no array of images, uint8 [N, H, W] or '
            '[N, H, W, channels], nor of vectors, floating [N, d].'
        )
    return [Array(name, _checked(a, name)) for name, a in images.items()]


def _is_bytes(array: np.ndarray) -> bool:
    return _has_space(array) and array.dtype == np.uint8


def _is_vectors(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.dtype.kind == 'f'


def _has_space(array: np.ndarray) -> bool:
    return array.ndim >= 3


def _readable(
    held: np.lib.npyio.NpzFile,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the arrays of a file, except those of Python objects."""
    for name in held.files:
        with contextlib.suppress(ValueError):
            yield name, held[name]


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    """Returns images as [N, H, W, channels], or vectors as [N, d].

    An array [H, W, 3] is a single image.

    Raises:
        UsageError: the array does not have the shape or type of images or
            vectors.
    """
    images = array
    if _is_vectors(array) and array.size:
        return array
    if array.ndim == 2 and not array.size:
        raise UsageError(f'{name} has the shape {array.shape}: add vectors.')
    if images.ndim == 3:
        colours = images.shape[-1] == 3
        images = images[np.newaxis] if colours else images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise UsageError(
            f'{name}: images must have the shape [N, H, W] or '
            '[N, H, W, channels] with 1 or 3 channels, and vectors floating '
            f'numbers [N, d], got {list(array.shape)} of {array.dtype}.'
        )
    if images.dtype != np.uint8:
        raise UsageError(f'{name}: images must be uint8, got {images.dtype}.')
    return images
