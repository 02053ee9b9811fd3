"""The log of a run: one entry per epoch, and their headline figures."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.utils.files import append, atomic_write


class RunLog:
    """`log.jsonl`: one JSON object per epoch.

    The entries are also in the checkpoint. A resumed run rewrites the file from
    there, so epochs that are trained again appear once.

    Args:
        path: path of the file; None keeps the entries in memory only.
    """

    def __init__(self, path: str | None):
        self._path = path
        self.entries: list[dict[str, Any]] = []

    def restart(self, entries: list[dict[str, Any]]) -> None:
        """Replaces all entries."""
        self.entries = list(entries)
        if self._path:
            atomic_write(self._path, ''.join(map(_line, self.entries)))

    def append(self, entry: dict[str, Any]) -> None:
        """Adds the entry of one epoch."""
        entry = json.loads(_line(entry))
        self.entries.append(entry)
        if self._path:
            append(self._path, _line(entry))


def _line(entry: dict[str, Any]) -> str:
    return json.dumps({k: _plain(v) for k, v in entry.items()}) + '\n'


def _plain(value: Any) -> Any:
    """Returns a value for JSON: NumPy scalars as numbers, NaN as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def headline(entries: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Returns the headline accuracies of a run.

    Args:
        entries: entries of the log, in order.

    Returns:
        `test_accuracy_last`; `test_accuracy_last10`, the mean of the last ten
        evaluations; `test_accuracy_at_best_valid`, at the (latest) best
        accuracy on the noisy validation split; `test_accuracy_oracle`, the
        best on the test set, an upper bound that needs its labels;
        `label_auc`, the last one. A figure that is not available is None.
    """
    tested = [e for e in entries if e.get('test_accuracy') is not None]
    accuracies = [e['test_accuracy'] for e in tested]
    validated = [e for e in tested if e.get('valid_accuracy') is not None]
    best = max(
        validated,
        key=lambda e: (e['valid_accuracy'], e['epoch']),
        default={},
    )
    aucs = [e['label_auc'] for e in entries if e.get('label_auc') is not None]
    return {
        'test_accuracy_last': accuracies[-1] if accuracies else None,
        'test_accuracy_last10': (
            float(np.mean(accuracies[-10:])) if accuracies else None
        ),
        'test_accuracy_at_best_valid': best.get('test_accuracy'),
        'test_accuracy_oracle': max(accuracies, default=None),
        'label_auc': aucs[-1] if aucs else None,
    }
