"""Corrected tables and arrays, and known data sets that become such files."""

import os
import stat
import threading

import numpy as np
import pytest
from corrected_runs import (
    Finished,
    again,
    by_content,
    content,
    undecoded,  # noqa: F401
    write_image,
)
from loading import load
from tiny_sets import make_animal10n

from ieg.data.dataset import Part, Preprocessing, Source
from ieg.data.images.files import FileImages, Framing
from ieg.data.own import complete
from ieg.registry import DATASETS


def write_table(root, text, encoding='utf-8'):
    """Writes a table of images; its paths are made files."""
    (root / 'images').mkdir(parents=True)
    for number in range(18):
        write_image(root / 'images' / f'{number:02}.png', number)
    (root / 'labels.csv').write_bytes(text.encode(encoding))
    return root / 'labels.csv'


def image(path, number):
    """Returns the bytes of an image of the table."""
    return (path.parent / f'images/{number:02}.png').read_bytes()


def table(delimiter=',', end='\n', clean=False):
    lines = []
    for number in range(18):
        part = 'test' if number % 6 == 5 else 'train'
        label = ('cat', 'dog', 'owl')[number % 3]
        fields = [part, f'images/{number:02}.png', label]
        if number == 3:
            fields[1] = '"images/03.png"'
        lines.append([*fields, *(('dog',) if clean else ())])
    header = ['split', 'path', 'label', *(('clean_label',) if clean else ())]
    rows = [delimiter.join(fields) for fields in [header, *lines]]
    return end.join(rows) + end


@pytest.mark.parametrize(
    ('delimiter', 'end', 'encoding', 'clean'),
    [(',', '\n', 'utf-8', True), (';', '\r\n', 'utf-8-sig', False)],
)
def test_a_table_changes_only_where_it_was_corrected(
    tmp_path, delimiter, end, encoding, clean
):
    text = table(delimiter, end, clean)
    path = write_table(tmp_path / 'photos', text, encoding)
    run = Finished(tmp_path, dataset='csv', data_dir=path)
    names = list(run.data.train.names)
    asked = {
        ('train', names.index(str(path.parent / 'images/00.png'))): 'owl',
        ('train', names.index(str(path.parent / 'images/04.png'))): '-',
    }
    said = run.apply(asked)
    new = path.parent / 'labels-corrected.csv'
    lines = text.splitlines(keepends=True)
    lines[1] = lines[1].replace('cat', 'owl', 1)
    del lines[5]
    assert new.read_bytes().decode(encoding) == ''.join(lines)
    assert new.read_bytes()[:3] == path.read_bytes()[:3]
    found = again(said)
    assert len(found.train) == len(run.data.train) - 1
    expected = by_content(run.data.train, run.data.class_names)
    expected[image(path, 0)] = 'owl'
    del expected[image(path, 4)]
    assert by_content(found.train, found.class_names) == expected
    if clean:
        truth = {found.class_names[i] for i in found.train.clean_labels}
        assert truth == {'dog'}


def test_a_table_elsewhere_still_finds_its_images(tmp_path, monkeypatch):
    path = write_table(tmp_path / 'photos', table())
    monkeypatch.chdir(tmp_path)
    run = Finished(tmp_path, dataset='csv', data_dir='photos/labels.csv')
    said = run.apply({('train', 2): 'cat'}, 'else/where.csv')
    assert said.startswith('else/where.csv has 1 label corrected and 0 ')
    expected = by_content(run.data.train, run.data.class_names)
    expected[image(path, 2)] = 'cat'
    monkeypatch.chdir(path.parent)
    found = again(said.replace('else/', '../else/'))
    assert by_content(found.train, found.class_names) == expected


def test_a_pipe_is_written_to(tmp_path):
    path = write_table(tmp_path / 'photos', table())
    run = Finished(tmp_path, dataset='csv', data_dir=path)
    pipe = path.parent / 'pipe'
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    run.apply({('train', 2): 'cat'}, str(pipe))
    reader.join()
    assert read[0].count('\n') == 19 and stat.S_ISFIFO(pipe.stat().st_mode)
    assert f'train,{path.parent}/images/02.png,cat\n' in read[0]
    before = os.stat(os.devnull)
    run.apply(None, os.devnull)
    assert os.stat(os.devnull).st_rdev == before.st_rdev


def test_odd_classes_stay_what_they_are(tmp_path):
    text = table().replace('owl', "'=1+1").replace('dog', '-1')
    path = write_table(tmp_path / 'photos', text)
    run = Finished(tmp_path, dataset='csv', data_dir=path)
    assert set(run.data.class_names) == {'cat', '-1', '=1+1'}
    said = run.apply({('train', 0): '=1+1', ('train', 3): '-1'})
    lines = (path.parent / 'labels-corrected.csv').read_text().splitlines()
    assert lines[1].endswith(",'=1+1")
    found = again(said)
    expected = by_content(run.data.train, run.data.class_names)
    images = content(run.data.train)
    expected |= {images[0]: '=1+1', images[3]: '-1'}
    assert by_content(found.train, found.class_names) == expected


