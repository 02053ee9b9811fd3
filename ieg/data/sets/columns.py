"""Vectors in the columns of a CSV file."""

import collections
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ieg.data.dataset import Found, FoundArrays, Part
from ieg.data.own import check_classes
from ieg.data.sets.rows import (
    Row,
    class_names,
    classes_of,
    read_row,
)
from ieg.data.vectors import Vectors
from ieg.errors import UsageError, nearest
from ieg.utils.arrays import LARGEST
from ieg.utils.tables import Table
from ieg.utils.text import listed

# Columns that are no vectors unless they are asked for; the last three are
# shown in the report.
LABELS = ('label', 'clean_label', 'split')
_TEXTS = ('text', 'name', 'path')
OTHERS = (*LABELS, *_TEXTS)
# Rows that become numbers together.
_ROWS = 4096


def read_vectors(path: str, asked: str = '') -> FoundArrays:
    """Reads vectors, their labels, and what is shown of them.

    The first line names the columns, in any order: `label`, if there are any
    `clean_label` and `split` (as `table.read_csv` has them), `text` or `name`,
    and the columns of the vectors. These are all whose values are mostly
    numbers, unless some are asked for; one without a name, as pandas writes
    for the row numbers, is none of them.

    Args:
        path: of the file, in UTF-8.
        asked: names of the columns of the vectors, separated by commas.

    Raises:
        UsageError: the file, or a row of it, is not like that; or there is
            nothing to train on.
    """
    table = Table(path, LABELS)
    _check_header(table.header, path)
    blocks = _blocks(table)
    first = next(blocks, None)
    if first is None:
        raise UsageError(f'{path} has a header, but no rows: add the examples.')
    columns = _columns(table.header, first, asked, path)
    rows: list[Row] = []
    texts: list[str] = []
    vectors = []
    for lines, fields in itertools.chain([first], blocks):
        vectors.append(_numbers(lines, fields, columns, path))
        labels = {n: fields[n] for n in LABELS if n in fields}
        for number, line in enumerate(lines):
            own = {name: values[number] for name, values in labels.items()}
            rows.append(read_row(line, own, path))
        text = next((fields[name] for name in _TEXTS if name in fields), None)
        texts += text or ()
    array = np.concatenate(vectors)
    # The blocks are no longer needed.
    vectors.clear()
    shown = np.array(texts, object) if texts else None
    found = _found(rows, Vectors(array, columns=columns), shown, path)
    return Found(
        found.class_names,
        found.parts,
        (*found.remarks, *_remarks(table.header, columns, path)),
    )


def read_features(path: str, columns: Sequence[str]) -> np.ndarray:
    """Returns the vectors of a table, whether it has labels or not.

    Args:
        path: of the file, in UTF-8.
        columns: names of the columns; empty for all of numbers, as of
            `read_vectors`.

    Returns:
        float32 [N, d].

    Raises:
        UsageError: the file, or a row of it, is not like that.
    """
    table = Table(path, columns or LABELS)
    _check_unique(table.header, columns or table.header, path)
    if missing := [name for name in columns if name not in table.header]:
        raise UsageError(
            f'{path} has no column {missing[0]!r}, which the model takes, only '
            f'{listed(table.header)}.{nearest(missing[0], table.header)}'
        )
    blocks = _blocks(table)
    first = next(blocks, None)
    if first is None:
        raise UsageError(f'{path} has a header, but no rows: add the examples.')
    columns = columns or _columns(table.header, first, '', path)
    return np.concatenate(
        [
            _numbers(lines, fields, columns, path)
            for lines, fields in itertools.chain([first], blocks)
        ]
    )


def _check_header(header: Sequence[str], path: str) -> None:
    """Checks the names of the columns.

    Raises:
        UsageError: the labels are missing, or a column is there twice.
    """
    if 'label' not in header:
        raise UsageError(
            f"{path} has no column 'label', only {listed(header)}: name it in "
            f'the first line.{nearest("label", header)}'
        )
    _check_unique(header, header, path)


def _check_unique(
    header: Sequence[str], names: Sequence[str], path: str
) -> None:
    """Checks that columns are there at most once.

    Args:
        header: names of all columns.
        names: those that matter.
        path: of the file.

    Raises:
        UsageError: one is there twice.
    """
    counts = collections.Counter(header)
    twice = [name for name in names if name and counts[name] > 1]
    if twice:
        raise UsageError(
            f'{path} has {counts[twice[0]]} columns {twice[0]!r}: keep one, '
            'or rename the others.'
        )


