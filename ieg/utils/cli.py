"""What all commands share: parsing, exit codes and imports."""

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TextIO, cast

from ieg.errors import RunError, UsageError, unusable
from ieg.utils import plugins
from ieg.utils.files import check_local
from ieg.utils.interrupt import Interrupted

# Held by whoever changes settings of the whole process, see
# `ieg.training.devices.restoring`.
ONE_AT_A_TIME = threading.RLock()
# Characters of a sentence, which may contain what a user gave.
LONGEST = 1200


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence each, without abbreviations.

    Its `parse_args` raises UsageError if an argument is missing or unknown.

    Args:
        **options: of `argparse.ArgumentParser`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises the mistake instead of ending the process."""
        raise UsageError(f'{message[0].upper()}{message[1:]}; see --help.')


def positive(text: str) -> int:
    """Returns a positive integer, as the type of an argument."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(
            f'must be a positive integer, got {text!r}'
        )
    return int(text)


def path(text: str) -> str:
    """Returns a path that is not a URL, as the type of an argument."""
    try:
        check_local(text)
    except UsageError as error:
        # So that argparse says which argument it is.
        raise argparse.ArgumentTypeError(str(error).rstrip('.')) from None
    return text


def run(
    command: Callable[[], int | None],
    interrupted: str = 'Interrupted.',
    needs_no_reader: bool = False,
) -> int:
    """Runs a command and returns its exit code.

    A UsageError is 2, a RunError or a full disk 1, Ctrl-C 130 (or what
    `Interrupted` says); each prints one line, as does any exception of a
    plugin, which is 1. A reader of the output that stops reading, such as
    `head`, ends the command quietly.

    Args:
        command: returns an exit code; None is 0.
        interrupted: the sentence for Ctrl-C.
        needs_no_reader: whether the command continues, without output, when
            its output cannot be written.
    """
    with _any_output(needs_no_reader):
        try:
            code = command() or 0
            sys.stdout.flush()
            return code
        except UsageError as error:
            return _leave(str(error), 2)
        except RunError as error:
            return _leave(str(error), 1)
        except Interrupted as error:
            return _leave(str(error), error.code)
        except KeyboardInterrupt:
            return _leave(interrupted, 130)
        except BrokenPipeError:
            return 0
        except Exception as error:
            failed = isinstance(error, OSError) and unusable(error)
            sentence = failed or plugins.sentence(error)
            if not sentence:
                raise
            return _leave(str(sentence), 1)
        finally:
            # Python could not handle an error when it flushes at its exit.
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    _discard(stream)


@contextlib.contextmanager
def _any_output(needs_no_reader: bool) -> Iterator[None]:
    """Prepares the standard streams for every text and every reader."""
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            # It was closed. This takes its number, which would otherwise be
            # that of the next file, together with what libraries print.
            setattr(sys, name, open(os.devnull, mode))
    kept = sys.stdout, sys.stderr
    for stream in kept:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    if needs_no_reader:
        sys.stdout, sys.stderr = (cast(TextIO, _Unread(s)) for s in kept)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


class _Unread:
    """A stream whose text is discarded once it cannot be written."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes the text, or discards it."""
        try:
            return self._stream.write(text)
        except OSError:
            _discard(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flushes what can be written."""
        try:
            self._stream.flush()
        except OSError:
            _discard(self._stream)


def _discard(stream: TextIO) -> None:
    """Sends all that is still written to a stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _leave(sentence: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f'ieg: {_one_line(sentence)}', file=sys.stderr)
    return code


def _one_line(sentence: str) -> str:
    """Returns a sentence without control characters, the middle cut out."""
    if len(sentence) > LONGEST:
        half = LONGEST // 2
        sentence = f'{sentence[:half]} [...] {sentence[-half:]}'
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in sentence)


def import_plugins(names: str) -> None:
    """Imports modules of the user, separated by commas.

    Raises:
        UsageError: a module cannot be imported.
    """
    for module in filter(None, names.split(',')):
        import_plugin(module)


def import_plugin(module: str) -> None:
    """Imports a module of the user, also from the current folder.

    Raises:
        UsageError: it cannot be imported.
    """
    sys.path.insert(0, os.getcwd())
    try:
        # A path is not a module name; './' would mean a relative import.
        name = module.lstrip('./')
        importlib.import_module(name)
        plugins.names[:] = dict.fromkeys([*plugins.names, name])
    # A plugin can raise anything.
    except Exception as error:
        raise UsageError(
            f'--plugin={module} cannot be imported ({_described(error)}): '
            'correct it, or give a module name as in an import statement.'
        ) from error
    finally:
        sys.path.pop(0)


def _described(error: Exception) -> str:
    """Returns an error of the import of a module, with its file and line."""
    places = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)[1:]
        if os.path.isfile(frame.filename)
        and not re.search('importlib|site-packages', frame.filename)
    ]
    text = ' '.join(str(error).split())
    if isinstance(error, SyntaxError):
        text = error.msg
        places.append((error.filename or '', error.lineno))
    # Without one, the module does not exist, or is no name.
    where = f', {places[-1][0]}:{places[-1][1]}' if places else ''
    kind = '' if isinstance(error, ImportError) else f'{type(error).__name__}: '
    return f'{kind}{text}{where}'


def check_backend() -> None:
    """Checks that Keras is to compute with TensorFlow.

    Raises:
        UsageError: it is not.
    """
    if 'keras' in sys.modules:
        backend = sys.modules['keras'].config.backend()
    else:
        home = os.environ.get('KERAS_HOME') or os.path.expanduser('~/.keras')
        backend = os.environ.get('KERAS_BACKEND', '')
        # As Keras reads it, which ignores a damaged file.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            with open(os.path.join(home, 'keras.json')) as file:
                backend = backend or json.load(file).get('backend', '')
    if backend not in ('', 'tensorflow'):
        raise UsageError(
            f'ieg needs the TensorFlow backend of Keras, not {backend!r}: set '
            'KERAS_BACKEND=tensorflow before Keras is imported.'
        )


def import_tensorflow() -> None:
    """Imports TensorFlow without its messages about libraries.

    Some are written before any log level applies, so standard error is closed
    while it loads; an error while loading is still raised.

    Raises:
        UsageError: Keras has another backend.
    """
    check_backend()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    logging = importlib.import_module('absl.logging')
    flags = importlib.import_module('absl.flags').FLAGS
    if flags['verbosity'].using_default_value:
        logging.set_verbosity(logging.WARNING)
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        importlib.import_module('tensorflow')
    finally:
        os.dup2(kept, 2)
        os.close(kept)
