"""Searchers propose points of the unit cube, given the scores so far.

They have an ask-and-tell interface, so that the caller decides where and when
to train the candidates. Replaying the asks and tells restores a searcher.
"""

import abc
import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import linalg
from scipy.special import digamma, polygamma

from ieg.registry import SEARCHERS
from ieg.utils.randomness import generator

# Distance of candidates from 0 and 1, where the score function is infinite.
MARGIN = 1e-6
# Parameters of a Beta distribution: log-concave from 1 on, and Beta(200, 200)
# has a standard deviation of 0.025.
SMALLEST, LARGEST = 1.0, 200.0
# Length of the longest step, in the norm of the Fisher information.
LONGEST_STEP = 2.0
# Weight of a start point: mode at the point, Beta(2, 2) at one half.
START_WEIGHT = 2.0


@dataclasses.dataclass(eq=False)
class Searcher(abc.ABC):
    """Proposes candidates in [0, 1]^d and learns from their scores.

    Args:
        dimension: d.
        population: K, number of candidates per iteration.
        seed: seed of the candidates.
        start: a point `[d]` to start from; some searchers ignore it.

    Raises:
        ValueError: the start is not a point of the cube.
    """

    dimension: int
    population: int
    seed: int
    start: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._iteration = 0
        if self.start is not None:
            point = np.asarray(self.start, np.float64)
            in_cube = np.all((point >= 0) & (point <= 1))
            if point.shape != (self.dimension,) or not in_cube:
                raise ValueError(
                    f'start must be a point of [0, 1]^{self.dimension}, got '
                    f'{self.start}'
                )
            self.start = point

    def ask(self) -> np.ndarray:
        """Returns the candidates of the next iteration, float64 `[K, d]`."""
        candidates = self._draw(self._iteration)
        self._iteration += 1
        return candidates

    def tell(
        self, candidates: np.ndarray, scores: Sequence[float] | np.ndarray
    ) -> None:
        """Learns from candidates, asked for or not.

        Args:
            candidates: `[K, d]`; K may differ from the population.
            scores: `[K]`, larger is better, -inf for a failed trial.

        Raises:
            ValueError: the shapes do not match, or a score is NaN.
        """
        candidates = np.asarray(candidates, np.float64)
        scores = np.asarray(scores, np.float64)
        if candidates.shape != (len(scores), self.dimension):
            raise ValueError(
                f'candidates must have the shape [{len(scores)}, '
                f'{self.dimension}], got {list(candidates.shape)}'
            )
        if np.isnan(scores).any():
            raise ValueError(
                'scores must not be NaN; use -inf for failed trials'
            )
        if len(scores):
            self._learn(candidates, scores)

    @abc.abstractmethod
    def _draw(self, iteration: int) -> np.ndarray:
        """Returns candidates `[K, d]`; iterations count from 0."""

    @abc.abstractmethod
    def _learn(self, candidates: np.ndarray, scores: np.ndarray) -> None:
        """Learns from candidates `[K, d]` and their scores `[K]`, K > 0."""


@SEARCHERS.register('random')
class RandomSearch(Searcher):
    """Uniform candidates; ignores the scores and `start`."""

    def _draw(self, iteration: int) -> np.ndarray:
        rng = generator(self.seed, 'search', iteration)
        return rng.random((self.population, self.dimension))

    def _learn(self, candidates: np.ndarray, scores: np.ndarray) -> None:
        pass


