"""Images listed in a CSV file."""

import dataclasses
import os

from ieg.data.dataset import PARTS, Found, FoundFiles, Listing, Opened
from ieg.data.own import (
    check_classes,
    leave_out_copies,
    open_own,
    open_vectors,
    own_path,
)
from ieg.data.sets import columns
from ieg.data.sets.rows import (
    Row,
    class_names,
    classes_of,
    has_clean,
    read_row,
)
from ieg.errors import UsageError, nearest
from ieg.registry import DATASETS
from ieg.utils import tables
from ieg.utils.text import counted, listed

COLUMNS = ('path', 'label', 'clean_label', 'split')


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
    rows = []
    for line, fields in table.rows():
        row = read_row(line, fields, path, needed=('path', 'label'))
        image = os.path.join(os.path.dirname(path), fields['path'])
        rows.append(dataclasses.replace(row, path=image))
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
    for found in by_part.values():
        has_clean(found, path)
    _check_files(rows, path)
    names = class_names(by_part['train'])
    parts = {
        part: Listing(
            [row.path for row in found], *classes_of(found, names, path)
        )
        for part, found in by_part.items()
    }
    parts, remarks = leave_out_copies(parts, names)
    remarks += check_classes(names, parts, dict.fromkeys(parts, path))
    return Found(
        tuple(names),
        parts,
        (*filter(None, repeats), *remarks),
    )


def _check_header(header: list[str], path: str) -> None:
    """Checks the names of the columns.

    Raises:
        UsageError: one is missing, unknown, or there twice.
    """
    known = ', '.join(COLUMNS)
    unknown = [name for name in header if name not in COLUMNS]
    if not {'path', 'label'} & set(header):
        raise UsageError(
            f"{path} has no column 'label', only {listed(header)}: the first "
            'line names the columns, label and, for images, path.'
            f'{nearest("label", header)}'
        )
    if unknown:
        # Names that are all there are not misspelt.
        hint = nearest(unknown[0], COLUMNS)
        if {'path', 'label'} <= set(header):
            hint = ' Columns of vectors are named by --feature_columns.'
        raise UsageError(
            f'{path} has unknown columns, {listed(unknown)}: the first line '
            f'names the columns, which may be {known}.{hint}'
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


def _check_repeats(rows: list[Row], path: str) -> str:
    """Returns a remark on images that one part lists twice, if any.

    Raises:
        UsageError: their labels differ.
    """
    seen: dict[str, Row] = {}
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


def _check_files(rows: list[Row], path: str) -> None:
    missing = [row for row in rows if not os.path.isfile(row.path)]
    if missing:
        raise UsageError(
            f'{len(missing):,} of {counted(len(rows), "file")} in {path} do '
            f'not exist, the first is {missing[0].path!r} (line '
            f'{missing[0].line}): paths are relative to the folder of the CSV '
            'file.'
        )


def has_vectors(path: str, feature_columns: str) -> bool:
    """Returns whether a table has vectors: some are asked for, or no paths.

    Raises:
        UsageError: it cannot be read.
    """
    if feature_columns:
        return True
    header = tables.Table(path, COLUMNS).header
    return 'label' in header and 'path' not in header


@DATASETS.register('csv', takes=('image_size', 'feature_columns'))
def load(data_dir: str | None, feature_columns: str = '') -> Opened:
    """Opens a user's table of images or vectors.

    See `read_csv` and `columns.read_vectors`.
    """
    path = own_path('csv', data_dir)
    if has_vectors(path, feature_columns):
        return open_vectors('csv', columns.read_vectors(path, feature_columns))
    return open_own('csv', read_csv(path))
