"""Features on the disk: by content, shared, never stale or damaged ones."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from ieg.features import cache
from ieg.features.cache import Cache, Key, narrowed

KEY = Key('weights', 32, 'squares')
SHAPE = (1, 3)


def digest(number):
    return number.to_bytes(cache.DIGEST, 'big')


def rows(*numbers):
    """Returns features that say which image they are of."""
    return np.array(
        [[[n, n + 0.25, n + 0.5]] for n in numbers], cache.STORED
    ).reshape(-1, *SHAPE)


def opened(tmp_path, key=KEY):
    return Cache(cache.root(str(tmp_path)), key, SHAPE)


def read(held, *numbers):
    """Returns what a cache has of some images: features by their number."""
    into = np.zeros((len(numbers), *SHAPE), cache.STORED)
    known = np.zeros(len(numbers), bool)
    held.read({digest(n): i for i, n in enumerate(numbers)}, into, known)
    return {numbers[p]: into[p, 0, 0] for p in np.flatnonzero(known)}


def test_what_was_written_is_read_by_content(tmp_path):
    opened(tmp_path).write([digest(1), digest(2)], rows(1, 2))
    opened(tmp_path).write([digest(3)], rows(3))
    assert read(opened(tmp_path), 3, 9, 1) == {3: 3, 1: 1}


@pytest.mark.parametrize(
    'other',
    [
        {'weights': 'others'},
        {'side': 64},
        {'framing': 'arrays'},
        {'views': 1},
    ],
)
def test_another_key_has_nothing(tmp_path, other):
    opened(tmp_path).write([digest(1)], rows(1))
    key = dataclasses.replace(KEY, **other)
    assert read(opened(tmp_path, key), 1) == {}


def test_the_seed_counts_where_there_are_views():
    views = dataclasses.replace(KEY, views=2)
    assert str(KEY) == str(dataclasses.replace(KEY, seed=1))
    assert str(views) != str(dataclasses.replace(views, seed=1))


def test_only_new_shards_are_read_again(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path)
    one.write([digest(1)], rows(1))
    assert read(one, 1) == {}
    other.write([digest(2)], rows(2))
    assert read(one, 1, 2) == {2: 2}
    assert read(one, 1, 2) == {}
    one.again()
    assert read(one, 1, 2) == {1: 1, 2: 2}


def test_the_older_of_two_shards_counts(tmp_path):
    opened(tmp_path).write([digest(1), digest(2)], rows(1, 2))
    opened(tmp_path).write([digest(2)], rows(7))
    assert read(opened(tmp_path), 1, 2) == {1: 1, 2: 2}


@pytest.mark.parametrize('what', ['cut off', 'changed', 'other arrays', 'text'])
def test_a_damaged_shard_is_left_out_with_a_word(tmp_path, capsys, what):
    held = opened(tmp_path)
    held.write([digest(1)], rows(1))
    (name,) = os.listdir(held.folder)
    path = os.path.join(held.folder, name)
    content = pathlib.Path(path).read_bytes()
    held.write([digest(2)], rows(2))
    with open(path, 'wb') as file:
        if what == 'cut off':
            file.write(content[:-40])
        elif what == 'changed':
            place = content.index(rows(1).tobytes())
            file.write(content[:place] + b'?' + content[place + 1 :])
        elif what == 'other arrays':
            np.savez(file, digests=np.zeros((1, 3)), features=rows(1))
        else:
            file.write(b'This is no shard.')
    assert read(opened(tmp_path), 1, 2) == {2: 2}
    err = capsys.readouterr().err
    assert path in err and 'damaged' in err
    # Once is enough.
    assert read(opened(tmp_path), 1, 2) == {2: 2}
    assert capsys.readouterr().err == ''


def test_foreign_files_and_unfinished_ones_are_ignored(tmp_path, capsys):
    held = opened(tmp_path)
    held.write([digest(1)], rows(1))
    for name in ('notes.npz', '.DS_Store', f'.{"0" * 32}.tmp'):
        open(os.path.join(held.folder, name), 'w').close()
    assert read(opened(tmp_path), 1) == {1: 1}
    assert capsys.readouterr().err == ''


def test_what_killed_processes_left_is_removed_when_it_is_old(tmp_path):
    held = opened(tmp_path)
    paths = [
        os.path.join(held.folder, f'.{number * 32}.tmp') for number in 'ab'
    ]
    for path in paths:
        open(path, 'w').close()
    os.utime(paths[0], (0, 0))
    opened(tmp_path)
    # The other one may be another process's shard under way.
    assert list(map(os.path.exists, paths)) == [False, True]


def test_a_folder_that_cannot_be_made_is_an_obstacle(tmp_path):
    (tmp_path / 'features').write_text('a file')
    held = opened(tmp_path)
    assert held.obstacle
    assert read(held, 1) == {}


def test_the_usual_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    assert cache.root() == str(tmp_path / '.cache/ieg/features')
    monkeypatch.setenv('XDG_CACHE_HOME', '/x')
    assert cache.root() == '/x/ieg/features'
    assert cache.root('~/y') == str(tmp_path / 'y/features')


def test_size_and_clearing_concern_our_files_only(tmp_path):
    held = opened(tmp_path)
    held.write([digest(1)], rows(1))
    folder = cache.root(str(tmp_path))
    shard = os.path.getsize(os.path.join(held.folder, *os.listdir(held.folder)))
    notes = os.path.join(held.folder, 'notes.txt')
    with open(notes, 'w') as file:
        file.write('mine')
    os.makedirs(os.path.join(folder, 'other'))
    assert cache.size(folder) == cache.Size(1, shard)
    assert cache.clear(folder) == cache.Size(1, shard)
    assert os.path.exists(notes) and os.path.isdir(f'{folder}/other')
    assert cache.size(folder) == cache.Size(0, 0)
    os.remove(notes)
    os.rmdir(f'{folder}/other')
    cache.clear(folder)
    assert not os.path.exists(folder)


def test_a_shard_is_written_after_clearing(tmp_path):
    held = opened(tmp_path)
    cache.clear(cache.root(str(tmp_path)))
    held.write([digest(1)], rows(1))
    assert read(opened(tmp_path), 1) == {1: 1}


@pytest.mark.parametrize(
    ('value', 'said'), [(np.nan, 'finite'), (np.inf, 'finite'), (7e4, '7e+04')]
)
def test_features_that_cannot_be_stored(value, said):
    with pytest.raises(ValueError, match=said.replace('+', r'\+')):
        narrowed(np.array([[0, value]], np.float32))
