"""Learning rates, the optimizer and the average of weights."""

import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from ieg.errors import UsageError
from ieg.options import TrainConfig
from ieg.training.optim import SGD, Schedule, WeightAverage, make_schedule

# Recorded from the code of IEG (TensorFlow 1).
GOLDEN = np.load(pathlib.Path(__file__).parent / 'golden' / 'lr_schedules.npz')


def schedule(name, **options):
    config = types.SimpleNamespace(
        **vars(TrainConfig(lr_schedule=name, learning_rate=0.1, **options))
    )
    return make_schedule(config, steps_per_epoch=490, total_steps=200000)


@pytest.mark.parametrize(
    ('recorded', 'found'),
    [
        ('cosine/T0_490', schedule('cosine', decay_steps='490')),
        ('cosine/T0_490', schedule('cosine', decay_epochs='1')),
        ('cosine/T0_490', schedule('cosine')),
        (
            'cosine/T0_500_tmul2',
            schedule('cosine', decay_steps='500', cos_t_mul=2.0),
        ),
        ('cosine_warmup/T0_490_warm3', schedule('cosine', warmup_epochs=3)),
        (
            'exponential/500',
            schedule('exponential', decay_steps='500', decay_rate=0.9),
        ),
        ('cosine_one/200000', schedule('cosine_one')),
    ],
)
def test_rates_are_those_of_the_reference(recorded, found):
    steps = GOLDEN[f'{recorded}/step']
    np.testing.assert_allclose(
        found(steps), GOLDEN[f'{recorded}/lr_f32'], rtol=1e-5, atol=3e-8
    )


def test_cycles_jump_where_those_of_the_reference_do():
    found = schedule('cosine')
    np.testing.assert_allclose(
        found(GOLDEN['cosine/T0_490/edge_step']),
        GOLDEN['cosine/T0_490/edge_lr_f64'],
        rtol=1e-7,
        atol=1e-12,
    )


def test_drops_come_one_step_after_those_of_the_reference():
    # It reads the rate one iteration ahead; here step t is update t + 1.
    found = schedule('custom_step', decay_steps='40,60')
    np.testing.assert_allclose(
        found(GOLDEN['custom_step/40_60/iteration']),
        GOLDEN['custom_step/40_60/lr_f32'],
        rtol=1e-6,
    )


@pytest.mark.parametrize(('first', 'growth'), [(490, 1.5), (500, 2.0), (7, 1)])
def test_restarts_are_those_of_keras(first, growth):
    theirs = keras.optimizers.schedules.CosineDecayRestarts(
        0.1, first, t_mul=growth, m_mul=0.9
    )
    # At the very ends of cycles Keras rounds to either side.
    steps = np.linspace(0.3, 4.9 * first, 60).round()
    ours = schedule(
        'cosine', decay_steps=str(first), cos_t_mul=growth, cos_m_mul=0.9
    )
    np.testing.assert_allclose(
        ours(steps), [theirs(step) for step in steps], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ('first', 'growth', 'ends'),
    [
        (490, 1.5, [490, 1225, 2328, 3981]),
        (500, 2.0, [500, 1500, 3500, 7500, 15500, 31500, 63500]),
    ],
)
def test_a_run_with_restarts_ends_with_a_cycle(first, growth, ends):
    found = schedule('cosine', decay_steps=str(first), cos_t_mul=growth)
    for end in ends:
        assert found.run_end(end) == end
        assert found.run_end(end + 3) == end
        assert found.run_end(int(end / 1.005)) == end
        # The last step of a cycle is slow, the next is fast.
        last, after = found(np.array([end - 1, end + 1]))
        assert last < 1e-3 * after
    assert found.run_end(ends[0] - 9) == ends[0] - 9


@pytest.mark.parametrize('name', ['constant', 'cosine_one'])
def test_other_runs_end_where_they_are_told(name):
    assert schedule(name).run_end(777) == 777


def test_a_constant_rate_is_constant():
    np.testing.assert_array_equal(schedule('constant')(np.arange(5)), 0.1)


def test_drops_come_by_steps_and_epochs_in_any_order():
    found = schedule('custom_step', decay_steps='600', decay_epochs='2,1')
    assert found.decay_steps == (600, 980, 490)
    np.testing.assert_allclose(
        found(np.array([489, 490, 599, 600, 979, 980, 5000])),
        [1e-1, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4],
    )


def test_warm_up_rises_to_the_rate_and_shifts_the_decay():
    found = schedule('exponential', decay_steps='10', warmup_epochs=2)
    rates = found(np.array([0, 490, 979, 980, 989, 990]))
    np.testing.assert_allclose(
        rates, [0, 0.05, 0.1 * 979 / 980, 0.1, 0.1, 0.01]
    )


@pytest.mark.parametrize('text', ['a', '1,b', '-3', '0', 'nan', '5;6'])
def test_bad_drops_are_named(text):
    with pytest.raises(UsageError, match=f'decay_steps={text} is not a list'):
        schedule('custom_step', decay_steps=text)


@pytest.mark.parametrize('name', ['custom_step', 'exponential'])
def test_missing_drops_are_named(name):
    with pytest.raises(UsageError, match=f'lr_schedule={name} needs'):
        schedule(name)


def test_half_a_step_is_between():
    # An epoch of more batches than nominal steps has fractional steps.
    found = Schedule('cosine_one', 1.0, total_steps=4)
    one, half, two = found(np.array([1, 1.5, 2]))
    assert two < half < one


@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_sgd_is_that_of_pytorch_through_a_drop(momentum):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    variables = [keras.Variable(w, dtype='float64') for w in weights]
    optimizer = SGD(0.1, momentum, l2=0.01)
    optimizer.build(variables)
    velocities = [np.zeros_like(w) for w in weights]
    for step in range(6):
        rate = 0.1 if step < 3 else 0.01
        optimizer.learning_rate.assign(rate)
        gradients = [rng.normal(size=w.shape) for w in weights]
        optimizer.apply_gradients(
            zip(map(tf.constant, gradients), variables, strict=True)
        )
        rate = np.float64(np.float32(rate))
        for i, gradient in enumerate(gradients):
            velocities[i] = (
                momentum * velocities[i] + gradient + 0.01 * weights[i]
            )
            weights[i] = weights[i] - rate * velocities[i]
    for variable, expected in zip(variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-12)


def network(value):
    """Returns a network with BatchNorm whose weights are all one number."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2),
            keras.layers.BatchNormalization(),
        ]
    )
    set_all(model, value)
    return model


def set_all(model, value):
    for variable in model.variables:
        variable.assign(np.full(variable.shape, value))


def test_the_average_starts_at_the_weights_and_warms_up():
    source, average = network(1.0), network(0.0)
    mean = WeightAverage(source, average, limit=0.5)
    expected = 1.0
    for step, value in enumerate([3.0, -1, 2, 5, 4, 8, 0, 1, 2]):
        set_all(source, value)
        mean.update(tf.constant(step))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        for variable in average.variables:
            np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)
    assert decay == 0.5
