"""Folds: labels judged by networks that were not trained on them.

A run on vectors first trains five other networks, in its own way, each on four
fifths of the training examples. What they predict for the other fifth says how
many labels are wrong (`ieg.label_issues.floor`), and which epoch explains the
labels best; validation and test labels are judged by the mean of all five.
"""

import dataclasses
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ieg import run_folder
from ieg.data.dataset import Data, Split
from ieg.held_out import (
    BEST,
    EARLY,
    EPOCH,
    Best,
    Evidence,
    Near,
    features,
    has_features,
    judged,
    log_probabilities,
    nearby,
    of_held_out,
    of_training,
)
from ieg.label_issues.compact import Means
from ieg.label_issues.find import FOLDS, LEAST, assign
from ieg.label_issues.similar import Similar
from ieg.methods.base import Method
from ieg.ops import visits
from ieg.training.callbacks import Callback
from ieg.training.trainer import Trainer
from ieg.utils.files import atomic_open
from ieg.utils.interrupt import Interrupt

# The split of the examples that a fold is not trained on.
HELD_OUT = 'held_out'


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """What the networks of a fold say of examples not trained on.

    Attributes:
        rows: ids of the training examples, int [m].
        epoch: whose networks are used, counted from 0.
        predictions: float32 [m, C] for these examples (`HELD_OUT`), and for
            all examples of other splits, by name: probabilities; where the
            network makes features of the vectors, the mean of these and of the
            shares of the labels of the nearest training examples.
    """

    rows: np.ndarray
    epoch: int
    predictions: Mapping[str, np.ndarray]


def suit(method: Method, data: Data) -> bool:
    """Returns whether a run on these data has folds.

    Vectors have, unless there are few, or so many of so many classes that
    their predictions would take too much memory.
    """
    if method.visits is None or not data.is_vectors:
        return False
    compact = visits.is_compact(method.visits.shape[1], data.num_classes)
    return len(data.train) >= LEAST and not compact


