"""The searcher of S2E's code: recorded traces, and what it is made of."""

import numpy as np
import paths
import pytest
from scipy.linalg import block_diag
from searching import make_searcher

from ieg.search import searchers

with np.load(paths.GOLDEN / 's2e.npz') as content:
    GOLDEN = dict(content)
TRACES = [k.split('/')[0] for k in GOLDEN if k.endswith('/seed')]
# The first draws of the reference with seed 1, of two candidates.
DRAWS = """
0.350231 0.427569 0.189327 0.688781 0.902076 0.085267
0.632610 0.016737 0.851314 0.307850 0.330560 0.978059
0.251587 0.125856 0.151998 0.232243 0.445215 0.022202
0.139286 0.113708 0.481897 0.710365 0.256385 0.698673
"""
# Where the reference is after the first of them won.
STEPPED = """
1.083652 1 1.002183 1.007947 1.003427 1.009528 1.010859 1
1.001296 1.032881 1.042628 1 1.009783 1 1.253048 1
1.007127 1.011019 1 1.010898 1 1.010574 1 1.205758
"""


def numbers(text, *shape):
    return np.array(text.split(), float).reshape(shape)


def thetas():
    rng = np.random.default_rng(3)
    rows = np.exp(rng.uniform(0, np.log(200), (40, 2)))
    return np.concatenate([rows, [[1, 1], [1, 200], [200, 1], [200, 200]]])


def test_five_traces_were_recorded():
    assert sorted(TRACES) == [
        'search_a',
        'search_b',
        'search_c',
        'search_floor',
        'search_long',
    ]


@pytest.mark.parametrize('trace', TRACES)
def test_the_reference_repeats_its_code(trace):
    golden = {k: GOLDEN[f'{trace}/{k}'] for k in ('u', 'reward', 'theta')}
    population = int(GOLDEN[f'{trace}/K'])
    searcher = make_searcher(
        'reference',
        population=population,
        seed=int(GOLDEN[f'{trace}/seed']),
        delta=float(GOLDEN[f'{trace}/delta']),
    )
    assert len(golden['u']) == GOLDEN[f'{trace}/n_iter']
    for i, scores in enumerate(golden['reward']):
        found = searcher.ask()
        np.testing.assert_allclose(found, golden['u'][i], rtol=0, atol=1e-12)
        searcher.tell(found, scores)
        # Not to the bit: the inverse of a matrix differs between machines.
        np.testing.assert_allclose(
            searcher.theta.ravel(), golden['theta'][i + 1], rtol=1e-11
        )


@pytest.mark.parametrize('trace', TRACES)
def test_every_step_repeats_the_reference(trace):
    delta = float(GOLDEN[f'{trace}/delta'])
    for i, best in enumerate(GOLDEN[f'{trace}/best']):
        found = searchers.newton_step(
            GOLDEN[f'{trace}/theta'][i].reshape(12, 2),
            GOLDEN[f'{trace}/u'][i, best],
            int(GOLDEN[f'{trace}/K']),
        )
        expected = GOLDEN[f'{trace}/step_column0'][i]
        np.testing.assert_allclose(
            delta * found.ravel(), expected, rtol=1e-10, atol=1e-11
        )


def test_the_floor_of_the_reference_acts_in_one_trace():
    """Without it the last step would be another one."""
    trace, steps = 'search_floor', GOLDEN['search_floor/step_column0']
    theta = GOLDEN[f'{trace}/theta'][7].reshape(12, 2)
    best = GOLDEN[f'{trace}/u'][7, GOLDEN[f'{trace}/best'][7]]
    score = searchers.beta_score(theta, best).reshape(-1, 1)
    curvature = -block_diag(*searchers.fisher(theta))
    without = np.linalg.inv(score @ score.T + curvature) * score
    assert not np.allclose(without[:, 0], steps[7], rtol=1e-3, atol=1e-6)


def test_the_reference_has_the_draws_and_steps_of_the_specification():
    searcher = make_searcher('reference', population=2, seed=1)
    found = searcher.ask()
    np.testing.assert_allclose(found, numbers(DRAWS, 2, 12), atol=6e-7)
    score = searchers.beta_score(searcher.theta, found[0])
    inverse = searchers.inverse_fisher(searcher.theta)
    q = np.einsum('di,dij,dj->', score, inverse, score)
    assert q == pytest.approx(28.93394, abs=1e-5)
    searcher.tell(found, [1, 0])
    expected = numbers(STEPPED, 12, 2)
    np.testing.assert_allclose(searcher.theta, expected, atol=6e-7)


def test_the_matrix_product_would_be_a_natural_gradient():
    """(s s^T - F)^-1 s = F^-1 s / (q - 1), of which `matmul` has the rest."""
    theta = np.ones((12, 2))
    score = searchers.beta_score(theta, numbers(DRAWS, 2, 12)[0]).ravel()
    information = block_diag(*searchers.fisher(theta))
    natural = np.linalg.solve(information, score)
    found = np.linalg.solve(np.outer(score, score) - information, score)
    expected = natural / (score @ natural - 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    # Only six digits of the draws are known.
    np.testing.assert_allclose(
        np.maximum(1 + found, 1)[:6],
        [1.019474, 1.032924, 1.026694, 1.033044, 1, 1.022169],
        atol=2e-6,
    )


def test_the_last_of_equally_good_candidates_moves_the_reference():
    first, second = (
        make_searcher('reference', seed=2),
        make_searcher('reference', seed=2),
    )
    candidates = first.ask()
    first.tell(candidates, [0, 1, 0, 1, 0, -np.inf, 1, 0])
    second.tell(candidates, [0, 0, 0, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(first.theta, second.theta)


def test_the_reference_takes_a_candidate_at_a_corner():
    searcher = make_searcher('reference', population=2)
    searcher.tell([[0.0] * 12, [1.0] * 12], [0, 1])
    assert np.isfinite(searcher.theta).all()
    assert np.isfinite(searcher.ask()).all()


@pytest.mark.parametrize(
    ('theta', 'score', 'information'),
    [
        (
            (1, 1),
            (-0.2039728, 0.6433251),
            ((1, -0.6449341), (-0.6449341, 1)),
        ),
        (
            (2, 3),
            (-0.1206395, 0.2266584),
            ((0.4236111, -0.2213230), (-0.2213230, 0.1736111)),
        ),
    ],
)
def test_the_score_of_a_beta_distribution(theta, score, information):
    theta = np.array([theta], float)
    found = searchers.beta_score(theta, np.array([0.3]))
    np.testing.assert_allclose(found, [score], atol=6e-8)
    found = searchers.fisher(theta)
    np.testing.assert_allclose(found, [information], atol=6e-8)


def test_the_score_is_the_derivative_of_the_density():
    from scipy.stats import beta

    theta, points = thetas(), np.full(44, 0.3)
    found = searchers.beta_score(theta, points)
    for i in range(2):
        small = 1e-5 * np.eye(2)[i]
        ends = [
            beta.logpdf(points, *(theta + sign * small).T) for sign in (1, -1)
        ]
        numeric = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(found[:, i], numeric, rtol=1e-5, atol=1e-5)


def test_the_fisher_information_has_a_closed_inverse():
    theta = thetas()
    expected = np.linalg.inv(searchers.fisher(theta))
    found = searchers.inverse_fisher(theta)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
