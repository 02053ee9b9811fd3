"""Keep schedules: formulas, recorded numbers, and what is refused."""

import re

import numpy as np
import paths
import pytest

from ieg.errors import UsageError
from ieg.methods.keep_schedules import KeepSchedule, parse, s2e_curve
from ieg.registry import KEEP_SCHEDULES

with np.load(paths.GOLDEN / 'coteaching_schedule.npz') as content:
    CODE = dict(content)
with np.load(paths.GOLDEN / 's2e.npz') as content:
    CURVES = {key: content[key] for key in ('decode/u', 'decode/forget_rate')}
FORMS = (
    'paper_main',
    'paper_ablation',
    'reference_code',
    's2e',
    's2e_restatement',
)
NUMBERS = (0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5, 0.25, 0.15, 0.35)


def refused(words, call, *arguments):
    """Checks that a call says in one sentence what is wrong."""
    with pytest.raises(UsageError, match=words) as caught:
        call(*arguments)
    message = str(caught.value)
    assert '\n' not in message and message.endswith('.')
    assert not re.search('[.?!] [A-Z]', message), 'more than one sentence'


@pytest.fixture
def register(monkeypatch):
    """Returns a function that registers a form until the test ends."""

    def add(form):
        monkeypatch.setitem(KEEP_SCHEDULES._entries, 'own', form)
        return KeepSchedule('own', 0.2)

    return add


def test_the_forms_have_names():
    assert set(FORMS) <= set(KEEP_SCHEDULES.names())


@pytest.mark.parametrize(
    ('tau', 'counts'),
    [
        (0.2, '125 122 119 116 113 110 108 105 102 102'),
        (0.45, '121 115 108 102 96 89 83 76 70 70'),
        (0.5, '120 113 106 99 92 85 78 71 64 64'),
    ],
)
def test_how_many_the_reference_keeps(tau, counts):
    found = KeepSchedule('reference_code', tau).counts(200, 128)
    assert found.dtype == np.int32 and found.shape == (200,)
    expected = [128, *map(int, counts.split())]
    np.testing.assert_array_equal(found[:11], expected)
    assert (found[11:] == expected[-1]).all()


@pytest.mark.parametrize('row', range(8))
def test_the_reference_code_is_repeated(row):
    tau, gradual, exponent = CODE['settings'][row]
    schedule = KeepSchedule('reference_code', tau, int(gradual), exponent)
    expected = 1 - CODE['forget_rate'][row]
    np.testing.assert_allclose(schedule.rates(200), expected, atol=1e-15)
    np.testing.assert_array_equal(
        schedule.counts(200, 128), CODE['keep_count_B128'][row]
    )


def test_the_exponent_of_the_reference_code_is_of_tau():
    forget = 1 - KeepSchedule('reference_code', 0.45, 10, 0.5).rates(20)
    assert forget[9] == pytest.approx(np.sqrt(0.45))
    assert forget[10] == pytest.approx(0.45)
    forget = 1 - KeepSchedule('reference_code', 0.45, 10, 2).rates(20)
    assert forget[9] == pytest.approx(0.2025)
    assert forget[10] == pytest.approx(0.45)


def test_the_ramp_of_a_short_run_is_cut():
    schedule = KeepSchedule('reference_code', 0.45)
    np.testing.assert_array_equal(schedule.rates(4), schedule.rates(200)[:4])
    np.testing.assert_allclose(
        KeepSchedule('reference_code', 0.3, 1).rates(4), [1, 0.7, 0.7, 0.7]
    )


@pytest.mark.parametrize(('gradual', 'tau'), [(10, 0.45), (15, 0.2), (1, 0.5)])
def test_paper_main_is_algorithm_1(gradual, tau):
    expected = [1 - min(tau * t / gradual, tau) for t in range(1, 31)]
    found = KeepSchedule('paper_main', tau, gradual).rates(30)
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize('exponent', [0.5, 1, 2])
def test_paper_ablation_has_the_power_of_the_epoch_alone(exponent):
    expected = [1 - 0.45 * min(t**exponent / 10, 1) for t in range(1, 121)]
    found = KeepSchedule('paper_ablation', 0.45, 10, exponent).rates(120)
    np.testing.assert_allclose(found, expected, atol=1e-15)
    # The end of the fall, counted from 0.
    last = {0.5: 99, 1: 9, 2: 3}[exponent]
    np.testing.assert_allclose(found[last:], 0.55)
    assert (found[:last] > 0.551).all()


@pytest.mark.parametrize('exponent', [0.5, 1, 2])
def test_s2e_restatement_has_the_power_of_the_ratio(exponent):
    expected = [1 - 0.45 * min((t / 10) ** exponent, 1) for t in range(30)]
    found = KeepSchedule('s2e_restatement', 0.45, 10, exponent).rates(30)
    np.testing.assert_allclose(found, expected, atol=1e-15)
    assert found[0] == 1


@pytest.mark.parametrize('form', [f for f in FORMS if f != 's2e'])
def test_no_form_drops_more_than_tau_or_ever_takes_back(form):
    for tau in (0, 0.2, 0.99):
        rates = KeepSchedule(form, tau).rates(50)
        assert rates.dtype == np.float64 and rates.shape == (50,)
        assert rates[-1] == pytest.approx(1 - tau)
        assert (np.diff(rates) <= 0).all() and rates.max() <= 1


def test_whole_numbers_are_not_missed():
    """In single precision 1 - 0.36 of 100 would be 63."""
    schedule = KeepSchedule('reference_code', 0.36, 1)
    assert schedule.counts(3, 100)[-1] == 64


