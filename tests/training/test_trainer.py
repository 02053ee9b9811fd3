"""Losses, metrics, the log, distribution, and helpers of methods."""

import dataclasses
import json
import socket
import threading
import types

import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from ieg.errors import RunError, UsageError
from ieg.methods.base import Info, Method, Phase, steps_for
from ieg.ops import losses, metrics
from ieg.training import devices
from ieg.training.callbacks import Progress
from ieg.training.runlog import RunLog, headline


def logits_and_labels(count=40, num_classes=5, dtype=np.float32):
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(count, num_classes))
    return logits.astype(dtype), rng.integers(0, num_classes, count)


# Losses.


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_cross_entropy_with_smoothing_is_its_formula(smoothing):
    logits, labels = logits_and_labels(dtype=np.float64)
    found = losses.cross_entropy(labels, tf.constant(logits), smoothing)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    own = -log_p[np.arange(len(labels)), labels]
    everything = -log_p.mean(axis=1)
    expected = (1 - smoothing) * own + smoothing * everything
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_mixing_takes_each_row_and_its_partner():
    rows = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    mixed = losses.mix(tf.constant(rows), tf.constant([2, 0, 1]), 0.75)
    np.testing.assert_allclose(
        mixed, 0.75 * rows + 0.25 * rows[[2, 0, 1]], rtol=1e-6
    )
    targets = tf.one_hot([0, 1, 2], 3, dtype=tf.float64)
    mixed = losses.mix(targets, tf.constant([2, 0, 1]), tf.constant(0.25))
    assert mixed.dtype == tf.float64
    np.testing.assert_allclose(tf.reduce_sum(mixed, axis=1), 1)


def test_partners_are_a_permutation_that_the_seed_decides():
    found = [
        losses.random_partners(50, (1, seed)).numpy() for seed in (1, 1, 2)
    ]
    for partners in found:
        assert sorted(partners) == list(range(50))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


# Metrics.


def test_metrics_are_those_of_scikit_learn():
    logits, labels = logits_and_labels(dtype=np.float64)
    assert metrics.accuracy(labels, logits) == pytest.approx(
        sklearn.metrics.accuracy_score(labels, logits.argmax(1))
    )
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert metrics.cross_entropy(labels, logits) == pytest.approx(
        sklearn.metrics.log_loss(labels, p)
    )


def test_cross_entropy_of_large_logits_is_finite():
    logits = np.array([[1e4, 0], [0, 1e4]], np.float32)
    assert metrics.cross_entropy(np.array([0, 0]), logits) == 5000


def test_a_selection_is_compared_with_the_truth():
    rng = np.random.default_rng(0)
    clean, score = rng.random(60) < 0.6, rng.random(60)
    chosen = score > 0.4
    found = metrics.selection_quality(clean, score, chosen)
    precision, recall, _, _ = sklearn.metrics.precision_recall_fscore_support(
        clean, chosen, average='binary'
    )
    assert found == pytest.approx(
        {
            'label_auc': sklearn.metrics.roc_auc_score(clean, score),
            'label_precision': precision,
            'label_recall': recall,
            'chosen': chosen.mean(),
        }
    )


def test_what_is_undefined_is_none():
    yes, no = np.ones(4, bool), np.zeros(4, bool)
    found = metrics.selection_quality(yes, np.ones(4), no)
    assert found == {
        'label_auc': None,
        'label_precision': None,
        'label_recall': 0.0,
        'chosen': 0.0,
    }
    assert (
        metrics.selection_quality(no, np.ones(4), yes)['label_recall'] is None
    )


# The log.


def test_the_log_is_one_json_object_per_epoch(tmp_path):
    path = tmp_path / 'log.jsonl'
    log = RunLog(str(path))
    log.append({'epoch': 0, 'loss': np.float32(0.5), 'remarks': ['a']})
    log.append({'epoch': 1, 'loss': float('nan'), 'auc': None})
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == log.entries
    assert log.entries[1] == {'epoch': 1, 'loss': None, 'auc': None}
    log.restart(log.entries[:1])
    log.append({'epoch': 1, 'loss': 0.25})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {'epoch': 0, 'loss': 0.5, 'remarks': ['a']},
        {'epoch': 1, 'loss': 0.25},
    ]


def test_a_log_without_a_file_keeps_its_entries():
    log = RunLog(None)
    log.append({'epoch': 0})
    assert log.entries == [{'epoch': 0}]


def test_the_headline_of_a_run():
    tests = [0.1, None, *np.linspace(0.2, 0.9, 12), 0.5]
    valid = [0.9, 0.95, *np.linspace(0.1, 0.8, 11), 0.8, 0.6]
    entries = [
        {'epoch': e, 'test_accuracy': t, 'valid_accuracy': v, 'label_auc': a}
        for e, (t, v, a) in enumerate(
            zip(tests, valid, [None, 0.7] + 13 * [None], strict=True)
        )
    ]
    evaluated = [t for t in tests if t is not None]
    assert headline(entries) == pytest.approx(
        {
            'test_accuracy_last': 0.5,
            'test_accuracy_last10': np.mean(evaluated[-10:]),
            'test_accuracy_at_best_valid': 0.1,
            'test_accuracy_oracle': 0.9,
            'label_auc': 0.7,
        }
    )


