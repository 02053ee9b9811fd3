"""What the commands share that read their arguments with argparse."""

import argparse
from typing import NoReturn

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