def test_s2e_repeats_the_code():
    found = 1 - s2e_curve(CURVES['decode/u'], np.arange(200))
    expected = CURVES['decode/forget_rate']
    assert expected.shape == (20, 200)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    for i in range(3):
        alone = 1 - s2e_curve(CURVES['decode/u'][i], np.arange(200))
        np.testing.assert_allclose(alone, found[i], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ('numbers', 'forget'),
    [
        ((0.5,) * 12, (0, 0.171932, 0.440918, 0.560344, 0.536438, 0.425942)),
        (NUMBERS, (0, 0.111945, 0.512020, 0.742855, 0.744410, 0.647108)),
    ],
)
def test_s2e_has_the_curves_of_the_specification(numbers, forget):
    t = np.array([0, 1, 10, 50, 100, 199])
    found = 1 - s2e_curve(np.array(numbers), t)
    np.testing.assert_allclose(found, forget, atol=6e-7)


def test_s2e_takes_any_shape_of_numbers():
    numbers = np.random.default_rng(0).random((2, 3, 12))
    found = s2e_curve(numbers, np.arange(7))
    assert found.shape == (2, 3, 7)
    np.testing.assert_allclose(found[:, :, 0], 1)
    np.testing.assert_array_equal(
        found[1, 2], s2e_curve(numbers[1, 2], np.arange(7))
    )


@pytest.mark.parametrize('corner', [0.0, 1.0])
def test_s2e_is_finite_at_every_corner(corner):
    for i in range(12):
        for other in (0.0, 0.5, 1.0):
            numbers = np.full(12, other)
            numbers[i] = corner
            assert np.isfinite(s2e_curve(numbers, np.arange(200))).all()
    # a5 = 0, where the logarithmic part is 0 / 0 at t = 0, and only there.
    numbers = np.zeros(12)
    numbers[9] = corner
    found = s2e_curve(numbers, np.arange(3))
    np.testing.assert_array_equal(found, [[1, 1, 1], [1, 0, 0]][int(corner)])


def test_s2e_as_a_schedule_is_scaled_and_at_most_one():
    schedule = KeepSchedule('s2e', 0.2, numbers=NUMBERS)
    whole = s2e_curve(np.array(NUMBERS), np.arange(200))
    np.testing.assert_array_equal(schedule.rates(200), whole)
    np.testing.assert_allclose(schedule.rates(50), whole[::4], atol=1e-15)
    # The rising parts alone take it above 1.
    above = KeepSchedule('s2e', 0.2, numbers=(1, 1, 0, *[0.5] * 9))
    assert above.raw(200).max() > 1
    np.testing.assert_array_equal(above.rates(200), 1)


def test_an_option_is_a_form_and_its_numbers():
    assert parse('reference_code', 0.2, 5, 2.0) == KeepSchedule(
        'reference_code', 0.2, 5, 2.0
    )
    text = 's2e:' + ','.join(map(str, NUMBERS))
    expected = KeepSchedule('s2e', 0.2, 10, 1.0, NUMBERS)
    assert parse(text, 0.2, 10, 1.0) == expected


def test_an_option_that_is_none_is_refused():
    refused('than numbers after the colon', parse, 's2e:0.5,a', 0.2, 10, 1.0)
    refused('twelve numbers', parse('s2e:0.5', 0.2, 10, 1.0).rates, 5)


@pytest.mark.parametrize('tau', [1, -0.1, float('nan')])
def test_an_impossible_tau_is_refused(tau):
    refused(f'tau is {tau:g}', KeepSchedule, 'paper_main', tau)


@pytest.mark.parametrize(
    ('gradual', 'exponent'), [(0, 1.0), (10, 0.0), (10, float('nan'))]
)
def test_an_impossible_fall_is_refused(gradual, exponent):
    arguments = ('reference_code', 0.2, gradual, exponent)
    refused('at least one epoch', KeepSchedule, *arguments)


def test_an_unknown_form_is_refused():
    with pytest.raises(UsageError, match="'paper_mian'.*'paper_main'") as error:
        KeepSchedule('paper_mian', 0.2)
    assert '\n' not in str(error.value)


def test_paper_main_refuses_an_exponent():
    schedule = KeepSchedule('paper_main', 0.2, 10, 2.0)
    refused('paper_main has no exponent', schedule.rates, 5)


@pytest.mark.parametrize(
    'numbers', [(), (0.5,) * 11, (0.5,) * 13, (1.5,) * 12, (np.nan,) * 12]
)
def test_s2e_refuses_other_numbers(numbers):
    schedule = KeepSchedule('s2e', 0.2, numbers=numbers)
    refused('twelve numbers from 0 to 1', schedule.rates, 5)


def test_a_schedule_that_keeps_nothing_is_refused():
    schedule = KeepSchedule('reference_code', 0.98, 4)
    refused(
        'reference_code keeps nothing in epoch 4: 2.00% of a batch of 32',
        schedule.counts,
        10,
        32,
    )
    assert schedule.counts(10, 100).min() == 2


def test_a_form_of_ones_own(register):
    schedule = register(lambda s, epochs, total: 1.5 - s.tau * epochs / total)
    np.testing.assert_allclose(schedule.rates(2), [1, 1])
    np.testing.assert_allclose(schedule.raw(2), [1.5, 1.4])


@pytest.mark.parametrize(
    'form',
    [
        lambda s, epochs, total: np.full(total, np.nan),
        lambda s, epochs, total: np.full(total, -np.inf),
        lambda s, epochs, total: np.ones(total + 1),
        lambda s, epochs, total: np.ones((total, 1)),
        lambda s, epochs, total: 1,
        lambda s, epochs, total: None,
    ],
)
def test_a_form_that_gives_no_rates_is_refused(register, form):
    schedule = register(form)
    words = 'schedule own must give one finite number for each of the 5 epochs'
    refused(words, schedule.rates, 5)
    refused(words, schedule.counts, 5, 128)
