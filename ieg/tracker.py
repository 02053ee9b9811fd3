"""Judges labels by what any training loop predicts."""

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ieg.errors import UsageError
from ieg.label_issues import floor, inputs, listing, neighbours, score
from ieg.label_issues.epochs import Epochs, HeldOut
from ieg.label_issues.listing import Listing
from ieg.label_issues.score import Looked, Shares
from ieg.report import tracked
from ieg.utils.files import atomic_open
from ieg.utils.text import counted, listed

TRAIN, HELD_OUT, UNSEEN = 'train', 'held_out', 'unseen'
# Kinds of predictions of training rows, and what is said of them.
SEEN, PASS = 'seen', 'pass'
_KINDS = {
    SEEN: 'Training rows are judged by the predictions of training steps.',
    PASS: 'Training rows are judged by predictions after training on them, '
    'which repeat wrong labels once the model has memorized them.',
}
# Value of `format` in a file.
_FORMAT = 'ieg.LabelTracker 1'
# Fields that it has, of rows and others.
_BY_ROW = ('is_trained', 'is_held', 'seen', 'agreed')
_SAVED = ('labels', *_BY_ROW, 'epoch', 'is_named')
_NO_RATE = (
    'How many labels are wrong is unknown: no rows were held out from training '
    '(held_out).'
)
# A function that returns shares of labels for a block of rows.
_Near = Callable[[slice], np.ndarray]


