"""Images listed in a CSV file."""

import dataclasses
import decimal
import os
from collections.abc import Mapping

import numpy as np

from ieg.data.dataset import PARTS, Found, FoundFiles, Listing, Opened
from ieg.data.own import (
    check_classes,
    leave_out_copies,
    open_own,
    own_path,
)
from ieg.errors import UsageError, nearest
from ieg.registry import DATASETS
from ieg.utils import tables
from ieg.utils.text import counted, in_order, listed, normal, number

COLUMNS = ('path', 'label', 'clean_label', 'split')
# The part that a value of the column 'split' is of, in lower case.
_SPLITS = {part: part for part in PARTS} | {
    'val': 'valid',
    'validation': 'valid',
}


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row; `line` is the number of its last line, from 1 on."""

    line: int
    path: str
    label: str
    clean: str
    part: str


def read_csv(path: str) -> FoundFiles:
    """Finds the images that a CSV file lists.

    The first line names the columns, in any order: `path` and `label`, and,
    if there are any, `clean_label` and `split`. They are separated by commas,
    semicolons or tabs, whichever fits the first line. Paths are absolute or
    relative to the folder of the file. Labels are strings, even if all of
    them are numbers; the classes are the labels and clean labels of the
    training part, in natural order (see `in_order`). Clean labels are there
    for all rows of a part, or for none.

    Args:
        path: of the file, in UTF-8.

    Returns:
        The images, in the order of the file.

    Raises:
        UsageError: the file, or a row of it, is not like that; or there is
            nothing to train on.
    """
    table = tables.Table(path, COLUMNS)
    _check_header(table.header, path)
    rows = [_row(line, fields, path) for line, fields in table.rows()]
    if not rows:
        raise UsageError(f'{path} has a header, but no rows: list the images.')
    by_part = {p: [row for row in rows if row.part == p] for p in PARTS}
    by_part = {part: found for part, found in by_part.items() if found}
    if 'train' not in by_part:
        raise UsageError(
            f"{path} has no row of the split 'train': name the images to train "
            'on.'
        )
    repeats = [_check_repeats(found, path) for found in by_part.values()]
    with_clean = {p: _has_clean(found, path) for p, found in by_part.items()}
    _check_files(rows, path)
    names = _class_names(by_part['train'])
    index = {normal(name): i for i, name in enumerate(names)}
    parts = {
        part: _listing(found, index, names, with_clean[part], path)
        for part, found in by_part.items()
    }
    parts, remarks = leave_out_copies(parts, names)
    remarks += check_classes(names, parts, dict.fromkeys(parts, path))
    return Found(
        tuple(names),
        parts,
        (*_remarks_on_names(names, path), *filter(None, repeats), *remarks),
    )


def _check_header(header: list[str], path: str) -> None:
    """Checks the names of the columns.

    Raises:
        UsageError: one is missing, unknown, or there twice.
    """
    known = ', '.join(COLUMNS)
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        raise UsageError(
            f'{path} has unknown columns, {listed(unknown)}: the first line '
            f'names the columns, which may be {known}.'
            f'{nearest(unknown[0], COLUMNS)}'
        )
    for name in COLUMNS:
        if header.count(name) > 1:
            raise UsageError(
                f'{path} has {header.count(name)} columns {name!r}: keep one.'
            )
        if name in ('path', 'label') and name not in header:
            raise UsageError(
                f'{path} has no column {name!r}, only {listed(header)}: name '
                f'it in the first line (known columns are {known}).'
            )


def _row(line: int, fields: Mapping[str, str], path: str) -> _Row:
    """Returns one row.

    Raises:
        UsageError: it lacks something, or is of an unknown part.
    """
    for name in ('path', 'label'):
        if not fields[name]:
            raise UsageError(
                f'line {line} of {path} has no {name}: fill it in, or remove '
                'the line.'
            )
    split = fields.get('split', 'train')
    part = part_of(split)
    if part is None:
        raise UsageError(
            f'line {line} of {path} has the split {split!r}, which must be one '
            f'of {", ".join(_SPLITS)}: correct it.{nearest(split, _SPLITS)}'
        )
    return _Row(
        line,
        os.path.join(os.path.dirname(path), fields['path']),
        fields['label'],
        fields.get('clean_label', ''),
        part,
    )


def part_of(split: str) -> str | None:
    """Returns the part that a value of the column 'split' is of, if any."""
    return _SPLITS.get(split.lower())


def _check_repeats(rows: list[_Row], path: str) -> str:
    """Returns a remark on images that one part lists twice, if any.

    Raises:
        UsageError: their labels differ.
    """
    seen: dict[str, _Row] = {}
    repeated = []
    for row in rows:
        first = seen.setdefault(os.path.normpath(row.path), row)
        if first is row:
            continue
        repeated.append(row)
        if (first.label, first.clean) != (row.label, row.clean):
            raise UsageError(
                f'{path} gives {row.path!r} different labels in lines '
                f'{first.line} and {row.line}: keep one of the lines.'
            )
    if not repeated:
        return ''
    return (
        f'{path} lists {counted(len(repeated), f"{rows[0].part} image")} '
        f'again with the same label, such as {repeated[0].path!r} (line '
        f'{repeated[0].line}), which count twice.'
    )


def _has_clean(rows: list[_Row], path: str) -> bool:
    """Returns whether the rows of one part have clean labels.

    Raises:
        UsageError: some have, some have not.
    """
    without = [row for row in rows if not row.clean]
    if without and len(without) < len(rows):
        raise UsageError(
            f'line {without[0].line} of {path} has no clean_label, but other '
            f'{rows[0].part} rows have: fill in all of them or none.'
        )
    return not without


def _check_files(rows: list[_Row], path: str) -> None:
    missing = [row for row in rows if not os.path.isfile(row.path)]
    if missing:
        raise UsageError(
            f'{len(missing):,} of {counted(len(rows), "file")} in {path} do '
            f'not exist, the first is {missing[0].path!r} (line '
            f'{missing[0].line}): paths are relative to the folder of the CSV '
            'file.'
        )


def _class_names(rows: list[_Row]) -> list[str]:
    """Returns the classes of training rows, each as it is written first."""
    names: dict[str, str] = {}
    for row in rows:
        for name in filter(None, (row.label, row.clean)):
            names.setdefault(normal(name), name)
    return in_order(names.values())


def _remarks_on_names(names: list[str], path: str) -> list[str]:
    """Returns a remark on labels that differ as strings only, if any."""
    first: dict[decimal.Decimal, str] = {}
    for name in names:
        if (value := number(name)) is not None:
            same = first.setdefault(value, name)
            if same != name:
                return [
                    f'The labels {same!r} and {name!r} in {path} are one '
                    'number, but two classes.'
                ]
    return []


def _listing(
    rows: list[_Row],
    index: Mapping[str, int],
    names: list[str],
    with_clean: bool,
    path: str,
) -> Listing:
    """Returns the images of one part.

    Raises:
        UsageError: a label is of no training row.
    """
    for row in rows:
        for name in filter(None, (row.label, row.clean)):
            if normal(name) not in index:
                raise UsageError(
                    f'line {row.line} of {path} has the {row.part} label '
                    f'{name!r}, which no training row has: correct it, or add '
                    f'training images.{nearest(name, names)}'
                )
    labels = [index[normal(row.label)] for row in rows]
    clean = [index[normal(row.clean)] for row in rows] if with_clean else None
    return Listing(
        [row.path for row in rows],
        np.array(labels, np.int32),
        None if clean is None else np.array(clean, np.int32),
    )


@DATASETS.register('csv', takes=('image_size',))
def load(data_dir: str | None) -> Opened:
    """Opens the images that a user's table lists; see `read_csv`."""
    return open_own('csv', read_csv(own_path('csv', data_dir)))
