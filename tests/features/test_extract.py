"""Features are computed once, by all cores, whatever happens meanwhile."""

import errno
import os
import pathlib
import threading
import time

import faults
import numpy as np
import photographs
import pytest
import tensorflow as tf

from ieg.data.images.files import Framing
from ieg.data.images.squares import SquareImages
from ieg.errors import RunError, UsageError
from ieg.features import cache, extract
from ieg.features.cache import Cache, Key
from ieg.features.extract import BATCH, Files, Rows

SIDE, WIDTH = 16, 48
FRAMING = Framing(SIDE, area=(0.25, 1.0), fraction=1.0, squares=True)


def network(pixels):
    """Returns means of 4 x 4 parts of images: features of them."""
    parts = tf.reshape(tf.cast(pixels, tf.float32), [-1, 4, 4, 4, 4, 3])
    return tf.reshape(tf.reduce_mean(parts, [2, 4]), [-1, WIDTH])


class Counted:
    """A network that counts the images that it has seen."""

    def __init__(self, fail_after=10**9):
        self.seen = 0
        self._fail_after = fail_after
        self._lock = threading.Lock()

    def __call__(self, pixels):
        with self._lock:
            self.seen += len(pixels)
            if self.seen > self._fail_after:
                raise KeyboardInterrupt
        return network(pixels)


def features(paths, place, shown=network, views=0, seed=0):
    """Returns features of files, with a cache below a folder."""
    key = Key('weights', SIDE, 'squares', views, seed)
    held = Cache(cache.root(str(place)), key, (1 + views, WIDTH))
    images = Files(SquareImages(paths, FRAMING), views, seed)
    return extract.features(images, shown, WIDTH, held, 'tiny')


def of(result):
    """Returns the features of all images, [N, 1 + views, WIDTH]."""
    return result.stored[result.rows]


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
    return photographs.write(tmp_path_factory.mktemp('images'), 3 * BATCH + 5)


@pytest.fixture(scope='module')
def expected(paths):
    images = SquareImages(paths, FRAMING).fetch(range(len(paths)))
    return network(images).numpy().astype(cache.STORED)[:, np.newaxis]


def test_features_are_those_of_the_images(paths, expected, tmp_path):
    result = features(paths, tmp_path)
    np.testing.assert_array_equal(of(result), expected)
    assert result.problems == {}


def test_they_are_computed_once(paths, expected, tmp_path):
    first, second = Counted(), Counted()
    features(paths, tmp_path, first)
    result = features(paths, tmp_path, second)
    assert (first.seen, second.seen) == (len(paths), 0)
    np.testing.assert_array_equal(of(result), expected)


def test_added_files_cost_only_themselves(paths, expected, tmp_path):
    some = paths[::2] + paths[:1]
    features(some, tmp_path)
    counted = Counted()
    result = features(paths[::-1], tmp_path, counted)
    assert counted.seen == len(paths) - len(set(some))
    np.testing.assert_array_equal(of(result), expected[::-1])


def test_a_changed_file_is_another_one(tmp_path):
    (path,) = photographs.write(tmp_path, 1)
    before = of(features([path], tmp_path))
    status = os.stat(path)
    image = photographs.pixels(99)
    pathlib.Path(path).write_bytes(photographs.encoded(image, quality=90))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert np.abs(of(features([path], tmp_path)) - before).max() > 1


def test_equal_files_are_shown_once(tmp_path):
    paths = photographs.write(tmp_path / 'one', 3)
    twins = photographs.write(tmp_path / 'two', 3)
    counted = Counted()
    result = features([*paths, *twins], tmp_path, counted)
    assert counted.seen == 3
    np.testing.assert_array_equal(result.rows, [0, 1, 2, 0, 1, 2])


def test_what_cannot_be_decoded_is_noted(tmp_path, paths, expected):
    cut, text = tmp_path / 'cut.jpg', tmp_path / 'text.jpg'
    cut.write_bytes(pathlib.Path(paths[0]).read_bytes()[:-400])
    text.write_bytes(b'This is no image.')
    given = [
        str(cut),
        paths[0],
        str(tmp_path / 'gone.jpg'),
        str(text),
        str(cut),
    ]
    result = features(given, tmp_path)
    assert {n: words.split()[-1] for n, words in result.problems.items()} == {
        0: 'damaged',
        2: 'exist',
        3: 'format',
        4: 'damaged',
    }
    assert result.rows.tolist() == [-1, 1, -1, -1, -1]
    np.testing.assert_array_equal(result.stored[1], expected[0])


def test_an_interruption_loses_nothing_that_was_computed(
    paths, expected, tmp_path, monkeypatch
):
    # On two, the first batch can be the last one.
    monkeypatch.setattr(extract, 'cores', lambda: 1)
    counted = Counted(fail_after=2 * BATCH)
    with pytest.raises(KeyboardInterrupt):
        features(paths, tmp_path, counted)
    rest = Counted()
    result = features(paths, tmp_path, rest)
    assert 0 < rest.seen < len(paths)
    np.testing.assert_array_equal(of(result), expected)


