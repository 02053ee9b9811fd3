"""A file layer that fails, and processes that end, at a chosen moment.

Everything that a process does to files below a folder is numbered. A first run
is recorded, so a moment such as 'the first write to label_issues.csv' is a
number, also where a file has another name until it is complete.
"""

import builtins
import contextlib
import dataclasses
import errno
import fnmatch
import io
import os
import signal

import pytest

WRITING = set('wax+')
# Python's own open, os.open and so on, whatever is patched.
_OPEN, _FILE = builtins.open, io.FileIO


class Ended(BaseException):
    """Stands for the end of a process inside of this one."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens, and when.

    Attributes:
        kind: name of an error of the system, which lasts; 'SIGKILL' or
            'SIGTERM'; or 'end', which raises `Ended`.
        root: only operations below this folder count.
        number: of the operation, or of the call, from 1; 0 = none.
        call: name of a place, see `CALLS`; empty for a file operation.
    """

    kind: str
    root: str
    number: int
    call: str = ''


@dataclasses.dataclass
class Operation:
    """An operation on files: what, on which path below the root.

    Or a 'call', whose path is the name of the place.
    """

    kind: str
    path: str


def _calls():
    """Returns the places of a run at which it can end, by name."""
    from ieg import experiment
    from ieg.training.steps import StepRunner
    from ieg.training.trainer import Trainer

    return {
        'build': (experiment, 'build'),
        'step': (StepRunner, 'train'),
        'evaluation': (Trainer, 'evaluate'),
    }


class Layer:
    """Numbers the operations below a folder, and fails at one of them.

    Attributes:
        operations: what was done so far; a file that was renamed has its last
            name.
        struck: whether the fault has happened.
    """

    def __init__(self, fault):
        self.fault = fault
        self.root = os.path.realpath(fault.root)
        self.operations = []
        self.struck = False
        self._count = 0

    # What happens.

    def tell(self, kind, path, half=None):
        """Records an operation, and lets it fail if it has to.

        Args:
            kind: 'open', 'write', 'sync', 'rename' or 'mkdir'.
            path: of the file.
            half: is called before a write fails.
        """
        if not self.is_below(path):
            return
        path = os.path.relpath(os.path.realpath(path), self.root)
        self.operations.append(Operation(kind, path))
        self._count += 1
        due = self._count == self.fault.number
        if due and not self.fault.call:
            if half is not None:
                half()
            self.strike(path)
        elif self.struck and self._lasts(kind):
            raise self._error(path)

    def call(self, name):
        """Records a call of a place, which may be the end."""
        call = Operation('call', name)
        self.operations.append(call)
        number = self.operations.count(call)
        if (name, number) == (self.fault.call, self.fault.number):
            self.strike('')

    def strike(self, path):
        self.struck = True
        kind = self.fault.kind
        if kind == 'end':
            raise Ended(path)
        if kind.startswith('SIG'):
            os.kill(os.getpid(), getattr(signal, kind))
        else:
            raise self._error(path)

    def _error(self, path):
        number = getattr(errno, self.fault.kind)
        place = os.path.join(self.root, path)
        return OSError(number, os.strerror(number), place)

    def _lasts(self, kind):
        """Returns whether an operation fails because an earlier one did."""
        denied = ('open', 'rename', 'mkdir')
        lasting = {
            'ENOSPC': ('write', 'mkdir'),
            'EIO': ('write', 'sync'),
            'EACCES': denied,
        }
        return kind in lasting.get(self.fault.kind, ())

    def is_below(self, path):
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        place = os.path.realpath(os.fsdecode(path))
        return place == self.root or place.startswith(self.root + os.sep)

    def renamed(self, before, after):
        before, after = (
            os.path.relpath(os.path.realpath(path), self.root)
            for path in (before, after)
        )
        for operation in self.operations:
            inside = operation.path.startswith(before + os.sep)
            if operation.path == before or inside:
                operation.path = after + operation.path[len(before) :]

    # The functions that are replaced.

    def open(
        self,
        file,
        mode='r',
        buffering=-1,
        encoding=None,
        errors=None,
        newline=None,
        closefd=True,
        opener=None,
    ):
        path = _path(file)
        if not WRITING & set(mode) or not self.is_below(path):
            return _OPEN(
                file,
                mode,
                buffering,
                encoding,
                errors,
                newline,
                closefd,
                opener,
            )
        self.tell('open', path)
        plain = mode.replace('b', '').replace('t', '')
        raw = _Raw(file, plain, closefd, opener)
        raw.layer, raw.place = self, path
        if not buffering:
            return raw
        kind = io.BufferedRandom if '+' in mode else io.BufferedWriter
        buffered = kind(raw)
        if 'b' in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline)
        text.mode = mode
        return text

    def functions(self):
        """Returns what replaces functions of `os`, by name."""
        real = {name: getattr(os, name) for name in _REPLACED}

        def open_(path, flags, *args, **kwargs):
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.tell('open', path)
            return real['open'](path, flags, *args, **kwargs)

        def write(descriptor, data):
            self.tell('write', _path(descriptor))
            return real['write'](descriptor, data)

        def fsync(descriptor):
            self.tell('sync', _path(descriptor))
            return real['fsync'](descriptor)

        def mkdir(path, *args, **kwargs):
            self.tell('mkdir', path)
            return real['mkdir'](path, *args, **kwargs)

        def moving(name):
            def move(source, target, **kwargs):
                self.tell('rename', target)
                real[name](source, target, **kwargs)
                self.renamed(source, target)

            return move

        return {
            'open': open_,
            'write': write,
            'fsync': fsync,
            'mkdir': mkdir,
            'rename': moving('rename'),
            'replace': moving('replace'),
        }


