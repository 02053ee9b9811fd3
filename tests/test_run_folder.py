"""Run folders: locked, checked, and removed if nothing began in them."""

import errno
import os
import threading

import pytest

from ieg import run_folder
from ieg.errors import RunError, UsageError
from ieg.utils import files


def test_a_thread_writes_a_folder_alone(tmp_path):
    folder = str(tmp_path / 'run')
    said = []

    def again():
        try:
            with run_folder.writing(folder):
                pass
        except UsageError as error:
            said.append(str(error))

    with run_folder.writing(folder):
        other = threading.Thread(target=again)
        other.start()
        other.join()
        # The training after a search.
        with run_folder.writing(f'{folder}/'):
            pass
        assert os.listdir(folder) == ['lock']
        (tmp_path / 'run' / 'kept').touch()
    assert os.listdir(folder) == ['kept']
    (sentence,) = said
    for word in (folder, f'process {os.getpid()}', '--run_name'):
        assert word in sentence


@pytest.mark.parametrize('error', [UsageError, RunError, KeyboardInterrupt])
def test_a_failed_start_leaves_no_folder(tmp_path, error):
    with pytest.raises(error):
        with run_folder.writing(str(tmp_path / 'a' / 'b' / 'run')):
            raise error
    assert not os.listdir(tmp_path)


def test_folders_that_can_be_written_are_not_made(tmp_path, monkeypatch):
    folder = str(tmp_path / 'a' / 'run')
    run_folder.check_writable(folder)
    assert not os.listdir(tmp_path)
    monkeypatch.setattr(os, 'access', lambda path, mode: path != str(tmp_path))
    with pytest.raises(UsageError, match=f'nothing may be .* {tmp_path}'):
        run_folder.check_writable(folder)
    (tmp_path / 'a').touch()
    with pytest.raises(UsageError, match='/a is not a folder'):
        run_folder.check_writable(folder)


def fail_after(folder, name, text='x'):
    path = folder / name
    with pytest.raises(UsageError):
        with run_folder.writing(str(folder)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            raise UsageError('a mistake')
    return path


@pytest.mark.parametrize(
    'name', ['checkpoints/ckpt-4.npz', 'checkpoints/ckpt-4.index',
             'summary.json', 'search/trials.jsonl'],
)  # fmt: skip
def test_what_can_be_resumed_is_kept(tmp_path, name):
    assert fail_after(tmp_path / 'run', name).read_text() == 'x'


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('config.json', '{}'),
        ('checkpoints/.0f.tmp.npz', 'x'),
        ('search/search.json', '{}'),
        ('search/trials.jsonl', ''),
    ],
)
def test_nothing_else_is(tmp_path, name, text):
    fail_after(tmp_path / 'run', name, text)
    assert not os.listdir(tmp_path)


def test_it_is_removed_while_no_other_process_can_write_it(
    tmp_path, monkeypatch
):
    removed = []
    monkeypatch.setattr(
        run_folder.shutil,
        'rmtree',
        lambda folder, **_: removed.extend(os.listdir(folder)),
    )
    fail_after(tmp_path / 'run', 'config.json')
    assert set(removed) == {'lock', 'config.json'}


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / 'run').mkdir()
    assert fail_after(tmp_path / 'run', 'config.json').exists()


def test_a_lock_that_cannot_be_written_is_a_mistake(tmp_path):
    (tmp_path / 'run' / 'lock').mkdir(parents=True)
    with pytest.raises(UsageError, match='cannot be written'):
        with run_folder.writing(str(tmp_path / 'run')):
            pass


def test_a_full_disk_is_not_a_wrong_folder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'pwrite', full)
    with pytest.raises(OSError) as caught:
        with run_folder.writing(str(tmp_path / 'run')):
            pass
    assert caught.value.filename == str(tmp_path / 'run')


@pytest.mark.parametrize(
    'name', ['checkpoints', 'tensorboard', 'search', 'log.jsonl', 'noise.npz']
)
@pytest.mark.parametrize('kind', ['other', 'pipe', 'broken link'])
def test_a_wrong_kind_is_named(tmp_path, name, kind):
    path = tmp_path / name
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'broken link':
        path.symlink_to('nowhere')
    elif '.' in name:
        path.mkdir()
    else:
        path.touch()
    for use in (run_folder.check, lambda f: run_folder.writing(f).__enter__()):
        with pytest.raises(UsageError) as caught:
            use(str(tmp_path))
        assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == [name]


def test_links_to_files_and_folders_are_as_good(tmp_path):
    for name in ('elsewhere', 'run'):
        (tmp_path / name).mkdir()
    (tmp_path / 'noise').touch()
    (tmp_path / 'run' / 'checkpoints').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'run' / 'noise.npz').symlink_to(tmp_path / 'noise')
    run_folder.check(str(tmp_path / 'run'))


@pytest.mark.parametrize('other', ['log.jsonl', 'identity.json'])
def test_a_run_folder_is_not_data(tmp_path, other):
    for name in ('config.json', other, 'rounds.png'):
        path = tmp_path / 'runs' / 'photos' / 'run' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / 'cats').mkdir()
    (tmp_path / 'cats' / 'config.json').touch()

    def walked(**how):
        found = files.walk(str(tmp_path), **how)
        return {os.path.basename(folder.path) for folder in found}

    assert walked() == {tmp_path.name, 'runs', 'photos', 'cats'}
    assert 'run' in walked(ours=True)
