"""Corrected class folders, written and read again; what is refused."""

import json
import os
import pathlib
import shutil

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
from requested_noise import corrupt

from ieg.data.noise import labels as noise_labels


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
    for path in new.rglob('*'):
        assert path.stat().st_nlink == 1 or path.is_dir()
    one = new / 'train/cat/1.png'
    assert one.stat().st_mtime_ns == before[root / 'train/cat/1.png'][1]
    one.write_text('edited')
    assert everything(root) == before


def test_what_an_audit_found_is_audited_again(tmp_path):
    root = write_images(tmp_path / 'my photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    path = pathlib.Path(run.folder, 'config.json')
    options = json.loads(path.read_text())
    path.write_text(json.dumps(options | {'method_asked': 'auto'}))
    said = run.apply({('train', 0): 'owl'})
    assert said.endswith(f"train on it with `ieg audit '{root}-corrected'`.")


def test_parts_in_folders_of_their_own(tmp_path):
    train, valid = 'training_set/cat', 'valid_set'
    layout = {f'{train}/{name}': 6 for name in ('cat', 'dog')}
    layout |= {f'{valid}/{name}': 2 for name in ('cat', 'dog')}
    layout |= {f'test_set/test_set/{name}': 2 for name in ('cat', 'dog')}
    root = write_images(tmp_path / 'photos', layout)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    index = int(run.data.valid.indices[0])
    again(run.apply({('train', 0): 'dog', ('valid', index): 'dog'}))
    new = tmp_path / 'photos-corrected'
    assert len(os.listdir(new / train / 'cat')) == 5
    assert len(os.listdir(new / train / 'dog')) == 7
    assert len(os.listdir(new / valid / 'cat')) == 1
    assert len(os.listdir(new / valid / 'dog')) == 3
    assert not (new / 'training_set/dog').exists()


@pytest.mark.parametrize('old', [False, True])
def test_class_folders_without_parts_validation_examples_too(tmp_path, old):
    root = write_images(tmp_path / 'photos', {'cat/a': 10, 'dog': 10, 'owl': 5})
    run = Finished(
        tmp_path, dataset='folder', data_dir=f'{root}/', valid_ratio=0.2
    )
    if old:
        run.as_before()
    valid = run.data.valid
    index = int(valid.indices[0])
    given = run.data.class_names[valid.labels[0]]
    wanted = {'cat': 'dog', 'dog': 'owl', 'owl': 'cat'}[given]
    held_out = run.data.test
    first, second = held_out.indices[:2].tolist()
    asked = {('valid', index): wanted}
    asked |= {('test', first): 'owl', ('test', second): '-'}
    assert run.data.class_names[held_out.labels[0]] != 'owl'
    said = run.apply(asked, str(tmp_path / 'new place'))
    assert 'chosen again' in said
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


def test_links_become_copies_unless_they_lead_outside(tmp_path):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    (tmp_path / 'secret').mkdir()
    write_image(tmp_path / 'secret/1.png', 77)
    write_image(tmp_path / 'secret/2.png', 78)
    (root / 'train/owl/inside.png').symlink_to('../cat/0.png')
    (root / 'train/owl/outside.png').symlink_to(tmp_path / 'secret/1.png')
    (root / 'train/dog/inner').symlink_to('../../../secret')
    (root / 'notes.txt').symlink_to('../secret/1.png')
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    said = run.apply({('train', 1): 'dog'})
    assert f'4 links that lead out of {root} are left out' in said
    new = tmp_path / 'photos-corrected'
    assert not any(path.is_symlink() for path in new.rglob('*'))
    inside = new / 'train/owl/inside.png'
    assert inside.read_bytes() == (root / 'train/cat/0.png').read_bytes()
    secret = {path.read_bytes() for path in (tmp_path / 'secret').iterdir()}
    assert not secret & {content for content, _ in everything(new).values()}


def test_a_disk_that_is_too_small_is_found_before_copying(
    tmp_path, monkeypatch
):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    size = sum(len(content) for content, _ in everything(root).values())

    def usage(path):
        return shutil._ntuple_diskusage(2 * size, size + 1, size - 1)

    def fails(*args, **kwargs):
        raise AssertionError('copied')

    monkeypatch.setattr(shutil, 'disk_usage', usage)
    monkeypatch.setattr(shutil, 'copy2', fails)
    said = run.refusal({('train', 0): 'dog'})
    assert f'a copy of {root} takes 0.0 MiB' in said and '--output' in said
    assert sorted(os.listdir(tmp_path)) == [
        'corrected.csv', 'folder-photos', 'photos'
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    root = write_images(tmp_path / 'photos', WITH_PARTS)
    run = Finished(tmp_path, dataset='folder', data_dir=root)

    def fails(source, target):
        raise PermissionError(13, 'Permission denied', source)

    monkeypatch.setattr(shutil, 'copy2', fails)
    said = run.refusal({('train', 0): 'dog'})
    assert said.startswith(f'the file {root}/') and 'permissions' in said
    assert not (tmp_path / 'photos-corrected').exists()


def test_class_folders_with_spaces_and_signs(tmp_path):
    layout = {
        f'{part}/{name}': 3
        for name in ('cat ', '-1', '=owl')
        for part in ('train', 'test')
    }
    root = write_images(tmp_path / 'photos', layout)
    run = Finished(tmp_path, dataset='folder', data_dir=root)
    # The name of the class has no space at its end.
    asked = dict.fromkeys([('train', 0), ('test', 0)], 'cat')
    asked |= {('train', 5): '-1', ('test', 5): '=owl'}
    found = again(run.apply(asked))
    for part in ('train', 'test'):
        split = run.data.split(part)
        expected = by_content(split, run.data.class_names)
        for (name, index), label in asked.items():
            if name == part:
                expected[content(split)[index]] = label
        assert by_content(found.split(part), found.class_names) == expected


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
    assert said.startswith('no method could train with these corrections')
    assert "'cat'" in said and '.tmp' not in said
    assert not (tmp_path / 'photos-corrected').exists()


def test_what_is_no_finished_run_is_refused(tmp_path):
    run = Finished(tmp_path, dataset='fake', network_name='cnn')
    run.correct({('train', 0): 'red'})
    os.remove(f'{run.folder}/summary.json')
    assert 'is not finished' in run.refusal()
    os.remove(f'{run.folder}/config.json')
    assert f'{run.folder} is not a run folder' in run.refusal()
    run.folder = str(tmp_path / 'nowhere')
    assert 'nowhere is not a run folder' in run.refusal()


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
    other = corrupt(noise.clean, 'uniform', 0.4, 'fake', 4, 9)
    noise_labels.save(f'{run.folder}/noise.npz', other)
    assert 'are not those of the run in' in run.refusal()
