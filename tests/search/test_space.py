"""What is searched: axes, keep schedules, and equal points."""

import numpy as np
import pytest
from searching import S2E, resolve

from ieg.errors import UsageError
from ieg.methods import keep_schedules
from ieg.search import space

pytestmark = pytest.mark.usefixtures('tiny')


def options_space(text, tmp_path, **more):
    given = {'dataset': 'fake_uniform_0.4', 'method': 'dividemix'} | more
    return space.make_space(text, resolve(tmp_path, **given))


def test_an_axis_reaches_both_ends_and_goes_back(tmp_path):
    text = 'lambda_u:0..150,batch_size:1..4,learning_rate:0.001..0.1:log'
    found = options_space(text, tmp_path)
    assert found.dimension == 3
    assert found.decode([0, 0, 0]) == {
        'lambda_u': '0.0',
        'batch_size': 1,
        'learning_rate': 0.001,
    }
    assert found.decode([1, 1, 1]) == {
        'lambda_u': '150.0',
        'batch_size': 4,
        'learning_rate': 0.1,
    }
    middle = found.decode([0.5, 0.5, 0.5])
    assert middle['lambda_u'] == '75.0' and middle['batch_size'] == 3
    assert middle['learning_rate'] == pytest.approx(0.01)


@pytest.mark.parametrize('log', [False, True])
def test_whole_numbers_are_as_likely_as_they_should_be(log):
    axis = space.Axis('batch_size', 1, 4, log, int)
    places = np.linspace(0, 1, 10001)
    values = np.array([axis.value(place) for place in places])
    assert set(values) == {1, 2, 3, 4}
    shares = [np.mean(values == n) for n in (1, 2, 3, 4)]
    expected = np.log([2, 3 / 2, 4 / 3, 5 / 4]) / np.log(5)
    np.testing.assert_allclose(
        shares, expected if log else np.full(4, 0.25), atol=1e-3
    )


@pytest.mark.parametrize('kind', [int, float, str])
@pytest.mark.parametrize('log', [False, True])
def test_the_place_of_a_value_leads_back_to_it(kind, log):
    axis = space.Axis('some', 2, 9, log, kind)
    for value in (2, 3, 7, 9):
        found = axis.value(axis.place(kind(value)))
        assert type(found) is kind
        assert float(found) == pytest.approx(value)
    assert axis.place(kind(10)) is None and axis.place(kind(1)) is None
    assert space.Axis('some', 2, 9, log, str).place('auto') is None


def test_a_search_starts_around_the_configuration(tmp_path):
    text = 'temperature:0.1..0.9,lambda_u:0..50'
    (warm,) = options_space(text, tmp_path, lambda_u='25').warm(9)
    assert warm.options == {}
    np.testing.assert_allclose(warm.point, 0.5)
    (warm,) = options_space(text, tmp_path, lambda_u='auto').warm(9)
    assert warm.point is None
    (warm,) = options_space(text, tmp_path, lambda_u='60').warm(9)
    assert warm.point is None


def test_equal_options_have_one_key(tmp_path):
    found = options_space('rampup_length:1..40', tmp_path, rampup_length=16)
    keys = [found.key(o, 9, 9) for o in ({}, {'rampup_length': 16})]
    assert keys[0] == keys[1] != found.key({'rampup_length': 15}, 9, 9)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (
            'lambda_u:150..0',
            ['lambda_u:150..0', 'reversed', '150 must be less'],
        ),
        ('lambda_u:3..3', ['reversed or empty']),
        ('lamda_u:0..1', ["'lamda_u'", "mean 'lambda_u'"]),
        ('network_name:0..1', ["'network_name'", 'not a numeric option']),
        ('lr_schedule:0..1', ["'lr_schedule'", 'not a numeric option']),
        ('use_ema:0..1', ["'use_ema'", '--method=dividemix']),
        ('meta_start_epoch:1..9', ["'meta_start_epoch'", 'not a numeric']),
        ('seed:1..9', ["'seed'"]),
        ('lambda_u:0..1,lambda_u:2..3', ["'--search names lambda_u twice"]),
        ('learning_rate:0..1:log', ['logarithmic', 'above 0']),
        (
            'learning_rate:0.1..1:lin',
            ['must be keep_schedule', 'name:low..high:log'],
        ),
        ('learning_rate', ['must be keep_schedule', 'keep_schedule']),
        ('learning_rate:0.1', ['must be keep_schedule']),
        ('learning_rate:a..b', ['must be keep_schedule']),
        ('learning_rate:0..inf', ['must be keep_schedule']),
        ('learning_rate:0..1,', ['must be keep_schedule']),
        ('batch_size:1.5..3', ['integers', '--batch_size']),
        ('batch_size:0..8', ['--batch_size', 'at least 1']),
        ('momentum:0..2', ['--momentum', 'at most 0.9999']),
        ('lambda_u:-1..1', ['--lambda_u=-1.0', '0 or more']),
        ('decay_rate:0..1', ['--decay_rate', '--lr_schedule=constant']),
        ('keep_schedule', ['keep schedule', 'dividemix', '--method=s2e']),
    ],
)
def test_a_space_that_makes_no_sense_is_one_sentence(text, words, tmp_path):
    with pytest.raises(UsageError) as caught:
        options_space(text, tmp_path)
    message = str(caught.value)
    assert '\n' not in message
    for word in words:
        assert word.strip("'") in message