def data_of(data: Data, rows: np.ndarray) -> Data:
    """Returns the data of the fold that is not trained on some examples.

    All folds train on as many, so that compiled steps serve all of them: where
    their number does not divide the examples, some leave the last one out.

    Args:
        data: of the run, vectors.
        rows: ids of these training examples.
    """
    count = len(data.train)
    kept = np.setdiff1d(np.arange(count), rows)[: count - -(-count // FOLDS)]
    return dataclasses.replace(
        data,
        train=_taken(data.train, kept),
        further={HELD_OUT: _taken(data.train, rows)},
    )


def _taken(split: Split, rows: np.ndarray) -> Split:
    assert split.vectors is not None
    vectors, clean = split.vectors.take(rows), split.clean_labels
    return Split(
        fetch=vectors.fetch,
        labels=split.labels[rows],
        clean_labels=None if clean is None else clean[rows],
        indices=split.indices[rows],
        vectors=vectors,
    )


class Early(Callback):
    """Keeps the mean probabilities of training examples until an epoch.

    The networks at its end make one more visit, since the first visit of each
    example does not count.

    Args:
        trainer: of the run.
        epoch: counted from 0.
    """

    def __init__(self, trainer: Trainer, epoch: int):
        super().__init__()
        self._trainer, self._epoch = trainer, epoch

    def figures(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Looks at the training examples after the epoch."""
        method = self._trainer.method
        if entry['epoch'] == self._epoch and method.visits is not None:
            classes = method.info.num_classes
            seen = visits.Visits.of_columns(method.visits.numpy(), classes)
            total = np.exp(log_probabilities(self._trainer, 'train'))
            total += seen.sums
            mean = total / (seen.counted[:, np.newaxis] + 1)
            method.host_state[EARLY] = mean.astype(np.float32)
        return {}


def train(
    build: Callable[[Data, str], Trainer],
    data: Data,
    folder: str,
    seed: int,
    steps: int,
    chief: bool,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> list[Fold]:
    """Trains the folds of a run, or reads those that are in its folder.

    Args:
        build: (data, run folder) of a fold -> its trainer.
        data: of the run.
        folder: of the run.
        seed: of the run.
        steps: of the run; folds of a run of another length are not read.
        chief: whether this process writes the folder.
        interrupt: of the run.
        say: gets a line about each fold that was trained.
    """
    numbers, before = assign(data.train.labels, seed), interrupt.kept
    folds = []
    for number in range(FOLDS):
        rows = np.flatnonzero(numbers == number)
        place = os.path.join(folder, run_folder.FOLDS, str(number + 1))
        fold = _read(f'{place}.npz', rows, steps)
        if fold is None:
            interrupt.part, interrupt.kept = (
                f'in fold {number + 1}, ',
                'from its start',
            )
            started = time.monotonic()
            fold = _trained(build, data_of(data, rows), rows, place, chief)
            if chief:
                _write(f'{place}.npz', fold, steps)
                shutil.rmtree(place)
            said = fold.predictions[HELD_OUT].argmax(axis=1)
            agree = np.mean(said == data.train.labels[rows])
            say(
                f'fold {number + 1}/{FOLDS}: predicts {agree:.2%} of '
                f'{len(rows):,} held-out labels '
                f'({time.monotonic() - started:.1f} s)'
            )
        folds.append(fold)
    interrupt.part, interrupt.kept = '', before
    return folds


def _trained(
    build: Callable[[Data, str], Trainer],
    data: Data,
    rows: np.ndarray,
    folder: str,
    chief: bool,
) -> Fold:
    """Trains a fold, from its checkpoint if there is one."""
    if chief:
        os.makedirs(folder, exist_ok=True)
    trainer = build(data, folder)
    trainer.add_callback(Best(trainer, data, HELD_OUT))
    trainer.train(trainer.restore())
    state = trainer.method.host_state
    names = (HELD_OUT, *judged(data))
    predictions = {name: state[BEST + name] for name in names}
    if has_features(trainer.method):
        train = features(trainer, 'train')
        labels, classes = data.train.labels, data.num_classes
        for name in names:
            shown = features(trainer, name)
            near = nearby(shown, train, labels, classes)
            said = [one(slice(None)) for one in near]
            mean = np.mean([predictions[name], *said], axis=0)
            predictions[name] = mean.astype(np.float32)
    return Fold(rows, int(state[EPOCH]), predictions)


def middle_epoch(folds: Sequence[Fold]) -> int:
    """Returns the epoch in the middle of those that the folds use."""
    return int(np.median([fold.epoch for fold in folds]))


def evidence(
    trainer: Trainer,
    data: Data,
    folds: Sequence[Fold],
    mean: Means,
    alike: Similar | None,
) -> Evidence:
    """Returns the evidence of a run with folds.

    Of training examples from the run itself, of others from the folds.
    `predictions.npz` has `train_held_out`, the predictions of the folds [n, C],
    and `train_fold`, the fold of each example [n].

    Args:
        trainer: at the end of the run.
        data: of the run.
        folds: of the run, 5 of them.
        mean: mean probabilities of the training examples.
        alike: what the nearest other vectors say; None where there are too
            many.
    """
    labels, classes, names = data.train.labels, data.num_classes, judged(data)
    number = np.empty(len(labels), np.int8)
    held_out = np.empty((len(labels), classes), np.float32)
    for place, fold in enumerate(folds):
        number[fold.rows] = place
        held_out[fold.rows] = fold.predictions[HELD_OUT]
    others = {
        name: np.mean([fold.predictions[name] for fold in folds], axis=0)
        for name in names
    }
    near: list[Near] = []
    near_others: dict[str, list[Near]] = {name: [] for name in names}
    if has_features(trainer.method):
        last = features(trainer, 'train')
        near += nearby(last, last, labels, classes)
    elif alike is not None:
        held_out = (held_out + alike.shares_apart(number, classes)) / 2
        for name in names:
            near_others[name].append(alike.shares(name, classes))
    if alike is not None:
        near.append(alike.shares('train', classes))
    # A run that was begun by an earlier version has none.
    early = trainer.method.host_state.get(EARLY)
    first = mean.rows if early is None else early.__getitem__
    shares = {'train': of_training(mean, first, near)}
    for name in names:
        shares[name] = of_held_out(others[name], near_others[name])
    tested = [
        (held_out[number == fold].astype(np.float64), labels[number == fold])
        for fold in range(len(folds))
    ]
    arrays = {'train_held_out': held_out.astype(np.float32)}
    return Evidence(shares, tested, arrays | {'train_fold': number})


def _write(path: str, fold: Fold, steps: int) -> None:
    """Writes a fold of a run of so many steps."""
    arrays: dict[str, Any] = dict(fold.predictions)
    with atomic_open(path, 'wb') as file:
        np.savez(file, rows=fold.rows, epoch=fold.epoch, steps=steps, **arrays)


def _read(path: str, rows: np.ndarray, steps: int) -> Fold | None:
    """Reads a fold; None where it is missing, damaged, or of another run."""
    try:
        # NumPy leaves a file that it opened itself open when it is damaged.
        with open(path, 'rb') as raw, np.load(raw) as file:
            arrays = dict(file)
        saved, epoch = arrays.pop('rows'), int(arrays.pop('epoch'))
    except (
        OSError, EOFError, KeyError, ValueError,
        zipfile.BadZipFile, zlib.error,
    ):  # fmt: skip
        return None
    if arrays.pop('steps', None) != steps or not np.array_equal(saved, rows):
        return None
    return Fold(saved, epoch, arrays)
