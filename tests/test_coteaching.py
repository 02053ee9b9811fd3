"""Small-loss selection, also against numbers of the authors' code."""

import pathlib
import re
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from recordings import (
    STATISTICS,
    TRAINABLE,
    TYPES,
    close,
    in_keras_layout,
    set_network,
    small_network,
)

from ieg import config as ieg_config
from ieg import experiment
from ieg.data import spec
from ieg.errors import UsageError
from ieg.methods import coteaching_options
from ieg.methods.base import Info
from ieg.methods.coteaching import Config, CoTeaching
from ieg.options import TrainConfig
from ieg.registry import KEEP_SCHEDULES, NOISES
from ieg.training import confusion, losses, optim
from ieg.training.rewind import Rewind

FOLDER = pathlib.Path(__file__).parent / 'golden'
with np.load(FOLDER / 'coteaching.npz') as content:
    GOLDEN = dict(content)
with np.load(FOLDER / 'coteaching_schedule.npz') as content:
    PLANS = dict(content)
# The case of each that keeps nothing, or more than there is, is below.
CASES = [f'loss/case{n}' for n in range(6)]
CASES += [f's2e_loss/case{n}' for n in range(5)]
STEP_TOLERANCE = {'f64': 1e-10, 'f32': 2e-5}
# A bias before BatchNorm has rounding noise for a gradient, which Adam makes
# steps of; the mean after it moves along.
NOISE = ('conv2.bias', 'bn2.running_mean')
SMALL = {
    'method': 'coteaching',
    'dataset': 'fake_symmetric_0.4',
    'network_name': 'cnn',
    'batch_size': 32,
    'max_epoch': 3,
    'val_batch_size': 64,
}
PROBE = {'probe_dataset_hold_ratio': 0.1}


def below(prefix):
    """Returns the recorded arrays below one prefix."""
    start = f'{prefix}/'
    return {
        k[len(start) :]: v for k, v in GOLDEN.items() if k.startswith(start)
    }


@pytest.fixture(autouse=True)
def constant_rate(monkeypatch):
    """Registers a keep schedule that is one number."""
    monkeypatch.setitem(
        KEEP_SCHEDULES._entries,
        'constant',
        lambda schedule, epochs, total: np.full(total, schedule.numbers[0]),
    )


@pytest.fixture
def double(precision):
    precision('float64', 'float64')


def keeping(rate):
    """Returns the options that keep one share of every batch."""
    return {'keep_schedule': f'constant:{float(rate)}', 'noise_rate': '0'}


# One step of networks that are tables.


def make_method(tables, labels, optimizer=None, epochs=2, **options):
    """Returns a method with one logit per example and class.

    Images are rows of the identity, so that a network's kernel is its logits,
    and the velocity of its optimizer the gradient by them.
    """
    rows, num_classes = tables[0].shape

    def build_network(number):
        table = keras.layers.Dense(num_classes, use_bias=False)
        net = keras.Sequential([keras.Input((rows,)), table])
        table.kernel.assign(tables[number])
        return net

    info = Info(
        num_classes=num_classes,
        image_shape=(rows,),
        labels=np.asarray(labels, np.int32),
        num_probe=0,
        batch_size=rows,
        epochs=epochs,
        seed=0,
    )
    optimizer = optimizer or (lambda: optim.SGD(1.0, 0.0))
    return CoTeaching(Config(**options), info, build_network, optimizer)


def one_step(method, strategy=None, epoch=0):
    """Makes a step with all examples; returns its logs."""
    strategy = strategy or tf.distribute.get_strategy()
    (phase,) = method.begin_epoch(epoch, None)
    labels = tf.constant(method.info.labels)
    share = len(labels) // strategy.num_replicas_in_sync
    dtype = method.nets[0].compute_dtype

    def replica_step():
        context = tf.distribute.get_replica_context()
        start = context.replica_id_in_sync_group * share
        index = start + tf.range(share)
        images = tf.one_hot(index, len(labels), dtype=dtype)
        part = {
            'images': (images,),
            'label': tf.gather(labels, index),
            'index': tf.cast(index, tf.int64),
        }
        return method.pair_step(*phase.args, {'train': part})

    run = tf.function(lambda: strategy.run(replica_step), autograph=False)
    return {
        name: np.mean(strategy.experimental_local_results(value))
        for name, value in run().items()
    }


