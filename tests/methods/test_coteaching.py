"""Small-loss selection against numbers of the authors' code."""

import numpy as np
import paths
import pytest
import tensorflow as tf
from coteaching_tables import (
    chosen_by,
    gradients,
    keeping,
    make_method,
    one_step,
    random_tables,
)
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
from ieg.errors import UsageError
from ieg.methods.base import Info
from ieg.methods.coteaching import CoTeaching, CoTeachingConfig
from ieg.ops import optim
from ieg.options import TrainConfig

pytestmark = pytest.mark.usefixtures('constant_rate')

with np.load(paths.GOLDEN / 'coteaching.npz') as content:
    GOLDEN = dict(content)
with np.load(paths.GOLDEN / 'coteaching_schedule.npz') as content:
    PLANS = dict(content)
# The case of each that keeps nothing, or more than there is, is below.
CASES = [f'loss/case{n}' for n in range(6)]
CASES += [f's2e_loss/case{n}' for n in range(5)]
STEP_TOLERANCE = {'f64': 1e-10, 'f32': 2e-5}
# A bias before BatchNorm has rounding noise for a gradient, which Adam makes
# steps of; the mean after it moves along.
NOISE = ('conv2.bias', 'bn2.running_mean')


def below(prefix):
    """Returns the recorded arrays below one prefix."""
    start = f'{prefix}/'
    return {
        k[len(start) :]: v for k, v in GOLDEN.items() if k.startswith(start)
    }


@pytest.mark.usefixtures('double')
@pytest.mark.parametrize(
    ('case', 'reference_loss'),
    [(case, True) for case in CASES]
    # What differs is a factor.
    + [('loss/case1', False), ('s2e_loss/case1', False)],
)
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
        CoTeachingConfig(noise_rate='0.45', reference_loss=True),
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


# Learning rate and beta1.


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
