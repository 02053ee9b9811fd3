"""Me-Momentum's class weights for Clothing1M, against plain formulas."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_runs import assert_replicas_agree, assert_same, settings, train

from ieg import config as ieg_config
from ieg.errors import RunError
from ieg.methods import me_momentum
from ieg.methods.base import Info
from ieg.ops import optim

CLASSES = 4
SIDE = 3
ROWS = 12
# What a training set without noise has, and validation: class 3 in one only.
LABELS = np.repeat(np.arange(CLASSES), (8, 4, 2, 6))
VALID = np.array([1, 2, 3, 2])


def linear_network(number):
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )


def make_method(valid=VALID, labels=LABELS, **options):
    info = Info(
        num_classes=CLASSES,
        image_shape=(SIDE, SIDE, 1),
        labels=np.asarray(labels, np.int32),
        num_probe=0,
        batch_size=ROWS,
        epochs=30,
        seed=0,
        valid_counts=np.asarray(valid),
    )
    return me_momentum.MeMomentum(
        me_momentum.MeMomentumConfig(
            class_weights=True, early_epochs=1, **options
        ),
        info,
        linear_network,
        lambda: optim.SGD(1.0, momentum=0.0),
    )


def refine(method, predictions):
    """Goes to a refinement on the examples that are predicted as labelled."""
    method.begin_epoch(0, None)
    method.take_reports()
    method.end_epoch(0, {'valid_balanced_accuracy': 0.5})
    logits = np.eye(CLASSES)[predictions][:, np.newaxis]
    return method.begin_epoch(1, lambda step: {'logits': logits})


# The weights.


@pytest.mark.parametrize(
    'confident, valid, expected',
    [
        # Means 5 and 2: 5/8 * 1/2, 5/4 * 2/2, 5/2 * 3/2, 5/6 * 2/2.
        ([8, 4, 2, 6], [1, 2, 3, 2], [5 / 16, 5 / 4, 15 / 4, 5 / 6]),
        # The same shares in both.
        ([30, 20, 10], [6, 4, 2], [1, 1, 1]),
        # Means 4 and 2; what either lacks weighs nothing.
        ([8, 0, 4], [2, 4, 0], [0.5, 0, 0]),
    ],
)
def test_weights_are_those_computed_by_hand(confident, valid, expected):
    found = me_momentum.importance(np.array(confident), np.array(valid))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_run_begins_with_the_weights_of_all_examples():
    method = make_method()
    method.begin_epoch(0, None)
    expected = [5 / 16, 5 / 4, 15 / 4, 5 / 6]
    np.testing.assert_allclose(method.class_weights, expected, rtol=1e-6)
    figures, remarks = method.take_reports()
    assert figures['class_weights'] == [0.3125, 1.25, 3.75, 0.8333]
    assert remarks == []


def test_weights_follow_the_confident_examples():
    method = make_method()
    predictions = LABELS.copy()
    predictions[:6] = 1  # Six of class 0 are not confident, ...
    predictions[LABELS == 2] = 0  # ... and none of class 2.
    refine(method, predictions)
    counts = np.array([2, 4, 0, 6])
    assert method._per_class().tolist() == counts.tolist()
    expected = [3 / 2 / 2, 3 / 4 * 1, 0, 3 / 6 * 1]
    np.testing.assert_allclose(method.class_weights, expected, rtol=1e-6)
    _, remarks = method.take_reports()
    assert remarks == [
        'no example of class 2 is confident, so this round learns nothing of it'
    ]


def test_a_new_network_keeps_the_last_weights():
    method = make_method(inner_rounds=1, round_epochs=1)
    predictions = np.where(np.arange(len(LABELS)) < 6, 1, LABELS)
    refine(method, predictions)
    before = method.class_weights.numpy()
    method.end_epoch(1, {'valid_balanced_accuracy': 0.6})
    method.begin_epoch(2, None)
    assert method.course().outer == 1
    np.testing.assert_array_equal(method.class_weights, before)


def test_a_class_that_validation_lacks_is_told_once():
    method = make_method(valid=[1, 2, 0, 2])
    method.begin_epoch(0, None)
    assert method.class_weights.numpy()[2] == 0
    assert method.take_reports()[1] == [
        'with --class_weights nothing is learned of class 2, of which there is '
        'no validation example'
    ]
    refine(method, LABELS)
    assert method.take_reports()[1] == []


def test_weights_that_are_all_nothing_end_the_run():
    method = make_method(valid=[0, 0, 0, 9])
    predictions = np.where(LABELS == 3, 0, LABELS)
    with pytest.raises(RunError, match='^[^\n]*--valid_ratio[^\n]*$'):
        refine(method, predictions)


def test_without_the_option_there_is_no_weight():
    info = make_method().info
    method = me_momentum.MeMomentum(
        me_momentum.MeMomentumConfig(), info, linear_network, optim.SGD
    )
    names = {v.name for v in method.variables}
    assert method.class_weights is None and 'class_weights' not in names


# A step.


def random_batch():
    """Returns images and labels sorted by class: replicas see other ones."""
    rng = np.random.default_rng(3)
    images = rng.normal(size=(ROWS, SIDE, SIDE, 1))
    return images, np.sort(rng.integers(CLASSES, size=ROWS)).astype(np.int32)


def part_of(images, label, dtype):
    index = tf.range(len(label), dtype=tf.int64)
    images = (tf.constant(images, dtype),)
    return {'images': images, 'label': tf.constant(label), 'index': index}


def expected_step(method, images, label):
    """Returns the loss and the gradients of a linear network, in NumPy."""
    kernel, bias = [v.numpy() for v in method.nets[0].trainable_variables]
    weights = method.class_weights.numpy().astype(np.float64)[label]
    weights /= weights.sum()
    rows = images.reshape(len(images), -1)
    logits = rows @ kernel + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = odds / odds.sum(axis=1, keepdims=True)
    each = -np.log(p[np.arange(len(label)), label])
    slope = weights[:, np.newaxis] * (p - np.eye(CLASSES)[label])
    return (weights * each).sum(), (rows.T @ slope, slope.sum(axis=0))


def test_a_step_follows_the_plain_gradient(double):
    method = make_method()
    method.begin_epoch(0, None)
    images, label = random_batch()
    loss, gradients = expected_step(method, images, label)
    before = [v.numpy() for v in method.nets[0].trainable_variables]
    batch = {'train': part_of(images, label, tf.float64), 'step': {}}
    logs = method.train_step(batch)
    np.testing.assert_allclose(logs['loss'], loss, rtol=1e-12)
    after = method.nets[0].trainable_variables
    for old, new, gradient in zip(before, after, gradients, strict=True):
        np.testing.assert_allclose(old - new.numpy(), gradient, atol=1e-12)


def test_a_batch_that_weighs_nothing_changes_nothing():
    method = make_method(valid=[0, 2, 3, 2])
    method.begin_epoch(0, None)
    before = [v.numpy() for v in method.nets[0].variables]
    part = part_of(random_batch()[0], np.zeros(ROWS, np.int32), tf.float32)
    logs = method.train_step({'train': part, 'step': {}})
    assert logs['loss'] == 0 and logs['nonfinite_loss/0'] == 0
    assert_same(before, [v.numpy() for v in method.nets[0].variables])


def step_on(strategy, images, label):
    """Returns loss and weights after one step on some replicas."""
    with strategy.scope():
        method = make_method()
    method.begin_epoch(0, None)
    count = ROWS // strategy.num_replicas_in_sync

    def replica_step():
        context = tf.distribute.get_replica_context()
        rows = context.replica_id_in_sync_group * count + tf.range(count)
        part = {
            'images': (tf.gather(tf.constant(images, tf.float64), rows),),
            'label': tf.gather(tf.constant(label), rows),
            'index': tf.cast(rows, tf.int64),
        }
        return method.train_step({'train': part, 'step': {}})['loss']

    for net in method.nets:
        for number, variable in enumerate(net.variables):
            rng = np.random.default_rng(number)
            variable.assign(rng.normal(size=variable.shape))
    run = tf.function(lambda: strategy.run(replica_step), autograph=False)
    loss = strategy.reduce('MEAN', run(), axis=None).numpy()
    return loss, [v.numpy() for v in method.nets[0].variables]


def test_two_replicas_step_as_one_does(two_replicas, double):
    images, label = random_batch()
    # The halves weigh differently, so a mean of their means would differ.
    one = step_on(tf.distribute.get_strategy(), images, label)
    two = step_on(two_replicas, images, label)
    np.testing.assert_allclose(two[0], one[0], rtol=1e-12)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-14)


# A run.


@pytest.mark.parametrize(
    'strategy',
    [pytest.param(1, marks=pytest.mark.slow), 2],
    indirect=True,
    ids=['1 replica', '2 replicas'],
)
def test_a_run_goes_on_bitwise_and_traces_once(strategy, tiny, tmp_path):
    def weighted(name, **more):
        path = tmp_path / name
        more |= {'network_name': tiny, 'class_weights': True}
        return settings('me_momentum', strategy, path, **more)

    whole = train(weighted('whole'), strategy)
    log = whole.log()
    assert log[0]['class_weights'] != log[1]['class_weights']
    assert log[-1]['test_accuracy'] > 0.5
    assert set(whole.trainer.steps.trace_counts().values()) == {1}
    if strategy.num_replicas_in_sync == 2:
        assert_replicas_agree(whole, strategy)
    # From the middle of a refinement, whose weights are not drawn up anew.
    config = weighted('resumed', restore_step=log[1]['step'])
    shutil.copytree(whole.folder, ieg_config.folder_of(config))
    resumed = train(config, strategy)
    assert resumed.log_without_times() == whole.log_without_times()
    assert_same(resumed.arrays(), whole.arrays())
    valid = np.bincount(whole.trainer._data.valid.labels)
    expected = me_momentum.importance(resumed.method._per_class(), valid)
    assert_same(resumed.method.class_weights.numpy(), expected)