def chosen_by(method):
    """Returns which examples each network chose, as two arrays of ids."""
    chosen = method.selection().chosen
    return [np.flatnonzero(chosen[:, net]) for net in range(2)]


def gradients(method):
    return [optimizer.velocities[0].numpy() for optimizer in method.optimizers]


def random_tables(rows, num_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    tables = [rng.normal(0, 2, (rows, num_classes)) for _ in range(2)]
    return tables, rng.integers(num_classes, size=rows)


def log_softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.log(powers / powers.sum(axis=1, keepdims=True))


def cross_entropies(tables, labels):
    """Returns the loss of each example for each table `[N, 2]`."""
    rows = np.arange(len(labels))
    return np.stack([-log_softmax(t)[rows, labels] for t in tables], axis=1)


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize('reference_loss', [True, False])
@pytest.mark.parametrize('case', CASES)
def test_losses_and_choices_are_those_of_the_reference(case, reference_loss):
    recorded = below(case)
    tables = [recorded[f'logits{n}'].astype(np.float64) for n in (1, 2)]
    label = recorded['label']
    rows, their_k = len(label), int(recorded['k'])
    # Where the reference keeps more than there is, it divides by that.
    k = min(their_k, rows)
    assert (k < their_k) == (case == 's2e_loss/case1')
    method = make_method(
        tables,
        label,
        reference_loss=reference_loss,
        **keeping(1 - recorded['forget_rate']),
    )
    each = method.example_losses(
        tf.constant(label, tf.int32), [tf.constant(t) for t in tables]
    ).numpy()
    logs = one_step(method)
    chosen = chosen_by(method)
    scale = (1 if reference_loss else k) * their_k / k
    for n in (1, 2):
        close(each[:, n - 1], recorded[f'ce{n}'], 1e-12, 'losses')
        np.testing.assert_array_equal(
            chosen[n - 1], np.sort(recorded[f'selected{n}'])
        )
        mean = each[chosen[2 - n], n - 1].mean()
        close(mean, recorded[f'mean_ce{n}'], 1e-12, 'mean')
        pure = recorded['row_is_clean'][chosen[n - 1]].mean()
        close(pure, recorded[f'pure{n}'] * their_k / k, 1e-12, 'precision')
        np.testing.assert_allclose(
            gradients(method)[n - 1],
            recorded[f'grad_logits{n}'] * np.float64(scale),
            rtol=1e-7,
            atol=1e-12,
        )
    assert len(chosen[0]) == len(chosen[1]) == k
    total = scale * (recorded['loss1'] + recorded['loss2']) / 2
    close(logs['loss'], total, 1e-12, 'loss')


def test_a_rate_that_keeps_nothing_is_refused_where_the_reference_has_nan():
    recorded = below('loss/case6')
    assert np.isnan(recorded['loss1']) and not recorded['grad_logits1'].any()
    tables, labels = random_tables(128)
    with pytest.raises(UsageError, match='keeps nothing in epoch 1') as caught:
        make_method(tables, labels, **keeping(1 - recorded['forget_rate']))
    assert '\n' not in str(caught.value)


# Steps with a real network and Adam.


@pytest.mark.parametrize('dtype', ['f64', 'f32'])
def test_four_steps_are_those_of_the_reference(dtype, precision):
    precision(TYPES[dtype], TYPES[dtype])
    recorded = below('step')
    size, epochs = int(recorded['batch_size']), recorded['epochs']
    assert epochs.tolist() == [1, 79, 80, 81]
    method = CoTeaching(
        Config(noise_rate='0.45', reference_loss=True),
        Info(10, (16, 16, 3), recorded['label'], 0, size, 200, 0),
        lambda number: small_network(10),
        optim.Adam,
    )
    for net in (0, 1):
        set_network(method.nets[net], recorded, f'init/net{net + 1}')
    config = TrainConfig(lr_schedule='linear', learning_rate=1e-3)
    rates = optim.make_schedule(config, 1, 200)(epochs)
    pair_step = tf.function(method.pair_step, autograph=False)
    for step, epoch in enumerate(epochs):
        (phase,) = method.begin_epoch(int(epoch), None)
        assert (phase.step, phase.args) == ('pair_step', (False,))
        for optimizer in method.optimizers:
            optimizer.learning_rate.assign(rates[step])
        rows = np.arange(size * step, size * (step + 1))
        images = tf.constant(recorded['input_32'][rows] / 32, TYPES[dtype])
        part = {
            'images': (images,),
            'label': tf.constant(recorded['label'][rows], tf.int32),
            'index': tf.constant(rows, tf.int64),
        }
        logs = pair_step(False, {'train': part})
        where = f'step{step}'
        both = [recorded[f'{where}/loss_{n}'] for n in (1, 2)]
        close(logs['loss'], np.mean(both), STEP_TOLERANCE[dtype])
        for net in (0, 1):
            check_choice(method, recorded, where, rows, net)
            check_optimizer(method, recorded, where, net, dtype)
            check_network(method, recorded, where, net, dtype)
    assert pair_step.experimental_get_tracing_count() == 1


def check_choice(method, recorded, where, rows, net):
    chosen = method.selection().chosen[rows, net]
    assert chosen.sum() == recorded[f'{where}/k']
    pure = recorded['row_is_clean'][rows][chosen].mean()
    close(pure, recorded[f'{where}/pure{net + 1}'], 1e-12)


def check_optimizer(method, recorded, where, net, dtype):
    optimizer, prefix = method.optimizers[net], f'{where}/adam/net{net + 1}'
    close(optimizer.beta_1, recorded[f'{prefix}/beta1'], 1e-7)
    close(optimizer.learning_rate, recorded[f'{prefix}/lr'], 1e-9)
    for kind, moments in (
        ('exp_avg', optimizer.first_moments),
        ('exp_avg_sq', optimizer.second_moments),
    ):
        for name, moment in zip(TRAINABLE, moments, strict=True):
            key = f'{prefix}/{kind}/{name}'
            expected = in_keras_layout(recorded[key])
            close(moment, expected, STEP_TOLERANCE[dtype], key)


def check_network(method, recorded, where, net, dtype):
    model = method.nets[net]
    for names, variables in (
        (TRAINABLE, model.trainable_variables),
        (STATISTICS, model.non_trainable_variables),
    ):
        for name, variable in zip(names, variables, strict=True):
            if dtype == 'f32' and name in NOISE:
                continue
            key = f'{where}/after/net{net + 1}/{name}'
            expected = in_keras_layout(recorded[key])
            close(variable, expected, STEP_TOLERANCE[dtype], key)


# Learning rate, beta1, and Adam.


@pytest.mark.parametrize('dataset', ['mnist', 'cifar10', 'cifar100'])
def test_rate_and_beta1_are_planned_as_in_the_reference(dataset):
    config = ieg_config.resolve(
        {'method': 'coteaching', 'dataset': f'{dataset}_pairflip_0.45'}
    )
    assert config.train.max_epoch == 200
    steps = 390
    schedule = optim.make_schedule(config.train, steps, 200 * steps)
    for place in (0, steps - 1):
        np.testing.assert_allclose(
            schedule(np.arange(200) * steps + place),
            PLANS[f'lr_plan/{dataset}'],
            rtol=1e-12,
        )
    tables, labels = random_tables(8)
    method = make_method(tables, labels, optim.Adam, 200, **vars(config.method))
    for epoch, beta_1 in enumerate(PLANS[f'beta1_plan/{dataset}']):
        method.begin_epoch(epoch, None)
        for optimizer in method.optimizers:
            assert float(optimizer.beta_1) == pytest.approx(beta_1)


def test_rates_of_the_specification():
    for start, expected in (
        (80, {80: 1e-3, 81: 9.9167e-4, 140: 5e-4, 199: 8.3333e-6}),
        (100, {101: 9.9e-4, 150: 5e-4, 199: 1e-5}),
    ):
        schedule = optim.Schedule(
            'linear', 1e-3, (start * 7.0,), total_steps=1400, steps_per_epoch=7
        )
        found = schedule(np.array(list(expected)) * 7)
        np.testing.assert_allclose(found, list(expected.values()), rtol=5e-5)


def compiled_adam(weights, dtype='float64', **options):
    """Returns variables, their Adam, and its step as one graph."""
    variables = [keras.Variable(w, dtype=dtype) for w in weights]
    optimizer = optim.Adam(**options)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(gradients):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    return variables, optimizer, step


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize('l2', [0.0, 0.03])
def test_adam_is_that_of_pytorch_through_changes_of_rate_and_beta1(l2):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    variables, optimizer, step = compiled_adam(weights, l2=l2)
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for t in range(1, 9):
        beta, rate = (0.9, 1e-3) if t < 5 else (0.1, 2e-4)
        optimizer.beta_1.assign(beta)
        optimizer.learning_rate.assign(rate)
        given = [rng.normal(0, 10.0**-t, w.shape) for w in weights]
        step([tf.constant(g) for g in given])
        for i, g in enumerate(given):
            g = g + l2 * weights[i]
            first[i] = beta * first[i] + (1 - beta) * g
            second[i] = 0.999 * second[i] + 0.001 * g * g
            root = np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8
            weights[i] = weights[i] - rate * first[i] / (1 - beta**t) / root
    for found, expected in (
        (variables, weights),
        (optimizer.first_moments, first),
        (optimizer.second_moments, second),
    ):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b, rtol=1e-10)
    assert step.experimental_get_tracing_count() == 1