def test_a_full_disk_keeps_what_is_written(
    paths, expected, tmp_path, monkeypatch
):
    # A shard for each batch.
    monkeypatch.setattr(extract, '_SECONDS', 0.0)
    with faults.injected(faults.nothing(tmp_path)) as layer:
        features(paths, tmp_path / 'recorded')
    renames = [n for n, o in enumerate(layer.operations) if o.kind == 'rename']
    # In the second shard.
    number = next(
        n + 1
        for n, o in enumerate(layer.operations)
        if n > renames[0] and o.kind == 'write'
    )
    fault = faults.Fault('ENOSPC', str(tmp_path), number)
    with faults.injected(fault) as layer, pytest.raises(RunError) as caught:
        features(paths, tmp_path / 'full')
    assert layer.struck
    text = str(caught.value)
    assert 'full' in text and 'kept' in text and '--cache_dir' in text
    rest = Counted()
    result = features(paths, tmp_path / 'full', rest)
    assert 0 < rest.seen < len(paths)
    np.testing.assert_array_equal(of(result), expected)
    leftovers = [p for p in (tmp_path / 'full').rglob('*') if '.tmp' in p.name]
    assert leftovers == []


def test_without_a_cache_features_are_computed_all_the_same(
    paths, expected, tmp_path
):
    (tmp_path / 'features').write_text('a file')
    np.testing.assert_array_equal(of(features(paths, tmp_path)), expected)


def test_processes_that_work_side_by_side_share(
    paths, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(extract, '_SECONDS', 0.0)
    monkeypatch.setattr(extract, 'BATCH', 2)
    # Two threads could both wait for what one of them is to do.
    monkeypatch.setattr(extract, 'cores', lambda: 1)
    first, second = Counted(), Counted()
    is_under_way, both = threading.Event(), threading.Event()

    def shown(pixels):
        if first.seen >= 2 * 6:
            while len([*tmp_path.rglob('*.npz')]) < 3:
                time.sleep(0.01)
            # Until the other process has done the rest.
            is_under_way.set()
            both.wait(60)
        return first(pixels)

    thread = threading.Thread(target=features, args=(paths, tmp_path, shown))
    thread.start()
    assert is_under_way.wait(60)
    features(paths, tmp_path, second)
    seen = first.seen
    both.set()
    thread.join()
    monkeypatch.undo()
    # The second leaves out what is on the disk, and the first what it had not
    # begun when the second ended.
    assert len(paths) - seen <= second.seen <= len(paths) - 2 * 3 + 1
    assert first.seen <= seen + 2 * extract.cores()
    again = Counted()
    result = features(paths, tmp_path, again)
    assert again.seen == 0
    np.testing.assert_array_equal(of(result), expected)


def test_where_two_had_the_same_image_the_older_features_count(paths, tmp_path):
    def another(pixels):
        # A process that is faster writes while this one is at work.
        if not cache.size(cache.root(str(tmp_path))).files:
            features(paths, tmp_path)
        return network(pixels) + 1

    result = features(paths, tmp_path, another)
    np.testing.assert_array_equal(of(result), of(features(paths, tmp_path)))


def test_views_follow_from_seed_and_content(paths, tmp_path):
    some = paths[:3]
    one = of(features(some, tmp_path, views=2, seed=5))
    assert one.shape == (3, 3, WIDTH)
    same = of(features(some[::-1], tmp_path / 'other', views=2, seed=5))
    np.testing.assert_array_equal(one, same[::-1])
    other = of(features(some, tmp_path, views=2, seed=6))
    np.testing.assert_array_equal(one[:, 0], other[:, 0])
    assert (np.abs(one[:, 1:] - other[:, 1:]).max(axis=-1) > 1).all()
    assert (np.abs(one[:, 1] - one[:, 2]).max(axis=-1) > 1).all()


def test_images_of_arrays(tmp_path):
    array = np.stack([photographs.pixels(n, SIDE, SIDE) for n in range(20)])
    array[7] = array[3]
    held = Cache(str(tmp_path), Key('weights', SIDE, 'array'), (1, WIDTH))
    counted = Counted()
    rows = np.arange(18)[::-1]
    result = extract.features(Rows(array, rows), counted, WIDTH, held, 'tiny')
    assert counted.seen == 17
    np.testing.assert_array_equal(
        of(result)[:, 0], network(array[rows]).numpy().astype(cache.STORED)
    )


@pytest.mark.parametrize('value', [np.nan, 1e5])
def test_features_that_cannot_be_stored(paths, tmp_path, value):
    with pytest.raises(UsageError, match='tiny'):
        features(paths[:2], tmp_path, lambda x: network(x) * 0 + value)


def test_a_file_that_changes_meanwhile_ends_it(tmp_path, monkeypatch):
    (path,) = photographs.write(tmp_path, 1)
    monkeypatch.setattr(Files, 'digest', lambda *_: b'0' * cache.DIGEST)
    with pytest.raises(RunError, match='changed') as caught:
        features([path], tmp_path)
    assert path in str(caught.value)


def test_progress_is_shown(paths, tmp_path, capsys):
    features(paths[:2], tmp_path)
    err = capsys.readouterr().err
    assert 'tiny' in err and '2 images' in err
    features(paths[:2], tmp_path)
    assert capsys.readouterr().err == ''


def test_how_long_it_takes_is_said(paths, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extract, 'BATCH', 1)
    monkeypatch.setattr(extract, '_LONG', 0.0)
    features(paths, tmp_path)
    assert 'second' in capsys.readouterr().err


def test_a_folder_is_a_problem_of_its_own(tmp_path):
    result = features([str(tmp_path)], tmp_path)
    assert list(result.problems) == [0]
    assert os.strerror(errno.EISDIR) in result.problems[0]
