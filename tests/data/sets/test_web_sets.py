"""Published sets of web images: every layout is read back."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_sets
from pictures import only_for_pillow
from PIL import Image

from ieg.data import published
from ieg.data.sets import animal10n, clothing1m, food101n, webvision
from ieg.errors import UsageError
from ieg.registry import DATASETS

SYNSETS = tiny_sets.SYNSETS
NUMBERS = [str(label) for label in range(50)]
OWN = [f'own {label:02d}' for label in range(50)]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return tiny_sets.Made(tmp_path_factory.mktemp('sets'))


def names_of(listing, folder):
    """Returns the paths from the folder on."""
    assert all(os.path.isfile(path) for path in listing.paths)
    return [pathlib.Path(path).relative_to(folder).as_posix()
            for path in listing.paths]  # fmt: skip


def lines_of(path):
    return path.read_text().splitlines()


def edit(path, change):
    """Writes what `change` makes of the lines of a file."""
    path.write_text(''.join(f'{line}\n' for line in change(lines_of(path))))


def replace(path, content):
    """Replaces a file that may be linked to that of another copy."""
    os.remove(path)
    pathlib.Path(path).write_bytes(content)


def check_noise(listing, names, true):
    """The labels are those that were made, wrong in the expected share."""
    truth = np.array([true[name] for name in names])
    assert listing.labels.dtype == np.int32
    assert listing.clean is None
    assert 0.1 < np.mean(listing.labels != truth) < 0.4


def test_synsets_are_the_first_of_imagenet():
    assert list(webvision.SYNSETS) == SYNSETS
    assert webvision.IMAGENET_NAMES[0] == 'tench'
    assert webvision.IMAGENET_NAMES[49] == 'African crocodile'
    assert len(set(webvision.IMAGENET_NAMES)) == 50


def test_webvision_lists(made):
    folder, true = made('webvision')
    found = webvision.webvisionmini(str(folder))
    assert found.class_names == webvision.IMAGENET_NAMES
    assert list(found.parts) == ['train', 'test']
    listed = lines_of(folder / 'info/train_filelist_google.txt')[1:]
    train = found.parts['train']
    names = names_of(train, folder)
    assert [f'{name} {label}' for name, label in
            zip(names, train.labels, strict=True)] == listed  # fmt: skip
    check_noise(train, names, true)
    test = found.parts['test']
    assert names_of(test, folder)[51] == 'val_images_256/val000051.jpg'
    np.testing.assert_array_equal(test.labels, np.arange(100) % 50)
    assert found.remarks == (
        '65,944 training images are published, here are 200.',
        '2,500 test images are published, here are 100.',
    )


@pytest.mark.parametrize('inner', ['', 'tensorflow_datasets'])
def test_webvision_folders(made, inner, tmp_path):
    folder, true = made('webvision_tfds')
    if inner:
        (tmp_path / inner).symlink_to(folder)
        folder = tmp_path
    found = webvision.webvisionmini(str(folder))
    assert found.class_names == webvision.IMAGENET_NAMES
    assert list(found.parts) == ['train', 'test', 'probe']
    train = found.parts['train']
    names = names_of(train, folder / inner)
    assert set(names) == set(true)
    assert np.all(np.diff(train.labels) >= 0)
    check_noise(train, names, true)
    assert [SYNSETS[label] for label in train.labels] == [
        name.split('/')[2] for name in names
    ]
    for part in ('test', 'probe'):
        labels = found.parts[part].labels
        np.testing.assert_array_equal(labels, np.repeat(np.arange(50), 2))


@pytest.mark.parametrize(
    'names',
    [
        NUMBERS,
        [f'{label:04d}' for label in range(50)],
        [name.replace(' ', '_') for name in webvision.IMAGENET_NAMES],
        OWN,
    ],
    ids=['numbers', 'zeros', 'names', 'own'],
)
def test_webvision_folder_names(made, names, tmp_path):
    inner = renamed(made, names, tmp_path)
    own = names[0] == 'own 00'
    found = webvision.webvisionmini(str(inner))
    test = found.parts['test']
    np.testing.assert_array_equal(test.labels, np.repeat(np.arange(50), 2))
    assert test.paths[-1] == str(inner / 'val' / names[-1] / '1.jpg')
    assert found.class_names == (
        tuple(names) if own else webvision.IMAGENET_NAMES
    )


def renamed(made, names, tmp_path):
    """Returns a folder with other names of the class folders, no probe."""
    folder = made.copy('webvision_tfds', tmp_path)
    inner = folder / 'webvisionmini-google'
    shutil.rmtree(inner / 'probe_500')
    for part in ('train', 'val'):
        for synset, name in zip(SYNSETS, names, strict=True):
            (inner / part / synset).rename(inner / part / name)
    return inner


def test_own_class_names_cannot_be_matched_to_imagenet(made, tmp_path):
    inner = renamed(made, OWN, tmp_path)
    shutil.copytree(made('imagenet_val')[0], inner, dirs_exist_ok=True)
    with pytest.raises(UsageError, match='cannot be matched'):
        webvision.webvisionmini(str(inner), True)


@pytest.mark.parametrize('names', [SYNSETS, NUMBERS], ids=['synset', 'number'])
@pytest.mark.parametrize('inner', ['imagenet/val', 'imagenet'])
def test_imagenet(made, names, inner, tmp_path):
    folder = made.copy('webvision', tmp_path)
    tiny_sets.make_imagenet_val(folder, names, inner)
    assert 'imagenet' not in webvision.webvisionmini(str(folder)).parts
    part = webvision.webvisionmini(str(folder), True).parts['imagenet']
    # Not the images of the class that is beyond the first 50.
    np.testing.assert_array_equal(part.labels, np.repeat(np.arange(50), 2))
    assert names_of(part, folder)[-1] == (
        f'{inner}/{names[49]}/ILSVRC2012_val_00000099.JPEG'
    )


def test_clothing1m_layouts(tmp_path):
    found = []
    for number, (annotations, prefix, images) in enumerate(
        [(True, True, True), (False, False, True), (True, True, False)]
    ):
        folder = tmp_path / str(number)
        true = tiny_sets.make_clothing1m(folder, 6, annotations, prefix)
        if not images:
            for inner in (folder / 'images').iterdir():
                inner.rename(folder / inner.name)
            (folder / 'images').rmdir()
        found.append(clothing1m.clothing1m(str(folder)))
        start = folder / 'images' if images else folder
        names = names_of(found[-1].parts['train'], start)
        keys = [f'images/{name}' if prefix else name for name in names]
        assert keys == list(true)
        check_noise(found[-1].parts['train'], keys, true)
    for one in found[1:]:
        assert one.remarks == found[0].remarks
        for part, listing in one.parts.items():
            np.testing.assert_array_equal(
                listing.labels, found[0].parts[part].labels
            )
    assert list(found[0].parts) == ['train', 'valid', 'test', 'probe']
    for part in ('valid', 'test', 'probe'):
        labels = found[0].parts[part].labels
        np.testing.assert_array_equal(labels, np.repeat(np.arange(14), 2))


def test_clothing1m_names_and_confusion(made, tmp_path):
    folder = made.copy('clothing1m', tmp_path)
    found = clothing1m.clothing1m(str(folder))
    assert found.class_names == clothing1m._CLOTHES == tuple(tiny_sets.CLOTHES)
    lists = folder / 'annotations'
    kv = [
        dict(
            line.split(' ') for line in lines_of(lists / f'{kind}_label_kv.txt')
        )
        for kind in ('noisy', 'clean')
    ]
    both = kv[0].keys() & kv[1].keys()
    wrong = sum(kv[0][key] != kv[1][key] for key in both)
    assert found.remarks[0] == (
        f'Of 56 images with a noisy and a clean label, {wrong / 56:.2%} of the '
        'noisy labels are wrong.'
    )
    own = [f'class {label}' for label in range(14)]
    edit(lists / 'category_names_eng.txt', lambda _: own)
    assert clothing1m.clothing1m(str(folder)).class_names == tuple(own)
    (lists / 'category_names_eng.txt').unlink()
    # Nobody has both labels now.
    edit(lists / 'noisy_label_kv.txt',
         lambda lines: [x for x in lines if 'noisy_train' in x])  # fmt: skip
    found = clothing1m.clothing1m(str(folder))
    assert found.class_names == clothing1m._CLOTHES
    assert not any('clean label' in remark for remark in found.remarks)


def test_animal10n(made):
    folder, true = made('animal10n')
    found = animal10n.animal10n(str(folder))
    assert found.class_names[9] == 'Guinea pig'
    train = found.parts['train']
    names = names_of(train, folder / 'training')
    assert names == sorted(true)
    assert [int(name[0]) for name in names] == list(train.labels)
    check_noise(train, names, true)
    labels = found.parts['test'].labels
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 2))


@pytest.mark.parametrize('place', ['inside', 'beside', 'release'])
def test_food101n(made, place, tmp_path):
    folder = made.copy('food101n', tmp_path)
    true = made('food101n')[1]
    start = folder
    if place == 'beside':
        (folder / 'food-101').rename(folder.parent / 'food-101')
    elif place == 'release':
        start = folder / 'Food-101N_release'
        start.mkdir()
        for name in ('meta', 'images'):
            (folder / name).rename(start / name)
    found = food101n.food101n(str(folder))
    assert found.class_names[100] == 'dish_100'
    train = found.parts['train']
    names = names_of(train, start / 'images')
    assert names == list(true)
    assert [f'dish_{label:03d}' for label in train.labels] == [
        name.split('/')[0] for name in names
    ]
    check_noise(train, names, true)
    np.testing.assert_array_equal(found.parts['test'].labels, np.arange(101))
    assert (
        found.parts['test'].paths[3].endswith('food-101/images/dish_003/3.jpg')
    )
    right = np.mean([
        train.labels[i] == true[name]
        for i, name in enumerate(names) if not name.endswith('_2.jpg')
    ])  # fmt: skip
    assert found.remarks[0] == f'Of 202 verified labels, {right:.2%} are right.'


def test_food101n_without_headers_or_verification(made, tmp_path):
    folder = made.copy('food101n', tmp_path)
    for name in ('classes.txt', 'imagelist.tsv'):
        edit(folder / 'meta' / name, lambda lines: lines[1:])
    for name in ('train', 'val'):
        (folder / f'meta/verified_{name}.tsv').unlink()
    found = food101n.food101n(str(folder))
    assert len(found.parts['train']) == 303
    assert found.class_names[0] == 'dish_000'
    assert not any('verified' in remark for remark in found.remarks)


def test_files_that_nobody_reads_are_left_out(made, tmp_path):
    folder = made.copy('animal10n', tmp_path)
    listing = animal10n.animal10n(str(folder)).parts['train']
    bmp = only_for_pillow(tmp_path / 'pillow')[0].read_bytes()
    replace(listing.paths[0], b'<html>')
    replace(listing.paths[1], bmp)
    opened = DATASETS.get('animal10n')(str(folder))
    for side in (64, 72):
        source = opened.source(side)
        assert len(source.train) == len(listing) - 1
        ((path, _),) = source.skipped
        assert path == listing.paths[0] and path in source.remarks[-1]
        source.train.images.fetch(np.arange(3), None)
    for path in animal10n.animal10n(str(folder)).parts['test'].paths:
        replace(path, b'')
    with pytest.raises(UsageError, match='None of the 20 test images'):
        opened.source(32)


def test_a_few_missing_files_are_left_out(made, tmp_path):
    folder = made.copy('webvision', tmp_path)
    before = webvision.webvisionmini(str(folder)).parts['train']
    for place in (3, 77):
        os.remove(before.paths[place])
    found = webvision.webvisionmini(str(folder))
    keep = np.delete(np.arange(200), [3, 77])
    after = found.parts['train']
    assert after.paths == [before.paths[place] for place in keep]
    np.testing.assert_array_equal(after.labels, before.labels[keep])
    first = pathlib.Path(before.paths[3]).relative_to(folder).as_posix()
    assert found.remarks[0] == (
        '2 of the 200 images of info/train_filelist_google.txt are missing '
        f'and left out, the first is {first}.'
    )


def test_lists_as_other_systems_write_them(made, tmp_path):
    folder = made.copy('webvision', tmp_path)
    path = folder / 'info/val_filelist.txt'
    before = webvision.webvisionmini(str(folder)).parts['test']
    # A mark of the encoding, two kinds of line ends, tabs and a blank line.
    text = path.read_text().replace(' ', '\t').replace('\n', '\r\n')
    path.write_bytes(b'\xef\xbb\xbf' + text.encode() + b'\r\n\n')
    (folder / 'val_images_256/val000002.jpg').rename(
        folder / 'val_images_256/val 2.jpg'
    )
    path.write_bytes(path.read_bytes().replace(b'val000002', b'val 2'))
    after = webvision.webvisionmini(str(folder)).parts['test']
    assert after.paths[2].endswith('val 2.jpg')
    assert after.paths[3:] == before.paths[3:]
    np.testing.assert_array_equal(after.labels, before.labels)


def test_each_folder_is_listed_once(made, monkeypatch):
    """A million files are too many to ask for one by one."""
    listed = []
    real = os.listdir
    monkeypatch.setattr(os, 'listdir', lambda f: listed.append(f) or real(f))
    names = [f'{i % 3}/no{i}.jpg' for i in range(300)]
    folder = made('animal10n')[0]
    assert not published._exist(str(folder), [*names, 'training/no']).any()
    assert len(listed) == 4


@pytest.mark.parametrize('module', [animal10n, clothing1m, food101n, webvision])
def test_recipes(module):
    recipe = module.RECIPE
    assert recipe.crop in ('area', 'shift')
    assert 0 < recipe.fraction <= 1
    # The square of evaluation comes from a short side of whole pixels.
    assert recipe.size / recipe.fraction == pytest.approx(
        {webvision: 320, animal10n: 64}.get(module, 256)
    )


def test_tiny_sets_are_the_same_on_every_call(made, tmp_path):
    folder, _ = made('animal10n')
    file = pathlib.Path(tiny_sets.__file__)
    subprocess.run([sys.executable, file, 'animal10n', tmp_path], check=True)
    paths = sorted(p for p in folder.rglob('*') if p.is_file())
    for path in paths:
        again = tmp_path / path.relative_to(folder)
        assert again.read_bytes() == path.read_bytes()
    assert len(paths) == len([p for p in tmp_path.rglob('*') if p.is_file()])


def test_tiny_sets_have_several_sizes(made):
    folder, _ = made('webvision')
    sizes = set()
    for path in (folder / 'google').rglob('*.jpg'):
        with Image.open(path) as image:
            sizes.add(image.size)
    assert sizes == set(tiny_sets.SIZES)


def test_tiny_folder_and_csv(made):
    folder, true = made('folder')
    assert all((folder / name).is_file() for name in true)
    wrong = {'train': 0, 'test': 0}
    for name, label in true.items():
        split, given, _ = name.split('/')
        wrong[split] += given != ('cat', 'dog', 'élan', 'fox')[label]
    assert wrong['train'] and not wrong['test']
    folder, true = made('csv')
    lines = (folder / 'labels.csv').read_text('utf-8').splitlines()
    assert lines[0] == 'path,label,clean_label,split'
    rows = [line.split(',') for line in lines[1:]]
    assert [row[0] for row in rows] == list(true)
    assert any(row[1] != row[2] for row in rows if row[3] == 'train')
    assert all(row[1] == row[2] for row in rows if row[3] == 'test')