def test_an_image_that_is_listed_twice_has_one_correction(tmp_path):
    text = table() + 'train,images/00.png,cat\n'
    path = write_table(tmp_path / 'photos', text)
    run = Finished(tmp_path, dataset='csv', data_dir=path)
    said = run.refusal({('train', 0): 'dog', ('train', 15): 'owl'})
    assert "00.png' occurs twice in the data, and has two corr" in said
    found = again(run.apply({('train', 0): 'dog'}))
    first = image(path, 0)
    labels = [
        found.class_names[label]
        for held, label in zip(
            content(found.train), found.train.labels, strict=True
        )
        if held == first
    ]
    assert labels == ['dog', 'dog']


def arrays(count=20, **changes):
    x = np.random.default_rng(0).integers(0, 256, (count, 8, 8), np.uint8)
    y = np.arange(count) % 4
    test = {'x_test': x[::-1][:8].copy(), 'y_test': y[::-1][:8].copy()}
    return {'x_train': x, 'y_train': y} | test | changes


def by_pixels(arrays):
    """Returns the label of each training image."""
    pixels = [image.tobytes() for image in arrays['x_train']]
    return dict(zip(pixels, arrays['y_train'], strict=True))


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'class_names': np.array(['a', 'b', 'c', 'd'])},
        {'y_train': (np.arange(20, dtype=np.uint8) % 4)[:, None]},
    ],
    ids=['numbers', 'names', 'one per line'],
)
def test_arrays(tmp_path, changes):
    held = arrays(**changes)
    np.savez(tmp_path / 'my.npz', **held)
    run = Finished(tmp_path, dataset='npz', data_dir=tmp_path / 'my.npz')
    last = run.data.class_names[3]
    asked = {('train', 4): last, ('train', 9): '-', ('test', 1): last}
    said = run.apply(asked)
    assert said.startswith(f'{tmp_path}/my-corrected.npz has 2 labels corr')
    expected = dict(held)
    expected['y_test'] = held['y_test'].copy()
    expected['y_test'][1] = 3
    expected['y_train'] = held['y_train'].copy()
    expected['y_train'][4] = 3
    for key in ('x_train', 'y_train'):
        expected[key] = np.delete(expected[key], 9, 0)
    with np.load(tmp_path / 'my-corrected.npz') as found:
        assert sorted(found.files) == sorted(held)
        for key in found.files:
            np.testing.assert_array_equal(found[key], expected[key])
            assert found[key].dtype == expected[key].dtype
    assert again(said).train.labels[4] == 3


@pytest.mark.parametrize('old', [False, True])
def test_arrays_without_a_test_part_and_with_long_names(tmp_path, old):
    held = arrays()
    names = np.array([b'x', b'y', b'a long name', b'w'])
    clean = names[held['y_train']]
    held = {
        'x_train': held['x_train'],
        'y_train': np.where(clean == names[2], b'w', clean).astype('S1'),
        'clean_train': clean,
    }
    np.savez_compressed(tmp_path / 'my.npz', **held)
    run = Finished(
        tmp_path, dataset='npz', data_dir=tmp_path / 'my.npz', valid_ratio=0.25
    )
    if old:
        run.as_before()
    train, valid, test = run.data.train, run.data.valid, run.data.test
    said = run.apply(
        {
            ('train', train.indices[0]): 'a long name',
            ('valid', valid.indices[1]): 'a long name',
            ('valid', valid.indices[2]): '-',
            ('test', test.indices[3]): 'a long name',
        }
    )
    assert 'held out' not in said and 'tests are chosen again' in said
    with np.load(tmp_path / 'my-corrected.npz') as found:
        found = dict(found)
    assert sorted(found) == sorted(held)
    assert len(found['y_train']) == len(found['clean_train']) == 19
    was = by_pixels(held)
    was[train.images[0].tobytes()] = b'a long name'
    was[valid.images[1].tobytes()] = b'a long name'
    was[test.images[3].tobytes()] = b'a long name'
    del was[valid.images[2].tobytes()]
    assert by_pixels(found) == was


