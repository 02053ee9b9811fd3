"""What the commands share."""

import argparse
import importlib
import os
import sys
from typing import NoReturn

from absl import logging

from ieg.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence each.

    Its `parse_args` raises UsageError where an argument is missing or unknown.
    """

    def error(self, message: str) -> NoReturn:
        """Raises the mistake instead of ending the process."""
        raise UsageError(f'{message[0].upper()}{message[1:]}; see --help.')


def positive(text: str) -> int:
    """Returns a number from 1 on, as the type of an argument."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1')
    return int(text)


def import_plugin(module: str) -> None:
    """Imports a module of the user's, found as Python does or right here.

    Raises:
        UsageError: there is no such module.
    """
    sys.path.insert(0, os.getcwd())
    try:
        # A path is no module, and './' would mean a relative import.
        importlib.import_module(module.lstrip('./'))
    except (ModuleNotFoundError, ValueError) as error:
        raise UsageError(
            f'--plugin={module} cannot be imported ({error}); give a '
            'module name as in an import statement.'
        ) from error
    finally:
        sys.path.pop(0)


def import_tensorflow() -> None:
    """Imports TensorFlow without its notes on this machine's libraries.

    Some are written before any log level applies, so standard error is shut
    while it loads; an error while loading is still raised.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
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


def leave(sentence: str, code: int) -> None:
    """Ends the program with one sentence on standard error."""
    print(f'ieg: {sentence}', file=sys.stderr)
    sys.exit(code)
