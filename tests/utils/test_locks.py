"""Locks: one holder at a time, whatever becomes of it."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import time

import pytest
from paths import ROOT

from ieg.utils import locks

HOLD = (
    'import sys, time; from ieg.utils import locks\n'
    'with locks.hold(sys.argv[1]):\n'
    "    print('held', flush=True)\n"
    '    time.sleep(60)\n'
)


def start_holder(path):
    """Starts a process that holds a lock, and waits until it does."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'held\n'
    return process


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path):
    path = tmp_path / 'lock'
    with start_holder(path) as process:
        content = path.read_text()
        with pytest.raises(locks.HeldError) as caught:
            with locks.hold(str(path)):
                pass
        for word in (f'process {process.pid}', os.uname().nodename):
            assert word in str(caught.value)
        assert path.read_text() == content
        process.kill()
        process.wait()
        assert path.read_text() == content
        with locks.hold(str(path)):
            assert json.loads(path.read_text())['process'] == os.getpid()
    assert not path.exists()


def test_a_process_holds_it_once(tmp_path):
    path = str(tmp_path / 'lock')
    for _ in range(2):
        with locks.hold(path):
            with pytest.raises(locks.HeldError, match=str(os.getpid())):
                with locks.hold(path):
                    pass
            assert os.path.exists(path)


@pytest.fixture(params=['ENOLCK', 'EOPNOTSUPP', 'ENOSYS'])
def without_locks(request, monkeypatch):
    def flock(*_):
        raise OSError(getattr(errno, request.param), 'no locks')

    monkeypatch.setattr(fcntl, 'flock', flock)
    monkeypatch.setattr(locks, 'SETTLE', 0.01)


DEAD = 2**22 + 1  # Above the largest number of a process.


@pytest.mark.parametrize(
    ('host', 'process', 'age', 'held'),
    [
        ('elsewhere', 1, 0, True),
        ('elsewhere', 1, locks.STALE + 1, False),
        (None, 1, 0, True),
        (None, 1, locks.STALE + 1, False),
        (None, DEAD, 0, False),
        (None, 2**70, 0, False),
        # Containers often give all their processes the same numbers.
        (None, 'own', 0, False),
        ('elsewhere', 'own', 0, True),
        (None, 'x', 0, False),
    ],
)
def test_without_locks_the_file_counts(
    without_locks, tmp_path, host, process, age, held
):
    path = tmp_path / 'lock'
    process = os.getpid() if process == 'own' else process
    holder = {'host': host or os.uname().nodename, 'process': process}
    path.write_text(json.dumps(holder | {'since': 'noon'}))
    then = time.time() - age
    os.utime(path, (then, then))
    if held:
        with pytest.raises(locks.HeldError, match='since noon'):
            with locks.hold(str(path)):
                pass
        assert json.loads(path.read_text())['since'] == 'noon'
    else:
        with locks.hold(str(path)):
            assert json.loads(path.read_text())['process'] == os.getpid()
        assert not path.exists()


def test_without_locks_the_last_of_two_that_begin_at_once_has_it(
    without_locks, tmp_path, monkeypatch
):
    path = tmp_path / 'lock'
    other = json.dumps({'host': 'elsewhere', 'process': 7, 'since': 'noon'})

    def sleep(seconds):
        # Threads of other tests sleep, too.
        if seconds == locks.SETTLE:
            path.write_text(other)

    monkeypatch.setattr(time, 'sleep', sleep)
    with pytest.raises(locks.HeldError, match='process 7 on host elsewhere'):
        with locks.hold(str(path)):
            pass
    assert path.read_text() == other


def test_a_file_is_refreshed(without_locks, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, 'REFRESH', 0.01)
    path = tmp_path / 'lock'
    with locks.hold(str(path)):
        os.utime(path, (0, 0))
        end = time.time() + 5
        while path.stat().st_mtime == 0 and time.time() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_other_errors_are_raised(tmp_path):
    with pytest.raises(OSError):
        with locks.hold(str(tmp_path)):
            pass