_REPLACED = ('open', 'write', 'fsync', 'mkdir', 'rename', 'replace')


class _Raw(_FILE):
    """A file whose writes are told to a layer."""

    def write(self, data):
        def half():
            _FILE.write(self, memoryview(data).cast('B')[: len(data) // 2])

        self.layer.tell('write', self.place, half)
        return super().write(data)


def _path(file):
    """Returns the path of a file, also of an open one, or None."""
    if isinstance(file, int):
        with contextlib.suppress(OSError):
            return os.readlink(f'/proc/self/fd/{file}')
        return None
    return file


def install(fault, patch=None):
    """Replaces functions, for ever or until a MonkeyPatch is undone.

    Returns:
        The layer.
    """
    patch = patch or pytest.MonkeyPatch()
    layer = Layer(fault)
    for call, (place, name) in _calls().items():
        patch.setattr(place, name, _counted(layer, call, getattr(place, name)))
    for name, function in layer.functions().items():
        patch.setattr(os, name, function)
    patch.setattr(io, 'open', layer.open)
    patch.setattr(builtins, 'open', layer.open)
    return layer


def _counted(layer, call, real):
    def counted(*args, **kwargs):
        layer.call(call)
        return real(*args, **kwargs)

    return counted


@contextlib.contextmanager
def injected(fault):
    """Yields the layer of a fault in this process."""
    with pytest.MonkeyPatch.context() as patch:
        yield install(fault, patch)


def nothing(root):
    """Returns a fault that never happens: what is done is recorded."""
    return Fault('none', os.fspath(root), 0)


# Moments.

# Which file is being written, as a pattern below the run folder, and the how
# manieth of these files.
FILES = {
    'first second': ('*', 0),
    'warm-up': ('config.json', 0),
    'in a phase': ('checkpoints/unfinished.npz', 0),
    'checkpoint': ('checkpoints/ckpt-*.npz', -1),
    'log': ('log.jsonl', 0),
    'issues': ('label_issues.csv', 0),
    'predictions': ('predictions.npz', 0),
    'report': ('report.html', 0),
    'model': ('model.keras', 0),
}
# The how manieth call.
CALLS = {
    'first second': ('build', 1),
    'warm-up': ('step', 1),
    'in a phase': ('step', 6),
    'evaluation': ('evaluation', 2),
}
ENDS = ('SIGKILL', 'SIGTERM', 'end')
# Which operations a fault is likely to hit, the first that there is.
LIKELY = {
    'ENOSPC': ('write', 'mkdir', 'open'),
    'EIO': ('sync', 'write', 'mkdir', 'open'),
    'EACCES': ('open', 'mkdir', 'rename'),
    'SIGKILL': ('write', 'rename', 'open', 'mkdir'),
    'SIGTERM': ('rename', 'write', 'open', 'mkdir'),
    'end': ('rename', 'write', 'open', 'mkdir'),
}


def plan(operations, moment, kind, root, folder):
    """Returns the fault of a kind at a moment.

    Args:
        operations: of a recorded run.
        moment: see `FILES` and `CALLS`.
        kind: see `Fault`.
        root: folder of the run to come.
        folder: the run folder below the root.

    Returns:
        The fault, or None if nothing can fail then.
    """
    root = os.fspath(root)
    if kind in ENDS and moment in CALLS:
        call, number = CALLS[moment]
        count = operations.count(Operation('call', call))
        assert number <= count, f'{moment}: the run has only {count} calls'
        return Fault(kind, root, number, call)
    if moment not in FILES:
        return None
    pattern, which = FILES[moment]
    inside = os.path.join(folder, pattern)
    files = [o for o in operations if o.kind != 'call']
    paths = list(
        dict.fromkeys(o.path for o in files if fnmatch.fnmatch(o.path, inside))
    )
    for likely in LIKELY[kind]:
        numbers = [
            number
            for number, operation in enumerate(files, start=1)
            if operation.kind == likely
            and (moment == 'first second' or operation.path in paths[which:])
        ]
        if numbers:
            return Fault(kind, root, numbers[0])
    return None
