"""FSR: the proxy pool, its batches, and weights over replicas."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from reweighting_recordings import tiny_network

from ieg.errors import UsageError
from ieg.methods import fsr
from ieg.methods.base import Info
from ieg.methods.fsr import FSR
from ieg.ops import optim

SMALL = dict(queue_bs=20, queue_capacity=20)


# The pool.


def make_method(labels, **options):
    labels = np.asarray(labels, np.int32)
    info = Info(
        num_classes=10,
        image_shape=(16, 16, 3),
        labels=labels,
        num_probe=0,
        batch_size=8,
        epochs=30,
        seed=3,
    )
    return FSR(
        fsr.FSRConfig(**SMALL | options),
        info,
        lambda number: tiny_network(),
        lambda: optim.SGD(0.1, 0.9),
    )


BALANCED = np.arange(100) % 10


def test_the_first_pool_is_balanced_and_random():
    method = make_method(BALANCED, queue_capacity=50)
    method.begin_epoch(0, None)
    pool = method.host_state['pool']
    np.testing.assert_array_equal(BALANCED[pool], np.repeat(range(10), 5))
    assert len(np.unique(pool)) == 50
    figures, remarks = method.take_reports()
    assert figures == {'proxy_pool': 50} and not remarks
    again = make_method(BALANCED, queue_capacity=50)
    again.begin_epoch(0, None)
    np.testing.assert_array_equal(again.host_state['pool'], pool)


def test_later_pools_have_the_lowest_scores_of_each_class():
    method = make_method(BALANCED, queue_capacity=30)
    scores = np.random.default_rng(0).normal(size=100).astype(np.float32)
    method.scores.assign(scores)
    method.begin_epoch(4, None)
    pool = method.host_state['pool'].reshape(10, 3)
    for label, ids in enumerate(pool):
        own = np.flatnonzero(BALANCED == label)
        np.testing.assert_array_equal(ids, own[np.argsort(scores[own])[:3]])


def test_a_small_class_repeats_its_examples():
    labels = np.concatenate([BALANCED[BALANCED != 7], [7, 7]])
    method = make_method(labels, queue_capacity=50)
    method.begin_epoch(0, None)
    pool = method.host_state['pool']
    np.testing.assert_array_equal(labels[pool], np.repeat(range(10), 5))
    assert set(pool[35:40]) == {90, 91}
    figures, remarks = method.take_reports()
    assert figures == {'proxy_pool': 47}
    assert remarks == [
        '1 of the 10 classes have fewer than 5 examples, which are repeated '
        'in the proxy pool'
    ]


@pytest.mark.parametrize('epoch', [0, 2])
def test_other_classes_take_the_places_of_an_empty_one(epoch):
    labels = BALANCED[~np.isin(BALANCED, (2, 9))]
    method = make_method(labels, queue_capacity=50)
    method.begin_epoch(epoch, None)
    pool = method.host_state['pool'].reshape(10, 5)
    # The best ones of the eight classes, then their second ones.
    taken = labels[np.concatenate([pool[2], pool[9]])]
    np.testing.assert_array_equal(taken, [0, 1, 3, 4, 5, 6, 7, 8, 0, 1])
    others = np.delete(pool, (2, 9), axis=0)
    np.testing.assert_array_equal(
        labels[others].T, np.tile([0, 1, 3, 4, 5, 6, 7, 8], (5, 1))
    )
    remarks = method.take_reports()[1]
    told = '2 of the 10 classes have no example; others take their places'
    assert bool(remarks) == (epoch == 0)
    assert all(remark.startswith(told) for remark in remarks)


@pytest.mark.parametrize('replicas', [1, 2])
def test_proxy_batches_are_balanced_in_each_replica(replicas):
    method = make_method(BALANCED, queue_bs=20, queue_capacity=50)
    (phase,) = method.begin_epoch(1, None)
    ids = phase.examples['proxy']
    assert len(ids) == phase.num_steps * 20
    parts = BALANCED[ids].reshape(phase.num_steps, replicas, -1)
    for part in parts.reshape(-1, 20 // replicas):
        assert set(np.bincount(part, minlength=10)) == {2 // replicas}
    assert set(ids) == set(method.host_state['pool'])


def test_every_image_of_the_pool_is_shown_equally_often():
    pool = np.arange(30).reshape(3, 10)
    rng = np.random.default_rng(0)
    ids = fsr.proxy_batches(pool, 6, 10, rng)
    np.testing.assert_array_equal(np.bincount(ids), np.full(30, 2))


def test_weights_wait_for_their_epoch():
    method = make_method(
        BALANCED,
        meta_start_epoch=2,
        moving_weight_gamma=0.5,
        meta_moving_end_epoch=4,
    )
    phases = [method.begin_epoch(epoch, None)[0] for epoch in range(6)]
    for name, expected in (
        ('active', [0, 0, 1, 1, 1, 1]),
        ('moving', [0, 0, 1, 1, 0, 0]),
    ):
        given = [np.unique(phase.per_step[name]) for phase in phases]
        np.testing.assert_array_equal(np.ravel(given), expected)
    assert len({(phase.step, phase.args) for phase in phases}) == 1


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        ({'queue_bs': 205}, '--queue_bs must be a multiple of the 10 classes'),
        ({'queue_capacity': 0}, '--queue_capacity must be a multiple'),
        ({'queue_bs': 40}, '--queue_bs=40 is more than the'),
        ({'meta_start_epoch': 30}, '--meta_start_epoch=30 leaves none of'),
        ({'use_pseudo_loss': 'all'}, '--use_pseudo_loss=all is not of the'),
        ({'use_pseudo_loss': 'all_0_0.1_2'}, '--use_pseudo_loss=all_0_0.1_2'),
        ({'use_pseudo_loss': 'all_1_2_1'}, '--use_pseudo_loss=all_1_2_1'),
        ({'use_pseudo_loss': 'all_1_x_1'}, '--use_pseudo_loss=all_1_x_1'),
        ({'use_pseudo_loss': 'part_1_0.1_2'}, '--use_pseudo_loss=part'),
    ],
)
def test_impossible_options_are_told(options, told):
    with pytest.raises(UsageError) as caught:
        make_method(BALANCED, **options)
    assert str(caught.value).startswith(told)
    assert '\n' not in str(caught.value)


def test_a_proxy_batch_that_replicas_cannot_share_is_told(two_replicas):
    with two_replicas.scope(), pytest.raises(UsageError) as caught:
        config = fsr.FSRConfig(queue_bs=15, queue_capacity=30)
        info = make_info(num_classes=5)
        fsr.check_sizes(config, info, two_replicas.num_replicas_in_sync)
    for fact in ('--queue_bs', '2 replicas', 'such as 20', 'got 15'):
        assert fact in str(caught.value)


def make_info(num_classes):
    return Info(
        num_classes=num_classes,
        image_shape=(8, 8, 3),
        labels=np.arange(20, dtype=np.int32) % num_classes,
        num_probe=0,
        batch_size=8,
        epochs=30,
        seed=0,
    )


# Weights.


def over_replicas(strategy, function, rows):
    """Runs a function of rows on their parts; returns all results `[B]`."""
    parts = tf.split(rows, strategy.num_replicas_in_sync)
    values = strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )
    found = tf.function(lambda: strategy.run(function, (values,)))()
    return np.concatenate(strategy.experimental_local_results(found))


SCORES = np.float32([0.3, -0.5, 0.1, 0.0, 0.2, -0.1, 0.7, -0.2])


def test_shifted_weights_of_replicas_are_those_of_one_batch(two_replicas):
    alone = fsr.shifted(tf.constant(SCORES), 'global')
    shares = SCORES - SCORES.min() + 1 / 8
    np.testing.assert_allclose(alone, shares / (shares.sum() + 1e-5), rtol=1e-5)
    both = over_replicas(
        two_replicas, lambda x: fsr.shifted(x, 'global'), SCORES
    )
    np.testing.assert_allclose(both, 2 * alone, rtol=1e-5)
    apart = over_replicas(
        two_replicas, lambda x: fsr.shifted(x, 'replica'), SCORES
    )
    np.testing.assert_allclose(
        apart[:4], fsr.shifted(tf.constant(SCORES[:4]), 'global'), rtol=1e-5
    )


def test_classes_share_their_moving_mean_weight():
    method = make_method(BALANCED, moving_weight_gamma=0.75)
    weights = tf.constant([0.4, 0.0, 0.6, 0.0])
    batch = {
        'train': {'label': tf.constant([1, 1, 2, 5])},
        'step': {'moving': tf.constant(1.0)},
    }
    found = method.moving_weights(batch, weights)
    expected = np.ones(10)
    # Relative to 1 / 4: 1.6 and 0 of class 1, 2.4 of class 2, 0 of class 5.
    expected[[1, 2, 5]] = 0.75 + 0.25 * np.array([0.8, 2.4, 0.0])
    np.testing.assert_allclose(method.class_weights, expected, rtol=1e-6)
    np.testing.assert_allclose(found, expected[[1, 1, 2, 5]] / 4, rtol=1e-6)
    batch['step']['moving'] = tf.constant(0.0)
    np.testing.assert_array_equal(
        method.moving_weights(batch, tf.constant([1.0, 0, 0, 0])), found
    )


def test_scores_add_up_where_beta_is_one():
    method = make_method(BALANCED, queue_beta=1.0, use_pseudo_loss='')
    logits = tf.zeros([2, 10])
    part = {'label': tf.constant([1, 2]), 'index': tf.constant([4, 6], 'int64')}
    ahead = fsr.Ahead([], tf.constant(0.0), logits, logits)
    for loss in ([3.0, 1.0], [3.0, np.nan]):
        method.remember(part, tf.constant(loss), logits, ahead)
    # Loss minus log 10, twice; what is not finite is left out.
    np.testing.assert_allclose(
        method.scores.numpy()[[4, 6]],
        [2 * (np.log(10) - 3), np.log(10) - 1],
        rtol=1e-6,
    )


def test_presets_fit_their_data_sets():
    @dataclasses.dataclass
    class Dataset:
        base: str
        noise: str = 'uniform'
        rate: float = 0.4

    for base in ('cifar10', 'cifar100', 'digits', 'mnist', 'fake'):
        preset = FSR.presets(Dataset(base), 'cnn')
        known = {f.name for f in dataclasses.fields(fsr.FSRConfig)}
        config = fsr.FSRConfig(
            **{k: v for k, v in preset.items() if k in known}
        )
        classes = {'cifar100': 100, 'fake': 4}.get(base, 10)
        fsr.check_sizes(config, make_info(classes), 2)
        assert 'probe_dataset_hold_ratio' not in preset
    assert FSR.presets(Dataset('cifar10'), 'wrn28-10')['cos_t_mul'] == 2
