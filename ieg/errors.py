"""The two exceptions that become one sentence, and suggestions for names."""

import difflib
import errno
import os
import re
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


# What is said of a file, by the number of the operating system's error.
_UNUSABLE = {
    errno.ENOSPC: 'cannot be written: its disk is full',
    errno.EDQUOT: 'cannot be written: your disk quota is used up',
    errno.EFBIG: 'cannot be written: it exceeds the file size limit (ulimit)',
    errno.EROFS: 'cannot be written: its file system is read-only',
    errno.EIO: 'cannot be accessed: its disk reports an error',
    errno.EACCES: 'cannot be accessed: permission is denied',
    errno.EPERM: 'cannot be accessed: permission is denied',
}


def unusable(error: OSError) -> RunError | None:
    """Returns the error of a run for a file that cannot be used.

    Args:
        error: what the attempt raised.

    Returns:
        None if the error is not about a file.
    """
    if error.errno not in _UNUSABLE and error.filename is None:
        return None
    return RunError(
        f'{failed(error)}. Once that is solved, run the same command again; a '
        'training resumes.'
    )


def failed(error: OSError) -> str:
    """Returns which file cannot be used and why: 'a.csv cannot be written: its
    disk is full'.
    """
    what = _UNUSABLE.get(error.errno or 0)
    file = 'the output' if error.filename is None else error.filename
    return f'{file} {what or f"cannot be accessed: {error.strerror}"}'


def as_os_error(message: str) -> OSError | None:
    """Returns the error of the file system in a message of TensorFlow.

    Args:
        message: 'FILE; No space left on device', perhaps within more text.
    """
    for code in _UNUSABLE:
        before, found, _ = message.partition(f'; {os.strerror(code)}')
        if found:
            # A prefix in braces may name the operation.
            file = re.split(r'\n|}} ', before)[-1]
            return OSError(code, os.strerror(code), file)
    return None


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