@pytest.mark.parametrize('extra', [None, 1])
def test_arrays_whose_rows_are_not_known_are_refused(tmp_path, extra):
    held = {name: arrays()[name] for name in ('x_train', 'y_train')}
    np.savez(tmp_path / 'my.npz', **held)
    run = Finished(tmp_path, dataset='npz', data_dir=tmp_path / 'my.npz')
    run.correct({('train', run.data.train.indices[0]): '3'})
    path = f'{run.folder}/predictions.npz'
    if extra is None:
        os.remove(path)
        assert 'predictions.npz' in run.refusal()
    else:
        longer = {name: np.append(a, a[:extra], 0) for name, a in held.items()}
        np.savez(tmp_path / 'my.npz', **longer)
        assert 'not those of the run' in run.refusal()
    assert not (tmp_path / 'my-corrected.npz').exists()


def test_a_validation_part_that_is_no_row_of_training_stays_one(tmp_path):
    held = {name: arrays()[name] for name in ('x_train', 'y_train')}
    held |= {'x_valid': held['x_train'][:4, ::-1], 'y_valid': np.arange(4)}
    np.savez(tmp_path / 'my.npz', **held)
    run = Finished(
        tmp_path, dataset='npz', data_dir=tmp_path / 'my.npz', valid_ratio=0.2
    )
    run.apply({('valid', 1): '3'})
    with np.load(tmp_path / 'my-corrected.npz') as found:
        assert found['y_valid'].tolist() == [0, 3, 2, 3]
        np.testing.assert_array_equal(found['y_train'], held['y_train'])


def test_a_known_set_becomes_arrays(tmp_path):
    run = Finished(
        tmp_path,
        dataset='fake_symmetric_0.4',
        valid_ratio=0.2,
        probe_dataset_hold_ratio=0.1,
        train_examples=200,
    )
    data = run.data
    noise, names = data.noise, data.class_names
    index = np.sort(np.concatenate([data.train.indices, data.valid.indices]))
    wrong = np.flatnonzero(noise.noisy != noise.clean)[:20]
    split_of = dict.fromkeys(data.train.indices, 'train')
    asked = {
        (split_of.get(index[row], 'valid'), index[row]): names[noise.clean[row]]
        for row in wrong
    }
    asked[split_of.get(index[0], 'valid'), index[0]] = '-'
    assert {split for split, _ in asked} == {'train', 'valid'}
    said = run.apply(asked)
    path = f'{run.folder}/fake_symmetric_0.4-corrected.npz'
    assert said.startswith(f'{path} has ')
    assert 'that the run did not use are not in it' in said
    found = again(said)
    labels = noise.noisy.copy()
    labels[wrong] = noise.clean[wrong]
    kept = np.arange(len(labels)) != 0
    np.testing.assert_array_equal(found.train.labels, labels[kept])
    np.testing.assert_array_equal(found.train.clean_labels, noise.clean[kept])
    images = load('fake').train.images[index[kept]]
    np.testing.assert_array_equal(found.train.images, images)
    np.testing.assert_array_equal(found.test.images, data.test.images)
    np.testing.assert_array_equal(found.test.labels, data.test.labels)
    assert found.class_names == names
    assert len(found.probe) == len(data.probe)
    assert found.noise.realised_rate < noise.realised_rate


def by_path(split, names):
    """Returns the class of each image by its file."""
    return {
        path: names[label]
        for path, label in zip(split.names, split.labels, strict=True)
    }


def test_a_known_set_of_files_becomes_a_table(tmp_path):
    make_animal10n(tmp_path / 'animals')
    run = Finished(
        tmp_path,
        dataset='animal10n',
        data_dir=tmp_path / 'animals',
        image_size=8,
    )
    names = run.data.class_names
    assert names[run.data.train.labels[0]] != names[3]
    said = run.apply({('train', 0): names[3], ('train', 1): '-'})
    path = f'{run.folder}/animal10n-corrected.csv'
    assert said.startswith(f'{path} has 1 label corrected and 1 example left')
    found = again(said, image_size=8)
    expected = by_path(run.data.train, names)
    expected[run.data.train.names[0]] = names[3]
    del expected[run.data.train.names[1]]
    assert by_path(found.train, found.class_names) == expected
    assert list(found.test.names) == list(run.data.test.names)


def test_encoded_images_become_files(tmp_path, monkeypatch):
    for number in range(12):
        write_image(tmp_path / f'{number}.png', number)
    images = [(tmp_path / f'{n}.png').read_bytes() for n in range(12)]
    framing = Framing(8, 1)

    def part(begin, end):
        held = FileImages(
            images[begin:end], np.zeros(end - begin, bool), framing, True
        )
        return Part(held, np.arange(begin, end, dtype=np.int32) % 2)

    def held(data_dir):
        return Source(
            part(0, 8),
            part(8, 12),
            ('odd', 'even'),
            Preprocessing(0, False, (0.5,), (0.5,)),
        )

    monkeypatch.setitem(DATASETS._entries, 'held', held)
    run = Finished(tmp_path, dataset='held', network_name='cnn')
    said = run.apply({('train', 2): 'even', ('train', 4): '-'})
    assert f'{run.folder}/held-corrected/labels.csv' in said
    found = again(said, image_size=8)
    assert by_content(found.train, found.class_names) == {
        images[place]: 'odd' if place in (0, 6) else 'even'
        for place in (0, 1, 2, 3, 5, 6, 7)
    }
    assert content(found.test) == images[8:]


