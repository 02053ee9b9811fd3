"""Files of labels that are damaged, or that would run something."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest
from human_files import WRITERS, made_arrays, write_npy, write_pt

from ieg.data.noise import human as human_labels
from ieg.errors import UsageError


class Evil:
    """Pickles as a call of a function of Python."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('writer', [write_pt, write_npy])
@pytest.mark.parametrize(
    ('payload', 'name'),
    [
        (Evil(os.mkdir, 'owned'), 'mkdir'),
        (Evil(eval, '1 + 1'), 'eval'),
        (Evil(getattr, 'text', 'upper'), 'getattr'),
        (collections.OrderedDict(a=1), 'OrderedDict'),
        (np.zeros(2, 'datetime64[s]'), 'the type datetime64'),
        (Evil(np.dtype, 'f8'), 'the type float64'),
    ],
)
def test_a_pickle_of_anything_else_is_refused(
    writer, payload, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    writer('labels', {'clean_label': payload})
    path = 'labels' if os.path.exists('labels') else 'labels.npy'
    with pytest.raises(UsageError, match=f'asks for .*{name}') as caught:
        human_labels.read(path)
    assert '\n' not in str(caught.value)
    assert not os.path.exists('owned')


def test_a_tensor_and_a_codec_are_refused(tmp_path):
    class Tensors(pickle.Pickler):
        def persistent_id(self, obj):
            return ('storage',) if isinstance(obj, int) else None

    path = tmp_path / 'labels.pt'
    for content, words in (
        (None, 'asks for a tensor'),
        # What protocol 2 writes for bytes, with another codec.
        (b'c_codecs\nencode\n(Va\nVrot13\ntR.', 'the encoding rot13'),
        (b'cnumpy\nndarray\n((I9\ntR.', 'cannot be read'),
    ):
        with zipfile.ZipFile(path, 'w') as archive:
            with archive.open('archive/data.pkl', 'w') as file:
                if content is None:
                    Tensors(file, protocol=2).dump({'clean_label': 3})
                else:
                    file.write(content)
        with pytest.raises(UsageError, match=words):
            human_labels.read(str(path))


@pytest.mark.parametrize('name', WRITERS)
@pytest.mark.parametrize('damage', ['short', 'bits', 'text', 'empty'])
def test_a_damaged_file_is_one_sentence(name, damage, tmp_path):
    path = tmp_path / name
    WRITERS[name](path, made_arrays())
    content = path.read_bytes()
    path.write_bytes(
        {
            'short': content[: len(content) // 2],
            'bits': content[:90] + b'\x55' * 60 + content[150:],
            'text': b'hello',
            'empty': b'',
        }[damage]
    )
    if name == 'fields.npy' and damage == 'bits':
        return  # Labels themselves, whose damage the checks see.
    try:
        human_labels.read(str(path))
    except UsageError as error:
        assert str(path) in str(error) and '\n' not in str(error)
    else:
        assert damage == 'bits'  # A zip archive may have one array fewer.