@pytest.mark.parametrize('epochs', [200, 30])
@pytest.mark.parametrize('tau', [0.2, 0.45, 0.625])
def test_the_nearest_point_meets_the_ramps_of_co_teaching(tau, epochs):
    ramp = keep_schedules.KeepSchedule(
        'reference_code', tau, gradual=epochs // 20
    )
    point = space.nearest_point(ramp.rates(epochs))
    assert point.shape == (12,) and (point > 0).all() and (point < 1).all()
    numbers = keep_schedules.KeepSchedule('s2e', 0, numbers=tuple(point))
    gap = numbers.raw(epochs) - ramp.rates(epochs)
    assert np.sqrt(np.mean(gap**2)) < 0.012


def schedules(tmp_path, **options):
    config = resolve(tmp_path, **S2E | {'max_epoch': 8} | options)
    return space.make_space('keep_schedule', config)


def test_the_warm_starts_are_co_teaching_and_more(tmp_path):
    first, second = schedules(tmp_path).warm(8)
    assert first.options == {}
    assert second.options == {'tau_multiplier': 1.25}
    rates = [
        keep_schedules.KeepSchedule('s2e', 0, numbers=tuple(w.point)).rates(8)[
            -1
        ]
        for w in (first, second)
    ]
    assert rates == pytest.approx([0.7, 1 - 1.25 * 0.3], abs=0.03)
    # Nothing to be near to while the noise rate is not known.
    points = [w.point for w in schedules(tmp_path, noise_rate='auto').warm(8)]
    assert points == [None, None]
    (only,) = schedules(tmp_path, noise_rate='0.9').warm(8)
    assert only.options == {}
    numbers = tuple(np.arange(12) / 12)
    text = 's2e:' + ','.join(map(str, numbers))
    first, _ = schedules(tmp_path, keep_schedule=text).warm(8)
    np.testing.assert_array_equal(first.point, numbers)


def test_equal_tables_have_one_key(tmp_path):
    found = schedules(tmp_path)
    point = np.full(12, 0.5)
    near = point + 1e-9
    other = point.copy()
    other[4] = 0.9
    keys = [found.key(found.decode(p), 8, 16) for p in (point, near, other)]
    assert keys[0] == keys[1] != keys[2]
    # However the table is described.
    more = {'tau_multiplier': 2.0}
    keys = [found.key(o, 8, 16) for o in ({}, more)]
    assert keys[0] != keys[1]
    double = schedules(tmp_path, tau_multiplier=2.0)
    assert double.key({}, 8, 16) == keys[1]
    unknown = schedules(tmp_path, noise_rate='auto')
    assert unknown.key({}, 8, 16) != unknown.key(more, 8, 16)
    assert unknown.key(found.decode(point), 8, 16) == found.key(
        found.decode(point), 8, 16
    )


def test_coteaching_plus_keeps_parts_of_batches(tmp_path):
    """Rates that keep as many of 16 may keep different numbers of 15."""
    own = [{'tau_multiplier': m / 0.3} for m in (0.45, 0.49)]
    for selection, same in (('coteaching', True), ('coteaching_plus', False)):
        found = schedules(tmp_path, selection=selection, num_gradual=1)
        keys = [found.key(options, 8, 16) for options in own]
        assert (keys[0] == keys[1]) is same


def test_a_decoded_point_is_its_schedule(tmp_path):
    point = np.random.default_rng(0).random(12)
    text = schedules(tmp_path).decode(point)['keep_schedule']
    assert keep_schedules.parse(text, 0.0, 1, 1.0).numbers == tuple(point)


def test_what_counts_epochs_shrinks_with_a_trial(tmp_path):
    config = resolve(
        tmp_path,
        **S2E
        | {
            'max_epoch': 200,
            'num_gradual': 10,
            'decay_epochs': '100',
            'warmup_epochs': 1,
        },
    )
    found = space.shorten(config, 50)
    assert found['max_epoch'] == 50 and found['num_gradual'] == 2
    assert found['decay_epochs'] == '25' and found['decay_steps'] == ''
    assert found['warmup_epochs'] == 1  # Not 0, which is off.
    assert 'beta1_epoch' not in found  # 0, which is by itself.
