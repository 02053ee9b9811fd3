"""Writes data sets with corrected labels."""

import collections
import contextlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ieg.data.encoding import is_number
from ieg.data.images.class_folders import part_folders
from ieg.data.sets import columns, npz
from ieg.data.sets import folder as folders
from ieg.data.sets import table as table_sets
from ieg.data.sets.npz import KEYS
from ieg.data.sets.rows import part_of
from ieg.data.sets.table import COLUMNS
from ieg.errors import UsageError
from ieg.utils import tables
from ieg.utils.files import atomic_path, is_special, walk
from ieg.utils.text import normal, shown, unreadable

# The fields of a new table, by its `COLUMNS`.
Line = tuple[str, str, str, str]


@contextlib.contextmanager
def fresh(output: str, read: Callable[[str], Any]) -> Iterator[str]:
    """Gives a path to write to, which is renamed when it can be read.

    Args:
        output: the file or folder to make, or a pipe or device to write to.
        read: the reader of a run.

    Raises:
        UsageError: the output is there already or cannot be written, or a run
            could not read it.
    """
    try:
        is_free = is_special(output) or not os.path.lexists(output)
        if not is_free and (not os.path.isdir(output) or os.listdir(output)):
            raise UsageError(
                f'{output} is there already: remove it, or choose another '
                'path with --output.'
            )
        os.makedirs(os.path.dirname(output) or '.', exist_ok=True)
        with atomic_path(output) as temporary:
            yield temporary
            _check_readable(read, temporary, output)
    except OSError as error:
        raise UsageError(
            f'{output} cannot be written ({error.strerror}): choose another '
            'path with --output.'
        ) from error


def _check_readable(
    read: Callable[[str], Any], temporary: str, output: str
) -> None:
    try:
        read(temporary)
    except UsageError as error:
        reason = str(error).replace(temporary, output)
        raise UsageError(
            f'no method could train with these corrections, so nothing is '
            f'written: {reason}'
        ) from None


def save_arrays(
    path: str, arrays: Mapping[str, np.ndarray], packed: bool
) -> None:
    """Writes an npz file of any name."""
    # NumPy would add an extension to a name.
    with open(path, 'wb') as file:
        save: Callable[..., None] = np.savez_compressed if packed else np.savez
        save(file, **arrays)


def save_lines(path: str, lines: Iterable[Line]) -> None:
    """Writes a new table of images.

    Raises:
        UsageError: a path is not text.
    """
    text = ''.join(map(tables.line, [COLUMNS, *lines]))
    try:
        with open(path, 'w', encoding='utf-8', newline='') as file:
            file.write(tables.mark(text) + text)
    except UnicodeEncodeError as error:
        raise UsageError(
            f'The path {shown(error.object)!r} is not UTF-8, so no table can '
            'have it: rename the file or folder.'
        ) from None


# What becomes of an example: its new class, or None to leave it out.
Change = str | None


def write_folder(
    data_dir: str,
    output: str,
    paths: Sequence[str],
    changes: Mapping[str, Change],
) -> list[str]:
    """Writes a copy of a folder of class folders.

    Links become what they lead to.

    Args:
        data_dir: the folder as it is.
        output: the folder to make.
        paths: of all training images, beginning with `data_dir`.
        changes: of training and validation images, by their paths.

    Returns:
        Links that lead out of `data_dir`, which are left out.

    Raises:
        UsageError: as `fresh`; or the output lies in `data_dir`, or the disk
            is too small, or a file cannot be read.
    """
    if _lies_in(data_dir, output):
        raise UsageError(
            f'{output} lies in {data_dir}, whose class folders would then '
            'have it in them: choose another path with --output.'
        )
    everything = _below(data_dir)
    files = [
        name
        for name in everything
        if _lies_in(data_dir, os.path.join(data_dir, name))
    ]
    moved = _moved(data_dir, paths, changes)
    targets = {name for name in files if name not in moved}
    plan = {name: name for name in targets}
    for name in files:
        wanted = moved.get(name)
        if wanted is not None:
            plan[name] = _free(wanted, targets)
            targets.add(plan[name])
    with fresh(output, folders.read_folder) as temporary:
        os.mkdir(temporary)
        copies = {
            os.path.join(data_dir, name): os.path.join(temporary, target)
            for name, target in plan.items()
        }
        _check_space(data_dir, copies, output, temporary)
        for source, target in copies.items():
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _copy(source, target)
    return sorted(set(everything) - set(files))