def test_the_latest_of_equally_good_epochs_counts():
    entries = [
        {'epoch': e, 'test_accuracy': e / 10, 'valid_accuracy': 0.5}
        for e in range(3)
    ]
    assert headline(entries)['test_accuracy_at_best_valid'] == 0.2


def test_the_headline_of_nothing():
    assert set(headline([]).values()) == {None}


def test_progress_without_a_terminal_is_a_line_per_epoch(capsys):
    bar = Progress(np.ones(3))
    bar.on_train_begin()
    bar.on_train_batch_end(5, {'progress': 0.5, 'seconds': 1.0})
    bar.remark(0, 'something happened')
    bar.on_epoch_end(0, {'loss': 0.5, 'test_accuracy': 0.25, 'seconds': 2.0})
    bar.on_train_end()
    remark, epoch = capsys.readouterr().err.splitlines()
    assert remark == 'epoch 1: something happened'
    for word in ('1/3', 'loss 0.5000', '0.2500', '2.0 s'):
        assert word in epoch


def test_the_remaining_time_does_not_extrapolate_another_kind_of_epoch(
    capsys,
):
    bar = Progress(np.array([1.0, 1.0, 3.0, 3.0]))
    bar.on_train_begin()
    for epoch, seconds in enumerate([10.0, 10.0, 40.0]):
        bar.on_epoch_end(epoch, {'seconds': seconds})
    # What was expected to take three times as long took four times as long.
    expected = ['01:10 left', '01:00 left', '00:40 left']
    for line, left in zip(
        capsys.readouterr().err.splitlines(), expected, strict=True
    ):
        assert left in line


# Distribution.


class Workers:
    """A strategy of two workers of which the other has its own checksum."""

    cluster_resolver = object()

    def __init__(self, difference):
        self.difference = difference

    def run(self, function, args):
        return function(*args)

    def gather(self, value, axis):
        return tf.concat([value, value + self.difference], axis)


PHASES = [Phase('train_step', {'train': np.arange(7)}, 3)]


def test_workers_must_agree():
    devices.agree(Workers(0), 'epoch 1', PHASES)
    with pytest.raises(RunError, match='workers'):
        devices.agree(Workers(1), 'epoch 1', PHASES)


def test_one_process_agrees_with_itself(strategy):
    devices.agree(strategy, 'epoch 1', PHASES)


@pytest.mark.parametrize(
    'change',
    [
        {'step': 'other_step'},
        {'num_steps': 4},
        {'args': (1,)},
        {'examples': {'train': np.arange(1, 8)}},
    ],
)
def test_agreement_is_about_everything_that_is_run(change):
    seen = []

    class Spy(Workers):
        def gather(self, value, axis):
            seen.append(int(value[0, 0]))
            return value

    devices.agree(Spy(0), 'epoch 1', PHASES)
    changed = [dataclasses.replace(PHASES[0], **change)]
    devices.agree(Spy(0), 'epoch 1', changed)
    devices.agree(Spy(0), 'epoch 2', PHASES)
    assert len(set(seen)) == 3


def resolver(task, index, *kinds):
    cluster = tf.train.ClusterSpec({kind: ['host:1'] for kind in kinds})
    return types.SimpleNamespace(
        cluster_resolver=types.SimpleNamespace(
            task_type=task, task_id=index, cluster_spec=lambda: cluster
        )
    )


def test_one_process_is_the_chief(strategy):
    assert devices.is_chief(strategy)
    assert devices.is_chief(resolver('worker', 0, 'worker'))
    assert not devices.is_chief(resolver('worker', 1, 'worker'))
    assert devices.is_chief(resolver('chief', 0, 'chief', 'worker'))
    assert not devices.is_chief(resolver('worker', 0, 'chief', 'worker'))


def test_several_workers_need_addresses(monkeypatch):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    with pytest.raises(UsageError, match='TF_CONFIG'):
        devices.make_strategy('multi_worker')
    monkeypatch.setenv('TF_CONFIG', '{')
    with pytest.raises(UsageError, match='TF_CONFIG .*JSON'):
        devices.make_strategy('auto')


TWO = {'worker': ['a:1', 'b:2']}
FIRST = {'type': 'worker', 'index': 0}


