"""Corrected labels of a run, written so that the next run learns from them."""

import dataclasses
import os
import shlex
from collections.abc import (
    Callable,
    Container,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import NamedTuple, TypeVar, cast

import numpy as np

from ieg import config as ieg_config
from ieg import run_folder
from ieg.commandline import arguments, auto
from ieg.config import Config
from ieg.corrections import edits, writing
from ieg.corrections.edits import LEFT_OUT
from ieg.corrections.writing import Change, Line
from ieg.data import load
from ieg.data.dataset import Data, Source, Split
from ieg.data.images.files import FileImages
from ieg.data.noise import labels as noise_labels
from ieg.data.noise.labels import NoisyLabels
from ieg.data.sets import columns, npz
from ieg.data.sets import folder as folders
from ieg.data.sets import table as table_sets
from ieg.data.spec import OWN
from ieg.errors import UsageError
from ieg.utils import plugins
from ieg.utils.text import counted, shown


def apply(folder: str, csv_path: str, output: str | None = None) -> str:
    """Writes the labels of a run as a person corrected them.

    They are written in the form in which the data came: class folders, a
    table, an npz file. For a known data set that is an npz file of its
    training images with the corrected labels and of its test images, or a
    table where the images are files.

    Args:
        folder: of a finished run.
        csv_path: `label_issues.csv` with the column `corrected_label` filled
            in, or the table that the report page saves; see
            `edits.corrected_labels`.
        output: the file or folder to write; None for a usual name next to
            the data, or in the run folder for a known data set.

    Returns:
        One sentence: what was written, and how to train on it.

    Raises:
        UsageError: the folder is not a finished run or its data is gone, the
            table has a mistake, or the output cannot be written.
    """
    folder, csv_path = map(os.path.expanduser, (folder, csv_path))
    config = _config(folder)
    frozen = _noise(folder)
    opened = load.open_set(config.data, config.run)
    seed = config.train.seed
    data = load.load(config.data, config.run, seed, opened, frozen)
    _check_noise(folder, data, frozen)
    # Those that are in label_issues.csv.
    own = data.spec.base in OWN
    names = ('train', 'valid', 'test') if own else ('train', 'valid')
    splits = {name: data.split(name) for name in names}
    known = {
        name: edits.Known(
            _listed(folder, name, split), split.labels, split.names
        )
        for name, split in splits.items()
        if split is not None
    }
    labels = edits.corrected_labels(csv_path, data.class_names, known)
    source = opened.source(config.data.image_size)
    run = _Run(folder, config, source, data, labels)
    path = os.path.normpath(os.path.expanduser(output)) if output else None
    done = _write(run, path)
    return (
        f'{done.path} has {_counts(labels, data)}: train on it with '
        f'{_command(run, done)}'
        f'{"".join(f"; {remark}" for remark in done.remarks)}.'
    )


def _config(folder: str) -> Config:
    """Returns the configuration of a finished run.

    Raises:
        UsageError: there is none.
    """
    path = os.path.join(folder, run_folder.CONFIG)
    if not os.path.isfile(path):
        raise UsageError(
            f'{folder} is not a run folder, because there is no '
            f'{run_folder.CONFIG} in it: give the folder that a run names at '
            'its end.'
        )
    if not os.path.isfile(os.path.join(folder, run_folder.SUMMARY)):
        raise UsageError(
            f'the run in {folder} is not finished: repeat its command, '
            'which resumes where it stopped.'
        )
    return ieg_config.resolve(arguments.read_run(folder))


def _noise(folder: str) -> NoisyLabels | None:
    """Returns the noise of a run, None where it has none."""
    path = os.path.join(folder, 'noise.npz')
    return noise_labels.load(path) if os.path.exists(path) else None


def _check_noise(folder: str, data: Data, noise: NoisyLabels | None) -> None:
    """Raises UsageError where the labels are not those of the run."""
    if data.noise is None or noise is None:
        return
    if noise.sha256 != data.noise.sha256:
        raise UsageError(
            f'the labels of {data.spec} are not those of the run in {folder}: '
            'restore its data, or train again.'
        )


def _listed(folder: str, name: str, split: Split) -> np.ndarray:
    """Returns which `index` each example of a split has in tables of the run.

    Raises:
        UsageError: that is not known, or the data are not those of the run.
    """
    key, path = f'{name}_indices', os.path.join(folder, run_folder.PREDICTIONS)
    recorded = None
    # Where nothing of a part was held out, there is no other position.
    if split.places is not None and os.path.exists(path):
        recorded = run_folder.read_arrays(path, [key]).get(key)
    known = run_folder.listed(split, recorded)
    if known is not None:
        return known
    if recorded is None:
        raise UsageError(
            f'{path} has no {key}, which say which examples the rows of a '
            'table are about: restore the file, or train again.'
        )
    raise UsageError(
        f'the {name} examples are not those of the run in {folder}: restore '
        'its data, or train again.'
    )


def _counts(labels: Mapping[str, np.ndarray], data: Data) -> str:
    """Returns how many labels are corrected and how many examples left out."""
    changed = left_out = 0
    for name, chosen in labels.items():
        left_out += int((chosen == LEFT_OUT).sum())
        changed += int((chosen != data[name].labels).sum())
    return (
        f'{counted(changed - left_out, "label")} corrected and '
        f'{counted(left_out, "example")} left out'
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """A run and the labels that a person gave to its examples.

    Attributes:
        folder: of the run.
        config: of the run.
        source: the data set that it learned from.
        data: what it learned from.
        labels: int32 [n] of 'train' and 'valid', and of the user's own images
            of 'test'; `LEFT_OUT` for none.
    """

    folder: str
    config: Config
    source: Source
    data: Data
    labels: dict[str, np.ndarray]

    @property
    def data_dir(self) -> str:
        """Where the data are."""
        return os.path.expanduser(self.config.run.data_dir)

    def part_of(self, split: str) -> str:
        """Returns the part of the data set that a split is of.

        Test images are those that are held out of the training part.
        """
        has_own_valid = self.source.valid is not None
        return 'valid' if split == 'valid' and has_own_valid else 'train'

    def members(self, part: str) -> Iterator[tuple[Split, np.ndarray]]:
        """Yields the splits of a part with their corrected labels."""
        for name, labels in self.labels.items():
            if self.part_of(name) == part:
                yield self.data[name], labels

    def file_of(self, split: str, place: int) -> str:
        """Returns the file of the example at some place in a split."""
        names = self.data[split].names
        if names is None:
            raise ValueError(f'the {split} images do not come from files')
        return names[place]

    def name_of(self, label: int) -> Change:
        """Returns the class that a label means, None for `LEFT_OUT`."""
        return None if label == LEFT_OUT else self.data.class_names[label]


class _Written(NamedTuple):
    """What was written.

    Attributes:
        path: of the file or folder.
        dataset: the name under which a run reads it.
        data_dir: what a run reads.
        remarks: clauses about what is in it and what is not.
    """

    path: str
    dataset: str
    data_dir: str
    remarks: tuple[str, ...] = ()


def _write(run: _Run, path: str | None) -> _Written:
    """Writes the data in the form in which they came.

    Args:
        run: with its labels.
        path: of the file or folder to write; None for the usual one.

    Raises:
        UsageError: it cannot be written, or a run could not train on it.
    """
    base = run.data.spec.base
    if base in _OWN:
        return _OWN[base](run, path)
    name = str(run.data.spec).replace('/', '-').replace(':', '-')
    usual = os.path.join(run.folder, f'{name}-corrected')
    if run.data.train.names is not None:
        return _new_csv(run, path or f'{usual}.csv')
    if run.data.in_memory:
        return _new_npz(run, path or f'{usual}.npz')
    return _new_images(run, path or usual)


def _command(run: _Run, done: _Written) -> str:
    """Returns the command, or the options of one, that reads what is written.

    A run whose method was chosen for a user's own data is as an audit makes it.
    """
    path = shlex.quote(done.data_dir)
    recorded = os.path.join(run.folder, run_folder.CONFIG)
    is_chosen = plugins.recorded(recorded, auto.ASKED) == auto.AUTO
    is_own = run.config.data.dataset in OWN
    # An audit knows files by their extension.
    is_known = done.dataset == 'folder' or done.data_dir.lower().endswith(
        f'.{done.dataset}'
    )
    if is_chosen and is_own and is_known:
        return f'`ieg audit {path}`'
    return f'--dataset={done.dataset} --data_dir={path}'


# A user's own data.


def _folder(run: _Run, path: str | None) -> _Written:
    path = path or f'{os.path.normpath(run.data_dir)}-corrected'
    parts = folders.read_folder(run.data_dir).parts

    def key(name: str, part: str, place: int) -> str:
        return run.file_of(name, place)

    changes = _changes(run, parts, key)
    paths = parts['train'].paths
    outside = writing.write_folder(run.data_dir, path, paths, changes)
    remarks = _own_remarks(run, 'test' in parts)
    if outside:
        links = counted(len(outside), 'link')
        remarks += (
            f'{links} that lead out of {run.data_dir} are left out, such as '
            f'{shown(outside[0])!r}',
        )
    return _Written(path, 'folder', path, remarks)


def _csv(run: _Run, path: str | None) -> _Written:
    path = path or _beside(run.data_dir)
    asked = run.config.data.feature_columns
    if table_sets.has_vectors(run.data_dir, asked):
        return _csv_of_vectors(run, path, asked)
    parts = table_sets.read_csv(run.data_dir).parts

    def key(name: str, part: str, place: int) -> tuple[str, str]:
        return part, run.file_of(name, place)

    writing.write_csv(run.data_dir, path, _changes(run, parts, key))
    return _Written(path, 'csv', path, _own_remarks(run, 'test' in parts))


def _csv_of_vectors(run: _Run, path: str, asked: str) -> _Written:
    found = columns.read_vectors(run.data_dir, asked, learns=False)
    changes = _changed_rows(run, found.parts)
    writing.write_vectors(run.data_dir, path, changes, asked)
    remarks = _own_remarks(run, 'test' in found.parts)
    if asked:
        remarks += (f'give --feature_columns={asked} again',)
    return _Written(path, 'csv', path, remarks)


def _npz(run: _Run, path: str | None) -> _Written:
    path = path or _beside(run.data_dir)
    arrays = npz.read_npz(run.data_dir)
    changes: dict[str, dict[int, Change]] = {}
    for (part, row), label in _changed_rows(run, arrays.parts).items():
        changes.setdefault(part, {})[row] = label
    writing.write_npz(run.data_dir, path, arrays.class_names, changes)
    remarks = _own_remarks(run, 'test' in arrays.parts)
    return _Written(path, 'npz', path, remarks)


_OWN = {'folder': _folder, 'csv': _csv, 'npz': _npz}


def _beside(path: str) -> str:
    """Returns the usual path for what replaces a file."""
    stem, extension = os.path.splitext(path)
    return f'{stem}-corrected{extension}'


# What stands for an example in the files.
Key = TypeVar('Key', bound=Hashable)


def _changes(
    run: _Run,
    parts: Container[str],
    key: Callable[[str, str, int], Key],
) -> dict[Key, Change]:
    """Returns what becomes of the examples whose labels in the files change.

    Args:
        run: that is corrected.
        parts: of the files.
        key: (split, its part, place in the split) -> what stands for an
            example in the files.

    Returns:
        Classes, None for what is left out.

    Raises:
        UsageError: one file has two corrections.
    """
    changes: dict[Key, Change] = {}
    for name, labels in run.labels.items():
        split, part = run.data[name], run.part_of(name)
        if name == 'test' and name in parts:
            part = name
        # Noise that was drawn is not in the files.
        drawn = run.data.spec.noise is not None and part == 'train'
        before = split.labels
        if drawn and split.clean_labels is not None:
            before = split.clean_labels
        for place in np.flatnonzero(labels != before).tolist():
            what, label = key(name, part, place), run.name_of(labels[place])
            if changes.setdefault(what, label) != label:
                raise UsageError(
                    f'{run.file_of(name, place)!r} occurs twice in the '
                    'data, and has two corrections: make them one.'
                )
    return changes


def _changed_rows(
    run: _Run, parts: Container[str]
) -> dict[tuple[str, int], Change]:
    """Returns what becomes of examples in memory, by part and row."""

    def key(name: str, part: str, place: int) -> tuple[str, int]:
        return part, int(run.data[name].indices[place])

    return _changes(run, parts, key)


def _own_remarks(run: _Run, has_test: bool) -> tuple[str, ...]:
    remarks = []
    if run.data.spec.noise is not None:
        remarks.append('labels that are not corrected are the noisy ones')
    if _is_partial(run):
        remarks.append('examples that the run did not use are in it unchanged')
    if not has_test and run.data.test is not None:
        remarks.append('the examples to hold out for tests are chosen again')
    return tuple(remarks)


def _is_partial(run: _Run) -> bool:
    """Whether there are training examples that the run did not know."""
    tail = run.data.spec.imbalance is not None
    return bool(run.config.data.train_examples or tail)


# Data sets that have a name.


class _Examples(NamedTuple):
    """The examples of one part, as they are written.

    Attributes:
        labels: int32 [n], corrected.
        clean: int32 [n], the true ones; None where unknown.
        places: int64 [n], positions in the part of the `Source`.
        names: of their files, [n], or None.
        images: uint8 [n, H, W, channels], vectors float32 [n, d], or None.
    """

    labels: np.ndarray
    clean: np.ndarray | None
    places: np.ndarray
    names: np.ndarray | None
    images: np.ndarray | None


def _parts(run: _Run) -> dict[str, _Examples]:
    """Returns all examples that a run has to do with, by their part."""
    parts = {}
    for name in ('train', 'valid'):
        members = [
            _Examples(labels, s.clean_labels, _places(s), s.names, s.array)
            for s, labels in run.members(name)
        ]
        if members:
            parts[name] = _joined(members)
    for name in ('test', 'probe'):
        split = run.data.split(name)
        if split is not None:
            parts[name] = _Examples(
                split.labels, None, _places(split), split.names, split.array
            )
    return parts


def _places(split: Split) -> np.ndarray:
    return split.indices if split.places is None else split.places


def _joined(members: Sequence[_Examples]) -> _Examples:
    """Returns the examples of all that are not left out, in their order."""
    places = np.concatenate([member.places for member in members])
    labels = np.concatenate([member.labels for member in members])
    order = np.argsort(places, kind='stable')
    order = order[labels[order] != LEFT_OUT]

    def taken(columns: Iterable[np.ndarray | None]) -> np.ndarray | None:
        arrays = [column for column in columns if column is not None]
        return np.concatenate(arrays)[order] if arrays else None

    return _Examples(
        labels[order],
        taken(member.clean for member in members),
        places[order],
        taken(member.names for member in members),
        taken(member.images for member in members),
    )


def _known_remarks(run: _Run) -> tuple[str, ...]:
    remarks = []
    if _is_partial(run):
        remarks.append('examples that the run did not use are not in it')
    if run.data.further:
        names = ', '.join(run.data.further)
        remarks.append(f'nor is the further test set {names}')
    return tuple(remarks)


def _new_npz(run: _Run, path: str) -> _Written:
    arrays = {'class_names': np.array(run.data.class_names)}
    for name, part in _parts(run).items():
        if part.images is not None:
            arrays |= {f'x_{name}': part.images, f'y_{name}': part.labels}
        if name == 'train' and part.clean is not None:
            arrays['clean_train'] = part.clean
    with writing.fresh(path, npz.read_npz) as temporary:
        writing.save_arrays(temporary, arrays, packed=True)
    return _Written(path, 'npz', path, _known_remarks(run))


def _lines(
    run: _Run, name: str, part: _Examples, paths: Iterable[str]
) -> list[Line]:
    """Returns the rows of a part in a new table."""
    names = run.data.class_names
    known = [''] * len(part.labels)
    if part.clean is not None:
        known = [names[label] for label in part.clean]
    return [
        (path, names[label], true, name)
        for path, label, true in zip(paths, part.labels, known, strict=True)
    ]


def _new_csv(run: _Run, path: str) -> _Written:
    with writing.fresh(path, table_sets.read_csv) as temporary:
        lines: list[Line] = []
        for name, part in _parts(run).items():
            if part.names is not None:
                paths = map(os.path.abspath, part.names)
                lines += _lines(run, name, part, paths)
        writing.save_lines(temporary, lines)
    return _Written(path, 'csv', path, _known_remarks(run))


def _new_images(run: _Run, path: str) -> _Written:
    """Writes images that are encoded in memory, as those of TFDS can be."""

    def table(folder: str) -> str:
        return os.path.join(folder, 'labels.csv')

    with writing.fresh(path, lambda f: table_sets.read_csv(table(f))) as folder:
        lines: list[Line] = []
        for name, part in _parts(run).items():
            # A probe that is no part was split off the training part.
            whole = run.source.parts.get(name, run.source.train)
            images = cast(FileImages, whole.images)
            os.makedirs(os.path.join(folder, name))
            paths = []
            for index in part.places:
                content = images.encoded(index)
                extension = 'png' if content[:4] == b'\x89PNG' else 'jpg'
                paths.append(f'{name}/{index:06d}.{extension}')
                with open(os.path.join(folder, paths[-1]), 'wb') as file:
                    file.write(content)
            lines += _lines(run, name, part, paths)
        writing.save_lines(table(folder), lines)
    return _Written(path, 'csv', table(path), _known_remarks(run))