class LabelTracker:
    """Finds wrong labels from what a model predicts while it is trained.

    Call `update` in each training step with what the step predicts anyway, and
    `held_out` at the end of each epoch with the logits of some rows that are
    not trained on, a tenth of all, say. At the end, `issues` lists the labels,
    the most suspicious first, and `summary` says how many are wrong.

    A call without `epoch` belongs to the current epoch, and the next epoch
    begins when `update` gets a row that the current one has seen. Give `epoch`
    if your loop shows a row several times in an epoch, or skips many. Results
    do not depend on the order of calls that give it.

    Memory: n x C float64 for each epoch. Beyond 1 GiB, epochs are joined in
    pairs, then in fours and so on. Where n x C is above 2^26, only the given
    label and the eight largest classes of each row are kept, which depends
    slightly on the order of calls. Logits of held-out rows take up to 512 MiB;
    beyond that, epochs that explain the labels worst are dropped.

    Args:
        labels: given labels of all rows [n], trained on or held out: class
            numbers, names, or one-hot rows [n, C].
        num_classes: C; by default as many as `labels` or `classes` show.
        classes: the classes in the order of the columns of predictions; by
            default numbers from 0 on, or the sorted names.
        features: see `set_features`.
        predictions: what `update` gets: 'seen', what training steps predict
            anyway, or 'pass', what the model predicts after steps on these
            rows. The results say which.

    Attributes:
        classes: the classes, C of them.

    Raises:
        ValueError: an argument is invalid.
    """

    def __init__(
        self,
        labels: Any,
        num_classes: int | None = None,
        classes: Sequence[Any] | None = None,
        features: Any = None,
        predictions: str = SEEN,
    ):
        if predictions not in _KINDS:
            raise ValueError(
                f'predictions must be {SEEN!r} or {PASS!r}, got '
                f'{predictions!r}.'
            )
        self._predictions = predictions
        self._labels, self.classes = inputs.labels(labels, num_classes, classes)
        count = len(self._labels)
        self._epochs = Epochs(self._labels, len(self.classes))
        self._outside = HeldOut(self._labels)
        self._is_trained, self._is_held, self._seen = np.zeros((3, count), bool)
        self._agreed = np.zeros(count, np.int64)
        self._epoch = 0
        # Whether all calls gave their epoch.
        self._is_named = True
        self._vectors: list[np.ndarray] = []
        self._result: Listing | None = None
        if features is not None:
            self.set_features(features)

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        return (
            f'<LabelTracker of {len(self)} labels: {self._is_trained.sum()} '
            f'trained on, {self._is_held.sum()} held out>'
        )

    # Recording.

    def update(
        self,
        index: Any,
        probabilities: Any = None,
        *,
        logits: Any = None,
        epoch: int | None = None,
    ) -> None:
        """Records what a training step predicts.

        Args:
            index: numbers of the rows, int [k]; each time that a row is given
                counts as a visit.
            probabilities: predictions for these rows [k, C]; or `logits`.
            logits: the same before the softmax [k, C]; of several networks
                [k, networks, C].
            epoch: counted from 0; None for the current one.

        Raises:
            ValueError: an argument is invalid, or a row was held out.
        """
        rows = inputs.index(index, len(self))
        said = inputs.predictions(
            probabilities, logits, len(rows), len(self.classes)
        )
        _refuse(rows[self._is_held[rows]], 'held out')
        if not len(rows):
            return
        self._begin(self._number(epoch, self._seen[rows].any()))
        self._seen[rows] = self._is_trained[rows] = True
        np.add.at(self._agreed, rows, said.argmax(axis=1) == self._labels[rows])
        self._epochs.at(self._epoch).add(*_visits(rows, said))
        self._result = None

    def held_out(
        self,
        index: Any,
        logits: Any = None,
        epoch: int | None = None,
        *,
        probabilities: Any = None,
    ) -> None:
        """Records the logits of rows that are never trained on.

        Call it at the end of each epoch with the same rows, at once or in
        parts. Epochs that lack some of them are not used. If a row is given
        twice in an epoch, the last logits count.

        Args:
            index: numbers of the rows, int [m].
            logits: predictions before the softmax, in evaluation mode [m, C];
                of several networks [m, networks, C].
            epoch: the epoch that has ended, counted from 0; None for the
                current one.
            probabilities: the same after the softmax, in place of `logits`.

        Raises:
            ValueError: an argument is invalid, or a row was trained on.
        """
        rows = inputs.index(index, len(self))
        size = len(rows), len(self.classes)
        if probabilities is None and logits is not None:
            values = inputs.logits_of(logits, *size)
        else:
            values = inputs.predictions(probabilities, logits, *size)
            values = np.log(np.maximum(values, inputs.LEAST_PROBABILITY))
        _refuse(rows[self._is_trained[rows]], 'trained on')
        if not len(rows):
            return
        self._outside.add(self._number(epoch), rows, values)
        self._is_held[rows] = True
        self._result = None

    def _number(self, epoch: int | None, is_over: bool = False) -> int:
        """Returns the number of the epoch of a call.

        Raises:
            ValueError: it is not a number.
        """
        if epoch is None:
            self._is_named = False
            return self._epoch + bool(is_over)
        number = np.asarray(epoch)
        if number.ndim or number.dtype.kind not in 'iu' or number < 0:
            raise ValueError(f'epoch must be an integer from 0, got {epoch!r}.')
        return int(number)

    def _begin(self, epoch: int) -> None:
        """Makes an epoch the current one."""
        if epoch != self._epoch:
            self._seen[:] = False
        self._epoch = epoch

    def set_features(self, features: Any, raw: Any = None) -> None:
        """Sets the vectors by which the neighbours of rows are found.

        Args:
            features: of all rows [n, d]: what the last layer gets at the end of
                the training, or the vectors that the model was trained on.
            raw: what the model gets, if that is not `features` and similar rows
                are near each other in it, such as features of a fixed
                backbone, or small images [n, e].

        Raises:
            ValueError: the vectors are invalid.
        """
        vectors = [inputs.features(features, len(self))]
        if raw is not None:
            vectors.append(inputs.features(raw, len(self), 'raw'))
        self._vectors, self._result = vectors, None

    def merge(self, *others: 'LabelTracker') -> 'LabelTracker':
        """Adds what other trackers of the same labels have recorded.

        Args:
            *others: trackers, such as those of other workers; `epoch` must have
                been given in all their calls.

        Returns:
            This tracker.

        Raises:
            ValueError: labels or kinds of predictions differ, `epoch` was not
                given, or a row was trained on in one tracker and held out in
                another.
        """
        for other in others:
            if other.classes != self.classes or not np.array_equal(
                other._labels, self._labels
            ):
                raise ValueError('trackers of other labels cannot be merged.')
            if other._predictions != self._predictions:
                raise ValueError(
                    'trackers of both seen predictions and passes cannot be '
                    'merged.'
                )
            if not (self._is_named and other._is_named):
                raise ValueError(
                    'only trackers whose calls all gave epoch can be merged.'
                )
            mixed = self._is_trained & other._is_held
            mixed |= self._is_held & other._is_trained
            _refuse(np.flatnonzero(mixed), 'held out in one of the trackers')
            self._epochs.join(other._epochs)
            self._outside.join(other._outside)
            self._is_trained |= other._is_trained
            self._is_held |= other._is_held
            self._agreed += other._agreed
            self._vectors = self._vectors or other._vectors
            self._result = None
        return self

    # Results.

    def issues(self) -> pd.DataFrame:
        """Returns all labels, the most suspicious first.

        Rows that were trained on come first, then those held out, then those
        that were neither, which are judged by their neighbours alone.

        Returns:
            One row per label with the columns index; split ('train',
            'held_out' or 'unseen'); given_label; suggested_label ('' if
            unknown); score, from 0 (suspicious) to 1, NaN if unknown; is_issue;
            mark ('certain', 'likely', 'possible' or ''); and the evidence:
            margin of the mean probabilities, agreement (share of the
            predictions that are the given label), neighbour_agreement (share of
            the nearest training rows that have it), each NaN without.

        Raises:
            ValueError: nothing was recorded, or neighbours would take hours.
        """
        return self._listing().table.copy()

    def summary(self) -> dict[str, Any]:
        """Returns how many labels are wrong, and how many are marked.

        Returns:
            noise_rate, None if it is unknown; noise_rate_interval, at least and
            at most, None without held-out rows; count of marked labels
            (is_issue); marks, the count of each; never_predicted, classes that
            no training row looks like; trained, held_out and unseen, counts of
            rows; best_epoch, whose predictions of held-out rows are used;
            predictions, 'seen' or 'pass'; and statement, a list of sentences.

        Raises:
            ValueError: nothing was recorded, or neighbours would take hours.
        """
        return dict(self._listing().summary)

    def report(self, path: str | os.PathLike[str], images: Any = None) -> None:
        """Writes one HTML page: the statement and the most suspicious labels.

        Args:
            path: of the page.
            images: pictures of all rows: an array [n, H, W] or [n, H, W, 1 or
                3], a list of paths, or a function that returns the image or
                path of a row number.

        Raises:
            ValueError: nothing was recorded, or an image is invalid.
            OSError: the page cannot be written.
        """
        tracked.write(path, *self._listing(), images)

    def _listing(self) -> Listing:
        if self._result is None:
            if not self._is_trained.any():
                raise ValueError(
                    'no training step was recorded: call update before.'
                )
            try:
                self._result = self._judged()
            except UsageError as error:
                raise ValueError(str(error)) from None
        return self._result

    def _judged(self) -> Listing:
        train = np.flatnonzero(self._is_trained)
        rows, shot = np.empty(0, int), None
        if self._outside.calls:
            rows, shot = self._outside.best()
        epoch = None if shot is None else shot.epoch
        parts, result = [self._trained(train, epoch)], None
        if shot is not None:
            part, result = self._tested(train, rows, shot.probabilities)
            parts.append(part)
        known = self._is_trained.copy()
        known[rows] = True
        others = np.flatnonzero(~known)
        parts.append(self._unseen(train, others))
        table, figures = listing.make(parts, self.classes, result, _NO_RATE)
        figures |= {
            'trained': len(train),
            'held_out': len(rows),
            'unseen': len(others),
            'best_epoch': epoch,
            'predictions': self._predictions,
        }
        figures['statement'] += self._remarks(rows, len(others))
        return Listing(table, figures)

    def _remarks(self, rows: np.ndarray, others: int) -> list[str]:
        """Returns sentences about what was recorded, and what is missing."""
        remarks = [_KINDS[self._predictions]]
        lacking = np.setdiff1d(self._labels, self._labels[rows])
        if len(rows) and len(lacking):
            names = listed([str(self.classes[place]) for place in lacking])
            remarks.append(f'The held-out rows have no label {names}.')
        if others:
            how = (
                'judged by neighbours alone' if self._vectors else 'not judged'
            )
            text = f'{counted(others, "row")} without predictions: {how}.'
            remarks.append(text)
        return remarks

    def _trained(self, train: np.ndarray, epoch: int | None) -> Looked:
        """Returns what is known of rows that were trained on."""
        near = self._near(train, train)

        def shares(block: slice) -> Shares:
            rows = train[block]
            mean = self._epochs.mean(rows)
            early = mean
            if epoch is not None:
                early = self._epochs.early(rows, epoch)
            said = [one(block) for one in near]
            evidence = score.evidence(mean, early, *said)
            return Shares(evidence, mean, said[0] if said else None)

        agreement = self._agreed[train] / self._epochs.visits()[train]
        return self._look(TRAIN, train, shares, agreement)

    def _tested(
        self, train: np.ndarray, rows: np.ndarray, said: np.ndarray
    ) -> tuple[Looked, floor.Floor]:
        """Returns what is known of held-out rows, and how many are wrong."""
        near = None
        both = said
        if self._vectors:
            near = self._near(train, rows, 1)[0](slice(None))
            both = (said + near) / 2

        def shares(block: slice) -> Shares:
            close = None if near is None else near[block]
            return Shares(both[block], said[block], close)

        result = floor.estimate([(both, self._labels[rows])])
        return self._look(HELD_OUT, rows, shares), result

    def _unseen(self, train: np.ndarray, rows: np.ndarray) -> Looked:
        """Returns what is known of all other rows."""
        near = self._near(train, rows)

        def shares(block: slice) -> Shares:
            said = [one(block) for one in near]
            return Shares(np.mean(said, axis=0), None, said[0])

        return self._look(UNSEEN, rows, shares if near else None)

    def _look(
        self,
        split: str,
        rows: np.ndarray,
        shares: Callable[[slice], Shares] | None,
        agreement: np.ndarray | None = None,
    ) -> Looked:
        given, width = self._labels[rows], len(self.classes)
        return score.look(split, rows, given, width, shares, agreement)

    def _near(
        self, train: np.ndarray, rows: np.ndarray, most: int = 2
    ) -> list[_Near]:
        """Returns shares of labels among the training rows near others.

        Args:
            train: rows that were trained on.
            rows: the others; where they are `train`, no row is its own
                neighbour.
            most: how many kinds of vectors are used at most.

        Returns:
            Functions of blocks of `rows`, by features and by raw vectors.
        """
        labels, width = self._labels[train], len(self.classes)
        k, same = neighbours.NEIGHBOURS, rows is train

        def near(vectors: np.ndarray) -> _Near:
            some = vectors[train]
            others = some if same else vectors[rows]
            ids = neighbours.nearest(others, some, k, same).ids
            return lambda block: neighbours.shares(ids[block], labels, width)

        return [near(vectors) for vectors in self._vectors[:most]]

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything to one npz file, as a whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        own = {name: vars(self)[f'_{name}'] for name in _SAVED}
        vectors = {f'vectors_{i}': v for i, v in enumerate(self._vectors)}
        arrays = own | vectors | self._epochs.arrays() | self._outside.arrays()
        classes = np.array(self.classes)
        with atomic_open(path, 'wb') as file:
            np.savez(
                file,
                format=_FORMAT,
                classes=classes,
                predictions=self._predictions,
                **arrays,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> 'LabelTracker':
        """Returns the tracker of a file; it continues where that one was.

        Raises:
            OSError: the file cannot be opened.
            ValueError: it is damaged, or not of a tracker.
        """
        with open(path, 'rb') as raw:
            try:
                with np.load(raw) as file:
                    return cls._of(dict(file))
            except (
                AttributeError, EOFError, IndexError, KeyError, OSError,
                TypeError, ValueError, zipfile.BadZipFile, zlib.error,
            ) as error:  # fmt: skip
                raise ValueError(
                    f'{os.fspath(path)} is damaged or was not written by '
                    'LabelTracker.save.'
                ) from error

    @classmethod
    def _of(cls, arrays: Mapping[str, np.ndarray]) -> 'LabelTracker':
        if arrays['format'] != _FORMAT:
            raise ValueError('format')
        classes = arrays['classes']
        tracker = cls(
            classes[arrays['labels']],
            classes=classes.tolist(),
            predictions=str(arrays['predictions']),
        )
        tracker._epoch = int(arrays['epoch'])
        tracker._is_named = bool(arrays['is_named'])
        for name in _BY_ROW:
            vars(tracker)[f'_{name}'][...] = arrays[name]
        tracker._epochs.restore(arrays)
        tracker._outside.restore(arrays)
        if 'vectors_0' in arrays:
            raw = arrays.get('vectors_1')
            tracker.set_features(arrays['vectors_0'], raw)
        return tracker


def _refuse(rows: np.ndarray, how: str) -> None:
    """Raises ValueError if there are rows of the other kind."""
    if len(rows):
        raise ValueError(
            f'row {rows[0]} was {how}: rows must be either trained on or held '
            'out, never both.'
        )


def _visits(
    rows: np.ndarray, said: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | int]:
    """Returns different rows, sums of predictions, and counts of visits."""
    distinct, places = np.unique(rows, return_inverse=True)
    if len(distinct) == len(rows):
        return rows, said, 1
    sums = np.zeros((len(distinct), said.shape[1]))
    np.add.at(sums, places, said)
    return distinct, sums, np.bincount(places)
