"""Writes files so that none is left half written, and opens users' files."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, BinaryIO, Literal, NamedTuple

from ieg.errors import UsageError

# Files and folders that operating systems and NAS devices create, in lower
# case.
_SYSTEM_NAMES = ('__macosx', '@eadir', 'thumbs.db', 'desktop.ini')
# Temporary files, now and in version 0.1.0.
_TEMPORARY = re.compile(r'(\.[0-9a-f]{32}|noise\.npz\.\d+)\.tmp.*', re.DOTALL)
# Files that together make a folder one that this package has written.
_OURS = (
    ('config.json', 'log.jsonl'),
    ('config.json', 'identity.json'),
    ('compare.csv', 'compare.json'),
)
# Names of open files: their target is not a path to write to.
_DESCRIPTORS = ('/dev/fd/', '/dev/std', '/proc/')


def atomic_write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file as a whole or not at all; see `atomic_path`.

    Args:
        path: of the file.
        content: bytes, or text, which is written as UTF-8; surrogates, which
            occur in file names, are escaped.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_open(path, 'wb' if isinstance(content, bytes) else 'w') as file:
        file.write(content)


def append(path: str, text: str) -> None:
    """Appends text to a file, created if need be, and puts it on the disk.

    Raises:
        OSError: the file cannot be written.
    """
    with _naming(path), open(path, 'a', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _naming(
    path: str | os.PathLike[str], temporary: str = ''
) -> Iterator[None]:
    """Names the file in errors that name none, or name a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename in (None, temporary):
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def atomic_open(
    path: str | os.PathLike[str], mode: Literal['w', 'wb'] = 'w'
) -> Iterator[IO[Any]]:
    """Opens a file that gets its name when the block ends without an error.

    What is written to a special file (see `atomic_path`) arrives at once.

    Args:
        path: of the file.
        mode: 'w' for UTF-8 text with '\\n' at line ends, or 'wb'.

    Yields:
        The file object.

    Raises:
        OSError: the file cannot be written.
    """
    text = {'encoding': 'utf-8', 'errors': 'backslashreplace', 'newline': ''}
    options: dict[str, Any] = {} if mode == 'wb' else text
    if is_special(path):
        # Appending, because standard output may be a file with content.
        with (
            _naming(path),
            open(path, mode.replace('w', 'a'), **options) as file,
        ):
            yield file
        return
    if os.path.isdir(path):
        raise IsADirectoryError(
            errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path)
        )
    with atomic_path(path) as temporary:
        with open(temporary, mode.replace('w', 'x'), **options) as file:
            yield file


