"""The rows of a table of examples, of images as of vectors."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ieg.data.dataset import PARTS
from ieg.errors import UsageError, nearest
from ieg.utils.text import in_order, normal

# The part that a value of the column 'split' is of, in lower case.
_SPLITS = {part: part for part in PARTS} | {
    'val': 'valid',
    'validation': 'valid',
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row; `line` is the number of its last line, from 1 on."""

    line: int
    label: str
    clean: str
    part: str
    path: str = ''


def read_row(
    line: int,
    fields: Mapping[str, str],
    table: str,
    needed: Sequence[str] = ('label',),
) -> Row:
    """Returns one row, without its path.

    Args:
        line: number of its last line.
        fields: by column.
        table: path of the table.
        needed: columns that may not be empty.

    Raises:
        UsageError: it lacks something, or is of an unknown part.
    """
    for name in needed:
        if not fields[name]:
            raise UsageError(
                f'line {line} of {table} has no {name}: fill it in, or remove '
                'the line.'
            )
    split = fields.get('split', 'train')
    part = part_of(split)
    if part is None:
        raise UsageError(
            f'line {line} of {table} has the split {split!r}, which must be '
            f'one of {", ".join(_SPLITS)}: correct it.{nearest(split, _SPLITS)}'
        )
    return Row(line, fields['label'], fields.get('clean_label', ''), part)


def part_of(split: str) -> str | None:
    """Returns the part that a value of the column 'split' is of, if any."""
    return _SPLITS.get(split.lower())


def has_clean(rows: Sequence[Row], table: str) -> bool:
    """Returns whether the rows of one part have clean labels.

    Raises:
        UsageError: some have, some have not.
    """
    without = [row for row in rows if not row.clean]
    if without and len(without) < len(rows):
        raise UsageError(
            f'line {without[0].line} of {table} has no clean_label, but other '
            f'{rows[0].part} rows have: fill in all of them or none.'
        )
    return not without


def class_names(rows: Sequence[Row]) -> list[str]:
    """Returns the classes of training rows, each as it is written first."""
    names: dict[str, str] = {}
    for row in rows:
        for name in filter(None, (row.label, row.clean)):
            names.setdefault(normal(name), name)
    return in_order(names.values())


def classes_of(
    rows: Sequence[Row], names: Sequence[str], table: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the labels of one part, and its clean labels: int32 [n].

    Args:
        rows: of the part.
        names: of the classes.
        table: path of the table.

    Raises:
        UsageError: a label is of no training row, or some clean labels lack.
    """
    index = {normal(name): i for i, name in enumerate(names)}
    for row in rows:
        for name in filter(None, (row.label, row.clean)):
            if normal(name) not in index:
                raise UsageError(
                    f'line {row.line} of {table} has the {row.part} label '
                    f'{name!r}, which no training row has: correct it, or add '
                    f'training rows.{nearest(name, names)}'
                )
    labels = np.array([index[normal(row.label)] for row in rows], np.int32)
    if not has_clean(rows, table):
        return labels, None
    return labels, np.array([index[normal(r.clean)] for r in rows], np.int32)
