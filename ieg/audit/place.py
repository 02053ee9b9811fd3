"""What is at the PATH of `ieg audit`, found without TensorFlow."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ieg.data import encoding, spec
from ieg.data.images import class_folders
from ieg.data.images.survey import EXTENSIONS
from ieg.errors import UsageError
from ieg.utils import tables
from ieg.utils.arrays import check_arrays_fit, headers
from ieg.utils.files import check_local, is_ours, open_regular
from ieg.utils.text import counted, shown, unreadable

WANTED = 'a folder of images in class folders, a .csv, .npz or .parquet file'
# With fewer examples, the label of a class is not judged but guessed.
LEAST = 5
_ARCHIVES = ('.zip', '.tar', '.gz', '.tgz', '.bz2', '.xz', '.7z', '.rar')
_NAMED = 10
# Files that stand for all.
_SAMPLE = 64


@dataclasses.dataclass(frozen=True)
class Place:
    """A user's data.

    Attributes:
        path: as typed.
        kind: the data set that reads it: folder, csv or npz.
        counts: training examples of each class, before any of them are held
            out; empty where only the reader can tell.
        others: further examples by the name of their part.
        remarks: sentences about what is not used.
        files: some of the image files, spread over all.
        has_vectors: whether the examples are vectors, not images.
        characters: of texts that become vectors.
    """

    path: str
    kind: str
    counts: Mapping[str, int]
    others: Mapping[str, int] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    has_vectors: bool = False
    characters: int = 0

    @property
    def total(self) -> int:
        """How many examples there are; 0 where only the reader can tell."""
        return sum(self.counts.values()) + sum(self.others.values())


def kind(path: str) -> str:
    """Returns the data set that reads a path.

    Raises:
        UsageError: there is none, or nothing is there.
    """
    check_local(path)
    place = os.path.expanduser(path)
    try:
        os.stat(place)
    except OSError as error:
        if _is_name(path):
            raise UsageError(
                f'{path} is the name of a data set, and no file or folder here '
                f'is called so: give {WANTED}, or train on that data set with '
                f'`ieg train --dataset={path}`.'
            ) from None
        raise unreadable('file or folder', place, error) from None
    extension = os.path.splitext(place)[1].lower()
    if os.path.isdir(place):
        if is_ours(place):
            raise UsageError(
                f'{path} is a run folder: give the data, {WANTED}; '
                f'`ieg report {path}` shows the results of the run.'
            )
        return 'folder'
    if extension in ('.csv', '.npz'):
        return extension[1:]
    hint = ''
    if extension in _ARCHIVES:
        hint = '; unpack it first'
    elif extension in EXTENSIONS:
        hint = '; this is a single image'
    elif extension in ('.tsv', '.txt', '.xls', '.xlsx', '.json'):
        hint = '; save tables as CSV'
    elif extension == '.npy':
        hint = '; save x_train and y_train with numpy.savez_compressed'
    raise UsageError(f'{path} is a file of another kind: give {WANTED}{hint}.')


def look(
    path: str, kind: str, probe_dir: str = '', feature_columns: str = ''
) -> Place:
    """Returns what is at a path.

    Args:
        path: as typed.
        kind: see `kind`.
        probe_dir: option of that name.
        feature_columns: option of that name.

    Raises:
        UsageError: it is nothing that can be audited.
    """
    place = os.path.expanduser(path)
    if kind == 'folder':
        found = _folder(path, class_folders.find(place, probe_dir))
    elif kind == 'csv':
        found = _table(path, feature_columns)
    else:
        found = _arrays(path)
    if len(found.counts) == 1:
        (name,) = found.counts
        raise UsageError(
            f'{path} has examples of only the class {name!r}: add examples of '
            'another class.'
        )
    most = max(found.counts.values(), default=LEAST)
    if most < LEAST:
        raise UsageError(
            f'{path} has at most {counted(most, "example")} of a class, but '
            f'labels are judged by {LEAST} or more: add examples, or merge '
            'classes.'
        )
    return found


def describe(place: Place) -> str:
    """Returns how many examples there are, in one line; '' if unknown."""
    if not place.counts:
        return ''
    sizes = place.counts.values()
    noun = 'image' if place.kind == 'folder' else 'example'
    each = f'{min(sizes):,} to {max(sizes):,} each'
    if min(sizes) == max(sizes):
        each = f'{max(sizes):,} each'
    parts = ''.join(
        f', and {count:,} in the {part} part'
        for part, count in place.others.items()
    )
    return (
        f'{place.path}: {counted(sum(sizes), noun)} of '
        f'{len(sizes):,} classes, {each}{parts}.'
    )


def warning(place: Place) -> str:
    """Returns a sentence about classes that are too small; '' without any."""
    small = {c: n for c, n in place.counts.items() if n < LEAST}
    if not small:
        return ''
    named = ', '.join(
        f'{name!r} ({count})' for name, count in list(small.items())[:_NAMED]
    )
    more = f' and {len(small) - _NAMED:,} more' if len(small) > _NAMED else ''
    return (
        f'Fewer than {LEAST} examples: {named}{more}. Do not rely on what is '
        'said of these labels.'
    )


def _is_name(text: str) -> bool:
    """Returns whether a text is what `--dataset` takes, or begins like it."""
    if text.startswith(spec.TFDS_PREFIX):
        return True
    try:
        return spec.parse(text).base not in spec.OWN
    except UsageError:
        return False


def _folder(path: str, found: class_folders.ClassFolders) -> Place:
    """Returns the images in class folders."""
    train = found.images['train']
    others = {
        part: sum(map(len, by_class.values()))
        for part, by_class in found.images.items()
        if part != 'train' and any(by_class.values())
    }
    counts = {shown(name): len(train[name]) for name in found.names}
    paths = list(itertools.chain.from_iterable(train.values()))
    return Place(
        path,
        'folder',
        counts,
        others,
        tuple(found.notes.sentences()),
        tuple(_spread(paths)),
    )


def _spread(paths: Sequence[str]) -> list[str]:
    """Returns some paths, spread over all."""
    places = np.linspace(0, len(paths) - 1, min(_SAMPLE, len(paths)))
    return [paths[int(place)] for place in places]


def _table(path: str, feature_columns: str) -> Place:
    """Returns the rows of a table.

    Raises:
        UsageError: the file is no table.
    """
    table = tables.Table(os.path.expanduser(path), ('path', 'label', 'split'))
    if 'label' not in table.header:
        return Place(path, 'csv', {})
    rows = [fields for _, fields in table.rows()]
    counts = collections.Counter(
        row['label']
        for row in rows
        if row.get('split', 'train').lower() == 'train'
    )
    others = {'held-out': len(rows) - counts.total()}
    folder = os.path.dirname(os.path.expanduser(path))
    files = [os.path.join(folder, row['path']) for row in rows if 'path' in row]
    return Place(
        path,
        'csv',
        dict(counts),
        {part: count for part, count in others.items() if count},
        files=tuple(_spread(files)),
        has_vectors='path' not in table.header or bool(feature_columns),
        characters=_characters(rows, feature_columns),
    )


def _characters(rows: Sequence[Mapping[str, str]], feature_columns: str) -> int:
    """Returns how many characters are in texts that become vectors."""
    header = rows[0] if rows else ()
    if 'path' in header and not feature_columns:
        return 0
    asked = [name.strip().lower() for name in feature_columns.split(',')]
    chosen = asked if feature_columns else encoding.usual(header)
    fields = {n: [row[n] for row in rows] for n in chosen if n in header}
    names = encoding.candidates(fields, bool(feature_columns)).strings
    return sum(len(text) for name in names for text in fields[name])


def _arrays(path: str) -> Place:
    """Returns the arrays in a file, as far as its reader would take them."""
    place = os.path.expanduser(path)
    try:
        with open_regular(place) as file:
            check_arrays_fit(file, place)
            shapes = {key: shape for key, (shape, _) in headers(file).items()}
            with np.load(file, allow_pickle=False) as arrays:
                labels = {k: arrays[k] for k in arrays if _is_labels(k)}
    except UsageError:
        raise
    # A damaged file can raise anything, and its reader says what is wrong.
    except Exception:
        return Place(path, 'npz', {})
    counts: dict[str, int] = {}
    others: dict[str, int] = {}
    for key, array in labels.items():
        part = key.removeprefix('y_').removesuffix('_labels')
        if part in ('train', 'labels'):
            names, each = np.unique(array, return_counts=True)
            counts = dict(zip(map(str, names), each.tolist(), strict=True))
        elif len(array):
            others[part] = len(array)
    examples = [
        shapes.get(k, ()) for k in ('x_train', 'train_images', 'images')
    ]
    has_vectors = any(len(shape) == 2 for shape in examples)
    return Place(path, 'npz', counts, others, has_vectors=has_vectors)


def _is_labels(key: str) -> bool:
    return key.startswith('y_') or (
        key.endswith('labels') and not key.startswith('clean')
    )
