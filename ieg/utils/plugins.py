"""Modules of the user: their files, and sentences about mistakes in them."""

import hashlib
import inspect
import os
import re
import sys
import sysconfig
import traceback
import types
from pathlib import Path
from typing import Any

from ieg.errors import UsageError
from ieg.utils.files import from_json, open_regular

# Set to anything, it shows where in TensorFlow or here a plugin has failed.
TRACEBACK = 'IEG_TRACEBACK'
# Folders of this package and of others.
_LIBRARIES = tuple(
    os.path.join(os.path.realpath(path), '')
    for path in (
        os.path.dirname(os.path.dirname(__file__)),
        *map(sysconfig.get_path, ('stdlib', 'purelib', 'platlib')),
    )
)
# What `record` has.
RECORD = ('plugin', 'plugin_sha256')
# Names of modules, in the order in which they were imported.
names: list[str] = []


def sources() -> dict[str, str]:
    """Returns module -> path of the plugins and of your modules they use."""
    todo: list[str] = [*names]
    files: dict[str, str] = {}
    # A plugin may be installed among the libraries.
    own = {name.split('.')[0] for name in names}
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        path = os.path.realpath(getattr(module, '__file__', None) or '')
        library = path.startswith(_LIBRARIES) and name.split('.')[0] not in own
        if library or name in files or not os.path.isfile(path):
            continue
        files[name] = path
        for value in list(vars(module).values()):
            if isinstance(value, types.ModuleType):
                todo.append(value.__name__)
            elif isinstance(value, type | types.FunctionType):
                todo.append(value.__module__)
    return files


def record() -> dict[str, Any]:
    """Returns what `config.json` says of the plugins: names and digests."""
    digests = {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for name, path in sorted(sources().items())
    }
    values = (','.join(names), digests)
    return dict(zip(RECORD, values, strict=True)) if names else {}


def recorded(path: str, key: str = RECORD[0], empty: Any = '') -> Any:
    """Returns a value of `record` in a `config.json`, or `empty`."""
    try:
        with open_regular(path) as file:
            value = from_json(file.read())[key]
    # Whoever needs the other options says what is wrong with the file.
    except (OSError, ValueError, LookupError, TypeError):
        return empty
    return value if isinstance(value, type(empty)) else empty


def edited(path: str) -> list[str]:
    """Returns the modules that differ from those in a `config.json`."""
    before, now = recorded(path, RECORD[1], {}), record().get(RECORD[1], {})
    return [name for name in now if before.get(name, now[name]) != now[name]]


def mistake(
    cls: type, name: str, reason: str, called: bool = False
) -> UsageError:
    """Returns the mistake of a function of a class of the user.

    It has the place of the function or, if that was `called`, of the call.
    """
    where = _calling_place() if called else place(getattr(cls, name, None))
    end = '' if reason.endswith(('.', '?')) else '.'
    return UsageError(f'{cls.__name__}.{name}{where}: {reason}{end}')


def place(function: Any) -> str:
    """Returns ' (FILE, line NUMBER)' of a function, or '' if unknown."""
    code = getattr(inspect.unwrap(function), '__code__', None)
    return _place(code.co_filename, code.co_firstlineno) if code else ''


def _calling_place() -> str:
    for frame, line in traceback.walk_stack(None):
        path = frame.f_code.co_filename
        if not os.path.realpath(path).startswith(_LIBRARIES[0]):
            return _place(path, line)
    return ''


def _place(path: str, line: int) -> str:
    near = os.path.relpath(path)
    return f' ({path if near.startswith("..") else near}, line {line})'


def sentence(error: Exception) -> str | None:
    """Returns where a plugin has failed and why, or None if it has not."""
    text, files = str(error), {*sources().values()}
    frames = traceback.extract_tb(error.__traceback__)
    # An operation of a graph fails elsewhere; its message has such lines.
    line = r'File "(.+?)", line (\d+), in \S+\s'
    places = [(frame.filename, frame.lineno or 0) for frame in frames]
    places += [(path, int(n)) for path, n in re.findall(line, text)]
    lines = [place for place in places if os.path.realpath(place[0]) in files]
    if not lines or TRACEBACK in os.environ:
        return None
    why = ' '.join(re.split(line, re.sub(r'\x1b\[\d*m', '', text))[-1].split())
    return (
        f'The plugin failed{_place(*lines[-1])}: {type(error).__name__}: '
        f'{why[:300].rstrip(".")}. Set {TRACEBACK}=1 for the traceback.'
    )
