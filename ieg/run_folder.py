"""The files of a run: names, reading and checking."""

import contextlib
import errno
import glob
import json
import math
import os
import shutil
import threading
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ieg.errors import UsageError
from ieg.utils import locks, sources, tables
from ieg.utils.files import from_json

if TYPE_CHECKING:
    from ieg.data.dataset import Split

CONFIG, LOG, SUMMARY = 'config.json', 'log.jsonl', 'summary.json'
ADVICE, NOISE, LOCK = 'memorization.json', 'noise.npz', 'lock'
# The options that a run must share to be resumed.
IDENTITY = 'identity.json'
PREDICTIONS, ISSUES = 'predictions.npz', 'label_issues.csv'
# Labels drawn at random, for a person to review.
SAMPLE = 'sample.csv'
MODEL = 'model.keras'
_FILES = (
    *(CONFIG, IDENTITY, LOG, SUMMARY, NOISE, ADVICE, PREDICTIONS, ISSUES),
    *('skipped.csv', SAMPLE),
)
# Files that only a training changes.
SEALED = (IDENTITY, LOG, SUMMARY, NOISE, ADVICE, PREDICTIONS, MODEL)
# Of networks that judge labels they were not trained on: `NUMBER.npz`, and a
# folder `NUMBER` for one that has not been trained to its end.
FOLDS = 'folds'
_FOLDERS = ('checkpoints', 'tensorboard', 'search', FOLDS, sources.KEPT)
# Run folders that this process writes, and the thread that does.
_written: dict[str, int] = {}
DROP = 'susceptibility_drop'
# Entries of the log that are read; they may be missing, but must be numbers.
NUMBERS = frozenset(
    (
        'fit_accuracy',
        'train_accuracy',
        'valid_accuracy',
        'test_accuracy',
        'susceptibility',
        DROP,
        'fit_right',
        'fit_wrong',
    )
)


def damaged(path: str, why: str) -> UsageError:
    """Returns the error for a damaged file of a run folder.

    Args:
        path: path of the file.
        why: what is wrong with it.
    """
    config = os.path.join(os.path.dirname(path), CONFIG)
    remedy = (
        'name another run folder'
        if path == config
        else f'train again with --config={config}'
    )
    return UsageError(
        f'{path} is damaged: {why}; restore the file, or {remedy}.'
    )


def read_options(folder: str) -> dict[str, Any]:
    """Returns all options of a run, including those of its method.

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    path = os.path.join(folder, CONFIG)
    options = read_object(path)
    for name in ('method', 'dataset'):
        if not isinstance(options.get(name), str):
            raise damaged(path, f'it has no {name}')
    started = os.path.join(folder, IDENTITY)
    if os.path.exists(started):
        identity = read_object(started)
        for name in ('method', 'dataset', 'network_name', 'seed'):
            if options.get(name) != identity.get(name):
                raise damaged(path, f'its {name} is not that of {IDENTITY}')
    return options


def read_object(path: str) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    try:
        value = from_json(_text(path))
    except json.JSONDecodeError as error:
        raise damaged(path, f'line {error.lineno} is not valid JSON') from None
    if not isinstance(value, dict):
        raise damaged(path, 'it is not a JSON object')
    return value


def read_entries(path: str) -> list[dict[str, Any]]:
    """Returns the entries of a log; a number is finite or None.

    A last line that is only half written is left out.

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    entries = []
    text = _text(path)
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        try:
            entry = from_json(line)
        except ValueError:
            if not line.endswith('\n'):
                break  # The run is writing it.
            entry = None
        if not _is_entry(entry):
            raise damaged(path, f'line {number} is not an entry of an epoch')
        entries.append({k: plain(v) for k, v in entry.items()})
    return entries


