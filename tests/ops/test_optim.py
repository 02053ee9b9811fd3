"""Learning rates, the optimizers and the average of weights."""

import types

import keras
import numpy as np
import paths
import pytest
import tensorflow as tf

from ieg.errors import UsageError
from ieg.ops.optim import SGD, Adam, Schedule, WeightAverage, make_schedule
from ieg.options import TrainConfig

# Recorded from the code of IEG (TensorFlow 1).
GOLDEN = np.load(paths.GOLDEN / 'lr_schedules.npz')


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


def test_linear_rates_are_those_of_the_specification():
    for start, expected in (
        (80, {80: 1e-3, 81: 9.9167e-4, 140: 5e-4, 199: 8.3333e-6}),
        (100, {101: 9.9e-4, 150: 5e-4, 199: 1e-5}),
    ):
        schedule = Schedule(
            'linear', 1e-3, (start * 7.0,), total_steps=1400, steps_per_epoch=7
        )
        found = schedule(np.array(list(expected)) * 7)
        np.testing.assert_allclose(found, list(expected.values()), rtol=5e-5)


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


@pytest.mark.parametrize('text', ['a', '1,b', '-3', '0', 'nan', '5;6', 'inf'])
def test_bad_drops_are_named(text):
    with pytest.raises(UsageError, match=f'decay_steps={text} must be'):
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


# Adam.


def compiled_adam(weights, dtype='float64', **options):
    """Returns variables, their Adam, and its step as one graph."""
    variables = [keras.Variable(w, dtype=dtype) for w in weights]
    optimizer = Adam(**options)
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


# The average of weights.


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
