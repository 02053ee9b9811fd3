"""Examples that are vectors of numbers: features of a network, or a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import tensorflow as tf

from ieg.errors import UsageError
from ieg.utils.arrays import LARGEST

if TYPE_CHECKING:
    from ieg.data.encoding import Encoding

# Numbers that are looked at together: no second copy of all of them is made.
_BLOCK = 2**22


class Pictures(Protocol):
    """Images that vectors were made of; see `ieg.data.dataset.Images`."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def array(self) -> np.ndarray | None: ...  # noqa: D102

    def take(self, indices: np.ndarray) -> 'Pictures':
        """Returns some of them, in that order."""
        ...

    def fetch(
        self, ids: tf.Tensor | np.ndarray, seeds: tf.Tensor | np.ndarray | None
    ) -> tf.Tensor:
        """Returns some of them, uint8 [b, H, W, channels]."""
        ...


class _Held:
    """The numbers of a whole part, which all of its splits share."""

    def __init__(
        self,
        array: np.ndarray,
        views: np.ndarray | None,
        pictures: 'Pictures | None',
    ):
        self.array = array
        self.views = views
        self.pictures = pictures
        self._tensors: tuple[tf.Tensor, tf.Tensor | None] | None = None

    def tensors(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns rows [N, d] and stored views [N, v, d], once."""
        if self._tensors is None:
            # Outside of any graph: inside, it would become part of it.
            with tf.init_scope(), tf.device('CPU:0'):
                rows = tf.constant(self.array)
                views = None if self.views is None else tf.constant(self.views)
            # The array is a window on the tensor, not a second copy.
            self.array = rows.numpy()
            self.views = None if views is None else views.numpy()
            self._tensors = rows, views
        return self._tensors


class Vectors:
    """Vectors in memory; see `ieg.data.dataset.Images`.

    Args:
        array: float32 [N, d], finite.
        views: floating [N, v, d], further views of each example, such as the
            features of crops of an image; None for none.
        columns: names of the d numbers, or of the columns of the table that
            they were made of; empty where they have none.
        pictures: the images that these are features of; None without.
        encoding: what made these of the fields of a table; None without.
        digest: a hash of these fields; '' without.

    Attributes:
        columns: see above.
        encoding: see above.
        digest: see above.
        shape: (d,).
    """

    def __init__(
        self,
        array: np.ndarray,
        views: np.ndarray | None = None,
        columns: Sequence[str] = (),
        pictures: 'Pictures | None' = None,
        encoding: 'Encoding | None' = None,
        digest: str = '',
    ):
        self._held = _Held(array, views, pictures)
        self.columns = tuple(columns)
        self.encoding, self.digest = encoding, digest
        self._rows: np.ndarray | None = None
        self.shape: tuple[int, ...] = array.shape[1:]

    def __len__(self) -> int:
        return len(self._held.array if self._rows is None else self._rows)

    @property
    def array(self) -> np.ndarray:
        """The plain vectors, float32 [N, d]; a copy for part of them."""
        return self.rows()

    @property
    def views(self) -> np.ndarray | None:
        """The stored views [N, v, d], or None; a copy for part of them."""
        views = self._held.views
        if views is None or self._rows is None:
            return views
        return views[self._rows]

    @property
    def pictures(self) -> 'Pictures | None':
        """The images that these are features of, N; None without."""
        pictures = self._held.pictures
        if pictures is None or self._rows is None:
            return pictures
        return pictures.take(self._rows)

    def rows(self, ids: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Returns the plain vectors of some examples, float32 [n, d]."""
        if self._rows is not None:
            return self._held.array[self._rows[ids]]
        return self._held.array[ids]

    def tensors(self) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns all vectors of the part that these are of, and their views.

        That is float32 [N, d] and floating [N, v, d]; see `places`.
        """
        return self._held.tensors()

    def places(self) -> np.ndarray:
        """Returns which of `tensors` each example is, int64 [n]."""
        if self._rows is None:
            return np.arange(len(self))
        return self._rows.astype(np.int64)

    def take(self, indices: np.ndarray) -> 'Vectors':
        """Returns some of them, which costs no second copy."""
        taken = Vectors.__new__(Vectors)
        taken._held, taken.shape = self._held, self.shape
        taken.columns, taken.encoding = self.columns, self.encoding
        taken.digest = self.digest
        taken._rows = indices if self._rows is None else self._rows[indices]
        return taken

    def fetch(
        self, ids: tf.Tensor | np.ndarray, seeds: tf.Tensor | np.ndarray | None
    ) -> tf.Tensor:
        """Returns a batch, float32 [b, d]; see `pick`."""
        if self._rows is not None:
            ids = tf.gather(self._rows, ids)
        return pick(*self._held.tensors(), ids, seeds)


def checked(
    array: np.ndarray, where: str, dtype: type[np.floating] = np.float32
) -> np.ndarray:
    """Returns numbers as finite float32.

    Args:
        array: floating [N, ...].
        where: they are; for messages.
        dtype: of the result.

    Raises:
        UsageError: some are not finite, or too large.
    """
    step = max(1, _BLOCK // max(1, array[:1].size))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        # NaN is not smaller.
        fine = np.abs(block) < np.float32(LARGEST)
        if not fine.all():
            row, *rest = np.argwhere(~fine)[0]
            value = block[(row, *rest)]
            problem = 'too large' if np.isfinite(value) else 'not finite'
            raise UsageError(
                f'{where} has {value:g}, which is {problem}, in row '
                f'{start + row}, column {rest[-1]}, counted from 0: correct '
                'it, or leave the row or column out.'
            )
    return array.astype(dtype, copy=False)


def pick(
    rows: tf.Tensor,
    views: tf.Tensor | None,
    ids: tf.Tensor | np.ndarray,
    seeds: tf.Tensor | np.ndarray | None,
) -> tf.Tensor:
    """Returns vectors of a batch, float32 [b, d].

    Args:
        rows: float32 [N, d].
        views: floating [N, v, d], or None.
        ids: int64 [b].
        seeds: int32 [b, 2], which choose one of the stored views of each
            example; None for the plain vectors, which are also taken where no
            view is stored.
    """
    if seeds is None or views is None:
        return tf.gather(rows, ids)
    count, width = views.shape[1:]
    chosen = tf.cast(ids, tf.int64) * count
    chosen += tf.cast(seeds[:, 0], tf.int64) % count
    flat = tf.reshape(views, [-1, width])
    return tf.cast(tf.gather(flat, chosen), tf.float32)


def statistics(
    vectors: Vectors,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of each column; 0 for constant columns."""
    count, (width,) = len(vectors), vectors.shape
    step = max(1, _BLOCK // width)
    slices = [slice(n, n + step) for n in range(0, count, step)]
    first, varies = vectors.rows(slice(0, 1)), np.zeros(width, bool)
    total, squares = np.zeros(width), np.zeros(width)
    for block in map(vectors.rows, slices):
        total += block.sum(axis=0, dtype=np.float64)
        varies |= (block != first).any(axis=0)
    mean = total / count
    for block in map(vectors.rows, slices):
        squares += ((block - mean) ** 2).sum(axis=0)
    # What rounding makes of a constant is no deviation.
    std = np.where(varies, np.sqrt(squares / count), 0.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def standardise(
    vectors: tf.Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    over: float = 1.0,
) -> tf.Tensor:
    """Returns vectors float32 [b, d], minus mean, over deviation.

    Columns without a deviation become 0. The mean is subtracted first, because
    that loses nothing where it is far larger than the deviation.

    Args:
        vectors: [b, d].
        mean: of each column.
        std: of each column.
        over: number by which all are divided in addition: in one product,
            which no optimizer of graphs can put into another order.
    """
    center, scale = np.array(mean, np.float32), np.array(std)
    with np.errstate(divide='ignore'):
        inverse = np.where(scale > 1 / LARGEST, 1 / scale, 0.0) / over
    return (tf.cast(vectors, tf.float32) - center) * inverse.astype(np.float32)
