"""Me-Momentum against numbers recorded from the authors' code."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from paths import GOLDEN
from recordings import (
    TOLERANCE,
    TYPES,
    check_network,
    close,
    set_network,
    small_network,
)

from ieg import config as ieg_config
from ieg import experiment
from ieg.errors import RunError, UsageError
from ieg.methods import me_momentum
from ieg.methods.base import Info
from ieg.methods.me_momentum import EARLY, REFINE, Course
from ieg.ops import metrics, optim

TRACES = ('flat_second_round', 'hysteresis', 'long', 'short', 'twenty_stale')


def golden(prefix):
    with np.load(GOLDEN / 'me_momentum.npz') as content:
        return {
            name.removeprefix(f'{prefix}/'): content[name]
            for name in content.files
            if name.startswith(f'{prefix}/')
        }


@pytest.mark.parametrize('name', TRACES)
def test_a_course_is_that_of_the_reference(name):
    trace = golden(name)
    config = me_momentum.MeMomentumConfig(
        outer_rounds=int(trace['max_outer_loop']),
        inner_rounds=int(trace['max_inner_loop']) - 1,
        early_epochs=int(trace['n_epoch']),
        round_epochs=int(trace['n_epoch']),
    )
    course, version, loaded, chosen = Course(), 0, [], -1
    latest = None
    for event, score in enumerate(trace['scores']):
        action = course.advance(config) if event else 'go on'
        if action == 'refine':
            version += 1
            loaded.append([event, latest, course.outer, course.inner])
        assert course.stage == trace['phase'][event]
        assert course.outer == trace['outer'][event]
        if course.stage == REFINE:
            assert course.inner == trace['inner'][event]
        assert course.epoch == trace['epoch'][event]
        assert course.best == trace['inner_best_before'][event]
        if course.stage == EARLY:
            assert course.margin == trace['n_add_before'][event]
        assert version == trace['data_version'][event]
        better, record = course.take(score)
        assert better == trace['saved_latest'][event]
        assert record == trace['saved_global'][event]
        latest = event if better else latest
        chosen = event if record else chosen
    assert course.advance(config) == 'finish'
    assert chosen == trace['final_model_event']
    assert loaded == trace['reloads'][:, :4].tolist()


# The pieces of an epoch.


def logits_of(predictions, count=10):
    return np.eye(count)[predictions]


def test_confident_examples_are_those_of_the_reference():
    recorded = golden('pieces/select')
    method = make_method(recorded['given_label'])
    begin_refinement(method, logits_of(recorded['prediction']))
    found = np.flatnonzero(method.host_state['confident'])
    order = np.argsort(recorded['item_id'], kind='stable')
    expected = np.isin(recorded['item_id'], recorded['selected_item_id'])
    assert len(found) == expected.sum() == 195
    np.testing.assert_array_equal(found, np.flatnonzero(expected))
    assert (np.diff(order) > 0).all()  # Ids are places.


@pytest.mark.parametrize('case', [0, 1, 2])
def test_the_score_is_that_of_the_reference(case):
    recorded = golden(f'pieces/val/case{case}')
    found = metrics.balanced_accuracy(recorded['label'], recorded['logits'])
    assert round(100 * found, 2) == recorded['score']
    assert 100 * found == pytest.approx(
        recorded['class_recall_percent'].mean(), abs=1e-9
    )


def test_a_class_that_validation_lacks_is_left_out():
    recorded = golden('pieces/val/missing_class')
    assert np.isnan(recorded['score'])
    labels, logits = recorded['label'], recorded['logits']
    hits = logits.argmax(axis=1) == labels
    recalls = [hits[labels == c].mean() for c in np.unique(labels)]
    found = metrics.balanced_accuracy(labels, logits)
    assert found == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize('dtype', ['f64', 'f32'])
def test_three_steps_are_those_of_the_reference(dtype, precision):
    precision(TYPES[dtype], TYPES[dtype])
    pieces = golden('pieces/train')
    steps = golden(f'pieces/{dtype}/train')
    method = make_method(
        pieces['label'],
        optimizer=lambda: optim.SGD(
            float(pieces['lr']),
            float(pieces['momentum']),
            l2=float(pieces['weight_decay']),
        ),
    )
    set_network(method.nets[0], pieces, 'init')
    rows = int(pieces['batch_size'])
    for step in range(3):
        part = slice(step * rows, (step + 1) * rows)
        batch = {
            'images': (tf.constant(pieces['input_nhwc'][part], TYPES[dtype]),),
            'label': tf.constant(pieces['label'][part], tf.int32),
            'index': tf.range(rows, dtype=tf.int64),
        }
        logs = method.train_step({'train': batch, 'step': {}})
        close(logs['loss'], steps[f'step{step}/loss'], TOLERANCE[dtype])
        check_network(
            method.nets[0], steps, f'step{step}/after', TOLERANCE[dtype]
        )


# Rounds.


def make_method(labels, optimizer=optim.SGD, **options):
    info = Info(
        num_classes=10,
        image_shape=(16, 16, 3),
        labels=np.asarray(labels, np.int32),
        num_probe=0,
        batch_size=8,
        epochs=30,
        seed=0,
    )
    return me_momentum.MeMomentum(
        me_momentum.MeMomentumConfig(**options),
        info,
        lambda number: small_network(10),
        optimizer,
    )


def score_of(logits):
    def score(step):
        assert step == 'logits_step'
        return {'logits': np.asarray(logits)[:, np.newaxis]}

    return score


def begin_refinement(method, logits):
    """Goes through early stopping to the first round of refinement."""
    assert method.config.early_epochs == 100
    course = method.course()
    course.epoch = 100
    method._keep(course)
    return method.begin_epoch(100, score_of(logits))


def weights(net):
    return [v.numpy() for v in net.variables]


def is_same(one, two):
    pairs = zip(weights(one), weights(two), strict=True)
    return all((a == b).all() for a, b in pairs)


def test_a_refinement_starts_from_the_best_network_without_velocity():
    labels = np.arange(40) % 10
    method = make_method(labels)
    method.begin_epoch(0, None)
    method.end_epoch(0, {'valid_balanced_accuracy': 0.5})
    assert is_same(method.round_net, method.nets[0])
    for variable in method.nets[0].trainable_variables:
        variable.assign(variable + 1)
    for velocity in method.optimizers[0].velocities:
        velocity.assign(velocity + 1)
    method.begin_epoch(1, None)
    method.end_epoch(1, {'valid_balanced_accuracy': 0.4})
    assert not is_same(method.round_net, method.nets[0])
    (phase,) = begin_refinement(method, logits_of(labels))
    assert is_same(method.round_net, method.nets[0])
    assert all((v.numpy() == 0).all() for v in method.optimizers[0].velocities)
    assert phase.num_steps == 5 and phase.rate == 1


def test_the_rate_falls_twice_in_a_refinement():
    labels = np.arange(40) % 10
    method = make_method(labels)
    phases = begin_refinement(method, logits_of(labels))
    rates = []
    for epoch in range(101, 201):
        rates.append(phases[0].rate)
        method.end_epoch(epoch - 1, {'valid_balanced_accuracy': 0.5})
        phases = method.begin_epoch(epoch, score_of(logits_of(labels)))
    expected = [1] * 40 + [0.1] * 40 + [0.01] * 20
    np.testing.assert_allclose(rates, expected)


def test_a_class_that_vanishes_is_told():
    labels = np.arange(40) % 10
    predictions = np.where(labels == 3, 4, labels)
    method = make_method(labels)
    (phase,) = begin_refinement(method, logits_of(predictions))
    assert (labels[phase.examples['train']] != 3).all()
    figures, remarks = method.take_reports()
    assert figures['confident'] == 36
    assert figures['confident_per_class'] == [4, 4, 4, 0, 4, 4, 4, 4, 4, 4]
    assert remarks == [
        'no example of class 3 is confident, so this round learns nothing of it'
    ]


def test_a_network_that_agrees_with_no_label_ends_the_run():
    labels = np.arange(40) % 10
    method = make_method(labels)
    with pytest.raises(RunError, match='^[^\n]*learning_rate[^\n]*$'):
        begin_refinement(method, logits_of((labels + 1) % 10))


def run(tmp_path, **options):
    config = ieg_config.resolve(
        {
            'dataset': 'fake_uniform_0.4',
            'method': 'me_momentum',
            'network_name': 'tiny',
            'learning_rate': 0.05,
            'checkpoint_path': str(tmp_path),
            'outer_rounds': 2,
            'inner_rounds': 2,
            'early_epochs': 2,
            'round_epochs': 2,
            'keep_checkpoints': 20,
        }
        | options
    )
    summary = experiment.train(config, progress=False)
    path = pathlib.Path(ieg_config.folder_of(config)) / 'log.jsonl'
    log = [json.loads(line) for line in path.read_text().splitlines()]
    return config, summary, log


@pytest.mark.usefixtures('tiny')
def test_a_run_ends_with_the_network_of_the_best_refinement(tmp_path):
    config, summary, log = run(tmp_path)
    assert config.train.max_epoch == 2 * (2 + 2 * 2) + 1
    assert len(log) <= 13
    *trained, last = log
    refined = [e for e in trained if e['inner_round']]
    best = max(refined, key=lambda e: round(e['valid_balanced_accuracy'], 4))
    assert 'loss' not in last and 'images_per_second' not in last
    assert last['step'] == trained[-1]['step']
    assert last['test_accuracy'] == best['test_accuracy']
    assert summary['test_accuracy_last'] == last['test_accuracy'] > 0.5
    assert [e['outer_round'] for e in trained] == sorted(
        e['outer_round'] for e in trained
    )
    for entry in refined:
        assert 0 < entry['label_precision'] <= 1
        assert sum(entry['confident_per_class']) == entry['confident']
    picture = pathlib.Path(ieg_config.folder_of(config)) / 'rounds.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    # The same once more, from the middle of a refinement.
    middle = next(n for n, e in enumerate(trained) if e['inner_round'] == 1)
    again = run(tmp_path, restore_step=trained[middle]['step'])[2]
    times = ('seconds', 'images_per_second')
    for one, two in zip(log, again, strict=True):
        assert {k: v for k, v in one.items() if k not in times} == {
            k: v for k, v in two.items() if k not in times
        }


@pytest.mark.usefixtures('tiny')
def test_a_class_that_validation_lacks_is_told(tmp_path, monkeypatch):
    load = experiment.load_data

    def load_without_a_class(*args, **kwargs):
        data = load(*args, **kwargs)
        labels = np.where(data.valid.labels == 2, 1, data.valid.labels)
        valid = dataclasses.replace(data.valid, labels=labels)
        return dataclasses.replace(data, valid=valid)

    monkeypatch.setattr(experiment, 'load_data', load_without_a_class)
    log = run(tmp_path, max_epoch=1)[2]
    (remark,) = log[0]['remarks']
    assert remark.startswith('no validation example is labeled 2,')


@pytest.mark.usefixtures('tiny')
def test_without_validation_it_is_refused(tmp_path):
    with pytest.raises(UsageError, match='^[^\n]*--valid_ratio[^\n]*$'):
        run(tmp_path, valid_ratio=0.0)
