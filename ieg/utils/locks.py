"""A lock file: one process at a time writes to a folder."""

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator

# Errors of file systems that have no locks.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Seconds after which the file is refreshed, and after which it is stale.
REFRESH, STALE = 60, 600
# Seconds in which two processes without locks see what the other has written.
SETTLE = 0.2


class HeldError(Exception):
    """Another process, which the message names, holds the lock."""


@contextlib.contextmanager
def hold(path: str) -> Iterator[None]:
    """Holds a lock, which also ends when this process dies.

    The kernel releases it. On a file system without locks the content of the
    file counts, which names host and process: it is stale when that host is
    this one and has no such process, or when it was not refreshed for `STALE`
    seconds.

    Args:
        path: of the lock file; removed at the end.

    Raises:
        HeldError: another process holds the lock.
        OSError: the file cannot be written.
    """
    mine = json.dumps(
        {
            'host': os.uname().nodename,
            'process': os.getpid(),
            'since': time.strftime('%Y-%m-%d %H:%M:%S'),
        }
    ).encode()
    descriptor, ended = _take(path, mine), threading.Event()

    def refresh() -> None:
        while not ended.wait(REFRESH):
            with contextlib.suppress(OSError):
                os.utime(descriptor)

    thread = threading.Thread(target=refresh, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        # While the lock is held: later the file may be another process's.
        with contextlib.suppress(OSError):
            if os.pread(descriptor, 1000, 0) == mine:
                os.remove(path)
        os.close(descriptor)


def _take(path: str, mine: bytes) -> int:
    """Writes `mine` to the lock file; returns its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            if _try(path, descriptor, mine):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _try(path: str, descriptor: int, mine: bytes) -> bool:
    """Writes `mine`; returns False if the file at `path` is another one now."""
    locked = _lock(descriptor)
    if not locked and _is_held(descriptor):
        raise HeldError(_holder(descriptor))
    try:
        # The last holder may have removed it since it was opened.
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return False
    except FileNotFoundError:
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, mine, 0)
    if not locked:
        time.sleep(SETTLE)
        if os.pread(descriptor, 1000, 0) != mine:
            raise HeldError(_holder(descriptor))
    return True


def _lock(descriptor: int) -> bool:
    """Locks a file; returns False where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HeldError(_holder(descriptor)) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return False
    return True


def _read(descriptor: int) -> dict[str, object]:
    with contextlib.suppress(ValueError):
        content = json.loads(os.pread(descriptor, 1000, 0))
        if isinstance(content, dict):
            return content
    return {}


def _holder(descriptor: int) -> str:
    known = {'process': 'unknown', 'host': 'unknown', 'since': 'unknown'}
    return 'process {process} on host {host} since {since}'.format_map(
        known | _read(descriptor)
    )


def _is_held(descriptor: int) -> bool:
    """Returns whether the content names a process that may still run."""
    content = _read(descriptor)
    process = content.get('process')
    if type(process) is not int or process == os.getpid():
        return False
    if content.get('host') == os.uname().nodename:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # It belongs to another user.
    return time.time() - os.fstat(descriptor).st_mtime < STALE