@SEARCHERS.register('betanes')
class BetaNES(Searcher):
    """Natural gradient over Beta distributions, with weights by rank.

    The step of S2E (arXiv:1911.02377, first version), but with all candidates
    of an iteration instead of the best one, and a bound on its length. Only the
    order of the scores matters.

    Attributes:
        theta: parameters (a, b) of each coordinate, float64 `[d, 2]`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.theta = np.ones((self.dimension, 2))
        if self.start is not None:
            sides = np.stack([self.start, 1 - self.start], axis=-1)
            self.theta += START_WEIGHT * sides

    def _draw(self, iteration: int) -> np.ndarray:
        rng = generator(self.seed, 'search', iteration)
        a, b = self.theta.T
        return inside(rng.beta(a, b, size=(self.population, self.dimension)))

    def _learn(self, candidates: np.ndarray, scores: np.ndarray) -> None:
        if (scores == scores[0]).all():
            return  # Utilities are zero, apart from rounding.
        gradients = beta_score(self.theta, inside(candidates))
        ascent = np.einsum('k,kdi->di', utilities(scores), gradients)
        step = np.einsum('dij,dj->di', inverse_fisher(self.theta), ascent)
        # n^T F n of n = F^-1 g is n^T g.
        length = np.sqrt(max(np.sum(step * ascent), 0.0))
        step *= LONGEST_STEP / max(length, LONGEST_STEP)
        # Multiplicative, with one ceiling for both parameters of a coordinate:
        # an additive step that is clipped per parameter can reset a nearly
        # converged coordinate to uniform, and its ceiling moves the mean. To
        # first order both are equal.
        theta = np.maximum(self.theta * np.exp(step / self.theta), SMALLEST)
        excess = np.maximum(theta.max(axis=1, keepdims=True) / LARGEST, 1)
        self.theta = np.clip(theta / excess, SMALLEST, LARGEST)


@SEARCHERS.register('reference')
@dataclasses.dataclass(eq=False)
class ReferenceNewton(Searcher):
    """S2E's search as in its released code, for comparison.

    It differs from the paper's Newton step: the inverse of the Hessian is
    multiplied with the gradient element by element. Only the best candidate of
    each population counts, the last one of a tie; the recorded numbers do not
    contain a tie.

    Args:
        dimension: see `Searcher`.
        population: see `Searcher`.
        seed: seed of NumPy's legacy generator.
        start: ignored.
        delta: factor of the step.

    Attributes:
        theta: parameters (a, b) of each coordinate, float64 `[d, 2]`, at
            least 1 and without an upper bound.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.theta = np.ones((self.dimension, 2))
        self._random = np.random.RandomState(self.seed)

    def _draw(self, iteration: int) -> np.ndarray:
        del iteration
        a, b = self.theta.T[..., np.newaxis]
        # Three draws per coordinate; the last one is used.
        shape = (self.population, self.dimension, 3)
        return self._random.beta(a, b, size=shape)[..., 2]

    def _learn(self, candidates: np.ndarray, scores: np.ndarray) -> None:
        best = candidates[np.argsort(scores, kind='stable')[-1]]
        # Leaves all draws unchanged; the released code fails at 0 and 1.
        best = inside(best, np.finfo(np.float64).eps)
        step = newton_step(self.theta, best, len(scores))
        self.theta = np.maximum(self.theta + self.delta * step, SMALLEST)


def inside(points: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Returns points of any shape, clipped to [margin, 1 - margin]."""
    return np.clip(points, margin, 1 - margin)


def utilities(scores: np.ndarray) -> np.ndarray:
    """Returns the weight of each candidate, `[K]`; the sum is 0.

    By rank, as in CMA-ES and natural evolution strategies: the better half
    shares 1 logarithmically, then 1 / K is subtracted from all. Ties share
    their weights.

    Args:
        scores: larger is better, -inf allowed, `[K]`.
    """
    count = len(scores)
    ranks = np.arange(1, count + 1)
    shares = np.maximum(np.log(count / 2 + 1) - np.log(ranks), 0)
    shares = shares / shares.sum() - 1 / count
    _, group, sizes = np.unique(
        -scores, return_inverse=True, return_counts=True
    )
    # Groups are in the order of their ranks, the best one first.
    starts = np.cumsum(sizes) - sizes
    return (np.add.reduceat(shares, starts) / sizes)[group]


def beta_score(theta: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the gradient of log p(points; theta) by theta.

    Args:
        theta: parameters (a, b), `[d, 2]`.
        points: strictly between 0 and 1, `[..., d]`.

    Returns:
        score: `[..., d, 2]`.
    """
    logs = np.stack([np.log(points), np.log(1 - points)], axis=-1)
    return logs + digamma(theta.sum(axis=-1, keepdims=True)) - digamma(theta)


def fisher(theta: np.ndarray) -> np.ndarray:
    """Returns the Fisher information of theta `[d, 2]`, blocks `[d, 2, 2]`.

    It is minus the Hessian of log p, which is the same for every point.
    """
    shared = polygamma(1, theta.sum(axis=-1))[:, np.newaxis, np.newaxis]
    return polygamma(1, theta)[:, np.newaxis] * np.eye(2) - shared


def inverse_fisher(theta: np.ndarray) -> np.ndarray:
    """Returns the inverse of each block of `fisher`, `[d, 2, 2]`."""
    p, q = polygamma(1, theta).T
    r = polygamma(1, theta.sum(axis=-1))
    rows = np.array([[q - r, r], [r, p - r]]) / (p * q - r * (p + q))
    return np.moveaxis(rows, -1, 0)


def newton_step(theta: np.ndarray, best: np.ndarray, count: int) -> np.ndarray:
    """Returns the step that S2E's released code took.

    Args:
        theta: parameters (a, b), `[d, 2]`.
        best: the best candidate, `[d]`.
        count: number of candidates.

    Returns:
        step: `[d, 2]`.
    """
    score = beta_score(theta, best).reshape(-1, 1)
    curvature = -linalg.block_diag(*fisher(theta))
    left, singular, right = np.linalg.svd((score * score.T + curvature) / count)
    # Negative eigenvalues stay negative, but the inverse is bounded.
    floored = left @ np.diag(np.maximum(singular, 1e-5)) @ right
    product = np.linalg.inv(floored) * (score / count)
    return product[:, 0].reshape(theta.shape)
