"""Vectors in the columns of a CSV file, or made of them."""

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from ieg.data import encoding
from ieg.data.dataset import Found, FoundArrays, Part
from ieg.data.own import check_classes, held_out
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
from ieg.utils.text import described, listed

LABELS, OTHERS = encoding.LABELS, encoding.OTHERS
# Rows that become numbers together.
_ROWS = 4096


def read_vectors(
    path: str, asked: str = '', learns: bool = True
) -> FoundArrays:
    """Reads vectors, their labels, and what is shown of them.

    The first line names the columns, in any order: `label`, if there are any
    `clean_label` and `split` (as `table.read_csv` has them), `text` or `name`,
    and the columns of the vectors. These are all whose values are mostly
    numbers, and those of strings that are categories, unless some are asked
    for; one without a name, as pandas writes for the row numbers, is none of
    them. Without columns of numbers (but for numbers of rows), they are made
    of `text`. See `encoding.learn`.

    Args:
        path: of the file, in UTF-8.
        asked: names of the columns of the vectors, separated by commas.
        learns: whether texts and categories become vectors; if not, the
            vectors are of the columns of numbers only.

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
    numbers = []
    others = columns.strings if learns else ()
    strings: dict[str, list[str]] = {name: [] for name in others}
    for lines, fields in itertools.chain([first], blocks):
        numbers.append(_numbers(lines, fields, columns.numbers, path, True))
        labels = {n: fields[n] for n in LABELS if n in fields}
        for number, line in enumerate(lines):
            own = {name: values[number] for name, values in labels.items()}
            rows.append(read_row(line, own, path))
        text = next(
            (fields[name] for name in encoding.SHOWN if name in fields), None
        )
        texts += text or ()
        for name, values in strings.items():
            values += fields[name]
    array = np.concatenate(numbers)
    # The blocks are no longer needed.
    numbers.clear()
    content = _Content(
        rows,
        array,
        columns.numbers,
        {name: np.array(values, object) for name, values in strings.items()},
        np.array(texts, object) if texts else None,
    )
    return _found(content, bool(asked), path, table.header)


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
    header, blocks = _opened(path, columns)
    first = next(blocks)
    columns = columns or _columns(header, first, '', path).numbers
    return np.concatenate(
        [
            _numbers(lines, fields, columns, path)
            for lines, fields in itertools.chain([first], blocks)
        ]
    )


def read_fields(path: str, columns: Mapping[str, bool]) -> np.ndarray:
    """Returns fields of a table, as layers of `ieg.networks.fields` take them.

    Args:
        path: of the file, in UTF-8.
        columns: whether each column has numbers, by name.

    Returns:
        str [N, k]; numbers as Python writes them.

    Raises:
        UsageError: the file, or a row of it, is not like that.
    """
    _, blocks = _opened(path, tuple(columns))
    rows = []
    for lines, fields in blocks:
        block = np.empty((len(lines), len(columns)), object)
        for place, (name, is_numeric) in enumerate(columns.items()):
            block[:, place] = fields[name]
            if is_numeric:
                values = _numbers(lines, fields, [name], path, True)
                block[:, place] = encoding.as_fields(values[:, 0])
        rows.append(block)
    return np.concatenate(rows)


def _opened(
    path: str, columns: Sequence[str]
) -> tuple[list[str], Iterator['_Block']]:
    """Returns the header of a table, and its rows, at least one block.

    Raises:
        UsageError: it lacks a column, or has one twice, or no rows.
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
    return table.header, itertools.chain([first], blocks)


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
) -> encoding.Candidates:
    """Returns the columns that vectors may be made of, by the first rows.

    Raises:
        UsageError: one that is asked for is missing, or none can be used.
    """
    if asked:
        wanted = _wanted(header, asked, path)
    else:
        wanted = encoding.usual(header)
    fields = {name: first[1][name] for name in wanted}
    candidates = encoding.candidates(fields, bool(asked))
    if not candidates.numbers and not candidates.strings:
        raise UsageError(
            f'{path} has neither a column path, of images, nor one of text, '
            f'numbers or categories, only {listed(header)}: add some, or name '
            'them in the first line.'
        )
    return candidates


def _wanted(header: Sequence[str], asked: str, path: str) -> list[str]:
    """Returns the names of columns that are asked for.

    Raises:
        UsageError: one is missing, or cannot be used.
    """
    wanted = [name.strip().lower() for name in asked.split(',')]
    for name in wanted:
        if name not in header or not name:
            raise UsageError(
                f'--feature_columns={asked}: {path} has no column {name!r}, '
                f'only {listed(header)}.{nearest(name, header)}'
            )
        if name in LABELS or wanted.count(name) > 1:
            why = 'a label' if name in LABELS else 'there twice'
            raise UsageError(
                f'--feature_columns={asked}: {name} is {why}: leave it out.'
            )
    return wanted