@pytest.mark.parametrize('old', [False, True])
def test_encoded_images_of_which_some_are_held_out(tmp_path, monkeypatch, old):
    for number in range(20):
        write_image(tmp_path / f'{number}.png', number)
    images = [(tmp_path / f'{n}.png').read_bytes() for n in range(20)]
    framing, labels = Framing(8, 1), np.arange(20, dtype=np.int32) % 2
    encoded = FileImages(images, np.zeros(20, bool), framing, True)

    def held(data_dir):
        part = Part(encoded, labels, labels)
        return complete(
            {'train': part}, ('odd', 'even'), (), flip=False, framing=framing
        )

    monkeypatch.setitem(DATASETS._entries, 'held', held)
    run = Finished(
        tmp_path,
        dataset='held',
        network_name='cnn',
        probe_dataset_hold_ratio=0.25,
    )
    rows = {name: run.data[name].indices for name in ('train', 'test', 'probe')}
    if old:
        run.as_before()
    changed, gone = run.data.train.indices[[-1, -2]].tolist()
    expected = {images[row]: ('odd', 'even')[row % 2] for row in rows['train']}
    first, second = rows['train'][[-1, -2]].tolist()
    expected[images[first]] = ('even', 'odd')[first % 2]
    del expected[images[second]]
    asked = {('train', changed): expected[images[first]], ('train', gone): '-'}
    found = again(run.apply(asked), image_size=8)
    assert by_content(found.train, found.class_names) == expected
    for name in ('test', 'probe'):
        of_name = {images[row] for row in rows[name]}
        assert {*content(found[name])} == of_name


# Vectors.


def write_vectors(path, header='a;b;label;split', parts=('train', 'test')):
    lines = [header]
    for number in range(30):
        part = parts[number % 5 == 4]
        label = ('cat', 'dog')[number % 2]
        lines.append(f'-{number};{number}.50;{label};{part}')
    path.write_text('\n'.join(lines) + '\n')
    return path


@pytest.mark.parametrize(
    'held_out, old', [(False, False), (True, False), (True, True)]
)
def test_a_table_of_vectors(tmp_path, held_out, old):
    parts = ('train',) * 2 if held_out else ('train', 'test')
    path = write_vectors(tmp_path / 'blobs.csv', parts=parts)
    run = Finished(tmp_path, dataset='csv', data_dir=path)
    if old:
        run.as_before()
    train, test = run.data.train, run.data.test
    first, second = (int(-train.vectors.rows([n])[0, 0]) for n in (0, 3))
    third = int(-test.vectors.rows([1])[0, 0])
    other = run.data.class_names[1 - train.labels[0]]
    said = run.apply(
        {
            ('train', train.indices[0]): other,
            ('train', train.indices[3]): '-',
            ('test', test.indices[1]): 'cat',
        }
    )
    lines = path.read_text().splitlines()
    for row, label in ((first, other), (third, 'cat')):
        fields = lines[1 + row].split(';')
        lines[1 + row] = ';'.join([*fields[:2], label, *fields[3:]])
    del lines[1 + second]
    new = tmp_path / 'blobs-corrected.csv'
    assert new.read_text().splitlines() == lines
    found = again(said)
    assert len(found.train) + len(found.test) == 29
    assert found.is_vectors


def test_the_columns_of_vectors_are_named_again(tmp_path):
    path = write_vectors(tmp_path / 'blobs.csv')
    run = Finished(tmp_path, dataset='csv', data_dir=path, feature_columns='b')
    said = run.apply({('train', 0): 'dog'}, str(tmp_path / 'new.csv'))
    assert '--feature_columns=b' in said


def test_arrays_of_vectors_keep_their_views(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y = np.arange(20) % 2
    arrays = {'x_train': x, 'y_train': y, 'x_test': x, 'y_test': y}
    arrays |= {'views_train': x[:, None], 'text_train': y.astype(str)}
    np.savez(tmp_path / 'blobs.npz', **arrays)
    run = Finished(tmp_path, dataset='npz', data_dir=tmp_path / 'blobs.npz')
    run.apply({('train', 4): '-', ('train', 5): '0'})
    with np.load(tmp_path / 'blobs-corrected.npz') as file:
        kept = np.delete(np.arange(20), 4)
        for key in ('x_train', 'views_train', 'text_train'):
            np.testing.assert_array_equal(file[key], arrays[key][kept])
        assert file['y_train'].tolist() == [0, 1, 0, 1, 0, *y[6:]]