@contextlib.contextmanager
def atomic_path(
    path: str | os.PathLike[str], suffix: str = ''
) -> Iterator[str]:
    """Yields a temporary path whose file or folder is renamed to `path`.

    The temporary path lies in the folder of `path` and is unique, so several
    processes can write the same file: each reader sees one of the versions.
    If the block raises an exception, what is at `path` stays as it is. The
    temporary file or folder is removed.

    A symbolic link stays: the file that it points to is replaced. Special
    files, such as /dev/stdout, /dev/null and named pipes, are written to.
    Permissions are those of the existing file, otherwise those that the umask
    gives.

    Args:
        path: of the file, or of a folder that does not exist or is empty.
        suffix: what the temporary path has to end with.

    Raises:
        OSError: the file cannot be written.
    """
    if is_special(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = os.path.join(folder, f'content{suffix}')
            yield temporary
            with open(temporary, 'rb') as source, open(path, 'ab') as target:
                shutil.copyfileobj(source, target)
        return
    place = os.path.realpath(path)
    # Not derived from the name, which may have the maximum length already.
    name = f'.{uuid.uuid4().hex}.tmp{suffix}'
    temporary = os.path.join(os.path.dirname(place), name)
    try:
        with _naming(path, temporary):
            yield temporary
            if os.path.isfile(temporary):
                _finish(temporary, place)
            os.replace(temporary, place)
            # Not every file system can.
            with contextlib.suppress(OSError):
                _sync(os.path.dirname(place))
    finally:
        remove(temporary)


def is_special(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path must be written to and never be replaced."""
    if os.path.abspath(path).startswith(_DESCRIPTORS):
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _finish(temporary: str, place: str) -> None:
    """Puts a file on the disk and gives it the permissions of another."""
    _sync(temporary)
    with contextlib.suppress(OSError):
        os.chmod(temporary, stat.S_IMODE(os.stat(place).st_mode))


def _sync(path: str) -> None:
    """Puts a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Returns whether `atomic_path` gives such names until a file is whole."""
    return bool(_TEMPORARY.fullmatch(name))


def clear_leftovers(
    folder: str, also: re.Pattern[str] | None = None, older: float = 0.0
) -> None:
    """Removes what `atomic_path` leaves in a folder if its process is killed.

    Args:
        folder: the folder; it may be missing.
        also: names of other files and folders to remove.
        older: seconds for which they must not have changed, where another
            process may be writing.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        if is_temporary(name) or (also and also.fullmatch(name)):
            path = os.path.join(folder, name)
            if not older or _age(path) > older:
                remove(path)


def _age(path: str) -> float:
    """Returns for how many seconds a file has not changed; 0 if unknown."""
    try:
        return time.time() - os.stat(path).st_mtime
    except OSError:
        return 0.0


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file that a user names; pipes could block for ever.

    Raises:
        OSError: the file cannot be read; with EINVAL for pipes and devices.
    """
    file = open(
        path,
        'rb',
        opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK),
    )
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, 'not a regular file', os.fspath(path))


def from_json(text: str | bytes) -> Any:
    """Returns the value of a JSON text.

    Raises:
        json.JSONDecodeError: the text is not JSON, or has more levels or
            digits than Python reads.
        UnicodeDecodeError: it is not UTF-8.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except (RecursionError, ValueError) as error:
        raise json.JSONDecodeError(str(error), '', 0) from error


def remove(path: str) -> None:
    """Removes a file, or a folder with everything in it, if it exists."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)


# The form of `sha256sum`, which can check it as well.
SUMS = 'SHA256SUMS'


def write_sums(folder: str, names: Iterable[str]) -> None:
    """Writes the SHA-256 of those of some files that a folder has."""
    paths = ((name, os.path.join(folder, name)) for name in sorted(names))
    lines = [f'{_sum(p)}  {n}\n' for n, p in paths if os.path.isfile(p)]
    atomic_write(os.path.join(folder, SUMS), ''.join(lines))


def check_sums(folder: str, only: str = '') -> None:
    """Checks the files of a folder that `write_sums` was called for.

    Args:
        folder: nothing is checked where the file of sums is missing.
        only: name of the only file to check; '' for all.

    Raises:
        UsageError: one is not what it was, or cannot be read.
    """
    path = os.path.join(folder, SUMS)
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f'{path} cannot be read ({error.strerror}).') from None
    for line in lines:
        digest, _, name = line.partition('  ')
        path = os.path.join(folder, name)
        if only not in ('', name):
            continue
        if '/' in name or not os.path.isfile(path) or _sum(path) != digest:
            raise UsageError(
                f'{path} is damaged, or of another run ({SUMS} differs): '
                f'restore it, or write it again with ieg train --run={folder}.'
            )


def _sum(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def cache_folder(cache_dir: str = '') -> str:
    """Returns the folder of what is kept between runs.

    Args:
        cache_dir: option of that name; '' for the usual folder.
    """
    if not cache_dir:
        usual = os.environ.get('XDG_CACHE_HOME', '')
        # By the specification, relative paths are ignored.
        home = usual if os.path.isabs(usual) else '~/.cache'
        cache_dir = os.path.join(home, 'ieg')
    return os.path.expanduser(cache_dir)


def is_hidden(name: str) -> bool:
    """Returns whether readers of images ignore a file or folder.

    Args:
        name: without the folder that it is in.
    """
    return name.startswith('.') or name.lower() in _SYSTEM_NAMES


def is_ours(path: str) -> bool:
    """Returns whether a folder is a run folder or a comparison, not data."""
    return any(
        all(os.path.isfile(os.path.join(path, name)) for name in names)
        for names in _OURS
    )


def check_local(path: Any, what: str = '') -> None:
    """Checks that a path is not a URL.

    Args:
        path: of a file or folder; anything else is not checked.
        what: precedes the path in the message, such as '--data_dir='.

    Raises:
        UsageError: it is one.
    """
    if isinstance(path, str) and '://' in path:
        raise UsageError(
            f'{what}{path} is a URL, but files must be on this machine: give '
            'the path of a local or mounted folder.'
        )


class Folder(NamedTuple):
    """What a folder contains; full paths, sorted by name.

    Attributes:
        path: of the folder.
        folders: folders, and links to some.
        files: regular files, and links to some.
        others: links to nothing, pipes and the like.
        is_repeated: whether the folder was read before and is not read again;
            the lists are empty then.
    """

    path: str
    folders: list[str]
    files: list[str]
    others: list[str]
    is_repeated: bool = False


def read_folder(path: str, hidden: bool = False, ours: bool = False) -> Folder:
    """Returns the contents of a folder.

    Args:
        path: of the folder.
        hidden: whether names for which `is_hidden` is true are included.
        ours: whether folders for which `is_ours` is true are included.

    Raises:
        OSError: the folder cannot be read.
    """
    folder = Folder(path, [], [], [])
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if hidden or not is_hidden(entry.name):
                _kind(entry, folder).append(entry.path)
    if not ours:
        folder.folders[:] = [f for f in folder.folders if not is_ours(f)]
    return folder


def _kind(entry: os.DirEntry[str], folder: Folder) -> list[str]:
    # A circle of links raises an error.
    with contextlib.suppress(OSError):
        if entry.is_dir():
            return folder.folders
        if entry.is_file():
            return folder.files
    return folder.others


def walk(
    top: str,
    *,
    hidden: bool = False,
    ours: bool = False,
    follow_links: bool = True,
    seen: set[tuple[int, int]] | None = None,
    on_error: Callable[[OSError], object] | None = None,
) -> Iterator[Folder]:
    """Yields a folder and the folders at any depth in it, in order of names.

    A folder that a link leads back to is yielded as repeated. Remove paths
    from `folders` of what is yielded to skip them.

    Args:
        top: where to start.
        hidden: as in `read_folder`.
        ours: as in `read_folder`.
        follow_links: whether to read the folders that links point to.
        seen: identities (see `identity`) of folders not to read; those that
            are read are added. None: a folder may be read several times, by
            different paths, but not inside itself.
        on_error: called for a folder that cannot be read, which is skipped
            then; None raises the error.

    Raises:
        OSError: a folder cannot be read.
    """
    # Each folder with the identities of those that contain it.
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(top, frozenset())]
    while waiting:
        path, above = waiting.pop()
        try:
            own = identity(path)
            if own in (above if seen is None else seen):
                yield Folder(path, [], [], [], is_repeated=True)
                continue
            folder = read_folder(path, hidden, ours)
        except OSError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        if seen is not None:
            seen.add(own)
        yield folder
        waiting += [
            (inner, above | {own})
            for inner in reversed(folder.folders)
            if follow_links or not os.path.islink(inner)
        ]


def identity(path: str) -> tuple[int, int]:
    """Returns device and inode, which are equal for all paths of a folder.

    Raises:
        OSError: the folder does not exist.
    """
    status = os.stat(path)
    return status.st_dev, status.st_ino
