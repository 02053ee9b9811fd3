"""Ranks, and which examples small-loss selection chooses by them."""

import numpy as np
import pytest
import tensorflow as tf
from coteaching_tables import (
    chosen_by,
    cross_entropies,
    gradients,
    keeping,
    log_softmax,
    make_method,
    one_step,
    random_tables,
)
from paths import GOLDEN
from recordings import close

from ieg.ops import losses, optim

pytestmark = pytest.mark.usefixtures('constant_rate')


# Ranks.


def replica_ranks(strategy, values, scope):
    """Returns the ranks that replicas give to their shares of `[b, n]`."""
    values = tf.constant(values)
    share = values.shape[0] // strategy.num_replicas_in_sync

    def ranks():
        context = tf.distribute.get_replica_context()
        start = context.replica_id_in_sync_group * share
        return losses.ranks(values[start : start + share], scope)

    run = tf.function(lambda: strategy.run(ranks), autograph=False)
    parts = strategy.experimental_local_results(run())
    return np.concatenate([part.numpy() for part in parts])


def awkward(rows=40):
    """Returns values with ties and with what is no number."""
    rng = np.random.default_rng(5)
    values = rng.integers(6, size=(rows, 2)).astype(np.float32)
    values[rng.random((rows, 2)) < 0.2] = np.nan
    values[rng.random((rows, 2)) < 0.2] = np.inf
    return values


@pytest.mark.parametrize('scope', ['global', 'replica'])
def test_ranks_are_places_in_the_order(scope):
    values = awkward()
    found = replica_ranks(tf.distribute.get_strategy(), values, scope)
    filled = np.where(np.isnan(values), np.inf, values)
    order = np.argsort(filled, axis=0, kind='stable')
    for column in range(2):
        np.testing.assert_array_equal(
            found[order[:, column], column], np.arange(len(values))
        )
    for k in (0, 1, 7, 40):
        assert ((found < k).sum(axis=0) == k).all()


@pytest.mark.usefixtures('double')
def test_a_mask_by_rank_is_a_gather_of_the_smallest():
    values = np.random.default_rng(1).normal(size=(50, 2))
    ranks = losses.ranks(tf.constant(values), 'global').numpy()
    for k in (1, 20, 50):
        mean = np.where(ranks < k, values, 0).sum(axis=0) / k
        smallest = np.sort(values, axis=0)[:k].mean(axis=0)
        np.testing.assert_allclose(mean, smallest, rtol=1e-12)


def test_what_is_no_number_comes_last():
    values = [[np.nan], [3.0], [np.nan], [-1.0]]
    found = losses.ranks(tf.constant(values), 'global')[:, 0]
    np.testing.assert_array_equal(found, [2, 1, 3, 0])


def test_two_replicas_rank_like_one_or_each_alone(two_replicas):
    values = awkward()
    one = tf.distribute.get_strategy()
    np.testing.assert_array_equal(
        replica_ranks(two_replicas, values, 'global'),
        replica_ranks(one, values, 'global'),
    )
    halves = [replica_ranks(one, v, 'global') for v in np.split(values, 2)]
    np.testing.assert_array_equal(
        replica_ranks(two_replicas, values, 'replica'), np.concatenate(halves)
    )


# Choices.


@pytest.mark.usefixtures('double')
def test_ties_do_not_make_more_than_k(strategy):
    labels = np.zeros(8, np.int32)
    with strategy.scope():
        method = make_method([np.zeros((8, 3))] * 2, labels, **keeping(0.7))
    one_step(method, strategy)
    for chosen in chosen_by(method):
        np.testing.assert_array_equal(chosen, np.arange(5))


