"""Corrections that a person wrote into a table of examples."""

import contextlib
import dataclasses
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ieg.errors import UsageError, nearest
from ieg.utils import tables
from ieg.utils.text import listed, normal, number, shown

# The columns that are read; `path` may be missing.
COLUMNS = ('split', 'index', 'path', 'given_label', 'corrected_label')
_NEEDED = tuple(name for name in COLUMNS if name != 'path')
# What is written in the place of a class to leave an example out, and the
# label that stands for it afterwards.
LEAVE_OUT, LEFT_OUT = '-', -1
# UTF-8 that a program took for Windows-1252: its characters as bytes.
_BYTES = {
    ord(character): byte
    for byte in range(0x80, 0xA0)
    if (character := bytes([byte]).decode('cp1252', 'ignore'))
}
_OTHER = (
    'the table is damaged or of another run, or the data have changed since; '
    'take the label_issues.csv of this run.'
)


class Known(NamedTuple):
    """The examples of a split, as the run had them.

    Attributes:
        indices: int64 [n], the `index` of each in tables of the run.
        labels: int32 [n], given.
        names: of their files, [n]; None for arrays.
    """

    indices: np.ndarray
    labels: np.ndarray
    names: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class _Row:
    line: int
    split: str
    index: int
    path: str
    given: str
    corrected: str


def corrected_labels(
    path: str, class_names: Sequence[str], splits: Mapping[str, Known]
) -> dict[str, np.ndarray]:
    """Reads a table and returns the labels that it asks for.

    The table is `label_issues.csv` with the column `corrected_label` filled
    in, or one with the columns in `COLUMNS`; separated by commas, semicolons
    or tabs. What a spreadsheet changed when it saved a class ('3.0', 'TRUE',
    'MÃ¼ll', or a date that the column `given_label` explains) is the class
    that it can only be. Given labels of rows without a correction can be
    anything.

    Args:
        path: of the table.
        class_names: of all classes of the run.
        splits: its examples, by the name of their split.

    Returns:
        int32 [n] of each split, `LEFT_OUT` where an example is left out.

    Raises:
        UsageError: the table is damaged, of another run, or corrects nothing.
    """
    corrected = {name: known.labels.copy() for name, known in splits.items()}
    rows, classes = _located(path, class_names, splits)
    asked: dict[tuple[str, int], tuple[int, int]] = {}
    for row, place in rows:
        if not row.corrected.strip():
            continue
        if not row.path:
            _check_given(row, classes, splits[row.split].labels[place], path)
        label = classes.corrected(row)
        first, line = asked.setdefault((row.split, place), (label, row.line))
        if first != label:
            raise UsageError(
                f'lines {line} and {row.line} of {path} correct {row.split} '
                f'example {row.index} in two ways: keep one of them.'
            )
        corrected[row.split][place] = label
    changed = [
        (corrected[name] != splits[name].labels).any() for name in corrected
    ]
    if not any(changed):
        raise UsageError(
            f'{path} corrects nothing: write the right class of an example '
            f'into the column corrected_label, or {LEAVE_OUT} to leave it out.'
        )
    return corrected


def reviewed_labels(
    path: str, class_names: Sequence[str], split: str, known: Known
) -> dict[int, int]:
    """Reads a table in which a person gave every example its class.

    Args:
        path: of the table, as in `corrected_labels`.
        class_names: of all classes of the run.
        split: the name of the split that the examples are of.
        known: its examples.

    Returns:
        The label by the place of the example in `known`, `LEFT_OUT` where it
        belongs to none of the classes.

    Raises:
        UsageError: the table is damaged or of another run, a row lacks its
            class, or an example is in two rows.
    """
    rows, classes = _located(path, class_names, {split: known})
    if not rows:
        raise UsageError(f'{path} has no rows after its first line.')
    labels: dict[int, int] = {}
    lines: dict[int, int] = {}
    for row, place in rows:
        if not row.corrected.strip():
            raise UsageError(
                f'line {row.line} of {path} has no corrected_label: write the '
                'right class of the example, also where its given label is '
                'right, or remove this line and all after it.'
            )
        if not row.path:
            _check_given(row, classes, known.labels[place], path)
        if place in labels:
            raise UsageError(
                f'lines {lines[place]} and {row.line} of {path} are both about '
                f'{split} example {row.index}: keep one of them.'
            )
        labels[place], lines[place] = classes.corrected(row), row.line
    return labels


def _located(
    path: str, class_names: Sequence[str], splits: Mapping[str, Known]
) -> 'tuple[list[tuple[_Row, int]], _Classes]':
    """Returns the rows of a table with their places, and the classes.

    Raises:
        UsageError: the table is damaged, or of another run.
    """
    places = {
        name: {index: place for place, index in enumerate(known.indices)}
        for name, known in splits.items()
    }
    rows: list[tuple[_Row, int]] = []
    given: dict[str, set[int]] = {}
    for row in _rows(path):
        if row.split not in splits:
            raise UsageError(
                f'line {row.line} of {path} has the split '
                f'{reprlib.repr(row.split)}, which must be one of '
                f'{", ".join(splits)}: take it from label_issues.csv.'
            )
        if row.index not in places[row.split]:
            raise UsageError(
                f'line {row.line} of {path} is about {row.split} example '
                f'{row.index}, which the run does not have: {_OTHER}'
            )
        place = places[row.split][row.index]
        _check_path(row, splits[row.split], place, path)
        true = int(splits[row.split].labels[place])
        given.setdefault(normal(row.given), set()).add(true)
        rows.append((row, place))
    return rows, _Classes(class_names, given, path)


