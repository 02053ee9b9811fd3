"""Per-example losses and target arithmetic.

Every loss takes logits `[b, C]` and returns `[b]`: the caller decides how
examples are weighted, and nothing divides by the number of replicas behind its
back, as the classes of `keras.losses` do. Everything is computed in the type
of the logits, which networks give in full precision.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ieg.ops import random as random_ops


def total(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the sum of tensors of one shape.

    Unlike `tf.add_n`, it always adds them in the same order.
    """
    return tf.reduce_sum(tf.stack(values), axis=0)


def cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0
) -> tf.Tensor:
    """Returns the cross-entropy `[b]` against class ids `[b]`.

    Args:
        labels: integer class ids `[b]`.
        logits: `[b, C]`.
        smoothing: share of the target that is spread over all C classes.
    """
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    num_classes = logits.shape[-1]
    targets = tf.one_hot(labels, num_classes, dtype=logits.dtype)
    return soft_cross_entropy(
        (1 - smoothing) * targets + smoothing / num_classes, logits
    )


def soft_cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy `[b]` against distributions `[b, C]`."""
    return -tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=-1)


def generalized_cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, q: float
) -> tf.Tensor:
    """Returns (1 - p_y^q) / q `[b]` (Zhang & Sabuncu, NeurIPS 2018, eq. 5).

    Its gradient is that of the cross-entropy times p_y^q, so labels that the
    network does not believe count less. Codes that clip p_y first have no
    gradient where it is small; this one has.

    Args:
        labels: integer class ids `[b]`.
        logits: `[b, C]`.
        q: in (0, 1]; towards 0 it is the cross-entropy, at 1 half of the mean
            absolute error.
    """
    return -tf.math.expm1(-q * cross_entropy(labels, logits)) / q


def squared_error(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns `[b]`, the mean over classes of (softmax - target) squared.

    The mean, not the sum: weights of this term in published DivideMix tables
    belong to this form (the paper prints the sum, its code takes the mean).
    """
    return tf.reduce_mean(
        tf.math.squared_difference(tf.nn.softmax(logits), targets), axis=-1
    )


def negative_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Returns sum_c p_c log p_c `[b]`; adding it to a loss lowers confidence.

    Finite for every finite logit: p log p from a softmax that underflows is
    NaN (in float32 from a gap of 104 on).
    """
    log_p = tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * log_p, axis=-1)


def prior_divergence(logits: tf.Tensor) -> tf.Tensor:
    """Returns KL(uniform || mean softmax over the rows), a scalar.

    DivideMix eq. 12. The mean is taken in log space, so a class whose
    probability underflows everywhere gives a large number and not infinity.
    """
    rows = tf.cast(tf.shape(logits)[0], logits.dtype)
    log_mean = tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=0)
    log_mean -= tf.math.log(rows)
    num_classes = tf.cast(tf.shape(logits)[-1], logits.dtype)
    return -tf.math.log(num_classes) - tf.reduce_mean(log_mean)


def sharpen(probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns p_c^(1/T) / sum_k p_k^(1/T), rows `[b, C]` (MixMatch eq. 7)."""
    # The largest becomes 1, so a small temperature underflows nowhere.
    probabilities /= tf.reduce_max(probabilities, axis=-1, keepdims=True)
    powers = probabilities ** (1 / temperature)
    return powers / tf.reduce_sum(powers, axis=-1, keepdims=True)


def rms_normalised(logits: tf.Tensor) -> tf.Tensor:
    """Returns logits `[b, C]` over the root of the mean of all squares.

    One scale for all rows together (IEG section 4.2).
    """
    return logits * tf.math.rsqrt(tf.reduce_mean(logits * logits) + 1e-8)


def divergence(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns KL(softmax(logits) || softmax(others)) `[b]`.

    Only `others` carry a gradient.
    """
    log_p = tf.stop_gradient(tf.nn.log_softmax(logits))
    gap = log_p - tf.nn.log_softmax(others)
    return tf.reduce_sum(tf.exp(log_p) * gap, axis=-1)


def symmetric_divergence(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Returns KL(p || q) + KL(q || p) `[b]`; both sides carry a gradient."""
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(others)
    gaps = (tf.exp(log_p) - tf.exp(log_q)) * (log_p - log_q)
    return tf.reduce_sum(gaps, axis=-1)


def ranks(values: tf.Tensor, scope: str) -> tf.Tensor:
    """Returns the rank of each value in its column, from 0, int32 `[b, n]`.

    Equal values are ranked by their place, so that exactly k have a rank below
    k; NaN comes last.

    Args:
        values: `[b, n]`.
        scope: 'global' ranks among the rows of all replicas, 'replica' among
            those of this one.
    """
    values = tf.where(
        tf.math.is_nan(values), tf.cast(np.inf, values.dtype), values
    )
    context = tf.distribute.get_replica_context()
    start, rows = 0, tf.shape(values)[0]
    if scope == 'global' and context.num_replicas_in_sync > 1:
        values = context.all_gather(values, axis=0)
        start = context.replica_id_in_sync_group * rows
    order = tf.argsort(values, axis=0, stable=True)
    return tf.argsort(order, axis=0)[start : start + rows]


def dominant_share(numbers: tf.Tensor) -> tf.Tensor:
    """Returns mixing shares in [1/2, 1] from numbers q in [0, 1).

    1 - q^2 / 2: what IEG's code draws where its paper has Beta(1/2, 1/2).
    """
    return 1 - numbers * numbers / 2


def mix(rows: tf.Tensor, partners: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Returns share * rows + (1 - share) * rows[partners] (mixup).

    Args:
        rows: `[b, ...]`, images or target distributions.
        partners: row numbers `[b]`.
        share: the own share, a scalar or broadcastable to `rows`.
    """
    share = tf.cast(share, rows.dtype)
    return share * rows + (1 - share) * tf.gather(rows, partners)


def random_partners(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns a uniformly random permutation of 0..count-1, int32 `[count]`.

    By sorting random numbers: unlike the shuffle op, this compiles with XLA.
    """
    return tf.argsort(random_ops.uniform([count], seed))


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the share of rows whose largest logit is at the label."""
    hits = tf.equal(
        tf.argmax(logits, axis=-1, output_type=tf.int32),
        tf.cast(labels, tf.int32),
    )
    return tf.reduce_mean(tf.cast(hits, tf.float32))
