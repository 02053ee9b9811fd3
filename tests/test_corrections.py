"""Corrected labels, written and read again, for each form of data."""

import csv
import json
import os
import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image
from tiny_sets import make_animal10n

from ieg import config as ieg_config
from ieg import experiment
from ieg.analysis import corrections
from ieg.data import image_sets, load
from ieg.data import noise as label_noise
from ieg.data.files import FileImages, Framing
from ieg.data.parts import Part, Source
from ieg.errors import UsageError
from ieg.registry import DATASETS
from ieg.run_folders import OWN, run_folder

HEADER = (
    'rank,index,path,split,given_label,suggested_label,score,margin,agreement,'
    'in_selection,is_issue,is_hard,corrected_label'
).split(',')


class Finished:
    """A run folder as a run leaves it, without the training."""

    def __init__(self, root, **options):
        options = {'method': 'supervised', 'checkpoint_path': str(root)} | {
            name: str(value) if name == 'data_dir' else value
            for name, value in options.items()
        }
        self.config = ieg_config.resolve(options)
        self.folder = run_folder(self.config)
        os.makedirs(self.folder)
        self.data = experiment.load_data(self.config)
        if self.data.noise is not None:
            label_noise.save(f'{self.folder}/noise.npz', self.data.noise)
        for name, content in (
            ('config.json', self.config.flat()),
            ('summary.json', {}),
        ):
            with open(os.path.join(self.folder, name), 'w') as file:
                json.dump(content, file)
        self.table = str(root / 'corrected.csv')

    def rows(self):
        """Returns the rows of label_issues.csv, backwards."""
        names, found = self.data.class_names, []
        own = self.config.data.dataset.split('_')[0] in OWN
        for split_name in ('train', 'valid', *(('test',) if own else ())):
            split = self.data.split(split_name)
            for place in range(len(split) if split else 0):
                path = '' if split.names is None else split.names[place]
                label = names[split.labels[place]]
                row = [split.indices[place], path, split_name, label, label]
                found.append([*row, 0.5, 0.1, 1.0, '', 0, 0, ''])
        return [[rank, *row] for rank, row in enumerate(found[::-1], 1)]

    def correct(self, asked, delimiter=','):
        """Writes the table; `asked` is by split and index."""
        with open(self.table, 'w', newline='') as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(HEADER)
            for row in self.rows():
                row[-1] = asked.get((row[3], row[1]), '')
                writer.writerow(row)

    def apply(self, asked=None, output=None):
        """Returns the sentence; it must be one."""
        if asked is not None:
            self.correct(asked)
        said = corrections.apply(self.folder, self.table, output)
        assert said.endswith('.') and '\n' not in said
        return said

    def refusal(self, *args):
        with pytest.raises(UsageError) as caught:
            self.apply(*args)
        return str(caught.value)


def again(said, **options):
    """Loads what was written by the flags that the sentence names."""
    (flags,) = re.findall(r'train on it with (.*?)(?:; .*)?\.$', said)
    dataset, data_dir = (word.split('=', 1)[1] for word in shlex.split(flags))
    return load(dataset, data_dir=data_dir, **options)


def content(split):
    """Returns what tells each image from all others, wherever it is."""
    if split.names is None:
        return [image.tobytes() for image in split.images]
    return [pathlib.Path(name).read_bytes() for name in split.names]


def by_content(split, names, labels=None):
    """Returns the class of each image by what is in it."""
    labels = split.labels if labels is None else labels
    return {
        image: names[label]
        for image, label in zip(content(split), labels, strict=True)
    }


@pytest.fixture(autouse=True)
def undecoded(monkeypatch):
    """Small files are not decoded, which takes longer than all else."""
    monkeypatch.setattr(image_sets, '_HELD_SIDE', 0)


def write_image(path, *seed):
    """Writes an image that no other seed has."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(path)


def write_images(root, layout):
    """Writes images into class folders: {folder: how many}."""
    for folder, count in layout.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            path = root / folder / f'{number}.png'
            write_image(path, number, *folder.encode())
    return root


WITH_PARTS = {
    'train/cat': 6,
    'train/dog': 6,
    'train/owl': 6,
    'test/cat': 2,
    'test/dog': 2,
    'test/owl': 2,
}


def everything(root):
    """Returns the bytes and times of all files below a folder."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


# Class folders.


