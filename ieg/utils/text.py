"""Text of messages, and the order of names."""

import decimal
import errno
import functools
import itertools
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from ieg.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

# Fields of a table that stand for no value, in lower case.
MISSING = ('', '?', 'n/a', 'na', 'nan', 'none', 'null')
# Characters of a name in a message.
_LONGEST = 60


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: '1 file', '1,200 files'."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')


def percent(share: float, digits: int = 0) -> str:
    """Returns a share as text; more digits where it would be zero."""
    text = f'{share:.{digits}%}'
    is_lost = share > 0 and not text.strip('0.%')
    return percent(share, digits + 1) if is_lost else text


def limits(low: float, high: float) -> str:
    """Returns the limits of a share: '4% to 34%', or 'at most 34%'."""
    least, most = f'{low:.0%}', percent(high)
    if least == '0%':
        return f'at most {most}'
    return f'about {most}' if least == most else f'{least} to {most}'


def duration(seconds: float) -> str:
    """Returns a time for people, such as '40 seconds' or '3 hours'."""
    for unit, length in (('day', 86400), ('hour', 3600), ('minute', 60)):
        if seconds >= 1.5 * length:
            return f'{seconds / length:.0f} {unit}s'
    if seconds < 1:
        return 'less than a second'
    return f'{seconds:.0f} second{"s" * (round(seconds) > 1)}'


def listed(names: Collection[str], most: int = 5) -> str:
    """Returns quoted names, the first few if there are many."""
    first = (shorten(name, _LONGEST, placeholder='…') for name in names)
    shown = ', '.join(map(repr, itertools.islice(first, most)))
    left = len(names) - most
    return shown + (f' and {left:,} more' if left > 0 else '')


def unreadable(kind: str, path: str, error: OSError) -> UsageError:
    """Returns the error for a file or folder that cannot be read.

    Args:
        kind: what it should be, such as 'folder'.
        path: path of the file or folder.
        error: the error of the attempt to read it.
    """
    if not path:
        return UsageError(f'the path of the {kind} is empty: give the path.')
    if isinstance(error, FileNotFoundError):
        return UsageError(f'there is no {kind} {path}: check the path.')
    if isinstance(error, NotADirectoryError):
        return UsageError(f'{path} is a file, not a {kind}: check the path.')
    if isinstance(error, IsADirectoryError):
        return UsageError(f'{path} is a folder, not a {kind}: check the path.')
    if isinstance(error, PermissionError):
        return UsageError(
            f'the {kind} {path} cannot be read: change its permissions.'
        )
    if error.errno == errno.EINVAL:
        return UsageError(
            f'{path} is not a regular file: copy its content to a {kind}.'
        )
    return UsageError(
        f'the {kind} {path} cannot be read ({error.strerror}): check its disk.'
    )


def normal(name: str) -> str:
    """Returns the normal form of a name, for comparisons.

    A letter with an accent has several encodings, and programs that copy files
    convert between them. White space is that of `tidy`.
    """
    return tidy(unicodedata.normalize('NFC', name))


def tidy(name: str) -> str:
    """Returns a name without spaces at its ends, and in one line.

    Tables lose the spaces, and a line end would break them.
    """
    return ' '.join(name.split())


def shown(name: str) -> str:
    """Returns a printable name, with bytes that are not UTF-8 as '\\xe9'."""
    name_bytes = name.encode('utf-8', 'surrogateescape')
    return name_bytes.decode('utf-8', 'backslashreplace')


@functools.cache
def _lower_cases() -> dict[int, str]:
    """Returns the lower case of all code points that have another one."""
    letters = map(chr, range(sys.maxunicode + 1))
    # Two code points for a dotted I.
    return {ord(c): c.lower()[0] for c in letters if c.lower() != c}


def lower(text: str) -> str:
    """Returns a text in lower case, code point by code point.

    So a text has as many of them as before, and a sigma is the same letter
    wherever it stands.
    """
    return text.translate(_lower_cases())


def described(columns: 'Mapping[str, np.ndarray]') -> list[str]:
    """Returns the rows of a table as text, with a line for each column.

    Args:
        columns: values [n] by name: floats, NaN for missing ones, or strings.
    """
    lines = []
    for name, values in columns.items():
        form = '{:.6g}' if values.dtype.kind == 'f' else '{}'
        fields = (
            '' if value != value else form.format(value)
            for value in values.tolist()
        )
        lines.append([f'{name}: {field}' for field in fields])
    return [*map('\n'.join, zip(*lines, strict=True))]


def number(name: str) -> decimal.Decimal | None:
    """Returns the number of a name such as '-1', '10' or '2.50', or None."""
    if re.fullmatch(r'[+-]?[0-9]+(\.[0-9]+)?', name):
        return decimal.Decimal(name)
    return None


def in_order(names: Iterable[str]) -> list[str]:
    """Returns names sorted in natural order, independent of the locale.

    If all names are numbers, they are sorted as numbers. Otherwise they are
    compared piece by piece, where a piece is a run of the digits 0 to 9 (as a
    number) or of anything else (ignoring case, by code points); so 'class2'
    precedes 'class10'. Ties ('a1', 'A01') are sorted by code points.
    """
    names = list(names)
    numbers = {name: number(name) for name in names}
    if None not in numbers.values():
        return sorted(names, key=lambda name: (numbers[name], name))
    return sorted(names, key=_natural_key)


def _natural_key(name: str) -> tuple[Any, ...]:
    pieces: list[Any] = re.split('([0-9]+)', normal(name))
    # Every second piece consists of digits; int() limits their number.
    pieces[1::2] = [
        (len(digits.lstrip('0')), digits.lstrip('0')) for digits in pieces[1::2]
    ]
    pieces[::2] = [text.casefold() for text in pieces[::2]]
    return tuple(pieces), normal(name), name