@pytest.mark.parametrize(
    ('content', 'word'),
    [
        ([], 'object'),
        (5, 'object'),
        ({'cluster': []}, 'cluster'),
        ({'cluster': {'worker': 'a:1'}, 'task': FIRST}, 'list'),
        ({'cluster': TWO | {'ps': ['c:3']}, 'task': FIRST}, "'ps'"),
        ({'cluster': TWO}, 'task'),
        ({'cluster': TWO, 'task': 1}, 'task'),
        ({'cluster': TWO, 'task': {'type': 'evaluator', 'index': 0}}, 'type'),
        ({'cluster': TWO, 'task': {'type': 'worker'}}, 'index'),
        ({'cluster': TWO, 'task': FIRST | {'index': 2}}, '0 to 1'),
        ({'cluster': TWO, 'task': FIRST | {'index': '0'}}, 'index'),
        ({'cluster': {'worker': ['a:1', 'a:1']}, 'task': FIRST}, "'a:1'"),
        ({'cluster': {'worker': ['a:x', 'b:2']}, 'task': FIRST}, "'a:x'"),
        ({'cluster': {'worker': ['a', 'b:2']}, 'task': FIRST}, "'a'"),
        ({'cluster': {'worker': ['a:1', 70000]}, 'task': FIRST}, '70000'),
        ({'cluster': {'worker': ['a:1', 'b:70000']}, 'task': FIRST}, '70000'),
    ],
)
def test_an_impossible_cluster_is_refused(content, word, monkeypatch):
    monkeypatch.setenv('TF_CONFIG', json.dumps(content))
    with pytest.raises(UsageError, match='TF_CONFIG') as caught:
        devices.make_strategy('auto')
    assert word in str(caught.value)
    devices.make_strategy('default')


def test_a_worker_that_does_not_start_is_named(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(devices, 'WAIT_SECONDS', (0.01, 0.02))
    monkeypatch.setattr(devices.os, '_exit', codes.append)
    with socket.create_server(('localhost', 0)) as here:
        there = f'localhost:{here.getsockname()[1]}'
        devices._await_workers([there, 'localhost:1'], threading.Event())
    waiting, end = capsys.readouterr().err.splitlines()
    for line in (waiting, end):
        assert 'localhost:1 ' in line and there not in line
    assert end.startswith('ieg: ') and codes == [1]


def test_nothing_is_said_where_all_workers_start(capsys):
    started = threading.Event()
    started.set()
    devices._await_workers(['localhost:1'], started)
    assert capsys.readouterr().err == ''


def test_more_replicas_than_the_process_started_with_are_refused():
    with pytest.raises(UsageError, match='num_replicas=5.*before TensorFlow'):
        devices.make_strategy('auto', num_replicas=5)


# Helpers of methods.


@pytest.mark.parametrize(
    ('count', 'batch', 'steps'), [(8, 4, 2), (9, 4, 3), (1, 4, 1), (0, 4, 1)]
)
def test_steps_show_every_example(count, batch, steps):
    assert steps_for(count, batch) == steps


@pytest.fixture
def method(strategy):
    """A method without networks on 20 examples."""
    info = Info(3, (8, 8, 1), np.zeros(20, np.int32), 0, 8, 1, 0)
    with strategy.scope():
        made = Method(None, info, None, None, num_networks=0)
        made.memory = made.example_variable('memory', (2,), initial=1.0)
    return made


def replica_number():
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def test_examples_are_updated_on_every_device(method, strategy):
    replicas = strategy.num_replicas_in_sync
    ids = tf.constant([[3, 17], [5, 0]], tf.int64)
    rows = tf.constant([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]])

    @tf.function(autograph=False)
    def update():
        def one():
            index = ids[replica_number()]
            old = tf.gather(method.memory.value, index)
            method.update_examples(
                method.memory, index, old, rows[replica_number()]
            )

        strategy.run(one)

    expected = np.ones((20, 2), np.float32)
    for replica in range(replicas):
        expected[ids[replica]] = rows[replica]
    for _ in range(2):
        update()
        copies = strategy.experimental_local_results(method.memory.value)
        assert len(copies) == replicas
        for copy in copies:
            np.testing.assert_array_equal(copy, expected)


def test_random_seeds_differ_by_replica_step_and_lane(method, strategy):
    def seeds(step, lane):
        batch = {'step': {'seed': tf.constant([step, 7])}}
        found = strategy.run(lambda: method.random_seed(batch, lane))
        parts = strategy.experimental_local_results(found)
        return [tuple(part.numpy()) for part in parts]

    found = [seeds(step, lane) for step in (1, 2) for lane in (0, 1)]
    everything = [seed for group in found for seed in group]
    assert len(everything) == 4 * strategy.num_replicas_in_sync
    assert len(set(everything)) == len(everything)
    assert seeds(1, 0) == found[0]


def test_minimizing_divides_by_the_replicas(strategy):
    info = Info(3, (8, 8, 1), np.zeros(20, np.int32), 0, 8, 1, 0)

    def build_network(number):
        return keras.Sequential(
            [
                keras.Input((2,)),
                keras.layers.Dense(
                    1, use_bias=False, kernel_initializer='zeros'
                ),
            ]
        )

    with strategy.scope():
        method = Method(
            None, info, build_network, lambda: keras.optimizers.SGD(1.0)
        )

    @tf.function(autograph=False)
    def step():
        def one():
            factor = 1.0 + tf.cast(replica_number(), tf.float32)
            with tf.GradientTape() as tape:
                outputs = method.nets[0](tf.constant([[1.0, 2.0]]))
                loss = factor * tf.reduce_sum(outputs)
            return method.minimize(tape, loss)['loss']

        return strategy.run(one)

    step()
    mean = (1 + strategy.num_replicas_in_sync) / 2
    np.testing.assert_allclose(
        method.nets[0].weights[0].numpy(), [[-mean], [-2 * mean]]
    )