def test_class_folders_with_parts(tmp_path):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    (root / 'train/cat/notes.txt').write_text('of the owner')
    before = everything(root)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    train = run.data.train
    # Files 0.png of cat and dog both go to owl, which has a 0.png.
    said = run.apply(
        {('train', 0): 'owl', ('train', 6): 'owl', ('train', 17): '-'}
    )
    assert said == (
        f'{root}-corrected has 2 labels corrected and 1 example left out: '
        f'train on it with --dataset=folder --data_dir={root}-corrected.'
    )
    found = again(said)
    expected = by_content(train, run.data.class_names)
    images = content(train)
    del expected[images[17]]
    expected[images[0]] = 'owl'
    expected[images[6]] = 'owl'
    assert by_content(found.train, found.class_names) == expected
    assert len(found.train) == 17
    assert content(found.test) == content(run.data.test)
    np.testing.assert_array_equal(found.test.labels, run.data.test.labels)
    new = tmp_path / 'photos-corrected'
    assert sorted(os.listdir(new / 'train/owl')) == [
        '0-1.png', '0-2.png', '0.png', '1.png', '2.png', '3.png', '4.png'
    ]  # fmt: skip
    assert (new / 'train/cat/notes.txt').read_text() == 'of the owner'
    assert os.path.samefile(new / 'train/cat/1.png', root / 'train/cat/1.png')
    assert everything(root) == before


def test_class_folders_without_parts_validation_examples_too(tmp_path):
    root = write_images(tmp_path / 'photos', {'cat/a': 10, 'dog': 10, 'owl': 5})
    run = Finished(
        tmp_path, dataset='folder', data_dir=f'{root}/', valid_ratio=0.2
    )
    valid = run.data.valid
    index = int(valid.indices[0])
    given = run.data.class_names[valid.labels[0]]
    wanted = {'cat': 'dog', 'dog': 'owl', 'owl': 'cat'}[given]
    held_out = run.data.test
    asked = {('valid', index): wanted, ('test', 0): 'owl', ('test', 1): '-'}
    assert run.data.class_names[held_out.labels[0]] != 'owl'
    said = run.apply(asked, str(tmp_path / 'new place'))
    assert 'chosen anew' in said
    found = again(said)
    both = by_content(found.train, found.class_names)
    both |= by_content(found.test, found.class_names)
    assert both[content(valid)[0]] == wanted
    assert both[content(held_out)[0]] == 'owl'
    assert content(held_out)[1] not in both and len(both) == 24
    # Below the class folder it stays where it was.
    moved = os.path.relpath(valid.names[0], root).split(os.sep)
    assert (tmp_path / 'new place' / wanted / os.sep.join(moved[1:])).is_file()


def test_the_owners_validation_part_is_corrected_in_its_place(tmp_path):
    root = write_images(
        tmp_path / 'photos', WITH_PARTS | {'val/cat': 3, 'val/dog': 3}
    )
    run = Finished(tmp_path, dataset='folder', data_dir=root, valid_ratio=0.3)
    asked = {('valid', 0): 'dog', ('train', 0): 'dog', ('test', 0): 'dog'}
    found = again(run.apply(asked))
    np.testing.assert_array_equal(np.bincount(found.test.labels), [1, 3, 2])
    np.testing.assert_array_equal(
        np.bincount(found.valid.labels, minlength=3), [2, 4, 0]
    )
    np.testing.assert_array_equal(np.bincount(found.train.labels), [5, 7, 6])


def test_noise_that_was_drawn_becomes_part_of_the_folder(tmp_path):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder_symmetric_0.5', data_dir=root)
    names, train = run.data.class_names, run.data.train
    assert (train.labels != train.clean_labels).any()
    right = {
        ('train', int(i)): names[clean]
        for i, clean in zip(
            train.indices[:9], train.clean_labels[:9], strict=True
        )
    }
    said = run.apply(right)
    labels = train.labels.copy()
    labels[:9] = train.clean_labels[:9]
    expected = by_content(train, names, labels)
    found = again(said)
    assert by_content(found.train, found.class_names) == expected
    assert 'the noisy ones' in said


def test_links_become_copies_where_nothing_else_works(tmp_path, monkeypatch):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)

    def fails(*args, **kwargs):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', fails)
    links = run.apply({('train', 0): 'dog'}, str(tmp_path / 'links'))
    assert os.path.islink(tmp_path / 'links/train/dog/0-1.png')
    monkeypatch.setattr(os, 'symlink', fails)
    copies = run.apply({('train', 0): 'dog'}, str(tmp_path / 'copies'))
    copy = tmp_path / 'copies/train/dog/0-1.png'
    assert copy.is_file() and not copy.is_symlink()
    for said in (links, copies):
        np.testing.assert_array_equal(
            np.bincount(again(said).train.labels), [5, 7, 6]
        )


