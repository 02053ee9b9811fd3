"""Modules of the user: their files, and sentences about mistakes in them."""

import hashlib
import inspect
import json
import os
import re
import sys
import sysconfig
import traceback
import types
from typing import Any

# Set to anything, it shows where in TensorFlow or here a plugin has failed.
TRACEBACK = 'IEG_TRACEBACK'
_LIBRARIES = tuple(
    os.path.join(os.path.realpath(path), '')
    for path in (
        *(
            sysconfig.get_path(name)
            for name in ('stdlib', 'purelib', 'platlib')
        ),
        os.path.dirname(os.path.dirname(__file__)),
    )
)
# What `record` has.
RECORD = ('plugin', 'plugin_sha256')
# Names of modules, in the order in which they were imported.
names: list[str] = []


def sources() -> dict[str, types.ModuleType]:
    """Returns path -> module of the plugins and of your modules they use."""
    todo = [sys.modules[name] for name in names if name in sys.modules]
    # A plugin may be installed among the libraries.
    own = {module.__name__.partition('.')[0] for module in todo}
    files: dict[str, types.ModuleType] = {}
    while todo:
        module = todo.pop()
        path = os.path.realpath(vars(module).get('__file__') or '')
        top = module.__name__.partition('.')[0]
        library = path.startswith(_LIBRARIES) and top not in own
        if library or path in files or not os.path.isfile(path):
            continue
        files[path] = module
        for value in list(vars(module).values()):
            if isinstance(value, type | types.FunctionType):
                value = sys.modules.get(value.__module__)
            if isinstance(value, types.ModuleType):
                todo.append(value)
    return files


def record() -> dict[str, Any]:
    """Returns what `config.json` says of the plugins: names and digests."""
    if not names:
        return {}
    digests = {}
    for path, module in sorted(sources().items()):
        with open(path, 'rb') as file:
            digests[module.__name__] = hashlib.sha256(file.read()).hexdigest()
    return dict(zip(RECORD, (','.join(names), digests), strict=True))


def _recorded(path: str, name: str, kind: type) -> Any:
    """Returns what a `config.json` has recorded, or an empty object."""
    try:
        with open(path, encoding='utf-8') as file:
            value = json.load(file)[name]
    # Whoever needs the other options says what is wrong with the file.
    except (OSError, ValueError, LookupError, TypeError):
        return kind()
    return value if isinstance(value, kind) else kind()


def recorded(path: str) -> str:
    """Returns the plugins in a `config.json`, separated by commas."""
    return _recorded(path, 'plugin', str)


def edited(path: str) -> list[str]:
    """Returns the modules that are not as a run has recorded them.

    Args:
        path: its `config.json`.
    """
    before = _recorded(path, 'plugin_sha256', dict)
    now = record().get('plugin_sha256', {})
    return [name for name in now if before.get(name, now[name]) != now[name]]


def place(function: Any) -> str:
    """Returns ' (FILE, line NUMBER)' of a function, or '' if unknown."""
    code = getattr(inspect.unwrap(function), '__code__', None)
    return _place(code.co_filename, code.co_firstlineno) if code else ''


def calling_place() -> str:
    """Returns the same of the line that called a function of this package."""
    frame = inspect.currentframe()
    while frame and os.path.realpath(frame.f_code.co_filename).startswith(
        _LIBRARIES[-1]
    ):
        frame = frame.f_back
    return _place(frame.f_code.co_filename, frame.f_lineno) if frame else ''


def _place(path: str, line: int | None) -> str:
    near = os.path.relpath(path)
    return f' ({path if near.startswith("..") else near}, line {line})'


def sentence(error: Exception) -> str | None:
    """Returns where a plugin has failed and why, or None if it has not.

    Args:
        error: an exception that was raised by anything.
    """
    files = sources()
    frames = traceback.extract_tb(error.__traceback__)
    places = [(frame.filename, frame.lineno or 0) for frame in frames]
    # An operation of a graph fails elsewhere; its message has such lines.
    line = r'File "(.+?)", line (\d+), in \S+\s'
    places += [(path, int(n)) for path, n in re.findall(line, str(error))]
    lines = [place for place in places if os.path.realpath(place[0]) in files]
    if not lines or TRACEBACK in os.environ:
        return None
    why = re.split(line, re.sub(r'\x1b\[\d*m', '', str(error)))[-1]
    why = ' '.join(why.split())
    why = f'{why[:297]}...' if len(why) > 300 else why
    where = _place(*lines[-1])
    return (
        f'The plugin failed{where}: {type(error).__name__}: '
        f'{why.rstrip(".")}. Set {TRACEBACK}=1 for the traceback.'
    )
