"""What is in a run folder, read and checked, for a report of one run.

A run that has not finished, or is older than a file, lacks some of them; a
report says so. A file that is damaged stops it.
"""

import dataclasses
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ieg.data.noise import labels as noise_labels
from ieg.errors import UsageError
from ieg.label_issues import table as issue_table
from ieg.run_folder import (
    ADVICE,
    CONFIG,
    LOG,
    SUMMARY,
    damaged,
    plain,
    read_entries,
    read_object,
    read_options,
)

NOISE = 'noise.npz'
PREDICTIONS, ISSUES = 'predictions.npz', 'label_issues.csv'
# What `summary.json` has numbers for, if anything.
FIGURES = (
    'epochs',
    'steps',
    'seed',
    'test_accuracy_last',
    'test_accuracy_last10',
    'test_accuracy_at_best_valid',
    'test_accuracy_oracle',
    'label_auc',
    'noise_rate_nominal',
    'noise_rate_realised',
    'images_per_second',
    'seconds',
)
ISSUE_FIGURES = (
    'count',
    'hard',
    'noise_rate',
    'roc_auc',
    'average_precision',
    'budget',
    'precision_at_budget',
    'recall_at_budget',
    'false_negative_rate_at_budget',
)
# Their dimensions.
ARRAYS = {'noise_rate_interval': 1, 'transition_matrix': 2}


@dataclasses.dataclass(frozen=True, eq=False)
class RunFolder:
    """What a report knows of a run; C classes.

    Attributes:
        folder: of the run.
        options: of `config.json`.
        entries: of the log, one for each epoch; numbers are finite or None.
        summary: of `summary.json`; empty for a run that has not finished.
        found: its `label_issues`; empty where there are none.
        noise: of `noise.npz`, where true labels are known; or None.
        advice: of the memorization tracker; empty without one.
        predictions: arrays of `predictions.npz` by name, or None.
        issues: rows of `label_issues.csv`, or None.
        class_names: of the C classes; numbers where nobody wrote them down.
    """

    folder: str
    options: Mapping[str, Any]
    entries: list[dict[str, Any]]
    summary: Mapping[str, Any]
    found: Mapping[str, Any]
    noise: noise_labels.NoisyLabels | None
    advice: Mapping[str, Any]
    predictions: Mapping[str, np.ndarray] | None
    issues: issue_table.Issues | None
    class_names: tuple[str, ...]

    @property
    def realised_rate(self) -> float | None:
        """The true share of wrong labels, None if nobody knows it."""
        value = self.summary.get('noise_rate_realised')
        if value is None and self.noise is not None:
            value = self.noise.realised_rate
        return value

    @property
    def given_labels(self) -> np.ndarray | None:
        """Names [n] of the given labels, validation ones too; or None."""
        if self.issues is not None:
            return np.asarray(self.issues.given)
        found = self.predictions
        if found is not None:
            labels = [found['train_labels'], found.get('valid_labels', [])]
            names = np.asarray(found['class_names'])
            return names[np.concatenate(labels).astype(int)]
        if self.noise is not None:
            return np.asarray(self.class_names)[self.noise.noisy]
        return None


def read(folder: str, class_names: Sequence[str] = ()) -> RunFolder:
    """Reads a run folder.

    Args:
        folder: of the run.
        class_names: for a run that did not write them down.

    Raises:
        UsageError: there is none, or a file in it is damaged.
    """
    folder = os.path.expanduser(folder)
    path = _paths(folder)
    there = {name: os.path.exists(place) for name, place in path.items()}
    predictions, noise, issues = (
        reader(path[file]) if there[file] else None
        for file, reader in (
            (PREDICTIONS, _predictions),
            (NOISE, noise_labels.load),
            (ISSUES, issue_table.read),
        )
    )
    summary = _summary(path[SUMMARY]) if there[SUMMARY] else {}
    run = RunFolder(
        folder=folder,
        options=read_options(folder),
        entries=read_entries(path[LOG]) if there[LOG] else [],
        summary=summary,
        found=summary.get('label_issues') or {},
        noise=noise,
        advice=_advice(path[ADVICE]) if there[ADVICE] else {},
        predictions=predictions,
        issues=issues,
        class_names=_class_names(predictions, noise, issues, class_names),
    )
    _check_classes(run)
    return run


