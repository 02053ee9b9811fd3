"""Files that are written as a whole, and walks through folders."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from ieg import run_folder
from ieg.commandline import arguments
from ieg.data.noise import human
from ieg.data.sets import npz, table
from ieg.errors import UsageError
from ieg.predict import inputs
from ieg.utils import files


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / 'target'
    path.write_text('old')
    return path


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_text_is_utf8_and_bytes_stay_as_they_are(target):
    files.atomic_write(target, 'é\n\udce9')
    assert target.read_bytes() == b'\xc3\xa9\n\\udce9'
    files.atomic_write(target, b'\r\n\xff')
    assert target.read_bytes() == b'\r\n\xff'
    assert list(target.parent.iterdir()) == [target]


def write_by_path(path):
    with files.atomic_path(path, '.npz') as temporary:
        assert temporary.endswith('.npz')
        with open(temporary, 'w') as file:
            file.write('half')
        raise KeyboardInterrupt


def write_by_file(path):
    with files.atomic_open(path) as file:
        file.write('half')
        file.flush()
        raise KeyboardInterrupt


def write_a_folder(path):
    with files.atomic_path(path) as temporary:
        os.makedirs(os.path.join(temporary, 'inner'))
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    'write', [write_by_path, write_by_file, write_a_folder]
)
def test_an_exception_leaves_the_old_content(target, write):
    with pytest.raises(KeyboardInterrupt):
        write(target)
    assert target.read_text() == 'old'
    assert list(target.parent.iterdir()) == [target]


def test_a_disk_that_fails_leaves_the_old_content(target, monkeypatch):
    def fail(descriptor):
        raise OSError('no space')

    monkeypatch.setattr('os.fsync', fail)
    with pytest.raises(OSError, match='no space'):
        files.atomic_write(target, 'new')
    assert target.read_text() == 'old'
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize('how', ['content', 'place', 'append'])
def test_an_error_names_the_file(how, target, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = target
    if how == 'place':
        path = target.parent / 'missing' / 'file'
    else:
        monkeypatch.setattr(os, 'fsync', fail)
    write = files.append if how == 'append' else files.atomic_write
    with pytest.raises(OSError) as caught:
        write(str(path), 'text')
    assert caught.value.filename == str(path)


def test_a_killed_process_leaves_the_old_content(target):
    code = (
        'import os, signal, sys\n'
        'from ieg.utils import files\n'
        'with files.atomic_open(sys.argv[1]) as file:\n'
        '    file.write("half")\n'
        '    file.flush()\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    ended = subprocess.run([sys.executable, '-c', code, target])
    assert ended.returncode == -signal.SIGKILL
    assert target.read_text() == 'old'
    # What it left behind is in nobody's way.
    files.atomic_write(target, 'new')
    assert target.read_text() == 'new'


def test_concurrent_writers_never_mix(target):
    target.write_text('x' * 100_000)
    code = (
        'import sys\n'
        'from ieg.utils import files\n'
        'for _ in range(50):\n'
        '    files.atomic_write(sys.argv[1], sys.argv[2] * 100_000)\n'
    )
    writers = [
        subprocess.Popen([sys.executable, '-c', code, target, letter])
        for letter in 'yz'
    ]
    while any(writer.poll() is None for writer in writers):
        content = target.read_text()
        assert content == content[0] * 100_000
    assert [writer.returncode for writer in writers] == [0, 0]
    assert list(target.parent.iterdir()) == [target]


def test_permissions_are_those_of_open(target):
    other = target.with_name('other')
    files.atomic_write(other, 'new')
    assert permissions(other) == 0o640
    target.chmod(0o604)
    files.atomic_write(target, 'new')
    assert permissions(target) == 0o604


def test_a_symbolic_link_stays_and_its_target_is_replaced(target):
    folder = target.parent / 'links'
    folder.mkdir()
    for name, end in (('link', '../target'), ('broken', '../made')):
        (folder / name).symlink_to(end)
        files.atomic_write(folder / name, 'new')
        assert (folder / name).is_symlink()
    assert target.read_text() == (folder / '../made').read_text() == 'new'
    assert sorted(p.name for p in folder.iterdir()) == ['broken', 'link']


def test_other_names_are_left_alone(target):
    precious = target.with_name('precious')
    precious.write_text('mine')
    names = (
        'target.tmp',
        'target~',
        '.target.tmp',
        f'target.{os.getpid()}.tmp',
    )
    for name in names:
        target.with_name(name).symlink_to('precious')
    for how in ('file', 'path'):
        put(target, how)
    assert precious.read_text() == 'mine'
    left = {path.name for path in target.parent.iterdir()}
    assert left == {'target', 'precious', *names}


def put(path, how):
    if how == 'file':
        files.atomic_write(path, 'new')
    else:
        with files.atomic_path(path) as temporary:
            with open(temporary, 'w') as file:
                file.write('new')


@pytest.mark.parametrize('how', ['file', 'path'])
def test_a_named_pipe_is_written_to(tmp_path, how):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    (tmp_path / 'link').symlink_to('pipe')
    writer = threading.Thread(target=put, args=(tmp_path / 'link', how))
    writer.start()
    assert pipe.read_text() == 'new'
    writer.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert {p.name for p in tmp_path.iterdir()} == {'pipe', 'link'}


@pytest.mark.parametrize('how', ['file', 'path'])
def test_a_device_stays_a_device(how):
    before = os.stat(os.devnull)
    put(os.devnull, how)
    after = os.stat(os.devnull)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)


@pytest.mark.parametrize('kind', ['pipe', 'file'])
def test_standard_output_is_written_to(tmp_path, kind):
    code = (
        'from ieg.utils import files\n'
        'print("first", flush=True)\n'
        'files.atomic_write("/dev/stdout", "second")\n'
    )
    command = [sys.executable, '-c', code]
    if kind == 'pipe':
        out = subprocess.check_output(command, text=True)
    else:
        path = tmp_path / 'out'
        with open(path, 'w') as file:
            subprocess.run(command, stdout=file, check=True)
        out = path.read_text()
    assert out == 'first\nsecond'


def test_a_folder_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(IsADirectoryError):
        with files.atomic_open(tmp_path):
            pytest.fail('opened')
    with pytest.raises(FileNotFoundError):
        files.atomic_write(tmp_path / 'none' / 'file', '')
    assert not list(tmp_path.iterdir())


def test_a_folder_is_written_as_a_whole(tmp_path):
    path = tmp_path / 'folder'
    with files.atomic_path(path) as temporary:
        os.mkdir(temporary)
        with open(os.path.join(temporary, 'file'), 'w') as file:
            file.write('new')
        assert not path.exists()
    assert (path / 'file').read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('')


def seen_by(root, **options):
    """Returns the files that a walk yields, and the repeated folders."""
    found = list(files.walk(str(root), **options))
    paths = [os.path.relpath(p, root) for f in found for p in f.files]
    again = [os.path.relpath(f.path, root) for f in found if f.is_repeated]
    return paths, again


@pytest.mark.parametrize(
    ('name', 'hidden'),
    [
        ('.git', True),
        ('@eaDir', True),
        ('__MACOSX', True),
        ('Thumbs.db', True),
        ('image.jpg', False),
        ('thumbs', False),
    ],
)
def test_hidden_names_are_passed_over(tmp_path, name, hidden):
    assert files.is_hidden(name) == hidden
    make(tmp_path, f'{name}/1', f'a/{name}')
    everything = {f'{name}/1', f'a/{name}'}
    assert set(seen_by(tmp_path)[0]) == (set() if hidden else everything)
    assert set(seen_by(tmp_path, hidden=True)[0]) == everything


def test_folders_are_walked_in_order(tmp_path):
    make(tmp_path, 'b/1', 'a/2/x', 'a/1/x', 'a/y', 'z')
    assert seen_by(tmp_path)[0] == ['z', 'a/y', 'a/1/x', 'a/2/x', 'b/1']
    for folder in files.walk(str(tmp_path)):
        folder.folders.clear()
    assert folder.path == str(tmp_path)


def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path, 'a/1')
    (tmp_path / 'a' / 'up').symlink_to('..')
    (tmp_path / 'b').symlink_to('a')
    (tmp_path / 'c').symlink_to('c')
    assert seen_by(tmp_path) == (['a/1', 'b/1'], ['a/up', 'b/up'])
    assert seen_by(tmp_path, seen=set()) == (['a/1'], ['a/up', 'b'])
    assert seen_by(tmp_path, follow_links=False) == (['a/1'], [])
    (top, *_) = files.walk(str(tmp_path))
    assert top.others == [str(tmp_path / 'c')]


def test_a_folder_that_cannot_be_read(tmp_path):
    make(tmp_path, 'a/1', 'b/2')
    errors, paths = [], []
    for folder in files.walk(str(tmp_path), on_error=errors.append):
        paths += folder.files
        if folder.path == str(tmp_path):
            # It disappears after it was listed.
            (tmp_path / 'a' / '1').unlink()
            (tmp_path / 'a').rmdir()
    assert paths == [str(tmp_path / 'b' / '2')]
    assert [error.filename for error in errors] == [str(tmp_path / 'a')]
    with pytest.raises(FileNotFoundError):
        list(files.walk(str(tmp_path / 'a')))


def readers():
    """Returns what reads a file that a user names, by the kind of file."""
    return {
        'npz': npz.read_npz,
        'csv': table.read_csv,
        'labels.npz': human.read,
        'config.json': arguments.read_file,
        'images.npy': lambda path: inputs.find([path]),
    }


@pytest.mark.parametrize('name', readers())
def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path, name):
    pipe = tmp_path / name
    os.mkfifo(pipe)
    for path in (pipe, '/dev/zero'):
        # The kind of arrays is recognized by the name.
        if name == 'images.npy' and path != pipe:
            continue
        with pytest.raises(UsageError) as caught:
            readers()[name](str(path))
        assert str(path) in str(caught.value)


def test_json_that_python_cannot_hold_is_a_mistake(tmp_path):
    path = tmp_path / 'config.json'
    for text in ('[' * 100_000, '{"a":' * 100_000, f'[{"9" * 5000}]', '{'):
        with pytest.raises(json.JSONDecodeError):
            files.from_json(text)
        path.write_text(text)
        for read in (arguments.read_file, run_folder.read_object):
            with pytest.raises(UsageError, match=str(path)):
                read(str(path))
