"""Mean predicted probabilities of many examples, in little memory.

What is kept of an example are the sums of its probabilities over the visits,
as a whole (`Dense`) or, for many examples of many classes, compactly
(`Compact`): the sum of the given label, and of the `KEPT_CLASSES` classes with
the largest sums. With each visit its probabilities are added to the sums that
are kept, and the largest of these are kept again.
"""

import abc
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ieg.utils.arrays import KEPT_CLASSES, MOST_SUMS

# Numbers [k, C] that are looked at together.
_BLOCK = 2**22

# Some examples: a slice, or their numbers.
Rows = slice | np.ndarray


class Means(abc.ABC):
    """Mean probabilities of n examples over their visits; C classes.

    Attributes:
        count: number of visits, int [n].
        num_classes: C.
    """

    count: np.ndarray
    num_classes: int

    @abc.abstractmethod
    def add(
        self, rows: np.ndarray, sums: np.ndarray, counts: np.ndarray | int
    ) -> None:
        """Adds visits of some examples.

        Args:
            rows: numbers of different examples, int [k].
            sums: sums of their probabilities over these visits [k, C].
            counts: how many visits these are [k], or one number for all.
        """

    @abc.abstractmethod
    def add_to(self, sums: np.ndarray, rows: Rows, weight: float) -> None:
        """Adds weighted sums of some examples, as far as they are kept.

        Args:
            sums: is added to [k, C].
            rows: the examples, k of them.
            weight: of each visit.
        """

    @abc.abstractmethod
    def complete(self, sums: np.ndarray, count: np.ndarray) -> None:
        """Adds what was not kept to sums.

        Args:
            sums: is added to [k, C].
            count: number of visits, with their weights [k].
        """

    def sums(self, rows: Rows) -> np.ndarray:
        """Returns sums of the probabilities of some examples [k, C]."""
        count = self.count[rows]
        sums = np.zeros((len(count), self.num_classes))
        self.add_to(sums, rows, 1.0)
        self.complete(sums, count)
        return sums

    @abc.abstractmethod
    def fields(self) -> dict[str, np.ndarray]:
        """Returns the arrays that visits change, by name."""

    @property
    def size(self) -> int:
        """How many numbers this holds."""
        return sum(array.size for array in self.fields().values())

    def rows(self, rows: Rows) -> np.ndarray:
        """Returns mean probabilities of some examples [k, C], 0 if unseen."""
        return means([(1.0, self)], rows)

    def join(self, other: 'Means') -> None:
        """Adds the visits that other means of the same examples hold."""
        seen = np.flatnonzero(other.count)
        for block in blocks(len(seen), self.num_classes):
            rows = seen[block]
            self.add(rows, other.sums(rows), other.count[rows])


@dataclasses.dataclass(eq=False)
class Dense(Means):
    """The sums of all classes.

    Attributes:
        num_classes: C.
        count: number of visits, int64 [n].
        total: sums of the probabilities, float64 [n, C].
    """

    num_classes: int
    count: np.ndarray
    total: np.ndarray

    def add(
        self, rows: np.ndarray, sums: np.ndarray, counts: np.ndarray | int
    ) -> None:
        """See `Means`."""
        self.count[rows] += counts
        self.total[rows] += sums

    def add_to(self, sums: np.ndarray, rows: Rows, weight: float) -> None:
        """See `Means`."""
        sums += weight * self.total[rows]

    def complete(self, sums: np.ndarray, count: np.ndarray) -> None:
        """See `Means`; everything is kept."""

    def fields(self) -> dict[str, np.ndarray]:
        """See `Means`."""
        return {'count': self.count, 'total': self.total}


@dataclasses.dataclass(eq=False)
class Compact(Means):
    """The sums of the given label, and of the classes with the largest sums.

    Exact for up to `KEPT_CLASSES` classes, but for rounding. Of more, it
    depends slightly on the order of the visits.

    Attributes:
        num_classes: C.
        count: number of visits, int64 [n].
        labels: given labels, int [n].
        own: sum of the given label, float32 [n].
        classes: the classes that are kept, different ones, int [n, k].
        kept: their sums, float32 [n, k].
    """

    num_classes: int
    count: np.ndarray
    labels: np.ndarray
    own: np.ndarray
    classes: np.ndarray
    kept: np.ndarray

    def add(
        self, rows: np.ndarray, sums: np.ndarray, counts: np.ndarray | int
    ) -> None:
        """See `Means`."""
        places = np.arange(len(rows))
        self.count[rows] += counts
        self.own[rows] += sums[places, self.labels[rows]]
        sums = sums.astype(np.float32)
        sums[places[:, np.newaxis], self.classes[rows]] += self.kept[rows]
        k = self.kept.shape[1]
        top = np.argpartition(sums, -k, axis=1)[:, -k:]
        self.classes[rows] = top
        self.kept[rows] = np.take_along_axis(sums, top, axis=1)

    def add_to(self, sums: np.ndarray, rows: Rows, weight: float) -> None:
        """See `Means`."""
        places = np.arange(len(sums))
        label, classes = self.labels[rows], self.classes[rows]
        is_own = classes == label[:, np.newaxis]
        kept = np.where(is_own, 0, self.kept[rows])
        sums[places[:, np.newaxis], classes] += weight * kept
        sums[places, label] += weight * self.own[rows]

    def complete(self, sums: np.ndarray, count: np.ndarray) -> None:
        """See `Means`; the classes that are not kept share the rest."""
        unknown = sums == 0
        rest = np.maximum(count - sums.sum(axis=1), 0)
        rest /= np.maximum(unknown.sum(axis=1), 1)
        sums += rest[:, np.newaxis] * unknown

    def fields(self) -> dict[str, np.ndarray]:
        """See `Means`."""
        names = ('count', 'own', 'classes', 'kept')
        return {name: vars(self)[name] for name in names}


def empty(labels: np.ndarray, num_classes: int) -> Means:
    """Returns means without visits, compact beyond `MOST_SUMS` numbers.

    Args:
        labels: given labels, int [n].
        num_classes: C.
    """
    n, k = len(labels), min(KEPT_CLASSES, num_classes)
    count = np.zeros(n, np.int64)
    if n * num_classes <= MOST_SUMS:
        return Dense(num_classes, count, np.zeros((n, num_classes)))
    classes = np.tile(np.arange(k, dtype=np.int32), (n, 1))
    kept = np.zeros((n, k), np.float32)
    own = np.zeros(n, np.float32)
    return Compact(num_classes, count, labels, own, classes, kept)


def means(parts: Sequence[tuple[float, Means]], rows: Rows) -> np.ndarray:
    """Returns weighted mean probabilities of some examples [k, C].

    Args:
        parts: weights, and what they weigh; each visit has the weight of its
            part.
        rows: the examples; those without a visit of some weight are 0.
    """
    first = parts[0][1]
    count = np.zeros(len(first.count[rows]))
    sums = np.zeros((len(count), first.num_classes))
    for weight, part in parts:
        if weight:
            part.add_to(sums, rows, weight)
            count += weight * part.count[rows]
    first.complete(sums, count)
    sums /= np.where(count > 0, count, 1)[:, np.newaxis]
    return sums


def blocks(count: int, width: int) -> Iterator[slice]:
    """Yields the rows of a table in blocks that fit into the memory.

    Args:
        count: number of rows.
        width: numbers in each.
    """
    step = max(1, _BLOCK // max(width, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
