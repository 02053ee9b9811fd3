"""What a run remembers of the visits of its training examples.

A visit is a step that shows an example. Steps change one variable `[N, width]`;
this module knows what its columns are.

The first visit of an example is only counted, because networks have learned
next to nothing by then. Of the others the predictions are summed: the
probabilities of all C classes or, if those of all examples are too many
numbers, that of the given label, and the k = `KEPT_CLASSES` largest sums.
Columns are

    shown, agreed, unused, C sums
    shown, agreed, counted, sum of the label, k classes, k sums

where agreed is at how many visits that count the given label was predicted.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from ieg.utils.arrays import KEPT_CLASSES, MOST_SUMS

_FACTS = 3


def width(num_examples: int, num_classes: int) -> int | None:
    """Returns the number of columns, None where they are too many."""
    for columns in (_FACTS + num_classes, _FACTS + 1 + 2 * KEPT_CLASSES):
        if num_examples * columns <= MOST_SUMS:
            return columns
    return None


def is_compact(columns: int, num_classes: int) -> bool:
    """Returns whether so many columns keep some of the classes only."""
    return columns != _FACTS + num_classes


def visited(
    columns: tf.Tensor, labels: tf.Tensor, probabilities: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how a visit changes the columns of the examples that it shows.

    Args:
        columns: before the visit [b, width].
        labels: given labels, integers [b].
        probabilities: that it predicts [b, C].

    Returns:
        What to subtract from the columns, and what to add, each [b, width]:
        the sums of all classes are only added to, which is exact.
    """
    num_classes = probabilities.shape[-1]
    guess = tf.argmax(probabilities, axis=-1, output_type=labels.dtype)
    counts = tf.minimum(columns[:, :1], 1.0)
    agrees = tf.cast(guess == labels, tf.float32)[:, tf.newaxis] * counts
    probabilities *= counts
    facts = [tf.ones_like(counts), agrees]
    if not is_compact(columns.shape[-1], num_classes):
        # The third column is of the checkpoints of 0.1.0.
        change = tf.concat(
            [*facts, tf.zeros_like(counts), probabilities], axis=1
        )
        return tf.zeros_like(change), change
    own = tf.gather(probabilities, labels[:, tf.newaxis], batch_dims=1)
    before = columns[:, _FACTS + 1 :]
    classes, sums = tf.split(before, 2, axis=1)
    spread = tf.one_hot(tf.cast(classes, tf.int32), num_classes)
    total = probabilities + tf.einsum('bk,bkc->bc', sums, spread)
    largest = tf.math.top_k(total, KEPT_CLASSES)
    kept = [tf.cast(largest.indices, tf.float32), largest.values]
    return (
        tf.concat([tf.zeros_like(columns[:, : _FACTS + 1]), before], axis=1),
        tf.concat([*facts, counts, own, *kept], axis=1),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Visits:
    """Sums over the visits of n examples that count.

    Attributes:
        counted: number of visits, float64 [n]; an example that is twice in its
            first batch has two in the first one.
        agreed: at how many of them the given label was predicted [n].
        sums: sums of the predicted probabilities [n, C], or of the classes
            that are kept [n, KEPT_CLASSES].
        own: sums of the probability of the given label [n]; None if those of
            all classes are kept.
        classes: that are kept, int [n, KEPT_CLASSES]; None if all are.
    """

    counted: np.ndarray
    agreed: np.ndarray
    sums: np.ndarray
    own: np.ndarray | None = None
    classes: np.ndarray | None = None

    @classmethod
    def of_columns(cls, columns: np.ndarray, num_classes: int) -> 'Visits':
        """Returns the visits that columns [n, width] hold."""
        agreed = columns[:, 1]
        if not is_compact(columns.shape[1], num_classes):
            sums = columns[:, _FACTS:]
            counted = np.rint(sums.sum(axis=1, dtype=np.float64))
            return cls(counted, agreed, sums)
        classes, sums = np.split(columns[:, _FACTS + 1 :], 2, axis=1)
        counted, own = columns[:, 2].astype(np.float64), columns[:, 3]
        return cls(counted, agreed, sums, own, classes.astype(np.int32))
