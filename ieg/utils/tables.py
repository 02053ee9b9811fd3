"""CSV files that people and spreadsheets read, write and edit."""

import codecs
import csv
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from ieg.errors import UsageError
from ieg.utils.files import atomic_write, open_regular
from ieg.utils.text import counted, unreadable

_DELIMITERS = ',;\t'
# A line with its end, one at a time: no second copy of the text is made.
_LINE = re.compile(r'[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+')
# Without it Excel reads UTF-8 as the code page of its language.
_MARK = '\ufeff'
# Text that a spreadsheet would run, with the apostrophes that prevent that.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n].", re.DOTALL)
_QUOTED = re.compile(r'[",;\t\r\n]|^\s|\s\Z')


def mark(text: str) -> str:
    """Returns the byte order mark if a text needs it: it is not ASCII."""
    return '' if text.isascii() else _MARK


def line(
    fields: Iterable[object], delimiter: str = ',', end: str = '\n'
) -> str:
    """Returns a row of a table, which `Table` reads back exactly.

    Text that a spreadsheet would take for a formula gets an apostrophe first.

    Args:
        fields: text and numbers; None and NaN become empty.
        delimiter: of the fields.
        end: of the line.
    """
    return delimiter.join(map(cell, fields)) + end


def cell(value: object) -> str:
    """Returns a field of a table; see `line`."""
    if not isinstance(value, str):
        return '' if value is None or value != value else str(value)
    text = f"'{value}" if _FORMULA.match(value) else value
    # The module csv leaves carriage returns and outer spaces without quotes.
    if _QUOTED.search(text):
        text = '"' + text.replace('"', '""') + '"'
    return text


def original(text: str) -> str:
    """Returns the text of a field without the apostrophe that `line` adds."""
    is_safe = text.startswith("'") and _FORMULA.match(text)
    return text[1:] if is_safe else text


def write(
    path: str | os.PathLike[str], rows: Iterable[Iterable[object]]
) -> None:
    """Writes a table atomically, in a form that spreadsheets read.

    Args:
        path: of the file.
        rows: the header first; see `line`.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, ''.join(map(line, rows)))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes the lines of a table; see `write`."""
    atomic_write(path, mark(text) + text)


class Record(NamedTuple):
    """One row that is not blank.

    Attributes:
        first: number of its first line, from 1 on.
        last: number of its last line.
        fields: without the apostrophe of `line`.
    """

    first: int
    last: int
    fields: list[str]


class Table:
    """A CSV file; its delimiter is the one that finds the most known columns.

    Args:
        path: of the file.
        columns: the known names of columns, in lower case.
        errors: as of `bytes.decode`.
        strip: whether fields lose the spaces around them.

    Attributes:
        text: without a mark of the encoding; a first line `sep=;` is blank.
        delimiter: of the fields.
        header: the names of the columns, in lower case.

    Raises:
        UsageError: the file cannot be read, is empty, or is not UTF-8; or its
            first line is not CSV.
    """

    def __init__(
        self,
        path: str,
        columns: Collection[str],
        errors: str = 'strict',
        strip: bool = True,
    ):
        self._path, self._strip = path, strip
        self.text = _read_text(path, errors)

        def known(delimiter: str) -> int:
            try:
                return len(set(columns) & set(self._header(delimiter)))
            # Quotes can be in order for one delimiter and not for another.
            except UsageError:
                return -1

        self.delimiter = max(_DELIMITERS, key=known)
        self.header = self._header(self.delimiter)

    def _header(self, delimiter: str) -> list[str]:
        for record in self._records(delimiter):
            return [name.strip().lower() for name in record.fields]
        return []

    def records(self) -> Iterator[Record]:
        """Yields all rows that are not blank, the header first.

        Raises:
            UsageError: a row is not CSV.
        """
        return self._records(self.delimiter)

    def rows(self, short: bool = False) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields the rows after the header: (last line, fields by column).

        Args:
            short: fill missing fields at the end of a line with ''.

        Raises:
            UsageError: a row is not CSV, or does not fit the header.
        """
        wanted = len(self.header)
        for _, line, fields in itertools.islice(self.records(), 1, None):
            missing = wanted - len(fields)
            if missing < 0 or (missing and not short):
                raise UsageError(
                    f'line {line} of {self._path} has '
                    f'{counted(len(fields), "field")} and not {wanted}: put '
                    f'quotes around a field that has {self.delimiter!r} in it.'
                )
            fields += [''] * missing
            yield line, dict(zip(self.header, fields, strict=True))

    def _records(self, delimiter: str) -> Iterator[Record]:
        """Yields the rows that are not blank; see `records`."""
        reader = csv.reader(
            (match.group() for match in _LINE.finditer(self.text)),
            delimiter=delimiter,
            skipinitialspace=True,
            strict=True,
        )
        before = 0
        try:
            for fields in reader:
                stripped = [field.strip() for field in fields]
                if any(stripped):
                    kept = map(original, stripped if self._strip else fields)
                    yield Record(before + 1, reader.line_num, list(kept))
                before = reader.line_num
        except csv.Error as error:
            raise UsageError(
                f'line {reader.line_num} of {self._path} is not valid CSV '
                f'({error}): check the quotes in this line and before.'
            ) from None


def _read_text(path: str, errors: str) -> str:
    """Returns the text of a CSV file; see `Table`."""
    try:
        with open_regular(path) as file:
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
    # The delimiter, for Excel; another program can have quoted it.
    return re.sub(r'\A"?sep=[^\r\n]*', '', text, flags=re.IGNORECASE)