def read_arrays(
    path: str, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file by name.

    Args:
        path: of the file.
        names: of the arrays to read, if they are there; None for all.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with open(path, 'rb') as raw, np.load(raw) as file:
            return {
                name: file[name]
                for name in file.files
                if names is None or name in names
            }
    except (
        OSError, EOFError, KeyError, ValueError, TypeError, AttributeError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise damaged(
            path, f'NumPy cannot read it ({type(error).__name__})'
        ) from None


def listed(split: 'Split', recorded: np.ndarray | None) -> np.ndarray | None:
    """Returns which `index` each example of a split has in the list of a run.

    In lists of 0.1.0 it is the position in what the run had left of a part,
    after examples were held out for tests and files that are not images were
    left out; since then, that in the part as its owner gave it.

    Args:
        split: of the data of the run.
        recorded: positions of its examples in the `predictions.npz` of the
            run, which are those of its list; None if they are missing.

    Returns:
        int64 [n]; None where they are not known, or not those of the data.
    """
    if split.places is None:
        return split.indices
    for known in (split.indices, split.places):
        if recorded is not None and np.array_equal(recorded, known):
            return known
    return None


def _text(path: str) -> str:
    try:
        with open(path, encoding='utf-8') as file:
            return file.read()
    except OSError as error:
        raise UsageError(f'{path} cannot be read ({error.strerror}).') from None
    except ValueError:
        raise damaged(path, 'it is not UTF-8 text') from None


def _is_entry(entry: Any) -> bool:
    """Returns whether a JSON value is the entry of an epoch."""
    return (
        isinstance(entry, dict)
        and type(entry.get('epoch')) is int
        and all(
            type(entry[name]) in (int, float, type(None))
            for name in NUMBERS & entry.keys()
        )
    )


def plain(value: Any) -> Any:
    """Returns a JSON value, or None for a number that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check(folder: str) -> None:
    """Checks that what a run folder contains can be read as what it should be.

    Raises:
        UsageError: a file is not a file, a folder not a folder, or it is a
            link to nothing or must not be read.
    """
    for name in (*_FILES, *_FOLDERS):
        path = os.path.join(folder, name)
        if not os.path.lexists(path):
            continue
        is_folder = name in _FOLDERS
        is_kind = os.path.isdir if is_folder else os.path.isfile
        if not is_kind(path) or not os.access(path, os.R_OK):
            raise UsageError(
                f'{path} must be a {"folder" if is_folder else "file"} that '
                'can be read: repair or remove it, or name another run folder.'
            )


def is_trained(folder: str) -> bool:
    """Returns whether a run folder has a checkpoint, a fold, or results."""
    place = glob.escape(folder)
    return os.path.exists(os.path.join(folder, SUMMARY)) or any(
        glob.glob(os.path.join(place, pattern, end))
        for pattern in ('checkpoints', FOLDS, f'{FOLDS}/*/checkpoints')
        for end in ('*.index', '*.npz')
    )


def _remove(folders: Sequence[str]) -> None:
    """Removes those of some folders that are empty, the innermost first."""
    for path in folders:
        with contextlib.suppress(OSError):
            os.rmdir(path)


@contextlib.contextmanager
def writing(folder: str) -> Iterator[None]:
    """Creates and locks a run folder for the time of a training.

    A thread that has locked it already may do so again. If a mistake of the
    user's ends the training before there is anything to resume, a folder that
    was created here is removed.

    Args:
        folder: the run folder.

    Raises:
        UsageError: the folder cannot be written, another process writes it, or
            `check` refuses it.
        OSError: its disk is full or damaged.
    """
    place, thread = os.path.realpath(folder), threading.get_ident()
    if _written.get(place) == thread:
        yield
        return
    made, path = [], os.path.abspath(folder)
    while not os.path.lexists(path):
        made.append(path)
        path = os.path.dirname(path)
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, made)
        try:
            os.makedirs(folder, exist_ok=True)
            stack.enter_context(locks.hold(os.path.join(folder, LOCK)))
        except locks.HeldError as error:
            raise UsageError(
                f'The run folder {folder} is being written by {error}: wait '
                'until that ends, or name another one with --run_name.'
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                # The folder is the right one.
                error.filename = folder
                raise
            raise _unwritable(folder, error.strerror) from error
        _written[place] = thread
        stack.callback(_written.pop, place)
        try:
            check(folder)
            yield
        except UsageError:
            # As long as it is locked: then it may be another process's.
            if made and not is_trained(folder) and not _has_trials(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def check_writable(folder: str) -> None:
    """Checks that a run folder can be made and written, and writes nothing.

    What takes long before a training is not done for nothing then.

    Args:
        folder: the run folder.

    Raises:
        UsageError: it cannot.
    """
    path = os.path.abspath(folder)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise _unwritable(folder, f'{path} is not a folder')
    if not os.access(path, os.W_OK | os.X_OK):
        raise _unwritable(folder, f'nothing may be written to {path}')


def _unwritable(folder: str, why: str | None) -> UsageError:
    return UsageError(
        f'The run folder {folder} cannot be written ({why}): choose another '
        '--checkpoint_path.'
    )


def _has_trials(folder: str) -> bool:
    path = os.path.join(folder, 'search', 'trials.jsonl')
    return os.path.isfile(path) and os.path.getsize(path) > 0


def write_skipped(folder: str, skipped: Sequence[tuple[str, str]]) -> None:
    """Writes `skipped.csv` if any image file was skipped.

    Args:
        folder: the run folder.
        skipped: path and reason of each skipped file.
    """
    if not skipped:
        return
    path = os.path.join(folder, 'skipped.csv')
    tables.write(path, [('path', 'reason'), *skipped])
