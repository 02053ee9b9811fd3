"""Files of PyTorch: tensors are read, everything else is refused."""

import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

from ieg.errors import UsageError
from ieg.features import torch_file

VALUES = {
    'weight': np.arange(12, dtype=np.float32).reshape(3, 4),
    'count': np.array([7], np.int64),
    'scalar': np.array(2.5, np.float64),
}
STORAGES = {'<f4': 'FloatStorage', '<i8': 'LongStorage', '<f8': 'DoubleStorage'}


class Storage:
    def __init__(self, key, array):
        self.key, self.array = key, array


class Tensor:
    """Pickles itself as PyTorch does."""

    def __init__(self, storage, shape, strides, offset=0):
        self.facts = storage, offset, tuple(shape), tuple(strides)

    def __reduce__(self):
        rebuild = sys.modules['torch._utils']._rebuild_tensor_v2
        return rebuild, (*self.facts, False, collections.OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        name = STORAGES[value.array.dtype.str]
        kind = getattr(sys.modules['torch'], name)
        return 'storage', kind, value.key, 'cpu', value.array.size


@pytest.fixture
def torch(monkeypatch):
    """Names of PyTorch that a pickle refers to."""
    torch, utils = types.ModuleType('torch'), types.ModuleType('torch._utils')
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {'__module__': 'torch'}))

    def _rebuild_tensor_v2():
        raise AssertionError('the file ran code')

    _rebuild_tensor_v2.__module__ = 'torch._utils'
    _rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, 'torch', torch)
    monkeypatch.setitem(sys.modules, 'torch._utils', utils)


def table(arrays):
    return collections.OrderedDict(
        (
            name,
            Tensor(
                Storage(str(number), array.ravel()),
                array.shape,
                [step // array.itemsize for step in array.strides],
            ),
        )
        for number, (name, array) in enumerate(arrays.items())
    )


def pickled(value):
    file = io.BytesIO()
    Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def old(value, arrays):
    system = {'protocol_version': 1001, 'little_endian': True}
    content = b''.join(
        map(pickled, (torch_file._MAGIC, 1001, system, value))
    ) + pickled([str(number) for number in range(len(arrays))])
    for array in arrays.values():
        content += struct.pack('<q', array.size) + array.tobytes()
    return content


def zipped(value, arrays):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('weights/data.pkl', pickled(value))
        archive.writestr('weights/byteorder', 'little')
        for number, array in enumerate(arrays.values()):
            archive.writestr(f'weights/data/{number}', array.tobytes())
    return file.getvalue()


FORMS = pytest.mark.parametrize('form', [old, zipped])


@FORMS
def test_tensors_keep_names_shapes_and_numbers(form, torch):
    read = torch_file.read(form(table(VALUES), VALUES), 'w.pth')
    assert list(read) == list(VALUES)
    for name, array in VALUES.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@FORMS
def test_a_view_of_a_storage_has_its_own_order(form, torch):
    array = VALUES['weight']
    tensor = Tensor(Storage('0', array.ravel()), (2, 3), (1, 4), offset=1)
    read = torch_file.read(form({'t': tensor}, {'t': array}), 'w.pth')
    np.testing.assert_array_equal(read['t'], array.T[1:3])


class Code:
    def __reduce__(self):
        return os.mkdir, ('made_by_a_pickle',)


@FORMS
def test_code_is_not_run(form, torch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = table(VALUES) | {'code': Code()}
    with pytest.raises(UsageError, match=r'w\.pth.*posix\.mkdir'):
        torch_file.read(form(value, VALUES), 'w.pth')
    assert not os.listdir()


@FORMS
@pytest.mark.parametrize(
    'value', [[1, 2], {'epoch': 3}, {'a': {'b': 1}}], ids=str
)
def test_more_than_a_table_of_tensors_is_refused(form, value, torch):
    with pytest.raises(UsageError, match=r'w\.pth.*table of tensors'):
        torch_file.read(form(value, {}), 'w.pth')


@FORMS
@pytest.mark.parametrize(
    'facts',
    [
        ((3, 4), (4, 1), 1),
        ((3, 4), (-4, 1), 8),
        ((3,), (1,), -1),
        ((9, 9), (0, 1), 0),
    ],
    ids=str,
)
def test_a_tensor_outside_its_numbers_is_refused(form, facts, torch):
    array = VALUES['weight']
    tensor = Tensor(Storage('0', array.ravel()), *facts)
    with pytest.raises(UsageError, match='exceeds its numbers'):
        torch_file.read(form({'t': tensor}, {'t': array}), 'w.pth')


@FORMS
def test_damage_is_one_sentence(form, torch):
    content = form(table(VALUES), VALUES)
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(UsageError, match=r'w\.pth'):
            torch_file.read(content[:length], 'w.pth')
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=200):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        try:
            torch_file.read(bytes(damaged), 'w.pth')
        except UsageError as error:
            assert 'w.pth' in str(error)