def test_a_folder_that_is_there_already_is_not_touched(tmp_path):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    there = tmp_path / 'photos-corrected'
    there.mkdir()
    run.apply({('train', 0): 'dog'})  # It was empty.
    before = everything(there)
    text = f'{there} is there already: remove it, or choose another path'
    assert text in run.refusal()
    assert f'{root}/new lies in {root}' in run.refusal(None, f'{root}/new')
    assert everything(there) == before
    assert sorted(os.listdir(tmp_path)) == [
        'corrected.csv', 'folder-photos', 'photos', 'photos-corrected'
    ]  # fmt: skip


def test_corrections_that_nobody_could_train_on_are_refused(tmp_path):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    said = run.refusal({('train', index): '-' for index in range(6)})
    assert said.startswith('with these corrections nobody could train')
    assert "'cat'" in said and '.tmp' not in said
    assert not (tmp_path / 'photos-corrected').exists()


# Tables.


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


def test_an_image_that_is_listed_twice_has_one_correction(tmp_path):
    text = table() + 'train,images/00.png,cat\n'
    path = write_table(tmp_path / 'photos', text)
    run = Finished(tmp_path, dataset='csv', data_dir=path)
    said = run.refusal({('train', 0): 'dog', ('train', 15): 'owl'})
    assert "00.png' is there twice in the data, and has two corr" in said
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


# Arrays.


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


def test_arrays_without_a_test_part_and_with_long_names(tmp_path):
    held = arrays()
    names = np.array([b'x', b'y', b'a long name', b'w'])
    held = {
        'x_train': held['x_train'],
        'y_train': names[held['y_train']],
        'clean_train': names[held['y_train']],
    }
    held['y_train'] = held['y_train'].copy()
    held['y_train'][held['y_train'] == b'a long name'] = b'w'
    held['y_train'] = held['y_train'].astype('S1')
    np.savez_compressed(tmp_path / 'my.npz', **held)
    run = Finished(
        tmp_path, dataset='npz', data_dir=tmp_path / 'my.npz', valid_ratio=0.25
    )
    train, valid = run.data.train, run.data.valid
    said = run.apply(
        {
            ('train', train.indices[0]): 'a long name',
            ('valid', valid.indices[1]): 'a long name',
            ('valid', valid.indices[2]): '-',
            ('test', 3): 'a long name',
        }
    )
    assert 'held out' not in said and 'tests are chosen anew' in said
    with np.load(tmp_path / 'my-corrected.npz') as found:
        found = dict(found)
    assert sorted(found) == sorted(held)
    assert len(found['y_train']) == len(found['clean_train']) == 19
    was = by_pixels(held)
    was[train.images[0].tobytes()] = b'a long name'
    was[valid.images[1].tobytes()] = b'a long name'
    was[run.data.test.images[3].tobytes()] = b'a long name'
    del was[valid.images[2].tobytes()]
    assert by_pixels(found) == was


# Known data sets.


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
    expected = dict(
        zip(
            map(str, run.data.train.names),
            [names[label] for label in run.data.train.labels],
            strict=True,
        )
    )
    expected[run.data.train.names[0]] = names[3]
    del expected[run.data.train.names[1]]
    assert expected == dict(
        zip(
            found.train.names,
            [found.class_names[label] for label in found.train.labels],
            strict=True,
        )
    )
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
            part(0, 8), part(8, 12), ('odd', 'even'), 0, False, (0.5,), (0.5,)
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


# Folders.


def test_what_is_no_finished_run_is_refused(tmp_path):
    run = Finished(tmp_path, dataset='fake', network_name='cnn')
    run.correct({('train', 0): 'red'})
    os.remove(f'{run.folder}/summary.json')
    assert 'has not come to its end' in run.refusal()
    os.remove(f'{run.folder}/config.json')
    assert f'{run.folder} is no run folder' in run.refusal()
    run.folder = str(tmp_path / 'nowhere')
    assert 'nowhere is no run folder' in run.refusal()


def test_a_run_whose_data_are_gone_or_others_is_refused(tmp_path):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    run.correct({('train', 0): 'dog'})
    os.remove(root / 'train/cat/0.png')
    write_image(root / 'train/owl/6.png', 6)
    assert (
        f"path is '{root}/train/owl/5.png' and not '{root}/train/owl/6.png'"
    ) in run.refusal()
    os.rename(root, tmp_path / 'elsewhere')
    assert f'there is no folder {root}' in run.refusal()


def test_noise_that_is_not_that_of_the_run_is_refused(tmp_path):
    run = Finished(tmp_path, dataset='fake_symmetric_0.4')
    run.correct({('train', 0): 'red'})
    noise = run.data.noise
    other = label_noise.corrupt(noise.clean, 'uniform', 0.4, 'fake', 4, 9)
    label_noise.save(f'{run.folder}/noise.npz', other)
    assert 'are others than the run in' in run.refusal()
