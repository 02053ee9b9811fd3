"""Reads the tensors of a PyTorch file; never runs code of it.

PyTorch's files are pickles, which may name any function of Python to be called.
The unpickler here knows the few names that tables of tensors need and calls
functions of this module in their place. It reads the zip files of PyTorch since
1.6 and the older form, a sequence of pickles with the numbers after them.
"""

import collections
import dataclasses
import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ieg.errors import UsageError

# The first number of a file of the older form.
_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {
    'DoubleStorage': '<f8',
    'FloatStorage': '<f4',
    'HalfStorage': '<f2',
    'LongStorage': '<i8',
    'IntStorage': '<i4',
    'ShortStorage': '<i2',
    'CharStorage': '<i1',
    'ByteStorage': '<u1',
    'BoolStorage': '?',
}


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies; numbers follow the pickle that names them."""

    key: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, storage: np.ndarray) -> np.ndarray:
        """Returns a copy of the tensor's part of a flat array.

        Raises:
            ValueError: it is not within the array.
        """
        if 0 in self.shape:
            return np.zeros(self.shape, storage.dtype)
        pairs = zip(self.shape, self.strides, strict=True)
        last = sum((side - 1) * stride for side, stride in pairs)
        if (
            min((self.offset, *self.strides)) < 0
            or self.offset + last >= storage.size
            # It would repeat some, as often as a damaged file says.
            or math.prod(self.shape) > storage.size
        ):
            raise ValueError('a tensor exceeds its numbers')
        steps = [step * storage.itemsize for step in self.strides]
        part = storage[self.offset :]
        return np.lib.stride_tricks.as_strided(part, self.shape, steps).copy()


class _Unpickler(pickle._Unpickler):
    """Reads strings, numbers, tables and tensors, and refuses the rest.

    The unpickler in C would reserve as much memory as a damaged number says.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name of the file."""
        if (module, name) == ('collections', 'OrderedDict'):
            return collections.OrderedDict
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            # A pickle can change the attributes of what it names, so each
            # gets a function of its own.
            return lambda *arguments: _rebuild(*arguments)
        if module == 'torch' and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f'it names {module}.{name}')

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        """Returns (key, dtype) of a storage."""
        kind, dtype, key, *_ = pid
        if kind != 'storage' or dtype not in _TYPES.values():
            raise pickle.UnpicklingError('it has more than tensors')
        return str(key), dtype


def _rebuild(
    storage: tuple[str, str],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *unused: Any,
) -> _Tensor:
    del unused
    return _Tensor(*storage, int(offset), tuple(shape), tuple(strides))


def read(content: bytes, path: str) -> dict[str, np.ndarray]:
    """Returns the tensors of a file by their names.

    Args:
        content: of the file, which must be a table of tensors (`state_dict`).
        path: of the file, for messages.

    Raises:
        UsageError: the file is damaged, or has more than a table of tensors.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return _read_zip(content)
        return _read_old(content)
    # Damage can raise anything.
    except Exception as error:
        reason = ' '.join(str(error).split())[:200].rstrip('.')
        raise UsageError(
            f'{path} cannot be read as PyTorch weights '
            f'({reason or type(error).__name__}): it must be an undamaged '
            'file of tensors only.'
        ) from error


def _read_zip(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        pickled = next(n for n in names if n.endswith('/data.pkl'))
        folder = pickled.removesuffix('data.pkl')
        order = f'{folder}byteorder'
        if order in names and archive.read(order).strip() != b'little':
            raise ValueError('its numbers are big-endian')
        table = _table(_Unpickler(io.BytesIO(archive.read(pickled))))
        return {
            name: tensor.view(
                np.frombuffer(
                    archive.read(f'{folder}data/{tensor.key}'), tensor.dtype
                )
            )
            for name, tensor in table.items()
        }


def _read_old(content: bytes) -> dict[str, np.ndarray]:
    file = io.BytesIO(content)
    magic, _, system = (_Unpickler(file).load() for _ in range(3))
    if magic != _MAGIC:
        raise ValueError('it does not begin as such a file')
    if not system['little_endian']:
        raise ValueError('its numbers are big-endian')
    table = _table(_Unpickler(file))
    dtypes = {t.key: np.dtype(t.dtype) for t in table.values()}
    storages = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), 'little')
        block = file.read(count * dtypes[key].itemsize)
        storages[key] = np.frombuffer(block, dtypes[key])
    return {name: t.view(storages[t.key]) for name, t in table.items()}


def _table(unpickler: _Unpickler) -> dict[str, _Tensor]:
    """Returns the tensors that a pickle names.

    Raises:
        ValueError: it has something else.
    """
    table = unpickler.load()
    if not isinstance(table, Mapping) or not all(
        isinstance(n, str) and isinstance(t, _Tensor) for n, t in table.items()
    ):
        raise ValueError('it has more than a table of tensors')
    return dict(table)
