"""The two exceptions that become one sentence, and suggestions for names."""

import difflib
import os
from collections.abc import Iterable

# Below this likeness a name is not a misspelling of another one.
_ALIKE = 0.5


class UsageError(Exception):
    """Something the user asked for is impossible.

    The message is one sentence: what is wrong, where, and what to do. The
    command prints it without a traceback and exits with code 2.
    """


class RunError(Exception):
    """A run cannot continue, for a reason other than a mistake in the request.

    The command prints the one sentence and exits with code 1.
    """


def nearest(name: str, known: Iterable[str], prefix: str = '') -> str:
    """Returns ' Did you mean ...?' for a misspelt name, or an empty string.

    Args:
        name: what the user typed.
        known: the names that exist.
        prefix: is shown before the suggestion, such as '--'.
    """
    ranked = [(_likeness(name, other), other) for other in sorted(known)]
    likeness, best = max(ranked, key=lambda pair: pair[0], default=(0.0, ''))
    if likeness < _ALIKE:
        return ''
    return f' Did you mean {f"{prefix}{best}"!r}?'


def _likeness(name: str, other: str) -> float:
    """Returns how much a misspelt name looks like another one, from 0 to 1.2.

    In addition to the share of letters in common, what counts is the same
    letters in another order, whole words in common, and the same beginning,
    which is rarely misspelt.
    """
    name, other = (text.lower().replace('-', '_') for text in (name, other))
    ratio = difflib.SequenceMatcher(None, name, other, False).ratio()
    if sorted(name) == sorted(other):
        ratio = max(ratio, 0.9)
    if len(name) > 3 and f'_{name}_' in f'_{other}_':
        ratio = max(ratio, 0.8)
    if ratio < _ALIKE:
        return ratio
    start = len(os.path.commonprefix([name, other]))
    return ratio + 0.1 * start / max(len(name), len(other), 1)
