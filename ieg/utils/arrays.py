"""Arrays: whether files of them fit into the memory, and numbers into one."""

import contextlib
import math
import os
import zipfile
from typing import BinaryIO

import numpy as np

from ieg.errors import UsageError

# Float32 ends at 3e38, and differences of values must not be infinite.
LARGEST = 1e37
# Sums of the predictions of many examples in many classes: beyond so many
# numbers (256 MiB of float32), each example keeps only its largest classes.
MOST_SUMS, KEPT_CLASSES = 2**26, 8


def check_arrays_fit(file: BinaryIO, path: str) -> None:
    """Checks that the arrays of an .npz file fit into the memory.

    A few kilobytes can unpack to any size. Damaged members are left to NumPy.

    Args:
        file: the open file, which is at its start afterwards.
        path: of the file; for the message.

    Raises:
        UsageError: they do not.
        zipfile.BadZipFile: the file is damaged.
    """
    needed = sum(
        math.prod(shape) * dtype.itemsize
        for shape, dtype in headers(file).values()
    )
    if needed > (memory := memory_bytes()):
        raise UsageError(
            f'the arrays in {path} need {needed / 2**30:,.1f} GiB, but this '
            f'machine has {memory / 2**30:,.1f} GiB of memory: store fewer or '
            'smaller images.'
        )


def headers(file: BinaryIO) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Returns shape and type of the arrays in an .npz file, by name.

    Damaged members are left out.

    Args:
        file: the open file, which is at its start afterwards.

    Raises:
        zipfile.BadZipFile: the file is damaged.
    """
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    found = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            # Damage can raise anything.
            with contextlib.suppress(Exception), archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                if version in read_header:
                    shape, _, dtype = read_header[version](member)
                    found[name.removesuffix('.npy')] = shape, dtype
    file.seek(0)
    return found


def memory_bytes() -> int:
    """Returns the size of the machine's memory."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