def _lies_in(folder: str, path: str) -> bool:
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def _below(root: str) -> list[str]:
    """Returns the files at any depth, relative to the root; links followed."""
    try:
        return [
            os.path.relpath(path, root)
            for folder in walk(root, hidden=True)
            for path in folder.files
        ]
    except OSError as error:
        raise unreadable('folder', error.filename or root, error) from None


def _moved(
    data_dir: str, paths: Sequence[str], changes: Mapping[str, Change]
) -> dict[str, Change]:
    """Returns where changed files go to; all relative to `data_dir`."""
    roots = part_folders(data_dir)

    def inside(path: str) -> tuple[str, list[str]]:
        """Returns the folder of a part, and the names below it."""
        # A root can end with a slash already.
        root = next(
            root
            for root in roots.values()
            if path.startswith(os.path.join(root, ''))
        )
        return root, os.path.relpath(path, root).split(os.sep)

    names = {name for name, *_ in (inside(path)[1] for path in paths)}
    class_folders = {normal(shown(name)): name for name in names}
    moved: dict[str, Change] = {}
    for path, label in changes.items():
        name = os.path.relpath(path, data_dir)
        moved[name] = None
        if label is not None:
            root, (_, *rest) = inside(path)
            target = os.path.join(root, class_folders[normal(label)], *rest)
            moved[name] = os.path.relpath(target, data_dir)
    return moved


def _free(name: str, taken: set[str]) -> str:
    """Returns the name, with a number at its end if it is taken."""
    stem, extension = os.path.splitext(name)
    number = 0
    while name in taken:
        number += 1
        name = f'{stem}-{number}{extension}'
    return name


def _check_space(
    data_dir: str, sources: Iterable[str], output: str, temporary: str
) -> None:
    """Raises UsageError where the disk of the output is too small."""
    needed = sum(map(os.path.getsize, sources)) / 2**20
    free = shutil.disk_usage(temporary).free / 2**20
    if needed > free:
        raise UsageError(
            f'a copy of {data_dir} takes {needed:,.1f} MiB, but the disk of '
            f'{output} has {free:,.1f} MiB left: choose a path on another disk '
            'with --output.'
        )


def _copy(source: str, target: str) -> None:
    try:
        shutil.copy2(source, target)
    except PermissionError as error:
        if error.filename == source:
            raise unreadable('file', source, error) from None
        raise


def write_csv(
    path: str, output: str, changes: Mapping[tuple[str, str], Change]
) -> None:
    """Writes a copy of a table of images with corrected labels.

    Rows without a change stay as they are.

    In another folder than the old one, relative paths become absolute ones.

    Args:
        path: of the table.
        output: the table to make.
        changes: by part and path of the image, which begins with the folder
            of the table.

    Raises:
        UsageError: as `fresh`.
    """
    table = tables.Table(path, COLUMNS)
    folder = os.path.dirname(path)
    stays = not is_special(output) and os.path.realpath(
        folder
    ) == os.path.realpath(os.path.dirname(output))
    image, label = map(table.header.index, ('path', 'label'))

    def corrected(part: str, fields: list[str]) -> list[str] | None:
        name = os.path.join(folder, fields[image])
        change = changes.get((part, name), fields[label])
        if change is None:
            return None
        fields[label] = change
        if not stays:
            fields[image] = os.path.abspath(name)
        return fields

    _write_table(path, output, table, corrected, table_sets.read_csv)


class _Number:
    """A number as it is written, of which a text would become a formula."""

    def __init__(self, text: str):
        self._text = text

    def __str__(self) -> str:
        return self._text