def test_a_new_beta1_reaches_a_compiled_step():
    _, optimizer, step = compiled_adam([[0.0]], 'float32')
    (moment,) = optimizer.first_moments
    step([tf.constant([1.0])])
    np.testing.assert_allclose(moment.numpy(), 0.1, rtol=1e-6)
    optimizer.beta_1.assign(0.1)
    step([tf.constant([2.0])])
    np.testing.assert_allclose(moment.numpy(), 1.81, rtol=1e-6)
    assert step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_adam_leaves_a_gradient_out_that_is_not_finite(bad):
    variables, optimizer, step = compiled_adam([[1.0, 2.0], [3.0]], 'float32')
    step([tf.constant([0.1, -0.1]), tf.constant([0.2])])

    def state():
        moments = optimizer.first_moments + optimizer.second_moments
        return [v.numpy() for v in [*variables, *moments]]

    before = state()
    step([tf.constant([0.1, bad]), tf.constant([bad])])
    for a, b in zip(before, state(), strict=True):
        np.testing.assert_array_equal(a, b)
    step([tf.constant([0.1, -0.1]), tf.constant([0.2])])
    after = state()
    assert np.isfinite(np.concatenate(after)).all()
    assert all((a != b).all() for a, b in zip(before, after, strict=True))


def test_everything_that_adam_knows_is_in_its_variables():
    gradients = [tf.constant([0.3, -0.1])]
    weights, optimizer, step = compiled_adam([[1.0, 2.0]], 'float32')
    step(gradients)
    optimizer.beta_1.assign(0.1)
    optimizer.learning_rate.assign(0.5)
    others, other, other_step = compiled_adam([[0.0, 0.0]], 'float32')
    for source, target in zip(
        [*weights, *optimizer.variables],
        [*others, *other.variables],
        strict=True,
    ):
        target.assign(source)
    step(gradients)
    other_step(gradients)
    np.testing.assert_array_equal(weights[0].numpy(), others[0].numpy())
    assert float(other.beta_1) == np.float32(0.1)


