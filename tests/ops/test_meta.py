"""The meta-gradient against back-propagation through the look-ahead step."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from reweighting_recordings import close, tiny_network

from ieg.errors import UsageError
from ieg.ops import losses, meta

ROWS, CLASSES = 12, 10
RATE = 0.1
TOLERANCE = {'float64': 1e-10, 'float32': 1e-5}


class Problem:
    """A BatchNorm network, a batch, a probe batch and a momentum."""

    def __init__(self, floatx):
        keras.utils.set_random_seed(3)
        self.net = tiny_network()
        self.variables = self.net.trainable_variables
        rng = np.random.default_rng(5)

        def images(rows):
            return tf.constant(rng.normal(size=(rows, 16, 16, 3)), floatx)

        self.weak, self.strong = images(ROWS), images(ROWS)
        self.probe = images(20)
        self.labels, self.probe_labels = (
            tf.constant(rng.integers(0, CLASSES, rows), tf.int32)
            for rows in (ROWS, 20)
        )
        self.given = tf.one_hot(self.labels, CLASSES, dtype=floatx)
        for variable in self.variables:
            variable.assign_add(0.1 * rng.normal(size=variable.shape))
        self.velocity = [
            tf.constant(0.3 * rng.normal(size=v.shape), floatx)
            for v in self.variables
        ]

    def guess(self, logits, strong_logits):
        return losses.sharpen(
            (tf.nn.softmax(logits) + tf.nn.softmax(strong_logits)) / 2, 0.5
        )

    def pieces(self, share, leak):
        """Returns the per-example losses and their slopes by the share."""
        fixed = tf.stop_gradient(
            self.guess(
                *(meta.forward(self.net, x) for x in (self.weak, self.strong))
            )
        )

        def found(logits, strong_logits=None):
            guess = self.guess(logits, strong_logits) if leak else fixed
            target = share * self.given + (1 - share) * guess
            return (
                losses.soft_cross_entropy(target, logits),
                losses.soft_cross_entropy(self.given - guess, logits),
            )

        return found

    def images(self, leak):
        return [self.weak, self.strong] if leak else [self.weak]


def by_back_propagation(problem, weight, momentum, decay, leak):
    """Returns d J / d w and d J / d share, in one graph from w to J."""
    net, variables = problem.net, problem.variables
    theta = [tf.convert_to_tensor(v.value) for v in variables]
    dtype = theta[0].dtype
    weights = tf.fill([ROWS], tf.constant(weight, dtype))
    shares = tf.fill([ROWS], tf.constant(0.9, dtype))
    fixed = problem.guess(
        *(meta.forward(net, x) for x in (problem.weak, problem.strong))
    )
    with tf.GradientTape() as outer:
        outer.watch([weights, shares])
        with tf.GradientTape() as inner:
            inner.watch(theta)
            logits, strong = (
                meta.forward(net, x, variables, theta)
                for x in (problem.weak, problem.strong)
            )
            guess = problem.guess(logits, strong) if leak else fixed
            column = shares[:, tf.newaxis]
            target = column * problem.given + (1 - column) * guess
            loss = tf.reduce_sum(
                weights * losses.soft_cross_entropy(target, logits)
            )
            loss += sum(decay / 2 * tf.reduce_sum(t * t) for t in theta)
        moved = [
            t - RATE * (momentum * m + g)
            for t, m, g in zip(
                theta,
                problem.velocity,
                inner.gradient(loss, theta),
                strict=True,
            )
        ]
        logits = meta.forward(net, problem.probe, variables, moved)
        objective = tf.reduce_mean(
            losses.cross_entropy(problem.probe_labels, logits)
        )
        objective += sum(decay / 2 * tf.reduce_sum(t * t) for t in moved)
    return outer.gradient(objective, [weights, shares])


def by_alignment(problem, kind, weight, momentum, decay, leak):
    """Returns the same by the functions under test."""
    net = problem.net
    variables = meta.moved_variables(net, kind)
    watched = meta.with_features(net)
    with tf.GradientTape(persistent=True) as tape:
        passes = [
            watched(x, training=True)
            if x is problem.weak
            else (None, meta.forward(net, x))
            for x in problem.images(leak)
        ]
    features, logits = zip(*passes, strict=True)
    pieces = problem.pieces(0.9, leak)
    gradients = None
    if weight:
        with tape:
            loss = weight * tf.reduce_sum(pieces(*logits)[0])
        gradients = tape.gradient(loss, variables)
    l2 = [decay] * len(variables)
    point = meta.look_ahead(
        variables,
        RATE,
        l2,
        gradients,
        [momentum * m for m in problem.velocity[-len(variables) :]],
    )
    found = meta.probe_pass(
        net, variables, point, problem.probe, problem.probe_labels, l2
    )
    change, slope = meta.alignments(
        kind,
        net,
        variables,
        found.gradient,
        pieces,
        problem.images(leak),
        tape,
        logits,
        features,
    )
    return -RATE * change, -RATE * weight * slope


def check_kinds(setting, floatx):
    problem = Problem(floatx)
    expected = by_back_propagation(problem, *setting)
    for kind in ('jvp', 'double'):
        found = by_alignment(problem, kind, *setting)
        for ours, theirs in zip(found, expected, strict=True):
            assert np.abs(theirs).max() > 1e-6 or setting[0] == 0
            close(ours, theirs, TOLERANCE[floatx], kind)


def settings():
    """Yields weights, momenta, penalties and leaks.

    Half of them are quick to check; each three of the four are in all
    combinations there.
    """
    for setting in itertools.product(
        [0.0, 1 / ROWS], [0.0, 0.9], [0.0, 5e-3], [0, 1]
    ):
        half = sum(map(bool, setting)) % 2 == 0
        yield pytest.param(
            setting,
            id='w={:.2f} m={} l2={} leak={}'.format(*setting),
            marks=() if half else pytest.mark.slow,
        )


@pytest.mark.parametrize('setting', [*settings()])
def test_it_is_back_propagation_through_the_look_ahead(setting, precision):
    precision('float64', 'float64')
    check_kinds(setting, 'float64')


@pytest.mark.parametrize('weight', [0.0, 1 / ROWS])
@pytest.mark.parametrize('leak', [0, 1])
def test_single_precision_comes_close(weight, leak):
    check_kinds((weight, 0.9, 5e-3, leak), 'float32')


def test_finite_differences_come_close(precision):
    precision('float64', 'float64')
    problem = Problem('float64')
    setting = (1 / ROWS, 0.9, 5e-3, 1)
    exact = by_alignment(problem, 'jvp', *setting)
    found = by_alignment(problem, 'fd', *setting)
    for ours, theirs in zip(found, exact, strict=True):
        close(ours, theirs, 1e-3, 'fd')


def test_the_last_layer_alone_is_what_back_propagation_says(precision):
    precision('float64', 'float64')
    problem = Problem('float64')
    change, _ = by_alignment(problem, 'last_layer', 1 / ROWS, 0.9, 5e-3, 0)
    # The same with a momentum and a look-ahead that leave the rest alone.
    head = meta.head(problem.net).trainable_variables
    net, theta = problem.net, [tf.convert_to_tensor(v.value) for v in head]
    weights = tf.fill([ROWS], tf.constant(1 / ROWS, tf.float64))
    pieces = problem.pieces(0.9, 0)
    with tf.GradientTape() as outer:
        outer.watch(weights)
        with tf.GradientTape() as inner:
            inner.watch(theta)
            loss, _ = pieces(meta.forward(net, problem.weak, head, theta))
            loss = tf.reduce_sum(weights * loss)
        moved = [
            t - RATE * (0.9 * m + g + 5e-3 * t)
            for t, m, g in zip(
                theta,
                problem.velocity[-2:],
                inner.gradient(loss, theta),
                strict=True,
            )
        ]
        logits = meta.forward(net, problem.probe, head, moved)
        objective = tf.reduce_mean(
            losses.cross_entropy(problem.probe_labels, logits)
        ) + sum(5e-3 / 2 * tf.reduce_sum(t * t) for t in moved)
    close(change, outer.gradient(objective, weights), 1e-10)


def test_other_passes_leave_the_statistics_of_batchnorm_alone():
    problem = Problem('float32')
    statistics = problem.net.non_trainable_variables
    before = [v.numpy() for v in statistics]
    with tf.GradientTape(persistent=True) as tape:
        logits = meta.forward(problem.net, problem.weak)
    found = meta.probe_pass(
        problem.net,
        problem.variables,
        meta.look_ahead(problem.variables, RATE, [0] * 8),
        problem.probe,
        problem.probe_labels,
        [0] * 8,
    )
    for kind in ('jvp', 'double', 'fd'):
        meta.alignments(
            kind,
            problem.net,
            problem.variables,
            found.gradient,
            lambda z: [losses.cross_entropy(problem.labels, z)],
            [problem.weak],
            tape,
            [logits],
        )
    for old, variable in zip(before, statistics, strict=True):
        np.testing.assert_array_equal(old, variable)


@pytest.mark.parametrize('scores', [[-1, -2, -3], [0, 0, 0], [1e-3, -1, 3e-3]])
def test_weights_are_positive_scores_over_their_sum(scores):
    scores = np.array(scores, np.float64)
    positive = np.maximum(scores, 0)
    expected = positive / (positive.sum() + 1e-5)
    found = meta.normalised(tf.constant(scores), 'global')
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_replicas_share_what_weights_sum_to(two_replicas):
    scores = tf.constant([[1.0, -1.0, 2.0], [4.0, 3.0, -5.0]])

    def replica_weights(scope):
        def weights():
            place = tf.distribute.get_replica_context()
            return meta.normalised(
                scores[place.replica_id_in_sync_group], scope
            )

        return [
            part.numpy()
            for part in two_replicas.experimental_local_results(
                two_replicas.run(weights)
            )
        ]

    alone = meta.normalised(tf.reshape(scores, [-1]), 'global').numpy()
    together = np.concatenate(replica_weights('global'))
    np.testing.assert_allclose(together / 2, alone, rtol=1e-6)
    for part in replica_weights('replica'):
        np.testing.assert_allclose(part.sum(), 1, rtol=1e-4)


def test_a_network_without_a_dense_end_is_refused():
    images = keras.Input((8, 8, 3))
    end = keras.layers.GlobalAveragePooling2D()
    net = keras.Model(images, end(keras.layers.Conv2D(10, 3)(images)))
    with pytest.raises(UsageError, match='does not end with a dense layer'):
        meta.head(net)
