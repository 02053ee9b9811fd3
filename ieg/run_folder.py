"""The files of a run: names, reading and checking."""

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from ieg.errors import UsageError
from ieg.utils.files import atomic_write

CONFIG, LOG, SUMMARY = 'config.json', 'log.jsonl', 'summary.json'
ADVICE = 'memorization.json'
DROP = 'susceptibility_drop'
# What is read of an entry of the log; numbers, if they are there at all.
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
    """Returns the mistake that a file of a run folder is not as written."""
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
    """Returns all options of a run, those of its method too.

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    path = os.path.join(folder, CONFIG)
    options = read_object(path)
    for name in ('method', 'dataset'):
        if not isinstance(options.get(name), str):
            raise damaged(path, f'it has no {name}')
    return options


def read_object(path: str) -> dict[str, Any]:
    """Returns what a file holds that is one JSON object.

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    try:
        value = json.loads(_text(path))
    except ValueError as error:
        line = getattr(error, 'lineno', 1)
        raise damaged(path, f'line {line} is no JSON') from None
    if not isinstance(value, dict):
        raise damaged(path, 'it holds no JSON object')
    return value


def read_entries(path: str) -> list[dict[str, Any]]:
    """Returns the entries of a log; a number is finite or None.

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    entries = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not _is_entry(entry):
            raise damaged(path, f'line {number} is no entry of an epoch')
        entries.append({k: plain(v) for k, v in entry.items()})
    return entries


def _text(path: str) -> str:
    try:
        with open(path, encoding='utf-8') as file:
            return file.read()
    except OSError as error:
        raise UsageError(f'{path} cannot be read ({error.strerror}).') from None
    except ValueError:
        raise damaged(path, 'it is no text') from None


def _is_entry(entry: Any) -> bool:
    """Whether a value of JSON is the entry of an epoch."""
    return (
        isinstance(entry, dict)
        and type(entry.get('epoch')) is int
        and all(
            type(entry[name]) in (int, float, type(None))
            for name in NUMBERS & entry.keys()
        )
    )


def plain(value: Any) -> Any:
    """Returns a value of JSON, None for a number that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def make_folder(folder: str) -> None:
    """Makes a run folder.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f'The run folder {folder} cannot be written ({error.strerror}); '
            'choose another --checkpoint_path.'
        ) from error


def write_skipped(folder: str, skipped: Sequence[tuple[str, str]]) -> None:
    """Writes `skipped.csv`, if any file was no image.

    Args:
        folder: of the run.
        skipped: path and reason of each file.
    """
    if not skipped:
        return
    table = io.StringIO()
    csv.writer(table).writerows([('path', 'reason'), *skipped])
    atomic_write(os.path.join(folder, 'skipped.csv'), table.getvalue())