# Numbers of lines, and the fields of these lines by column.
_Block = tuple[list[int], dict[str, tuple[str, ...]]]


def _blocks(table: Table) -> Iterator[_Block]:
    """Yields the rows of a table, many at a time.

    Raises:
        UsageError: a row is not CSV, or does not fit the header.
    """
    rows = table.rows()
    while block := list(itertools.islice(rows, _ROWS)):
        lines, fields = zip(*block, strict=True)
        columns = zip(*(row.values() for row in fields), strict=True)
        names = fields[0].keys()
        yield list(lines), dict(zip(names, columns, strict=True))


def _columns(
    header: Sequence[str], first: _Block, asked: str, path: str
) -> list[str]:
    """Returns the names of the columns of the vectors.

    Raises:
        UsageError: one that is asked for is missing, or none has numbers.
    """
    wanted = [name.strip().lower() for name in asked.split(',')]
    if asked:
        for name in wanted:
            if name not in header or not name:
                raise UsageError(
                    f'--feature_columns={asked}: {path} has no column '
                    f'{name!r}, only {listed(header)}.{nearest(name, header)}'
                )
            if name in LABELS or wanted.count(name) > 1:
                why = 'a label' if name in LABELS else 'there twice'
                raise UsageError(
                    f'--feature_columns={asked}: {name} is {why}: leave it out.'
                )
        return wanted
    columns = [
        name
        for name, values in first[1].items()
        if name and name not in OTHERS and _is_mostly_numbers(values)
    ]
    if not columns:
        raise UsageError(
            f'{path} has neither a column path, of images, nor one of numbers, '
            f'of vectors, only {listed(header)}: add some, or name them in the '
            'first line.'
        )
    return columns


def _is_mostly_numbers(values: Sequence[str]) -> bool:
    return 2 * sum(map(is_number, values)) > len(values)


def is_number(value: str) -> bool:
    """Returns whether a field can be read as a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True


def _numbers(
    lines: Sequence[int],
    fields: dict[str, tuple[str, ...]],
    columns: Sequence[str],
    path: str,
) -> np.ndarray:
    """Returns the vectors of a block, float32 [n, d].

    Raises:
        UsageError: a field is no finite number.
    """
    array = np.empty((len(lines), len(columns)), np.float32)
    for place, name in enumerate(columns):
        try:
            values = np.array(fields[name]).astype(np.float64)
        except ValueError:
            values = np.array(
                [float(v) if is_number(v) else np.nan for v in fields[name]]
            )
        if len(bad := np.flatnonzero(~(np.abs(values) < LARGEST))):
            raise UsageError(
                f'line {lines[bad[0]]} of {path} has '
                f'{fields[name][bad[0]]!r} in the column {name!r}, which is no '
                f'number between -{LARGEST:g} and {LARGEST:g}: correct it, '
                'or leave the line or the column out.'
            )
        array[:, place] = values
    return array


def _found(
    rows: Sequence[Row],
    vectors: Vectors,
    texts: np.ndarray | None,
    path: str,
) -> FoundArrays:
    """Returns the examples by part.

    Raises:
        UsageError: there is nothing to train on, or a label is of no class.
    """
    by_part: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_part.setdefault(row.part, []).append(number)
    if 'train' not in by_part:
        raise UsageError(
            f"{path} has no row of the split 'train': name those to train on."
        )
    members = {p: [rows[i] for i in ids] for p, ids in by_part.items()}
    names = class_names(members['train'])
    parts = {}
    for part, ids in by_part.items():
        labels, clean = classes_of(members[part], names, path)
        shown = None if texts is None else texts[ids]
        own = vectors.take(np.array(ids))
        parts[part] = Part(own, labels, clean, texts=shown)
    remarks = check_classes(names, parts, dict.fromkeys(parts, path))
    return Found(tuple(names), parts, tuple(remarks))


def _remarks(
    header: Sequence[str], columns: Sequence[str], path: str
) -> list[str]:
    """Returns remarks on columns that are not used."""
    known = (*OTHERS, *columns)
    idle = [name or '(without a name)' for name in header if name not in known]
    if not idle:
        return []
    return [f'Columns of {path} that are not used: {listed(idle)}.']
