"""Data sets written in a form that a run can read.

Everything is written beside its place, read again by the reader that a run
would use, and only then given its name.
"""

import contextlib
import csv
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ieg.data import own
from ieg.data.own_checks import shown
from ieg.data.parts import Found
from ieg.errors import UsageError


class Line(NamedTuple):
    """A row of a new table; the fields are its columns."""

    path: str
    label: str
    clean_label: str
    split: str


@contextlib.contextmanager
def fresh(output: str, read: Callable[[str], Any]) -> Iterator[str]:
    """Gives a path to write to, which is renamed when it can be read.

    Args:
        output: the file or folder to make.
        read: the reader of a run.

    Raises:
        UsageError: the output is there already or cannot be written, or a run
            could not read it.
    """
    is_empty = os.path.isdir(output) and not os.listdir(output)
    if os.path.lexists(output) and not is_empty:
        raise UsageError(
            f'{output} is there already: remove it, or choose another path '
            'with --output.'
        )
    beside = f'{output}.{os.getpid()}.tmp'
    try:
        os.makedirs(os.path.dirname(output) or '.', exist_ok=True)
        yield beside
        _check_readable(read, beside, output)
        os.replace(beside, output)
    except OSError as error:
        raise UsageError(
            f'{output} cannot be written ({error.strerror}): choose another '
            'path with --output.'
        ) from error
    finally:
        if os.path.isdir(beside):
            shutil.rmtree(beside)
        elif os.path.lexists(beside):
            os.remove(beside)


def _check_readable(
    read: Callable[[str], Any], beside: str, output: str
) -> None:
    try:
        read(beside)
    except UsageError as error:
        reason = str(error).replace(beside, output)
        raise UsageError(
            f'with these corrections nobody could train, so nothing is '
            f'written: {reason}'
        ) from None


def save_arrays(
    path: str, arrays: Mapping[str, np.ndarray], packed: bool
) -> None:
    """Writes an npz file of any name."""
    # NumPy would add an extension to a name.
    with open(path, 'wb') as file:
        (np.savez_compressed if packed else np.savez)(file, **arrays)


def new_npz(
    output: str,
    class_names: Sequence[str],
    parts: Mapping[str, own.ArrayPart],
) -> None:
    """Writes arrays of a data set that has another form.

    Args:
        output: the file to make.
        class_names: of all classes.
        parts: by name.

    Raises:
        UsageError: as `fresh`.
    """
    arrays = {'class_names': np.array(class_names)}
    for name, part in parts.items():
        arrays |= {f'x_{name}': part.images, f'y_{name}': part.labels}
    if parts['train'].clean is not None:
        arrays['clean_train'] = parts['train'].clean
    with fresh(output, own.read_npz) as beside:
        save_arrays(beside, arrays, packed=True)


def new_csv(output: str, lines: Iterable[Line]) -> None:
    """Writes a table of image files that lie elsewhere.

    Args:
        output: the file to make.
        lines: with absolute paths.

    Raises:
        UsageError: as `fresh`; or a path is no text.
    """
    with fresh(output, own.read_csv) as beside:
        _save_lines(beside, lines)


def _save_lines(path: str, lines: Iterable[Line]) -> None:
    try:
        with open(path, 'w', encoding='utf-8', newline='') as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerows([Line._fields, *lines])
    except UnicodeEncodeError as error:
        raise UsageError(
            f'The path {shown(error.object)!r} is not UTF-8, so no table can '
            'have it: rename the file or folder.'
        ) from None


def new_images(
    output: str, lines: Iterable[tuple[bytes, Line]], table: str = 'labels.csv'
) -> None:
    """Writes encoded images and a table of them into a new folder.

    Args:
        output: the folder to make.
        lines: each image, and its row; `path` is what it is to be called,
            without an extension.
        table: name of the table in the folder.

    Raises:
        UsageError: as `fresh`.
    """

    def read(folder: str) -> Found:
        return own.read_csv(os.path.join(folder, table))

    with fresh(output, read) as beside:
        named = []
        for content, line in lines:
            extension = '.png' if content[:4] == b'\x89PNG' else '.jpg'
            line = line._replace(path=line.path + extension)
            path = os.path.join(beside, line.path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'wb') as file:
                file.write(content)
            named.append(line)
        _save_lines(os.path.join(beside, table), named)
