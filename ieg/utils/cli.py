"""What all commands share: parsing, exit codes and imports."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from ieg.errors import RunError, UsageError
from ieg.utils.interrupt import Interrupted

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


def run(
    command: Callable[[], int | None], interrupted: str = 'Interrupted.'
) -> int:
    """Runs a command and returns its exit code.

    A UsageError is 2, a RunError 1, Ctrl-C 130 (or what `Interrupted` says);
    each prints one line. A reader of standard output that stops reading, such
    as `head`, ends it quietly.

    Args:
        command: returns an exit code; None is 0.
        interrupted: the sentence for Ctrl-C.
    """
    try:
        return command() or 0
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
    finally:
        _flush()


def _flush() -> None:
    """Flushes standard output here, as Python could not handle the error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(sentence: str, code: int) -> int:
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
        importlib.import_module(module.lstrip('./'))
    except (ImportError, ValueError) as error:
        raise UsageError(
            f'--plugin={module} cannot be imported ({error}); give a '
            'module name as in an import statement.'
        ) from error
    finally:
        sys.path.pop(0)


def import_tensorflow() -> None:
    """Imports TensorFlow without its messages about libraries.

    Some are written before any log level applies, so standard error is closed
    while it loads; an error while loading is still raised.
    """
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
