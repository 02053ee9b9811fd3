"""What a training predicts in each epoch, of training and held-out rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ieg.label_issues import compact, floor
from ieg.label_issues.compact import Means
from ieg.label_issues.floor import Snapshot

# Numbers that are remembered: 1 GiB of float64, and 512 MiB of float32.
MOST = MOST_HELD = 2**27


class Epochs:
    """Mean probabilities of n training rows by epoch; C classes.

    Epochs are kept in bins of `width` epochs, a power of two that follows from
    their numbers alone: the least with which all bins have at most `MOST`
    numbers, but two bins at least.

    Args:
        labels: given labels, int [n].
        num_classes: C.

    Attributes:
        bins: means by epoch // width.
        width: epochs in each bin.
        last: the last epoch of which there are visits.
    """

    def __init__(self, labels: np.ndarray, num_classes: int):
        self.bins: dict[int, Means] = {}
        self.width = 1
        self.last = 0
        self._labels, self._num_classes = labels, num_classes

    def at(self, epoch: int) -> Means:
        """Returns the means that visits of an epoch are added to."""
        self.last = max(self.last, epoch)
        if epoch // self.width in self.bins:
            return self.bins[epoch // self.width]
        new = self._empty()
        most = max(2, MOST // new.size)
        while len({*self.bins, epoch // self.width}) > most:
            self._widen()
        return self.bins.setdefault(epoch // self.width, new)

    def _empty(self) -> Means:
        return compact.empty(self._labels, self._num_classes)

    def _widen(self) -> None:
        """Doubles the width."""
        self.width *= 2
        before, self.bins = sorted(self.bins.items()), {}
        for key, means in before:
            if key // 2 in self.bins:
                self.bins[key // 2].join(means)
            else:
                self.bins[key // 2] = means

    def join(self, other: 'Epochs') -> None:
        """Adds the visits of other epochs of the same rows."""
        while self.width < other.width:
            self._widen()
        for key, means in sorted(other.bins.items()):
            self.at(key * other.width).join(means)
        self.last = max(self.last, other.last)

    def visits(self) -> np.ndarray:
        """Returns the number of visits of each row, int [n]."""
        counts = (means.count for means in self.bins.values())
        return sum(counts, np.zeros(len(self._labels), np.int64))

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Returns mean probabilities of some rows over all visits [k, C]."""
        return compact.means([(1.0, one) for _, one in self._sorted()], rows)

    def early(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Returns mean probabilities over the visits until an epoch [k, C].

        Of a bin that the epoch divides, the share before it has that weight. A
        row without a visit until then has the mean over all.

        Args:
            rows: numbers of the rows, int [k].
            epoch: counted from 0; its visits are included.
        """
        parts = []
        for key, one in self._sorted():
            start = key * self.width
            length = min(self.width, self.last + 1 - start)
            weight = min(max((epoch + 1 - start) / length, 0.0), 1.0)
            parts.append((weight, one))
        means = compact.means(parts, rows)
        missing = ~means.any(axis=1)
        means[missing] = self.mean(rows[missing])
        return means

    def _sorted(self) -> list[tuple[int, Means]]:
        return sorted(self.bins.items())

    def arrays(self) -> dict[str, Any]:
        """Returns all that this holds, for a file."""
        arrays: dict[str, Any] = {'width': self.width, 'last': self.last}
        for key, means in self.bins.items():
            fields = means.fields().items()
            arrays |= {f'bin_{key}_{name}': array for name, array in fields}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what `arrays` returned.

        Raises:
            KeyError, ValueError: it is of other rows, or incomplete.
        """
        self.width, self.last = int(arrays['width']), int(arrays['last'])
        names = (name.split('_') for name in arrays if name.startswith('bin_'))
        for key in sorted({int(name[1]) for name in names}):
            self.bins[key] = self._empty()
            for name, array in self.bins[key].fields().items():
                array[...] = arrays[f'bin_{key}_{name}']


class HeldOut:
    """Logits of rows that are not trained on, by epoch.

    Beyond `MOST_HELD` numbers, epochs that explain the labels worst are
    dropped.

    Args:
        labels: given labels of all rows, int [n].

    Attributes:
        calls: rows, int [m], ascending, and logits, float32 [m, C], in the
            order in which they came, by epoch.
    """

    def __init__(self, labels: np.ndarray):
        self.calls: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._labels = labels
        self._losses: dict[int, float] = {}

    def add(self, epoch: int, rows: np.ndarray, logits: np.ndarray) -> None:
        """Adds logits of an epoch; of a row given twice, the last ones count.

        Args:
            epoch: counted from 0.
            rows: numbers of the rows, int [m].
            logits: [m, C].
        """
        rows, places = np.unique(rows[::-1], return_index=True)
        kept = logits[::-1][places].astype(np.float32)
        self.calls.setdefault(epoch, []).append((rows, kept))
        self._losses.pop(epoch, None)
        while self._size() > MOST_HELD:
            past = [one for one in self._whole() if one != epoch]
            if len(past) < 2:
                break
            del self.calls[max(past, key=self._loss)]

    def _size(self) -> int:
        every = self.calls.values()
        return sum(logits.size for calls in every for _, logits in calls)

    def _joined(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows and logits of an epoch, and keeps them so."""
        calls = self.calls[epoch]
        if len(calls) > 1:
            rows, logits = map(np.concatenate, zip(*calls, strict=True))
            rows, places = np.unique(rows[::-1], return_index=True)
            calls[:] = [(rows, logits[::-1][places])]
        return calls[0]

    def _whole(self) -> list[int]:
        """Returns the epochs that have the most rows, in order."""
        sizes = {epoch: len(self._joined(epoch)[0]) for epoch in self.calls}
        most = max(sizes.values())
        return sorted(epoch for epoch, size in sizes.items() if size == most)

    def _loss(self, epoch: int) -> float:
        if epoch not in self._losses:
            self._losses[epoch] = self._shot(epoch).loss
        return self._losses[epoch]

    def _shot(self, epoch: int) -> Snapshot:
        rows, logits = self._joined(epoch)
        return floor.snapshot(epoch, logits, self._labels[rows])

    def best(self) -> tuple[np.ndarray, Snapshot]:
        """Returns the predictions of the epoch that explains labels best.

        Only epochs that have the most rows count.

        Returns:
            Their rows, int [m], ascending, and the predictions.
        """
        epoch = min(self._whole(), key=self._loss)
        return self._joined(epoch)[0], self._shot(epoch)

    def join(self, other: 'HeldOut') -> None:
        """Adds the logits of other calls about the same rows."""
        for epoch, calls in sorted(other.calls.items()):
            for call in calls:
                self.add(epoch, *call)

    def arrays(self) -> dict[str, Any]:
        """Returns all that this holds, for a file."""
        arrays: dict[str, Any] = {}
        for epoch in self.calls:
            rows, logits = self._joined(epoch)
            arrays |= {f'rows_{epoch}': rows, f'logits_{epoch}': logits}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what `arrays` returned.

        Raises:
            KeyError, ValueError, IndexError: it is of other rows, or
                incomplete.
        """
        for name in arrays:
            if name.startswith('rows_'):
                rows, epoch = arrays[name], int(name[len('rows_') :])
                self.add(epoch, rows, arrays[f'logits_{epoch}'])