@pytest.mark.parametrize('momentum', [0.0, 0.5])
def test_the_first_step_of_adam_is_the_rate_whatever_beta1(momentum):
    variables, _, step = compiled_adam(
        [[1.0, 1.0]], 'float32', learning_rate=0.25, momentum=momentum
    )
    step([tf.constant([3.0, -1e-3])])
    np.testing.assert_allclose(variables[0].numpy(), [0.75, 1.25], rtol=1e-4)


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


# Whole runs.


def resolve(**options):
    return ieg_config.resolve(SMALL | options)


def build(folder, strategy=None, **options):
    """Builds what trains without an evaluation, with a folder of its own."""
    folder.mkdir()
    config = resolve(**options)
    return experiment.build(config, strategy=strategy, trial_folder=str(folder))


def trained(built):
    built.trainer.train(built.trainer.restore())
    return built.trainer.log.entries


def test_the_keep_rate_reaches_the_steps_without_a_new_trace(
    strategy, tmp_path, monkeypatch
):
    """Every step chooses k, in whatever epoch."""
    choose, pair_step = CoTeaching.choose, CoTeaching.pair_step
    # Replicas are traced by threads that take turns.
    seen = threading.local()

    def seen_choose(self, *args):
        seen.chosen, count = choose(self, *args)
        return seen.chosen, count

    def counting_step(self, *args):
        logs = pair_step(self, *args)
        count = tf.reduce_sum(tf.cast(seen.chosen, tf.float32), axis=0)
        return logs | {'chosen_first': count[0], 'chosen_second': count[1]}

    monkeypatch.setattr(CoTeaching, 'choose', seen_choose)
    monkeypatch.setattr(CoTeaching, 'pair_step', counting_step)
    replicas = strategy.num_replicas_in_sync
    built = build(
        tmp_path / 'run',
        strategy,
        batch_size=32 // replicas,
        max_epoch=4,
        num_gradual=3,
        noise_rate='0.45',
    )
    entries = trained(built)
    rates = [1, 1 - 0.225, 0.55, 0.55]
    for entry, rate, k in zip(entries, rates, [32, 24, 17, 17], strict=True):
        assert entry['keep_rate'] == pytest.approx(rate)
        # The log is a mean over replicas.
        assert entry['chosen_first'] * replicas == k
        assert entry['chosen_second'] * replicas == k
        assert entry['chosen'] == k / 32
    counts = built.trainer.steps.trace_counts()
    assert counts['pair_step(False,)'] == 1


