"""Reads CSV files written by people: their text, delimiter and rows."""

import codecs
import csv
import io
from collections.abc import Collection, Iterator
from typing import NamedTuple

from ieg.errors import UsageError
from ieg.utils.text import unreadable

_DELIMITERS = ',;\t'


class Record(NamedTuple):
    """One row that is not blank.

    Attributes:
        first: number of its first line, from 1.
        last: number of its last line.
        fields: the fields, stripped of spaces.
    """

    first: int
    last: int
    fields: list[str]


def read_text(path: str, errors: str = 'strict') -> str:
    """Returns the text of a CSV file, without a byte order mark.

    Args:
        path: path of the file.
        errors: see `bytes.decode`.

    Raises:
        UsageError: the file cannot be read, is empty, or is not UTF-8.
    """
    try:
        with open(path, 'rb') as file:
            content = file.read()
    except OSError as error:
        raise unreadable('CSV file', path, error) from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f'{path} is UTF-16: save it as UTF-8.')
    if b'\0' in content:
        raise UsageError(f'{path} is not a text file: give a CSV file.')
    try:
        text = content.decode('utf-8-sig', errors)
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise UsageError(
            f'{path} is not UTF-8 (line {line}): save it as UTF-8.'
        ) from None
    if not text.strip():
        raise UsageError(
            f'{path} is empty: it needs a first line such as path,label.'
        )
    return text


def records(text: str, delimiter: str, path: str) -> Iterator[Record]:
    """Yields all rows that are not blank, the header first.

    Raises:
        UsageError: a row is not valid CSV.
    """
    reader = csv.reader(
        io.StringIO(text, newline=''),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    before = 0
    try:
        for fields in reader:
            stripped = [field.strip() for field in fields]
            if stripped not in ([], ['']):
                yield Record(before + 1, reader.line_num, stripped)
            before = reader.line_num
    except csv.Error as error:
        raise UsageError(
            f'line {reader.line_num} of {path} is not valid CSV ({error}): '
            'check the quotes in this line and before.'
        ) from None


def header(text: str, delimiter: str, path: str) -> list[str]:
    """Returns the names of the columns for a delimiter, in lower case."""
    for record in records(text, delimiter, path):
        return [name.lower() for name in record.fields]
    return []


def find_delimiter(text: str, path: str, columns: Collection[str]) -> str:
    """Returns the delimiter for which most columns are known."""

    def known(delimiter: str) -> int:
        try:
            names = header(text, delimiter, path)
        # Quotes can be valid for one delimiter and not for another.
        except UsageError:
            return -1
        return len(set(columns) & set(names))

    return max(_DELIMITERS, key=known)
