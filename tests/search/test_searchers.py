"""Searchers: steps in the trust region, replays, and what they find."""

import numpy as np
import pytest
from scipy.linalg import block_diag
from searching import make_searcher

from ieg.errors import UsageError
from ieg.methods.keep_schedules import KeepSchedule, s2e_curve
from ieg.registry import SEARCHERS
from ieg.search import searchers


def test_the_searchers_have_names():
    assert set(SEARCHERS.names()) >= {'betanes', 'random', 'reference'}
    with pytest.raises(UsageError, match="searcher 'betaness'.*'betanes'"):
        SEARCHERS.get('betaness')


def test_utilities_by_rank():
    found = searchers.utilities(np.array([0.1, 0.9, 0.5, -np.inf]))
    shares = np.log(3) - np.log([3, 1, 2, 4])
    expected = np.maximum(shares, 0) / (shares[1] + shares[2]) - 1 / 4
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize('count', [1, 2, 3, 8, 20])
def test_utilities_sum_to_zero_and_ties_share(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        scores = rng.choice([-np.inf, 0.0, 0.25, 0.5, 1.0], count)
        found = searchers.utilities(scores)
        assert abs(found.sum()) < 1e-12
        for one in set(scores):
            shared = found[scores == one]
            np.testing.assert_array_equal(shared, shared[0])
        # Whoever is better counts at least as much.
        order = np.argsort(scores)
        assert (np.diff(found[order]) >= -1e-15).all()
    apart = searchers.utilities(np.arange(count) / 7)
    ordered = searchers.utilities(np.arange(count) * 1000.0)
    np.testing.assert_array_equal(apart, ordered)


def length(before, after):
    step = after - before
    information = searchers.fisher(before)
    return np.sqrt(np.einsum('di,dij,dj->', step, information, step))


def test_a_step_stays_in_the_trust_region_and_the_bounds():
    searcher = make_searcher('betanes', dimension=3)
    lengths = []
    for _ in range(60):
        before = searcher.theta
        candidates = searcher.ask()
        searcher.tell(candidates, -np.abs(candidates - 0.4).sum(axis=1))
        assert (searcher.theta >= 1).all() and (searcher.theta <= 200).all()
        if ((searcher.theta > 1) & (searcher.theta < 200)).all():
            step = before * np.log(searcher.theta / before)
            lengths.append(length(before, before + step))
    assert len(lengths) > 5
    assert max(lengths) <= 2 + 1e-9


def test_a_long_step_keeps_its_direction():
    searcher = make_searcher('betanes', dimension=1, start=np.array([0.5]))
    before = searcher.theta
    candidates, scores = (
        np.array([[0.5], [0.001], [0.9]]),
        np.array([1, 0, 0.5]),
    )
    searcher.tell(candidates, scores)
    gradients = searchers.beta_score(before, candidates)[:, 0]
    natural = searchers.inverse_fisher(before)[0] @ (
        searchers.utilities(scores) @ gradients
    )
    step = before[0] * np.log(searcher.theta[0] / before[0])
    assert length(before, before + natural) > length(before, before + step)
    assert length(before, before + step) == pytest.approx(2)
    np.testing.assert_allclose(step / step[0], natural / natural[0])


def test_a_short_step_is_the_weighted_natural_gradient():
    searcher = make_searcher('betanes', dimension=2, start=np.array([0.4, 0.7]))
    before = searcher.theta
    candidates = np.array([[0.42, 0.71], [0.5, 0.6], [0.45, 0.66]])
    scores = np.array([3.0, 1.0, 2.0])
    searcher.tell(candidates, scores)
    information = block_diag(*searchers.fisher(before))
    gradient = sum(
        weight * searchers.beta_score(before, candidate).ravel()
        for weight, candidate in zip(
            searchers.utilities(scores), candidates, strict=True
        )
    )
    step = np.linalg.solve(information, gradient)
    assert step @ information @ step < 4
    found = (before * np.log(searcher.theta / before)).ravel()
    np.testing.assert_allclose(found, step, rtol=1e-10)


@pytest.mark.parametrize('name', ['betanes', 'random', 'reference'])
def test_replaying_a_log_gives_the_same_candidates(name):
    def target(candidates):
        return -((candidates - 0.3) ** 2).sum(axis=1)

    searcher, log = make_searcher(name, seed=5), []
    for _ in range(4):
        candidates = searcher.ask()
        assert candidates.shape == (8, 12) and candidates.dtype == np.float64
        assert ((candidates >= 0) & (candidates <= 1)).all()
        scores = target(candidates)
        searcher.tell(candidates, scores)
        log.append((candidates, scores))
    again = make_searcher(name, seed=5)
    for candidates, scores in log:
        np.testing.assert_array_equal(again.ask(), candidates)
        # As read from a file.
        again.tell(candidates.tolist(), scores.tolist())
    np.testing.assert_array_equal(again.ask(), searcher.ask())
    assert not np.array_equal(again.ask(), make_searcher(name, seed=6).ask())


@pytest.mark.parametrize('name', ['betanes', 'random'])
def test_an_iteration_needs_none_of_the_draws_before_it(name):
    """A search goes on where candidates were told that it did not ask for."""
    told, asked = make_searcher(name), make_searcher(name)
    told.tell(np.full((3, 12), 0.5), [0, 0, 0])
    np.testing.assert_array_equal(told.ask(), asked.ask())
    assert not np.array_equal(told.ask(), make_searcher(name).ask())


@pytest.mark.parametrize('name', ['betanes', 'reference'])
def test_failed_trials_leave_theta_finite(name):
    searcher = make_searcher(name)
    for i in range(5):
        candidates = searcher.ask()
        scores = candidates[:, 0].copy()
        scores[: 2 * i] = -np.inf
        searcher.tell(candidates, scores)
        assert np.isfinite(searcher.theta).all()
        assert (searcher.theta >= 1).all()
    assert np.isfinite(searcher.ask()).all()


@pytest.mark.parametrize('score', [0.7, -np.inf])
def test_equal_scores_change_nothing(score):
    searcher = make_searcher('betanes', start=np.linspace(0.1, 0.9, 12))
    before = searcher.theta.copy()
    searcher.tell(searcher.ask(), np.full(8, score))
    searcher.tell(searcher.ask()[:1], [score])
    searcher.tell(np.zeros((0, 12)), [])
    np.testing.assert_array_equal(searcher.theta, before)


def test_candidates_at_the_corners_leave_theta_finite():
    searcher = make_searcher('betanes', dimension=2)
    searcher.tell([[0, 1], [1, 0], [0.5, 0.5]], [2, 1, 0])
    assert np.isfinite(searcher.theta).all()


def last_mean(name, score, population=8, iterations=12, **options):
    """Returns the mean score of the last three iterations."""
    searcher = make_searcher(name, population=population, **options)
    means = []
    for _ in range(iterations):
        candidates = searcher.ask()
        scores = score(candidates)
        searcher.tell(candidates, scores)
        means.append(scores.mean())
    return np.mean(means[-3:])


def test_betanes_finds_the_region_of_the_optimum():
    centre = np.array([0.2, 0.8, 0.5, 0.35])

    def score(candidates):
        return -((candidates - centre) ** 2).sum(axis=1)

    for seed in range(5):
        options = {'dimension': 4, 'seed': seed}
        blind = last_mean('random', score, **options)
        assert last_mean('betanes', score, **options) > blind / 3


def test_betanes_comes_near_to_a_keep_schedule():
    epochs = np.arange(200)
    target = KeepSchedule('reference_code', 0.45).rates(200)

    def score(candidates):
        rates = np.clip(s2e_curve(candidates, epochs), 0, 1)
        return -np.sqrt(np.mean((rates - target) ** 2, axis=1))

    found = {
        name: np.mean(
            [last_mean(name, score, 2, 20, seed=seed) for seed in range(10)]
        )
        for name in ('betanes', 'random')
    }
    assert found['betanes'] > -0.25
    assert found['betanes'] > found['random']


def test_the_start_is_the_mode():
    start = np.linspace(0, 1, 12)
    a, b = make_searcher('betanes', start=start).theta.T
    np.testing.assert_allclose((a - 1) / (a + b - 2), start, atol=1e-15)
    np.testing.assert_allclose(a + b, 4)
    np.testing.assert_array_equal(
        make_searcher('betanes').theta, np.ones((12, 2))
    )
    candidates = make_searcher('betanes', population=2000, start=start).ask()
    means = a / (a + b)
    np.testing.assert_allclose(candidates.mean(axis=0), means, atol=0.02)


@pytest.mark.parametrize('name', ['random', 'reference'])
def test_a_start_changes_nothing_elsewhere(name):
    candidates = make_searcher(name, start=np.full(12, 0.9)).ask()
    np.testing.assert_array_equal(candidates, make_searcher(name).ask())


@pytest.mark.parametrize('name', ['betanes', 'random', 'reference'])
def test_what_does_not_fit_is_refused(name):
    searcher = make_searcher(name)
    with pytest.raises(ValueError, match=r'\[7, '):
        searcher.tell(searcher.ask(), np.zeros(7))
    with pytest.raises(ValueError, match=r'\[2, 12\].*\[2, 11\]'):
        searcher.tell(np.zeros((2, 11)), np.zeros(2))
    with pytest.raises(ValueError, match='NaN'):
        searcher.tell(np.zeros((2, 12)), [0, np.nan])
    for start in (np.zeros(11), np.full(12, 1.5), np.full(12, np.nan)):
        with pytest.raises(ValueError, match='point of'):
            make_searcher(name, start=start)