def test_a_run_tells_right_labels_from_wrong_ones(tmp_path):
    entries = trained(build(tmp_path / 'run', max_epoch=8))
    last = entries[-1]
    assert last['label_precision'] > 0.9 and last['label_auc'] > 0.9
    assert last['label_precision'] == pytest.approx(
        (last['label_precision_network0'] + last['label_precision_network1'])
        / 2
    )


# The noise rate.


def confused(matrix, count, sharpness=1.0, seed=0):
    """Returns logits `[N, C]` and labels that were drawn from a matrix.

    The logits are of a network that knows the classes and the noise.
    """
    rng = np.random.default_rng(seed)
    num_classes = len(matrix)
    true = rng.integers(num_classes, size=count)
    draws = rng.random((count, 1))
    labels = (draws > np.cumsum(matrix[true], axis=1)).sum(axis=1)
    logits = sharpness * np.log(matrix[true] + 1e-3)
    return logits + rng.normal(0, 0.3, logits.shape), labels


@pytest.mark.parametrize(
    ('kind', 'rate'),
    [
        ('symmetric', 0.2),
        ('symmetric', 0.5),
        ('pairflip', 0.2),
        ('pairflip', 0.4),
        ('asymmetric', 0.4),
    ],
)
def test_the_noise_rate_is_estimated(kind, rate):
    matrix = NOISES.get(kind)(rate, 10, 'cifar10')
    logits, labels = confused(matrix, 5000)
    wrong = 1 - np.trace(matrix) / 10
    found = confusion.estimate_noise_rate(logits, labels)
    assert found == pytest.approx(wrong, abs=0.04)


