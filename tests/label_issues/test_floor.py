"""How many labels are wrong: recorded numbers, limits, and bad cases."""

import numpy as np
import pytest
from paths import GOLDEN, SHARED
from scipy.special import softmax
from scipy.stats import binomtest

from ieg.label_issues import floor

CLASSES = 5
CELLS = (
    'cifarf-pair40-lin-gce-1',
    'cifarf-worse-lin-ce-1',
    'cifars-none-cnn-ce-1',
    'digits-inst20-mlp-gce-1',
    'digits-none-mlp-ce-1',
    'digits-sym20-mlp-ce-1',
)


@pytest.mark.parametrize('cell', CELLS)
def test_recorded_cells_have_their_numbers(cell):
    places = [GOLDEN / 'evidence', SHARED / 'golden' / 'evidence']
    paths = [p / f'{cell}.npz' for p in places if (p / f'{cell}.npz').exists()]
    if not paths:
        pytest.skip(f'{cell}.npz is not in ../shared/data/golden/evidence')
    with np.load(paths[0]) as file:
        golden = dict(file)
    given = golden['held_out_given']
    shot = floor.best(golden['held_out_logits'], given)
    assert shot.epoch == golden['best_epoch']
    assert shot.temperature == pytest.approx(golden['temperature'])
    predictions = (shot.probabilities + golden['held_out_neighbours']) / 2
    np.testing.assert_allclose(predictions, golden['Q'], rtol=0, atol=1e-12)
    result = floor.estimate([(predictions, given)])
    np.testing.assert_array_equal(result.examples, golden['n'])
    np.testing.assert_array_equal(result.disagreeing, golden['k'])
    np.testing.assert_allclose(
        [
            result.disagreement,
            *result.surest,
            result.point,
            result.fitted,
            result.lower,
            result.upper,
        ],
        [
            golden[name]
            for name in 'D g10 g20 g30 point rho_lo lower upper'.split()
        ],
        atol=1e-12,
    )
    assert result.refused == golden['refused']


def noisy(rng, count, rate):
    """Returns good predictions, and given labels of which a share is wrong."""
    truth = rng.integers(CLASSES, size=count)
    logits = rng.normal(size=(count, CLASSES))
    logits[np.arange(count), truth] += rng.uniform(3, 7, count)
    wrong = rng.random(count) < rate
    given = np.where(wrong, (truth + 1) % CLASSES, truth)
    return softmax(logits, axis=1), given


@pytest.mark.parametrize('rate', [0.0, 0.2, 0.4])
def test_the_interval_holds_the_truth(rate):
    result = floor.estimate([noisy(np.random.default_rng(0), 2000, rate)])
    assert result.lower <= rate <= result.upper
    assert result.point == pytest.approx(rate, abs=0.04)
    assert not result.refused
    if not rate:
        assert result.lower == 0


def test_folds_are_ranked_within_themselves_and_pooled():
    rng = np.random.default_rng(1)
    parts = [noisy(rng, 400, 0.2) for _ in range(5)]
    result = floor.estimate(parts)
    # A fold whose network is less sure has the same ranks.
    softer = [((1 + parts[0][0]) / (1 + CLASSES), parts[0][1]), *parts[1:]]
    again = floor.estimate(softer)
    np.testing.assert_array_equal(again.disagreeing, result.disagreeing)
    assert result.examples.tolist() == [100] * 20
    whole = floor.estimate(parts[:1])
    assert result.upper - result.lower < whole.upper - whole.lower


def test_limits_are_those_of_an_exact_test():
    wrong = np.array([0, 3, 20])
    low, high = floor.limits(wrong, np.array([10, 30, 20]))
    for place, count in enumerate([10, 30, 20]):
        exact = binomtest(int(wrong[place]), count).proportion_ci()
        assert (low[place], high[place]) == pytest.approx(exact, abs=1e-12)


def test_a_model_that_knows_nothing_is_refused():
    rng = np.random.default_rng(2)
    predictions = rng.dirichlet(np.ones(CLASSES), size=500)
    result = floor.estimate([(predictions, rng.integers(CLASSES, size=500))])
    assert result.refused
    assert result.figures()['noise_rate'] is None
    assert result.figures()['noise_rate_interval'] == [0, result.upper]


def test_a_model_that_disagrees_with_most_labels_is_refused():
    rng = np.random.default_rng(5)
    assert not floor.estimate([noisy(rng, 2000, 0.4)]).refused
    mostly = floor.estimate([noisy(rng, 2000, 0.65)])
    assert mostly.refused and mostly.point > 0.5
    assert mostly.upper > 0.65


def test_few_examples_give_a_wide_interval():
    one = floor.estimate([(np.array([[0.9, 0.1]]), np.array([0]))])
    assert (one.lower, one.upper) == (0, pytest.approx(0.975))
    three = floor.estimate([(np.eye(3), np.array([1, 2, 0]))])
    assert three.refused and three.upper == 1
    rng = np.random.default_rng(4)
    assert floor.estimate([noisy(rng, 49, 0.0)]).refused
    assert not floor.estimate([noisy(rng, 50, 0.0)]).refused


def test_the_best_epoch_and_temperature_explain_the_given_labels():
    rng = np.random.default_rng(3)
    given = rng.integers(CLASSES, size=200)
    good = 3 * np.eye(CLASSES)[given] + rng.normal(size=(200, CLASSES))
    poor = rng.normal(size=(200, CLASSES))
    shot = floor.best([poor, 8 * good, 20 * poor], given)
    assert shot.epoch == 1 and shot.temperature < 0.5
    losses = [
        -np.log(softmax(8 * scale * good, axis=1)[np.arange(200), given]).mean()
        for scale in floor.TEMPERATURES
    ]
    assert shot.loss == pytest.approx(min(losses), abs=1e-12)


def test_several_networks_are_one_by_their_mean_probability():
    logits = np.random.default_rng(4).normal(size=(6, 2, CLASSES))
    mean = softmax(logits, axis=-1).mean(axis=1)
    np.testing.assert_allclose(np.exp(floor.combined(logits)), mean)
    logits[2, 1, 0] = np.nan
    mean[2] = 1 / CLASSES
    np.testing.assert_allclose(np.exp(floor.combined(logits)), mean)
