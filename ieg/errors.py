"""The one exception that a user's mistake raises, and how it is worded."""

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """Something the user asked for is impossible.

    The message is one sentence: what is wrong, where, and what to do. The
    command prints it without a traceback and exits with code 2.
    """


class RunError(Exception):
    """A run cannot go on, for a reason that is not a mistake in the request.

    The command prints the one sentence and exits with code 1.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns ' Did you mean ...?' for a misspelt name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f' Did you mean {matches[0]!r}?' if matches else ''