@pytest.mark.usefixtures('double')
def test_a_loss_that_is_no_number_is_not_chosen():
    tables, labels = random_tables(8)
    method = make_method(tables, labels, **keeping(0.9))
    method.begin_epoch(0, None)
    each = cross_entropies(tables, labels)
    each[2, 0] = np.nan
    chosen, count = method.choose(tf.constant(each), tables, False)
    assert count == 7
    first = np.flatnonzero(chosen[:, 0])
    np.testing.assert_array_equal(first, [0, 1, 3, 4, 5, 6, 7])


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize(
    'selection', ['coteaching', 'coteaching_plus', 'jocor']
)
def test_two_replicas_choose_what_one_does(selection, two_replicas):
    tables, labels = random_tables(24)
    # All of the second replica's examples are agreed upon.
    tables[1][12:] = tables[0][12:]
    options = {'selection': selection} | keeping(0.6)
    methods = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            methods.append(make_method(tables, labels, **options))
        one_step(methods[-1], strategy)
    one, two = methods
    for a, b in zip(chosen_by(one), chosen_by(two), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(gradients(one), gradients(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        assert np.abs(a).max() > 0


@pytest.mark.usefixtures('double')
def test_a_replica_may_choose_alone(two_replicas):
    tables, labels = random_tables(24)
    # To one replica the first half is the better one.
    for table in tables:
        table[np.arange(12), labels[:12]] += 20
    with two_replicas.scope():
        method = make_method(
            tables, labels, selection_scope='replica', **keeping(0.5)
        )
    one_step(method, two_replicas)
    each = cross_entropies(tables, labels)
    expected = np.zeros((2, 24, 24))
    for net in (0, 1):
        chosen, other = chosen_by(method)[net], chosen_by(method)[1 - net]
        for half in (slice(0, 12), slice(12, 24)):
            smallest = half.start + np.argsort(each[half, net])[:6]
            assert set(smallest) <= set(chosen)
        assert len(chosen) == 12
        expected[net, other, other] = 1
    for net, found in enumerate(gradients(method)):
        # Means of both replicas over as many.
        softmax = np.exp(log_softmax(tables[net]))
        softmax[np.arange(24), labels] -= 1
        close(found, expected[net] @ softmax / 12, 1e-12)


@pytest.mark.usefixtures('double')
def test_a_network_learns_from_what_the_other_one_chose():
    tables, labels = random_tables(20)
    method = make_method(tables, labels, **keeping(0.5))
    one_step(method)
    each = cross_entropies(tables, labels)
    chosen = chosen_by(method)
    for net in (0, 1):
        smallest = np.sort(np.argsort(each[:, net])[:10])
        np.testing.assert_array_equal(chosen[net], smallest)
        learnt = np.flatnonzero(gradients(method)[1 - net].any(axis=1))
        np.testing.assert_array_equal(learnt, smallest)
    assert set(chosen[0]) != set(chosen[1])


# Co-teaching+.


def disagreement(tables):
    first, second = (table.argmax(axis=1) for table in tables)
    return np.flatnonzero(first != second)


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize('rate', [0.01, 0.3, 0.5, 1.0])
def test_plus_chooses_among_what_networks_disagree_about(rate):
    tables, labels = random_tables(40)
    tables[1][:20] = tables[0][:20]
    among = disagreement(tables)
    assert 10 < len(among) < 20
    # A batch of 40 keeps nothing at 0.01.
    rate = max(rate, 1 / 40)
    method = make_method(
        tables, labels, selection='coteaching_plus', **keeping(rate)
    )
    logs = one_step(method)
    each = cross_entropies(tables, labels)
    k = max(1, int(rate * len(among)))
    chosen = chosen_by(method)
    for net in (0, 1):
        smallest = among[np.argsort(each[among, net])[:k]]
        np.testing.assert_array_equal(chosen[net], np.sort(smallest))
    means = [each[chosen[1 - net], net].mean() for net in (0, 1)]
    close(logs['loss'], np.mean(means), 1e-12)
    close(logs['agreement'], 1 - len(among) / 40, 1e-6)


@pytest.mark.usefixtures('double')
def test_plus_takes_the_whole_batch_where_networks_agree(strategy):
    tables, labels = random_tables(20)
    tables[1] = 2 * tables[0]
    with strategy.scope():
        method = make_method(
            tables, labels, selection='coteaching_plus', **keeping(0.5)
        )
    logs = one_step(method, strategy)
    each = cross_entropies(tables, labels)
    for net in (0, 1):
        smallest = np.sort(np.argsort(each[:, net])[:10])
        np.testing.assert_array_equal(chosen_by(method)[net], smallest)
    assert logs['agreement'] == 1


@pytest.mark.usefixtures('double')
def test_plus_begins_as_plain_coteaching():
    tables, labels = random_tables(40)
    methods = {}
    for selection in ('coteaching', 'coteaching_plus'):
        methods[selection] = make_method(
            tables,
            labels,
            lambda: optim.SGD(0.0, 0.0),
            epochs=4,
            selection=selection,
            init_epoch=2,
            **keeping(0.5),
        )
    plain, plus = methods.values()
    for epoch in range(4):
        for method in methods.values():
            one_step(method, epoch=epoch)
        same = [
            np.array_equal(a, b)
            for a, b in zip(chosen_by(plain), chosen_by(plus), strict=True)
        ]
        assert same == [epoch < 2] * 2


# JoCoR.


def joint_losses(tables, labels, share):
    entropy = cross_entropies(tables, labels).sum(axis=1)
    log_p, log_q = map(log_softmax, tables)
    p, q = np.exp(log_p), np.exp(log_q)
    divergence = (p * (log_p - log_q)).sum(axis=1)
    divergence += (q * (log_q - log_p)).sum(axis=1)
    return (1 - share) * entropy + share * divergence


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize('share', [0.0, 0.65, 0.9, 1.0])
def test_jocor_is_a_joint_loss_with_a_gradient_through_both(share):
    tables, labels = random_tables(10)
    method = make_method(
        tables,
        labels,
        selection='jocor',
        jocor_lambda=share,
        # Is of the others' code.
        reference_loss=True,
        **keeping(0.5),
    )
    logs = one_step(method)
    each = joint_losses(tables, labels, share)
    smallest = np.argsort(each)[:5]
    for chosen in chosen_by(method):
        np.testing.assert_array_equal(chosen, np.sort(smallest))
    close(logs['loss'], each[smallest].mean(), 1e-12)
    numeric = np.zeros((2, *tables[0].shape))
    for place in np.ndindex(numeric.shape):
        ends = []
        for change in (1e-5, -1e-5):
            moved = np.array(tables)
            moved[place] += change
            ends.append(joint_losses(moved, labels, share)[smallest].mean())
        numeric[place] = (ends[0] - ends[1]) / 2e-5
    close(np.array(gradients(method)), numeric, 1e-9)


# Losses of single labels.


def gce(labels, logits, q):
    """Returns the loss of each row, and the gradient of their sum."""
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.generalized_cross_entropy(labels, logits, q)
    return loss.numpy(), tape.gradient(loss, logits).numpy()


@pytest.mark.usefixtures('double')
def test_gce_is_as_recorded():
    with np.load(GOLDEN / 'losses.npz') as recorded:
        found, gradient = gce(recorded['label'], recorded['logits'], 0.7)
        close(found.mean(), recorded['gce/loss'], 1e-12)
        close(gradient / len(found), recorded['gce/grad'], 1e-12)


@pytest.mark.usefixtures('double')
def test_gce_lies_between_cross_entropy_and_absolute_error():
    (table, _), labels = random_tables(20)
    close(gce([1], np.zeros((1, 2)), 0.7)[0], [0.54918256], 1e-8)
    probability = np.exp(log_softmax(table))[np.arange(20), labels]
    close(gce(labels, table, 1.0)[0], 1 - probability, 1e-12)
    close(gce(labels, table, 1e-9)[0], -np.log(probability), 1e-6)


@pytest.mark.usefixtures('double')
def test_the_gradient_of_gce_is_its_slope():
    (table, _), labels = random_tables(4)
    _, gradient = gce(labels, table, 0.7)
    for place in np.ndindex(table.shape):
        step = np.zeros_like(table)
        step[place] = 1e-6
        ends = [gce(labels, table + s * step, 0.7)[0].sum() for s in (1, -1)]
        close(gradient[place], (ends[0] - ends[1]) / 2e-6, 1e-8)


def test_gce_of_a_label_that_is_far_off_is_finite():
    found, gradient = gce([1], np.array([[200.0, 0.0]], np.float32), 0.7)
    close(found, [1 / 0.7], 1e-6)
    assert np.isfinite(gradient).all()