def test_labels_that_are_right_have_no_noise():
    labels = np.arange(500) % 5
    logits = np.random.default_rng(0).normal(0, 0.5, (500, 5))
    logits[np.arange(500), labels] += 8
    assert confusion.estimate_noise_rate(logits, labels) < 0.005


def test_the_joint_counts_by_confident_class():
    # Of class 1 there is no example, so nothing is confidently in it.
    logits = np.log(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.0, 0.9]]
        + 1e-9 * np.ones((3, 3))
    )
    labels = np.array([0, 2, 2])
    expected = [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(
        confusion.confident_joint(logits, labels), expected
    )


def test_classes_without_examples_change_nothing():
    matrix = NOISES.get('symmetric')(0.3, 4, 'fake')
    logits, labels = confused(matrix, 4000)
    alone = confusion.estimate_noise_rate(logits, labels)
    more = np.concatenate([logits, np.full((4000, 2), -9.0)], axis=1)
    found = confusion.estimate_noise_rate(more, labels)
    assert found == pytest.approx(alone, abs=1e-3)
    assert alone == pytest.approx(0.3, abs=0.04)


def test_an_automatic_noise_rate_is_logged_used_and_kept(tmp_path):
    built = build(
        tmp_path / 'run',
        max_epoch=6,
        noise_rate='auto',
        num_gradual=1,
        tau_multiplier=1.25,
    )
    assert np.isnan(built.trainer.method.host_state['noise_rate'])
    entries = trained(built)
    told = [e for e in entries if 'noise_rate_estimate' in e]
    assert [e['epoch'] for e in told] == [1, 2, 3]
    for entry in told:
        found = f'{entry["noise_rate_estimate"]:.3f}'
        assert entry['remarks'] == [
            f'the noise rate is estimated to be {found}'
        ]
    last = told[-1]['noise_rate_estimate']
    assert last == pytest.approx(0.4, abs=0.1)
    assert entries[0]['keep_rate'] == 1
    assert entries[-1]['keep_rate'] == pytest.approx(1 - 1.25 * last)
    again = experiment.build(built.config, trial_folder=built.folder)
    assert again.trainer.restore() == 6
    assert again.trainer.method.host_state['noise_rate'] == last


def test_a_given_noise_rate_is_used(tmp_path):
    built = build(
        tmp_path / 'run', max_epoch=2, noise_rate='0.3', num_gradual=1
    )
    entries = trained(built)
    assert [e['keep_rate'] for e in entries] == [1, 0.7]
    assert not any('noise_rate_estimate' in e for e in entries)


@pytest.mark.parametrize(
    'kind', ['uniform', 'symmetric', 'asymmetric', 'pairflip']
)
@pytest.mark.parametrize(
    ('base', 'num_classes'),
    [
        ('cifar10', 10),
        ('cifar100', 100),
        ('mnist', 10),
        ('fashion_mnist', 10),
        ('digits', 10),
        ('fake', 4),
    ],
)
def test_the_noise_rate_of_a_data_set_is_that_of_its_matrix(
    kind, base, num_classes
):
    matrix = NOISES.get(kind)(0.4, num_classes, base)
    dataset = spec.parse(f'{base}_{kind}_0.4')
    found = coteaching_options.true_noise_rate(dataset)
    assert found == pytest.approx(1 - np.trace(matrix) / num_classes)
    config = ieg_config.resolve(
        {
            'method': 'coteaching',
            'dataset': str(dataset),
            'network_name': 'cnn',
        }
    )
    assert float(config.method.noise_rate) == pytest.approx(found)


def test_labels_as_they_are_have_no_known_noise_rate():
    config = ieg_config.resolve({'method': 'coteaching', 'dataset': 'cifar10'})
    assert config.method.noise_rate == 'auto'
    assert config.train.network_name == 'cnn9'


# Beginning again.


def arrays(built):
    """Returns everything the method has learnt."""
    method = built.trainer.method
    variables = method.variables + [
        v for o in method.optimizers for v in o.variables
    ]
    state = [np.asarray(v) for v in method.host_state.values()]
    return [v.numpy() for v in variables] + state


def test_a_run_after_another_one_is_like_a_fresh_one(strategy, tmp_path):
    options = dict(
        max_epoch=3,
        noise_rate='auto',
        batch_size=32 // strategy.num_replicas_in_sync,
    )
    built = build(
        tmp_path / 'one',
        strategy,
        **options | {'tau_multiplier': 1.5, 'beta1_late': 0.5},
    )
    rewind = Rewind(built.trainer.method)
    trained(built)
    other = arrays(built)
    counts = built.trainer.steps.trace_counts()
    rewind.apply()
    (tmp_path / 'two').mkdir()
    built = built.restart(resolve(**options), str(tmp_path / 'two'))
    again = trained(built)
    assert built.trainer.steps.trace_counts() == counts
    assert set(counts.values()) == {1}
    fresh = build(tmp_path / 'three', strategy, **options)
    expected = trained(fresh)
    for a, b in zip(again, expected, strict=True):
        times = ('seconds', 'images_per_second')
        assert all(a[k] == b[k] for k in b if k not in times)
    for a, b in zip(arrays(built), arrays(fresh), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(arrays(built), other, strict=True)
    )


# What cannot be.


@pytest.mark.parametrize(
    ('words', 'options'),
    [
        ('--noise_rate=1.2 is neither auto nor', {'noise_rate': '1.2'}),
        ('--noise_rate=-0.1 is neither', {'noise_rate': '-0.1'}),
        ('--noise_rate=foo is neither', {'noise_rate': 'foo'}),
        ('--noise_rate=nan is neither', {'noise_rate': 'nan'}),
        (
            'tau is 1.2 and must be',
            {'noise_rate': '0.8', 'tau_multiplier': 1.5},
        ),
        (
            'keeps nothing in epoch 10: 1.00% of a batch of 32.*--noise_rate',
            {'noise_rate': '0.99', 'max_epoch': 12, 'num_gradual': 10},
        ),
        ('twelve numbers', {'keep_schedule': 's2e:0.5'}),
        (
            '--kernels_only_decay needs --optimizer=sgd',
            {'kernels_only_decay': True},
        ),
        (
            '--dropout_mode is not used by the network lenet',
            {'network_name': 'lenet', 'dropout_mode': 'off'},
        ),
        ('--searcher needs --search', {'searcher': 'random'}),
        ('use --optimizer=sgd', {'method': 'fsr', 'optimizer': 'adam'}),
        ('use --optimizer=sgd', {'method': 'ieg', 'optimizer': 'adam'} | PROBE),
        ('use --optimizer=sgd', {'method': 'l2r', 'optimizer': 'adam'} | PROBE),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(words, options, tmp_path):
    with pytest.raises(UsageError, match=words) as caught:
        build(tmp_path / 'run', **options)
    message = str(caught.value)
    assert '\n' not in message and message.endswith('.')
    assert not re.search('[.?!] [A-Z]', message), 'more than one sentence'


def test_a_misspelt_keep_schedule_is_told_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="'paper_mian'.*'paper_main'") as error:
        build(tmp_path / 'run', keep_schedule='paper_mian')
    assert '\n' not in str(error.value)