def _numbers(
    lines: Sequence[int],
    fields: dict[str, tuple[str, ...]],
    columns: Sequence[str],
    path: str,
    may_lack: bool = False,
) -> np.ndarray:
    """Returns the numbers of a block, float32 [n, d].

    Args:
        lines: numbers of its lines.
        fields: by column.
        columns: names of those of numbers.
        path: of the file.
        may_lack: whether numbers may be missing: NaN is returned for these.

    Raises:
        UsageError: a field is no finite number.
    """
    array = np.empty((len(lines), len(columns)), np.float32)
    for place, name in enumerate(columns):
        try:
            values = np.array(fields[name]).astype(np.float64)
        except ValueError:
            values = np.array(
                [
                    float(v) if encoding.is_number(v) else np.nan
                    for v in fields[name]
                ]
            )
        bad = np.flatnonzero(~(np.abs(values) < LARGEST)).tolist()
        if may_lack:
            bad = [n for n in bad if not encoding.is_missing(fields[name][n])]
        if bad:
            raise UsageError(
                f'line {lines[bad[0]]} of {path} has '
                f'{fields[name][bad[0]]!r} in the column {name!r}, which is no '
                f'number between -{LARGEST:g} and {LARGEST:g}: correct it, '
                'or leave the line or the column out.'
            )
        array[:, place] = values
    return array


@dataclasses.dataclass(frozen=True, eq=False)
class _Content:
    """What was read of a table; N rows.

    Attributes:
        rows: their labels and parts.
        numbers: float32 [N, d], NaN for missing ones.
        names: of the columns of these.
        strings: object [N] of other columns by name.
        texts: object [N], what is shown of the rows; None where they have none.
    """

    rows: Sequence[Row]
    numbers: np.ndarray
    names: Sequence[str]
    strings: Mapping[str, np.ndarray]
    texts: np.ndarray | None

    @property
    def digest(self) -> str:
        """A hash of all fields and parts."""
        digest = hashlib.sha256(np.ascontiguousarray(self.numbers).data)
        parts = np.array([row.part for row in self.rows], object)
        for values in (*self.strings.values(), parts):
            for value in values.tolist():
                digest.update(value.encode() + b'\0')
        return digest.hexdigest()

    @property
    def table(self) -> dict[str, np.ndarray]:
        """The values of all columns [N] by name."""
        columns = zip(self.names, self.numbers.T, strict=True)
        return dict(columns) | dict(self.strings)

    def vectors(
        self, train: Callable[[], np.ndarray], asked: bool, path: str
    ) -> tuple[Vectors, list[str]]:
        """Returns the rows as vectors, and remarks.

        Args:
            train: returns the rows to learn from, int [n].
            asked: whether the user has chosen the columns.
            path: of the file.

        Raises:
            UsageError: they cannot become vectors.
        """
        lacks = bool(np.isnan(self.numbers).any())
        if not self.strings and not lacks:
            return Vectors(self.numbers, columns=self.names), []
        chosen = train()
        rows = {name: values[chosen] for name, values in self.table.items()}
        learned, remarks = encoding.learn(rows, asked, path)
        if not lacks and set(learned.names) <= set(self.names):
            # What was left out does not matter.
            return Vectors(self.numbers, columns=self.names), remarks
        vectors = Vectors(
            learned.vectors(self.table),
            columns=learned.names,
            encoding=learned,
            digest=self.digest,
        )
        return vectors, remarks


def _found(
    content: _Content, asked: bool, path: str, header: Sequence[str]
) -> FoundArrays:
    """Returns the examples by part, of a table with some header.

    Raises:
        UsageError: there is nothing to train on, or a label is of no class.
    """
    by_part: dict[str, list[int]] = {}
    for number, row in enumerate(content.rows):
        by_part.setdefault(row.part, []).append(number)
    if 'train' not in by_part:
        raise UsageError(
            f"{path} has no row of the split 'train': name those to train on."
        )
    members = {p: [content.rows[i] for i in ids] for p, ids in by_part.items()}
    names = class_names(members['train'])
    labels = {p: classes_of(members[p], names, path) for p in by_part}

    def learned_from() -> np.ndarray:
        train = np.array(by_part['train'])
        if 'test' in by_part:
            return train
        # Nothing is learned from what will be held out.
        return train[held_out(labels['train'][0])[0]]

    vectors, remarks = content.vectors(learned_from, asked, path)
    texts = content.texts
    if texts is None and vectors.encoding is not None:
        used = {name: content.table[name] for name in vectors.columns}
        texts = np.array(described(used), object)
    parts = {
        part: Part(
            vectors.take(np.array(ids)),
            *labels[part],
            texts=None if texts is None else texts[ids],
        )
        for part, ids in by_part.items()
    }
    remarks = [
        *check_classes(names, parts, dict.fromkeys(parts, path)),
        *remarks,
        *_remarks(header, content, vectors.columns, path),
    ]
    return Found(tuple(names), parts, tuple(remarks))


def _remarks(
    header: Sequence[str],
    content: _Content,
    used: Collection[str],
    path: str,
) -> list[str]:
    """Returns remarks on columns that are not used, and on a text that is not.

    Args:
        header: names of all columns.
        content: what was read; what was left out of it has been said.
        used: names of those that are used.
        path: of the file.
    """
    known = (*OTHERS, *content.names, *content.strings)
    idle = [name or '(without a name)' for name in header if name not in known]
    remarks = []
    if idle:
        remarks.append(f'Columns of {path} that are not used: {listed(idle)}.')
    if encoding.TEXT in header and encoding.TEXT not in used:
        remarks.append(
            f'The column {encoding.TEXT!r} of {path} is shown, not learned '
            f'from: --feature_columns={encoding.TEXT} uses it.'
        )
    return remarks
