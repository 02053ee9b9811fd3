"""How near the searchers come to a known keep schedule, without training.

    python benchmarks/search.py [--seeds=200]

The score of twelve numbers is minus the RMSE between the forget rate of
their S2E curve, clipped to [0, 1], and Co-teaching's ramp (T = 200, T_k = 10)
to the noise rate 0.2, 0.45 or 0.5; each seed is run on all three. A budget
of 2x20 is 20 iterations with 2 candidates each. "Best" is the best candidate
of a run, "sampled" the mean of all candidates of its last three iterations;
after +- the standard error over runs. "To random" is the geometric mean of
the ratio of a run's best to that of random search with the same seed, target
and budget (under 1 is better), "better" the share of runs with a ratio under
1. One core takes about a minute.
"""

import argparse

import numpy as np
from common import machine

from ieg.methods.keep_schedules import S2E_EPOCHS, KeepSchedule, s2e_curve
from ieg.registry import SEARCHERS
from ieg.search import searchers  # noqa: F401

EPOCHS = np.arange(S2E_EPOCHS)
TARGETS = (0.2, 0.45, 0.5)
# Candidates of an iteration, iterations.
BUDGETS = ((2, 20), (4, 10), (8, 5), (8, 12))
NAMES = ('random', 'reference', 'betanes')


def rmse(candidates: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the distances `[K]` of candidates `[K, 12]` to rates `[T]`."""
    rates = np.clip(s2e_curve(candidates, EPOCHS), 0, 1)
    return np.sqrt(np.mean((rates - target) ** 2, axis=-1))


def run(
    name: str, budget: tuple[int, int], seed: int, target: np.ndarray
) -> tuple[float, float]:
    """Returns the best RMSE of a search and the mean of its last samples."""
    population, iterations = budget
    searcher = SEARCHERS.get(name)(12, population, seed)
    errors = np.zeros((iterations, population))
    for i in range(iterations):
        candidates = searcher.ask()
        errors[i] = rmse(candidates, target)
        searcher.tell(candidates, -errors[i])
    return errors.min(), errors[-3:].mean()


def mean(values: np.ndarray, digits: int = 4) -> str:
    """Returns the mean of values and its standard error."""
    error = values.std(ddof=1) / np.sqrt(values.size)
    return f'{values.mean():.{digits}f} +- {error:.{digits}f}'


def ratio(values: np.ndarray, baseline: np.ndarray) -> str:
    """Returns the geometric mean of ratios, its error, and how many are < 1."""
    logs = np.log(values / baseline)
    centre = np.exp(logs.mean())
    error = centre * logs.std(ddof=1) / np.sqrt(logs.size)
    return f'{centre:.3f} +- {error:.3f} | {np.mean(logs < 0):.0%}'


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--seeds', type=int, default=200)
    args = parser.parse_args()
    targets = [
        KeepSchedule('reference_code', tau).rates(S2E_EPOCHS) for tau in TARGETS
    ]
    pairs = [(s, target) for target in targets for s in range(args.seeds)]
    print(f'{args.seeds} seeds for each of {TARGETS}; {machine()}')
    print('| budget | searcher | best | sampled | to random | better |')
    print('| --- | --- | --- | --- | --- | --- |')
    for budget in BUDGETS:
        found = {
            name: np.array([run(name, budget, *pair) for pair in pairs]).T
            for name in NAMES
        }
        for name, (best, sampled) in found.items():
            versus = ratio(best, found['random'][0])
            print(
                f'| {budget[0]}x{budget[1]} | {name} | {mean(best)} '
                f'| {mean(sampled, 3)} '
                f'| {"1 | " if name == "random" else versus} |'
            )


if __name__ == '__main__':
    main()
