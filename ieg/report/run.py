"""Reads and checks the files of a run folder, for its report.

A run that has not finished, or is older than a file, lacks some of them; the
report says so. A damaged file is an error.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ieg import label_issues
from ieg.data.noise import labels as noise_labels
from ieg.errors import UsageError
from ieg.label_issues.floor import BINS, EVIDENCE, INTERVAL, RATE
from ieg.label_issues.ranking import REVIEWED
from ieg.run_folder import (
    ADVICE,
    CONFIG,
    ISSUES,
    LOG,
    NOISE,
    PREDICTIONS,
    SUMMARY,
    check,
    damaged,
    plain,
    read_arrays,
    read_entries,
    read_object,
    read_options,
)
from ieg.utils.files import check_sums

_T = TypeVar('_T')
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
    'outliers',
)
HELD_OUT_FIGURES = ('folds', 'floor', 'height', 'power')
COPIES = ('examples', 'groups', 'of_different_labels', 'across_splits')


@dataclasses.dataclass(frozen=True, eq=False)
class RunFolder:
    """The contents of a run folder, with C classes.

    Attributes:
        folder: of the run.
        options: of `config.json`.
        entries: of the log, one for each epoch; numbers are finite or None.
        summary: of `summary.json`; empty for a run that has not finished.
        issue_summary: its `label_issues`; empty where there are none.
        noise: of `noise.npz`, where true labels are known; or None.
        advice: of the memorization tracker; empty without one.
        predictions: arrays of `predictions.npz` by name, or None.
        issues: rows of `label_issues.csv`, or None.
        class_names: of the C classes; numbers where the names are unknown.
    """

    folder: str
    options: Mapping[str, Any]
    entries: list[dict[str, Any]]
    summary: Mapping[str, Any]
    issue_summary: Mapping[str, Any]
    noise: noise_labels.NoisyLabels | None
    advice: Mapping[str, Any]
    predictions: Mapping[str, np.ndarray] | None
    issues: label_issues.Issues | None
    class_names: tuple[str, ...]

    @property
    def realised_rate(self) -> float | None:
        """The true share of wrong labels, None if unknown."""
        value = self.summary.get('noise_rate_realised')
        if value is None and self.noise is not None:
            value = self.noise.realised_rate
        return value

    @property
    def given_labels(self) -> np.ndarray | None:
        """Names [n] of the given labels, validation ones too; or None."""
        if self.issues is not None:
            return np.asarray(self.issues.given)
        if (arrays := self.predictions) is not None:
            labels = arrays['train_labels']
            if 'valid_labels' in arrays:
                labels = np.concatenate([labels, arrays['valid_labels']])
            return np.asarray(arrays['class_names'])[labels.astype(int)]
        if self.noise is not None:
            return np.asarray(self.class_names)[self.noise.noisy]
        return None


def read(folder: str, class_names: Sequence[str] = ()) -> RunFolder:
    """Reads a run folder.

    Args:
        folder: of the run.
        class_names: for a run that did not save them.

    Raises:
        UsageError: the folder is missing, or a file in it is damaged.
    """
    folder = os.path.expanduser(folder)
    path = _paths(folder)
    predictions = _if_there(_predictions, path[PREDICTIONS])
    noise = _if_there(noise_labels.load, path[NOISE])
    issues = _if_there(label_issues.read, path[ISSUES])
    summary = _if_there(_summary, path[SUMMARY]) or {}
    run = RunFolder(
        folder=folder,
        options=read_options(folder),
        entries=_if_there(read_entries, path[LOG]) or [],
        summary=summary,
        issue_summary=summary.get('label_issues') or {},
        noise=noise,
        advice=_if_there(_advice, path[ADVICE]) or {},
        predictions=predictions,
        issues=issues,
        class_names=_class_names(predictions, noise, issues, class_names),
    )
    _check_classes(run)
    return run


def _if_there(reader: Callable[[str], _T], path: str) -> _T | None:
    return reader(path) if os.path.exists(path) else None


def _paths(folder: str) -> dict[str, str]:
    """Returns where each file of a run would be."""
    if not os.path.isdir(folder):
        raise UsageError(
            f'The folder {folder} does not exist; give the folder of a run, '
            f'with its {CONFIG}.'
        )
    path = {
        name: os.path.join(folder, name)
        for name in (CONFIG, LOG, SUMMARY, NOISE, ADVICE, PREDICTIONS, ISSUES)
    }
    check(folder)
    check_sums(folder)
    if not os.path.exists(path[CONFIG]):
        raise UsageError(
            f'{folder} is not a run folder: it has no {CONFIG}; give the '
            'folder of a training run.'
        )
    return path


def _class_names(
    predictions: Mapping[str, np.ndarray] | None,
    noise: noise_labels.NoisyLabels | None,
    issues: label_issues.Issues | None,
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
    figures = summary.get('label_issues')
    if figures is None:
        return summary
    if not isinstance(figures, dict):
        raise damaged(path, 'label_issues is not an object')
    _check_figures(path, figures, ISSUE_FIGURES)
    copies = figures.get('near_duplicates') or {}
    if not isinstance(copies, dict):
        raise damaged(path, 'near_duplicates is not an object')
    _check_figures(path, copies, COPIES)
    interval = figures.get(INTERVAL)
    if interval is not None and not _is_interval(interval):
        raise damaged(path, 'noise_rate_interval is not two numbers')
    if not isinstance(figures.get('never_predicted', []), list):
        raise damaged(path, 'never_predicted is not a list')
    for name, is_whole in ((EVIDENCE, _is_evidence), (REVIEWED, _is_review)):
        value = figures.get(name)
        if value is not None:
            if not isinstance(value, dict) or not is_whole(value):
                raise damaged(path, f'{name} lacks figures, or has wrong ones')
    return summary


def _check_figures(
    path: str, figures: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    for name in names:
        if figures.get(name) is not None and not is_number(figures[name]):
            raise damaged(path, f'{name} is not a number')


def _is_evidence(held: Mapping[str, Any]) -> bool:
    """Whether figures are those of held-out labels; see `floor`."""
    bins: list[Any] = [held.get(name) for name in ('examples', 'disagreeing')]
    return (
        all(isinstance(b, list) and len(b) == BINS for b in bins)
        and all(_are_counts(*pair) for pair in zip(*bins, strict=True))
        and sum(bins[0]) > 0
        and all(is_number(held.get(name)) for name in HELD_OUT_FIGURES)
        and (held.get(RATE) is None or is_number(held[RATE]))
        and _is_interval(held.get(INTERVAL))
    )


def _is_review(review: Mapping[str, Any]) -> bool:
    """Whether figures are those of labels that a person reviewed."""
    count = review.get('examples')
    return _are_counts(count, review.get('wrong')) and count != 0


def _are_counts(whole: Any, part: Any) -> bool:
    """Whether values of JSON are a number of things, and of some of them."""
    return type(whole) is type(part) is int and 0 <= part <= whole < 2**53


def _is_interval(value: Any) -> bool:
    """Whether a value of JSON is two numbers."""
    return isinstance(value, list) and [*map(is_number, value)] == [True] * 2


def _advice(path: str) -> dict[str, Any]:
    advice = read_object(path)
    epoch = advice.get('recommended_epoch')
    if epoch is not None and type(epoch) is not int:
        raise damaged(path, 'recommended_epoch is not an integer')
    return advice


def _predictions(path: str) -> dict[str, np.ndarray]:
    arrays = read_arrays(path)
    if 'class_names' not in arrays or 'train_labels' not in arrays:
        raise damaged(path, 'class_names or train_labels are missing')
    classes = len(arrays['class_names'])
    for split in ('train', 'valid', 'test'):
        _check_split(path, arrays, split, classes)
    return arrays


def _check_split(
    path: str, arrays: Mapping[str, np.ndarray], split: str, classes: int
) -> None:
    """Checks the labels of a split, and its logits."""
    labels = arrays.get(f'{split}_labels')
    logits = arrays.get(f'{split}_logits')
    if labels is not None and len(labels):
        low, high = labels.min(), labels.max()
        if labels.ndim != 1 or low < 0 or high >= classes:
            raise damaged(path, f'{split}_labels are not class numbers')
    if logits is not None:
        if labels is None or logits.shape != (len(labels), classes):
            raise damaged(path, f'{split}_logits do not match {split}_labels')


def _check_classes(run: RunFolder) -> None:
    """Checks that all files have the same number of classes."""
    classes = len(run.class_names)
    if run.noise is not None and len(run.noise.transition) != classes:
        raise damaged(
            os.path.join(run.folder, PREDICTIONS),
            f'it has {classes} classes, but {NOISE} has '
            f'{len(run.noise.transition)}',
        )
