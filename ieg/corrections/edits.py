"""Corrections that a person wrote into a table of examples."""

import dataclasses
import decimal
import os
import re
from collections.abc import Mapping, Sequence
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
_OTHER = (
    'the table is damaged or of another run, or the data have changed since; '
    'take the label_issues.csv of this run.'
)


class Known(NamedTuple):
    """The examples of a split, as the run had them.

    Attributes:
        indices: int64 [n], positions in the order of the data set.
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
    or tabs. Numbers that a program wrote in another way ('3.0') are the
    classes that they can only be.

    Args:
        path: of the table.
        class_names: of all classes of the run.
        splits: its examples, by the name of their split.

    Returns:
        int32 [n] of each split, `LEFT_OUT` where an example is left out.

    Raises:
        UsageError: the table is damaged, of another run, or corrects nothing.
    """
    classes = _Classes(class_names, path)
    corrected = {name: known.labels.copy() for name, known in splits.items()}
    places = {
        name: {index: place for place, index in enumerate(known.indices)}
        for name, known in splits.items()
    }
    asked: dict[tuple[str, int], tuple[int, int]] = {}
    for row in _rows(path):
        if row.index not in places.get(row.split, {}):
            raise UsageError(
                f'line {row.line} of {path} is about {row.split} example '
                f'{row.index}, which the run does not have: {_OTHER}'
            )
        place = places[row.split][row.index]
        _check_same(row, classes, splits[row.split], place, path)
        if not row.corrected:
            continue
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


class _Classes:
    """The classes of a run, by what a person may write for them."""

    def __init__(self, names: Sequence[str], path: str):
        self.names, self._path = list(names), path
        self._places = {normal(name): i for i, name in enumerate(names)}
        self._numbers: dict[decimal.Decimal, list[int]] = {}
        for place, name in enumerate(names):
            value = number(name)
            if value is not None:
                self._numbers.setdefault(value, []).append(place)

    def find(self, text: str) -> int | None:
        """Returns the class that a text can only mean."""
        place = self._places.get(normal(text))
        if place is None:
            value = number(text)
            alike = [] if value is None else self._numbers.get(value, [])
            place = alike[0] if len(alike) == 1 else None
        return place

    def corrected(self, row: _Row) -> int:
        """Returns the label that a row asks for.

        Raises:
            UsageError: it is not a class.
        """
        place = self.find(row.corrected)
        if row.corrected != LEAVE_OUT:
            if place is None:
                raise UsageError(
                    f'line {row.line} of {self._path} has the corrected label '
                    f'{row.corrected!r}, which is none of the '
                    f'{len(self.names)} classes ({listed(self.names)}): '
                    f'correct it.{nearest(row.corrected, self.names)}'
                )
            return place
        if place is not None:
            raise UsageError(
                f'line {row.line} of {self._path} has the corrected label '
                f'{LEAVE_OUT!r}, which is a class of the run and would also '
                'leave the example out: rename the class first.'
            )
        return LEFT_OUT


def _check_same(
    row: _Row, classes: _Classes, known: Known, place: int, path: str
) -> None:
    """Raises UsageError where a row is not about the example of the run."""
    label = known.labels[place]
    differs = ''
    if classes.find(row.given) != label:
        differs = f'{row.given!r} and not {classes.names[label]!r}'
        differs = f'its given label is {differs}'
    elif row.path:
        name = '' if known.names is None else str(known.names[place])
        if _plain(row.path) != _plain(name):
            differs = f'its path is {row.path!r} and not {shown(name)!r}'
    if differs:
        _check_text(row.path, row.line, path)
        raise UsageError(
            f'line {row.line} of {path} is not about {row.split} example '
            f'{row.index} of the run, because {differs}: {_OTHER}'
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
    table = tables.Table(path, COLUMNS, errors='surrogateescape')
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
    index = re.fullmatch(r'([0-9]+)(\.0*)?', fields['index'])
    if index is None:
        raise UsageError(
            f'line {line} of {path} has the index {fields["index"]!r}, which '
            'is not a whole number: take it from label_issues.csv.'
        )
    return _Row(
        line,
        fields['split'].lower(),
        int(index[1]),
        fields.get('path', ''),
        fields['given_label'],
        fields['corrected_label'],
    )
