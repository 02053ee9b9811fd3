"""A lock file: one process at a time writes to a folder."""

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

# Errors of file systems that have no locks.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Seconds after which the file is refreshed, and after which it is stale.
REFRESH, STALE = 60, 600
# Seconds in which two processes without locks see what the other has written.
SETTLE = 0.2


class HeldError(Exception):
    """Another process, which the message names, holds the lock.

    Args:
        descriptor: of the lock file.
    """

    def __init__(self, descriptor: int):
        form = 'process {process} on host {host} since {since}'
        super().__init__(form.format_map(_holder(descriptor)))


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
    while True:
        with contextlib.ExitStack() as stack:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o666)
            stack.callback(os.close, descriptor)
            locked = _lock(descriptor)
            if not locked and _is_held(descriptor):
                raise HeldError(descriptor)
            # The last holder may have removed it since it was opened.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, mine, 0)
                    if not locked:
                        time.sleep(SETTLE)
                        if os.pread(descriptor, 1000, 0) != mine:
                            raise HeldError(descriptor)
                    stack.pop_all()
                    return descriptor


def _lock(descriptor: int) -> bool:
    """Locks a file; returns False where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise HeldError(descriptor) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return False
    return True


def _holder(descriptor: int) -> dict[str, Any]:
    """Returns what a lock file says, which need not be true."""
    said: Any = None
    with contextlib.suppress(ValueError):
        said = json.loads(os.pread(descriptor, 1000, 0))
    unknown = dict.fromkeys(('host', 'process', 'since'), 'unknown')
    return unknown | (said if isinstance(said, dict) else {})


def _is_held(descriptor: int) -> bool:
    """Returns whether the content names a process that may still run."""
    holder = _holder(descriptor)
    process = holder['process']
    if type(process) is not int:
        return False
    if holder['host'] == os.uname().nodename:
        # With its own number, as often in containers, it is an earlier one.
        if process == os.getpid():
            return False
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:
            pass  # It belongs to another user.
    return time.time() - os.fstat(descriptor).st_mtime < STALE