def _paths(folder: str) -> dict[str, str]:
    """Returns where each file of a run would be."""
    if not os.path.isdir(folder):
        raise UsageError(
            f'There is no folder {folder}; give the folder of a run, which '
            f'holds {CONFIG}.'
        )
    path = {
        name: os.path.join(folder, name)
        for name in (CONFIG, LOG, SUMMARY, NOISE, ADVICE, PREDICTIONS, ISSUES)
    }
    if not os.path.exists(path[CONFIG]):
        raise UsageError(
            f'{folder} is no run folder: it has no {CONFIG}; give the folder '
            'that a training wrote.'
        )
    return path


def _class_names(
    predictions: Mapping[str, np.ndarray] | None,
    noise: noise_labels.NoisyLabels | None,
    issues: issue_table.Issues | None,
    otherwise: Sequence[str],
) -> tuple[str, ...]:
    """Returns the names of the classes, in their order where that matters."""
    if predictions is not None:
        return tuple(map(str, predictions['class_names']))
    if noise is not None and len(otherwise) != len(noise.transition):
        return tuple(map(str, range(len(noise.transition))))
    if issues is not None and not otherwise:
        return tuple(sorted({*map(str, issues.given)}))
    return tuple(otherwise)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _summary(path: str) -> dict[str, Any]:
    summary = {k: plain(v) for k, v in read_object(path).items()}
    _check_figures(path, summary, FIGURES)
    found = summary.get('label_issues')
    if found is None:
        return summary
    if not isinstance(found, dict):
        raise damaged(path, 'label_issues is no object')
    _check_figures(path, found, ISSUE_FIGURES)
    for name, dimensions in ARRAYS.items():
        value = found.get(name)
        if value is not None and not _is_array(value, dimensions):
            raise damaged(path, f'{name} is no array of numbers')
    return summary


def _check_figures(
    path: str, found: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    for name in names:
        if found.get(name) is not None and not is_number(found[name]):
            raise damaged(path, f'{name} is no number')


def _is_array(value: Any, dimensions: int) -> bool:
    """Whether a value of JSON is an interval [2] or a matrix [C, C]."""
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        return False
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    fits = square if dimensions == 2 else array.shape == (2,)
    return bool(fits and np.isfinite(array).all())


def _advice(path: str) -> dict[str, Any]:
    advice = read_object(path)
    epoch = advice.get('recommended_epoch')
    if epoch is not None and type(epoch) is not int:
        raise damaged(path, 'recommended_epoch is no whole number')
    return advice


def _predictions(path: str) -> dict[str, np.ndarray]:
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with open(path, 'rb') as raw, np.load(raw) as file:
            found = {name: file[name] for name in file.files}
    except (
        OSError, EOFError, KeyError, ValueError, TypeError, AttributeError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise damaged(
            path, f'NumPy cannot read it ({type(error).__name__})'
        ) from None
    if 'class_names' not in found or 'train_labels' not in found:
        raise damaged(path, 'class_names or train_labels are missing')
    classes = len(found['class_names'])
    for split in ('train', 'valid', 'test'):
        _check_split(path, found, split, classes)
    return found


def _check_split(
    path: str, found: Mapping[str, np.ndarray], split: str, classes: int
) -> None:
    """Checks the labels of a split, and its logits beside them."""
    labels = found.get(f'{split}_labels')
    logits = found.get(f'{split}_logits')
    if labels is not None and len(labels):
        low, high = labels.min(), labels.max()
        if labels.ndim != 1 or low < 0 or high >= classes:
            raise damaged(path, f'{split}_labels are no classes')
    if logits is not None:
        if labels is None or logits.shape != (len(labels), classes):
            raise damaged(path, f'{split}_logits do not fit {split}_labels')


def _check_classes(run: RunFolder) -> None:
    """Checks that all files are of as many classes."""
    classes = len(run.class_names)
    matrix = run.found.get('transition_matrix')
    known = run.predictions is not None or run.noise is not None
    if matrix is not None and known and len(matrix) != classes:
        raise damaged(
            os.path.join(run.folder, SUMMARY),
            f'transition_matrix is of {len(matrix)} classes, not {classes}',
        )
    if run.noise is not None and len(run.noise.transition) != classes:
        raise damaged(
            os.path.join(run.folder, PREDICTIONS),
            f'it is of {classes} classes, {NOISE} of '
            f'{len(run.noise.transition)}',
        )
