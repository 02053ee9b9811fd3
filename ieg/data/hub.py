"""Data sets of Hugging Face and Parquet files, written as tables of a user.

`hf:NAME`, `hf:NAME:CONFIG` and the path of a Parquet file are read by the
library `datasets`, once, and become a CSV file, and image files next to it, in
the cache of this package. From then on they are a user's own data: whatever
reads a table, checks images or corrects labels needs to know nothing else.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ieg.data import spec
from ieg.errors import UsageError
from ieg.utils.files import cache_folder
from ieg.utils.tables import line
from ieg.utils.text import counted, listed, tidy

PREFIX, PARQUET = 'hf:', '.parquet'
# Their splits that are parts here. Without a test split, `validation` is one.
_SPLITS = {'train': 'train', 'test': 'test', 'validation': 'valid'}
# Names of label columns that do not have the names of their classes.
_LABELS = ('label', 'labels', 'class', 'target')
_TEXT = 'text'
# Columns of the table that mean something else.
_RESERVED = ('label', 'clean_label', 'split', 'path')
# What an image file begins with -> its extension.
_MAGIC = {b'\xff\xd8': '.jpg', b'\x89PNG': '.png', b'GIF8': '.gif'}
_MAGIC |= {b'BM': '.bmp', b'RIFF': '.webp', b'II': '.tif', b'MM': '.tif'}
# Changes whenever what is written of the same data changes.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Table:
    """A data set that was written as a table.

    Attributes:
        path: of the CSV file.
        remarks: sentences about what was chosen or left out.
    """

    path: str
    remarks: tuple[str, ...]


def is_named(path: str) -> bool:
    """Returns whether a path, or data set, is one that this module reads."""
    return path.startswith(PREFIX) or path.lower().endswith(PARQUET)


def replaced(given: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
    """Returns options that name a table in place of what it is made of.

    Args:
        given: options by name.

    Returns:
        The options, and remarks.

    Raises:
        UsageError: the data set cannot be read, or has no labels.
    """
    dataset, place = given.get('dataset', ''), given.get('data_dir', '')
    if not dataset.startswith(PREFIX):
        if dataset or not is_named(place):
            return dict(given), ()
        made = read(place, given.get('cache_dir', ''))
        return {**given, 'dataset': 'csv', 'data_dir': made.path}, made.remarks
    if place:
        raise UsageError(
            f'--data_dir={place} has no meaning for --dataset={dataset}, which '
            'names the data: omit it.'
        )
    name = spec.without_noise(dataset)
    made = read(name, given.get('cache_dir', ''))
    kind = f'csv{dataset[len(name) :]}'
    return {**given, 'dataset': kind, 'data_dir': made.path}, made.remarks


def read(name: str, cache_dir: str = '') -> Table:
    """Writes a data set as a table, unless it is there.

    Args:
        name: `hf:NAME`, `hf:NAME:CONFIG`, or the path of a Parquet file.
        cache_dir: option of that name.

    Raises:
        UsageError: it cannot be read, or has no labels.
    """
    spec.without_noise(name)  # Raises where there is no name.
    parts = _splits(name)
    columns = _columns(name, parts['train'].features)
    title = tidy(os.path.basename(name.removeprefix(PREFIX)))
    title = re.sub(r'[^\w.-]', '-', title.removesuffix(PARQUET))
    prints = [f'{part} {rows._fingerprint}' for part, rows in parts.items()]
    digest = hashlib.sha256(f'{_VERSION} {columns} {prints}'.encode())
    folder = f'{title}-{digest.hexdigest()[:16]}'
    folder = os.path.join(cache_folder(cache_dir), 'tables', folder)
    path = os.path.join(folder, f'{title}.csv')
    remarks = [*columns.remarks]
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        with _complete(folder) as new:
            table = os.path.join(new, f'{title}.csv')
            remarks += _write(table, parts, columns)
    return Table(path, (*remarks, f'{name} is here as {path}.'))


@contextlib.contextmanager
def _complete(folder: str) -> Iterator[str]:
    """Yields a new folder that gets its name when it is complete."""
    new = tempfile.mkdtemp(prefix='.new_', dir=os.path.dirname(folder))
    try:
        yield new
        try:
            os.rename(new, folder)
        except OSError:
            # Another process may have been faster.
            if not os.path.isdir(folder):
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _splits(name: str) -> dict[str, Any]:
    """Returns the splits of a data set that are used, by part.

    Raises:
        UsageError: it cannot be read, or has nothing to train on.
    """
    try:
        import datasets
    except ImportError:
        raise UsageError(
            f'{name} is read by the package datasets, which is missing: '
            'install it with `pip install "ieg[hf]"`.'
        ) from None
    datasets.disable_progress_bars()
    # What fails is said once.
    for library in ('datasets', 'huggingface_hub'):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    if name.startswith(PREFIX):
        place, _, config = name.removeprefix(PREFIX).partition(':')
        asked: dict[str, Any] = {'path': place, 'name': config or None}
    else:
        place = os.path.expanduser(name)
        asked = {'path': 'parquet', 'data_files': place}
    try:
        found = datasets.load_dataset(**asked)
    # Whatever goes wrong in there (network, name, configuration, a damaged
    # file), the user needs the reason in one sentence.
    except Exception as error:
        reason = tidy(str(error).partition('\n')[0]) or type(error).__name__
        raise UsageError(f'{name} cannot be read: {reason}') from error
    named = {part: found[s] for s, part in _SPLITS.items() if s in found}
    if 'train' not in named:
        raise UsageError(
            f'{name} has no split named train, only {listed([*found])}: choose '
            'another data set.'
        )
    if 'test' not in named and 'valid' in named:
        named['test'] = named.pop('valid')
    return named


@dataclasses.dataclass(frozen=True)
class _Columns:
    """The columns of a data set that matter.

    Attributes:
        label: the name of that of the labels.
        classes: names of the classes; empty where the labels are these.
        image: that of the images; '' without.
        others: columns of the table, by theirs.
        remarks: sentences about what was chosen.
    """

    label: str
    classes: tuple[str, ...]
    image: str
    others: Mapping[str, str]
    remarks: tuple[str, ...]


def _columns(name: str, features: Mapping[str, Any]) -> _Columns:
    """Returns the columns of a data set that matter.

    Raises:
        UsageError: it has no labels, or nothing else.
    """
    import datasets

    named = {
        n: f for n, f in features.items() if isinstance(f, datasets.ClassLabel)
    }
    labels = [n for n in named if n == 'label']
    # Of coarse and fine classes, the fine ones.
    labels += sorted(named, key=lambda n: -named[n].num_classes)
    labels += [
        n for n in _LABELS if isinstance(features.get(n), datasets.Value)
    ]
    if not labels:
        raise UsageError(
            f'{name} has no column of labels, only {listed([*features])}: '
            f'rename one to {_LABELS[0]!r}, or choose another data set.'
        )
    label, remarks = labels[0], []
    if len(named) > 1:
        rest = listed([n for n in named if n != label])
        remarks.append(f'The labels of {name} are {label!r}, not {rest}.')
    images = [n for n, f in features.items() if isinstance(f, datasets.Image)]
    values = {
        n: f.dtype
        for n, f in features.items()
        if isinstance(f, datasets.Value)
        and n not in (*_RESERVED, *named, label)
    }
    strings = [n for n, kind in values.items() if 'string' in kind]
    # The only column of strings is a text, whatever it is called.
    text = {n: _TEXT for n in strings if len(strings) == 1}
    if not images and not values:
        raise UsageError(
            f'{name} has neither images nor columns of text or numbers, only '
            f'{listed([*features])}: choose another data set.'
        )
    others = {} if images else {n: text.get(n, n) for n in values}
    return _Columns(
        label,
        tuple(named[label].names) if label in named else (),
        images[0] if images else '',
        others,
        tuple(remarks),
    )


def _write(
    path: str, parts: Mapping[str, Any], columns: _Columns
) -> Iterator[str]:
    """Writes the table and its images; yields sentences about what is left out.

    Args:
        path: of the table, in a folder that is there.
        parts: the splits by part.
        columns: those that matter.
    """
    header = ['path'] if columns.image else [*columns.others.values()]
    with open(path, 'w', encoding='utf-8', newline='') as file:
        file.write(line([*header, 'label', 'split']))
        for part, rows in parts.items():
            skipped = 0
            for number, row in enumerate(_rows(rows, columns)):
                label = _label(row[columns.label], columns.classes)
                if not label:
                    skipped += 1
                    continue
                values = [row[name] for name in columns.others]
                if columns.image:
                    folder, image = os.path.dirname(path), row[columns.image]
                    values = [_save(folder, part, number, image)]
                file.write(line([*values, label, part]))
            if skipped:
                yield (
                    f'{counted(skipped, f"{part} example")} without a label '
                    f'{"is" if skipped == 1 else "are"} left out.'
                )


def _rows(rows: Any, columns: _Columns) -> Iterator[dict[str, Any]]:
    """Yields rows, with encoded images."""
    import datasets

    kept = [columns.label, *columns.others]
    if columns.image:
        kept.append(columns.image)
        rows = rows.cast_column(columns.image, datasets.Image(decode=False))
    return iter(rows.select_columns(kept))


def _label(value: Any, classes: Sequence[str]) -> str:
    """Returns the name of a class; '' for none."""
    if value is None or (classes and not 0 <= value < len(classes)):
        return ''
    return str(classes[value] if classes else value)


def _save(folder: str, part: str, number: int, image: Mapping[str, Any]) -> str:
    """Writes an image; returns its path relative to a folder."""
    content = image['bytes']
    if content is None:
        with open(image['path'], 'rb') as file:
            content = file.read()
    # Files of other kinds are reported when the images are read.
    kinds = [_MAGIC[start] for start in _MAGIC if content.startswith(start)]
    name = f'{part}_{number:07d}{(*kinds, ".png")[0]}'
    os.makedirs(os.path.join(folder, part), exist_ok=True)
    with open(os.path.join(folder, part, name), 'wb') as file:
        file.write(content)
    return f'{part}/{name}'
