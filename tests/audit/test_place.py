"""What `ieg audit` makes of a PATH before TensorFlow is there."""

import os

import numpy as np
import pytest
from own_files import write

from ieg.audit import place
from ieg.errors import UsageError


def look(path):
    path = str(path)
    return place.look(path, place.kind(path))


def refusal(path):
    with pytest.raises(UsageError) as caught:
        look(path)
    return str(caught.value)


def write_classes(root, counts, part='.'):
    for name, count in counts.items():
        write(root / part, *(f'{name}/{n}.png' for n in range(count)))


def test_a_folder_is_counted_by_class_and_part(tmp_path):
    write_classes(tmp_path, {'cat': 7, 'dog': 6}, 'train')
    write_classes(tmp_path, {'cat': 3}, 'test')
    write(tmp_path, 'train/cat/x.heic', 'train/cat/y.pdf')
    found = look(tmp_path)
    assert (found.kind, found.counts) == ('folder', {'cat': 7, 'dog': 6})
    assert found.others == {'test': 3}
    sentence = place.describe(found)
    for words in (
        str(tmp_path),
        '13 images',
        '2 classes',
        '6 to 7',
        '3 in the',
    ):
        assert words in sentence
    (remark,) = found.remarks
    assert '1 HEIC file' in remark and '1 PDF file' in remark
    assert place.warning(found) == ''


def test_small_classes_are_named(tmp_path):
    write_classes(tmp_path, {'cat': 7, 'dog': 1, 'emu': 4})
    sentence = place.warning(look(tmp_path))
    assert "'dog' (1)" in sentence and "'emu' (4)" in sentence
    assert 'cat' not in sentence


def test_a_table_and_arrays_are_counted(tmp_path):
    rows = ['path,label,split', *(f'{n}.png,a,train' for n in range(5))]
    rows += ['x.png,b,train', 'y.png,b,test', 'z.png,b,Train']
    (tmp_path / 'list.csv').write_text('\n'.join(rows))
    assert look(tmp_path / 'list.csv').counts == {'a': 5, 'b': 2}
    labels = np.repeat([3, 4], [6, 5])
    np.savez(tmp_path / 'a.npz', x_train=np.zeros((11, 2)), y_train=labels)
    assert look(tmp_path / 'a.npz').counts == {'3': 6, '4': 5}
    assert '11 examples of 2 classes' in place.describe(
        look(tmp_path / 'a.npz')
    )
    # What is wrong with them is for their readers to say.
    for content in (b'PK', b'nothing', b''):
        (tmp_path / 'b.npz').write_bytes(content)
        assert look(tmp_path / 'b.npz').counts == {}
    (tmp_path / 'c.csv').write_text('path,class\na.png,b\n')
    assert place.describe(look(tmp_path / 'c.csv')) == ''


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('photos.zip', 'unpack'),
        ('cat.JPG', 'single image'),
        ('list.xlsx', 'CSV'),
        ('x.npy', 'savez'),
        ('x', 'another kind'),
    ],
)
def test_a_file_of_another_kind(tmp_path, name, words):
    (tmp_path / name).touch()
    sentence = refusal(tmp_path / name)
    assert name in sentence and words in sentence and '.npz' in sentence


def test_what_is_not_there(tmp_path):
    assert 'no file or folder' in refusal(tmp_path / 'nowhere')
    assert 'URL' in refusal('https://host/photos')
    for name in ('tfds:beans', 'cifar10', 'digits_uniform_0.2'):
        assert f'ieg train --dataset={name}' in refusal(name)


def test_folders_without_classes(tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    assert 'no images' in refusal(empty)
    assert 'no class folders' in refusal(write(tmp_path / 'loose', '1.png'))
    only = write(tmp_path / 'one', *(f'cat/{n}.png' for n in range(9)))
    assert "only the class 'cat'" in refusal(only)
    write_classes(tmp_path / 'few', {'cat': 4, 'dog': 3})
    sentence = refusal(tmp_path / 'few')
    assert '4 examples' in sentence and '5' in sentence
    write(tmp_path / 'run', 'config.json', 'identity.json')
    assert 'ieg report' in refusal(tmp_path / 'run')
    (tmp_path / 'one.csv').write_text('path,label\na.png,b\nc.png,b\n')
    assert "only the class 'b'" in refusal(tmp_path / 'one.csv')


def test_many_files_are_counted_without_opening_any(tmp_path, monkeypatch):
    write_classes(tmp_path, {'cat': 1500, 'dog': 1500})
    looks = []
    stat = os.stat
    monkeypatch.setattr(
        os, 'stat', lambda *a, **k: looks.append(a) or stat(*a, **k)
    )
    assert sum(look(tmp_path).counts.values()) == 3000
    assert len(looks) < 50
