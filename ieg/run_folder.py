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
from ieg.utils.files import atomic_write, from_json

CONFIG, LOG, SUMMARY = 'config.json', 'log.jsonl', 'summary.json'
ADVICE = 'memorization.json'
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

    Raises:
        UsageError: the file cannot be read, or is damaged.
    """
    entries = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            entry = from_json(line)
        except ValueError:
            entry = None
        if not _is_entry(entry):
            raise damaged(path, f'line {number} is not an entry of an epoch')
        entries.append({k: plain(v) for k, v in entry.items()})
    return entries


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


def make_folder(folder: str) -> None:
    """Creates a run folder if it does not exist.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f'The run folder {folder} cannot be written ({error.strerror}): '
            'choose another --checkpoint_path.'
        ) from error


def write_skipped(folder: str, skipped: Sequence[tuple[str, str]]) -> None:
    """Writes `skipped.csv` if any image file was skipped.

    Args:
        folder: the run folder.
        skipped: path and reason of each skipped file.
    """
    if not skipped:
        return
    table = io.StringIO()
    csv.writer(table).writerows([('path', 'reason'), *skipped])
    atomic_write(os.path.join(folder, 'skipped.csv'), table.getvalue())