def write_vectors(
    path: str,
    output: str,
    changes: Mapping[tuple[str, int], Change],
    feature_columns: str,
) -> None:
    """Writes a copy of a table of vectors with corrected labels.

    Rows without a change stay as they are.

    Args:
        path: of the table.
        output: the table to make.
        changes: by part and number among the rows of the part.
        feature_columns: as `--feature_columns`.

    Raises:
        UsageError: as `fresh`.
    """
    table = tables.Table(path, columns.LABELS)
    label = table.header.index('label')
    counts = collections.Counter[str]()

    def corrected(part: str, fields: list[str]) -> Sequence[object] | None:
        row, counts[part] = counts[part], counts[part] + 1
        change = changes.get((part, row), fields[label])
        if change is None or change == fields[label]:
            return change and fields
        fields[label] = change
        return [
            _Number(field) if place != label and is_number(field) else field
            for place, field in enumerate(fields)
        ]

    _write_table(
        path,
        output,
        table,
        corrected,
        lambda copy: columns.read_vectors(copy, feature_columns, learns=False),
    )


def _write_table(
    path: str,
    output: str,
    table: tables.Table,
    corrected: Callable[[str, list[str]], Sequence[object] | None],
    read: Callable[[str], Any],
) -> None:
    """Writes a copy of a table.

    Args:
        path: of the table.
        output: the table to make.
        table: what is in it.
        corrected: (part, fields of a row) -> the fields, None to leave it out.
        read: the reader of a run.
    """
    with open(path, 'rb') as raw_file:
        has_mark = raw_file.read(3) == b'\xef\xbb\xbf'
    lines = list(io.StringIO(table.text, newline=''))
    kept = []
    for row, record in enumerate(table.records()):
        raw = ''.join(lines[record.first - 1 : record.last])
        fields: Sequence[object] | None = record.fields
        if row:
            named = dict(zip(table.header, record.fields, strict=True))
            part = part_of(named.get('split', 'train')) or ''
            fields = corrected(part, list(record.fields))
        if fields is None:
            continue
        if fields != record.fields:
            # A row ends as the old one did.
            end = raw[len(raw.rstrip('\r\n')) :]
            raw = tables.line(fields, table.delimiter, end)
        kept.append(raw)
    with fresh(output, read) as temporary:
        with open(
            temporary,
            'w',
            encoding='utf-8-sig' if has_mark else 'utf-8',
            newline='',
        ) as file:
            file.writelines(kept)


def write_npz(
    path: str,
    output: str,
    class_names: Sequence[str],
    changes: Mapping[str, Mapping[int, Change]],
) -> None:
    """Writes a copy of a file of arrays: the same keys, other labels.

    Args:
        path: of the file.
        output: the file to make.
        class_names: of all classes, as the reader has them.
        changes: by part and row.

    Raises:
        UsageError: as `fresh`.
    """
    with zipfile.ZipFile(path) as archive:
        packed = any(info.compress_type for info in archive.infolist())
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    # Where there are names, integer labels are places among them.
    codes = {
        name: number if 'class_names' in arrays else name
        for number, name in enumerate(class_names)
    }
    for key in set(arrays) & set(KEYS):
        part, role = KEYS[key]
        rows = changes.get(part, {})
        if role == 'labels':
            arrays[key] = _replaced(arrays[key], rows, codes)
        out = [row for row, name in rows.items() if name is None]
        arrays[key] = np.delete(arrays[key], out, axis=0)
    with fresh(output, npz.read_npz) as temporary:
        save_arrays(temporary, arrays, packed)


def _replaced(
    labels: np.ndarray,
    rows: Mapping[int, Change],
    codes: Mapping[str, int | str],
) -> np.ndarray:
    """Returns labels [N] or [N, 1] with some of them replaced.

    Args:
        labels: integers or strings, whose type stays if it can.
        rows: the new classes of some of them.
        codes: the integer that stands for each class.
    """
    names = {row: name for row, name in rows.items() if name is not None}
    if not names:
        return labels
    if labels.dtype.kind in 'SU':
        values = np.array(list(names.values()))
        if labels.dtype.kind == 'S':
            values = np.char.encode(values, 'utf-8')
        labels = labels.astype(np.promote_types(labels.dtype, values.dtype))
    else:
        values = np.array([int(codes[name]) for name in names.values()])
        if not np.array_equal(values.astype(labels.dtype), values):
            labels = labels.astype(np.int64)
        labels = labels.copy()
    # [N, 1] labels take [n, 1] of them.
    labels[list(names)] = values.reshape(-1, *labels.shape[1:])
    return labels
