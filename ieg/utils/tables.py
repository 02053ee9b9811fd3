"""CSV files that people make: their text, delimiter and rows."""

import codecs
import csv
import io
import itertools
from collections.abc import Collection, Iterator
from typing import NamedTuple

from ieg.errors import UsageError
from ieg.utils.files import open_regular
from ieg.utils.text import counted, unreadable

_DELIMITERS = ',;\t'


class Record(NamedTuple):
    """One row that is not blank.

    Attributes:
        first: number of its first line, from 1 on.
        last: number of its last line.
        fields: without the spaces around them.
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

    Attributes:
        text: without a mark of the encoding.
        delimiter: of the fields.
        header: the names of the columns, in lower case.

    Raises:
        UsageError: the file cannot be read, is empty, or is not UTF-8; or its
            first line is not CSV.
    """

    def __init__(
        self, path: str, columns: Collection[str], errors: str = 'strict'
    ):
        self._path = path
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
        for record in _records(self.text, delimiter, self._path):
            return [name.lower() for name in record.fields]
        return []

    def records(self) -> Iterator[Record]:
        """Yields all rows that are not blank, the header first.

        Raises:
            UsageError: a row is not CSV.
        """
        return _records(self.text, self.delimiter, self._path)

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
    return text


def _records(text: str, delimiter: str, path: str) -> Iterator[Record]:
    """Yields the rows that are not blank; see `Table.records`."""
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