def _repaired(text: str) -> str:
    """Returns text without the damage of a wrong encoding: 'MÃ¼' -> 'Mü'."""
    with contextlib.suppress(UnicodeError):
        return text.translate(_BYTES).encode('latin-1').decode()
    return text


def _folded(text: str) -> str:
    return normal(text).strip().casefold()


# What a text for a class has in common with its name, the strictest way first.
_LIKENESSES: tuple[Callable[[str], object], ...] = (
    normal,
    lambda text: normal(text).strip(),
    lambda text: number(text.strip()),
    _folded,
    lambda text: _folded(_repaired(text)),
)


class _Classes:
    """The classes of a run, by what a person or program writes for them.

    Args:
        names: of the classes.
        given: the classes of the examples whose given label is some text.
        path: of the table.
    """

    def __init__(
        self, names: Sequence[str], given: Mapping[str, set[int]], path: str
    ):
        self.names, self._given, self._path = list(names), given, path
        self._alike: list[dict[object, list[int]]] = []
        for likeness in _LIKENESSES:
            alike: dict[object, list[int]] = {}
            for place, name in enumerate(names):
                alike.setdefault(likeness(name), []).append(place)
            self._alike.append(alike)

    def find(self, text: str) -> int | None:
        """Returns the class that a text can only mean."""
        meant = set(self._given.get(normal(text), ()))
        for likeness, alike in zip(_LIKENESSES, self._alike, strict=True):
            key = likeness(text)
            found = [] if key is None else alike.get(key, [])
            if len(found) == 1:
                meant.update(found)
                break
        return meant.pop() if len(meant) == 1 else None

    def corrected(self, row: _Row) -> int:
        """Returns the label that a row asks for.

        Raises:
            UsageError: it is not a class.
        """
        place = self.find(row.corrected)
        if row.corrected.strip() != LEAVE_OUT:
            if place is None:
                raise UsageError(
                    f'line {row.line} of {self._path} has the corrected label '
                    f'{reprlib.repr(row.corrected)}, which must be one of the '
                    f'{len(self.names)} classes ({listed(self.names)}): '
                    f'correct it.{nearest(row.corrected[:60], self.names)}'
                )
            return place
        if place is not None:
            raise UsageError(
                f'line {row.line} of {self._path} has the corrected label '
                f'{LEAVE_OUT!r}, which is a class of the run and would also '
                'leave the example out: rename the class first.'
            )
        return LEFT_OUT


def _check_path(row: _Row, known: Known, place: int, path: str) -> None:
    """Raises UsageError where the path of a row is of another example."""
    name = '' if known.names is None else str(known.names[place])
    given = row.path, _repaired(row.path)
    if row.path and _plain(name) not in map(_plain, given):
        _check_text(row.path, row.line, path)
        raise _another(row, f'path is {row.path!r:.200}', shown(name), path)


def _check_given(row: _Row, classes: _Classes, label: int, path: str) -> None:
    """Raises UsageError where the given label of a row is of another one."""
    if classes.find(row.given) != label:
        name = classes.names[label]
        raise _another(
            row, f'given label is {reprlib.repr(row.given)}', name, path
        )


def _another(row: _Row, which: str, name: str, path: str) -> UsageError:
    return UsageError(
        f'line {row.line} of {path} is not about {row.split} example '
        f'{row.index} of the run, because its {which} and not {name!r}: '
        f'{_OTHER}'
    )


def _check_text(text: str, line: int, path: str) -> None:
    """Raises UsageError for what another program has written."""
    if not text.isascii() and shown(text) != text:
        raise UsageError(
            f'{path} is not UTF-8 (line {line}): save it as UTF-8.'
        )


def _plain(path: str) -> str:
    return normal(shown(os.path.abspath(path) if path else ''))


def _rows(path: str) -> list[_Row]:
    """Returns the rows of a table.

    Raises:
        UsageError: it is not like that.
    """
    # A file name need not be UTF-8, everything else has to be.
    table = tables.Table(path, COLUMNS, errors='surrogateescape', strip=False)
    header = table.header
    for name in COLUMNS:
        if header.count(name) > 1:
            raise UsageError(
                f'{path} has {header.count(name)} columns {name!r}: keep one.'
            )
        if name in _NEEDED and name not in header:
            raise UsageError(
                f'{path} has no column {name!r}, only {listed(header)}: keep '
                'the first line of label_issues.csv as it is.'
            )
    # Some programs leave empty fields at the end of a line out.
    rows = table.rows(short=True)
    return [_row(line, fields, path) for line, fields in rows]


def _row(line: int, fields: Mapping[str, str], path: str) -> _Row:
    """Returns one row.

    Raises:
        UsageError: its index is not a number, or the file is not UTF-8.
    """
    for name, text in fields.items():
        if name != 'path':
            _check_text(text, line, path)
    index = re.fullmatch(r'([0-9]{1,18})(\.0*)?', fields['index'].strip())
    if index is None:
        raise UsageError(
            f'line {line} of {path} has the index '
            f'{reprlib.repr(fields["index"])}, which is not the position of '
            'an example: take it from label_issues.csv.'
        )
    return _Row(
        line,
        fields['split'].strip().lower(),
        int(index[1]),
        fields.get('path', ''),
        fields['given_label'],
        fields['corrected_label'],
    )
