"""A picture of a search."""

from typing import Any

import numpy as np

from ieg.config import Config
from ieg.search.store import Store
from ieg.training import keep


def draw(
    path: str,
    store: Store,
    outcome: dict[str, Any],
    epochs: int,
    config: Config,
) -> None:
    """Draws the scores of all trials, and the keep schedule that was found.

    Args:
        path: of the PNG file.
        store: the trials.
        outcome: of the search.
        epochs: of a trial.
        config: what was searched around.
    """
    from matplotlib.figure import Figure

    scheduled = 'keep_schedule' in str(outcome['options'])
    figure = Figure(figsize=(10 if scheduled else 5, 4), layout='constrained')
    axes = np.atleast_1d(figure.subplots(1, 2 if scheduled else 1))
    _progress(axes[-1], store)
    if scheduled:
        _schedules(axes[0], outcome, epochs, config)
    figure.savefig(f'{path}.tmp', format='png', dpi=120)
    import os

    os.replace(f'{path}.tmp', path)


def _progress(axes: Any, store: Store) -> None:
    """Draws the score of each trial and the best so far."""
    names = [n for n, t in store.trials.items() if t.stage != 'again']
    scores = np.array([store.results[name].score for name in names])
    places = np.arange(len(names))
    ended = scores >= 0
    axes.plot(places[ended], scores[ended], '.', label='trial')
    if ended.any():
        best = np.maximum.accumulate(np.where(ended, scores, -np.inf))
        axes.step(places, best, where='post', label='best so far')
    for place in places[~ended]:
        axes.axvline(place, color='0.85', zorder=0)
    axes.set_xlabel('trial (grey: given up)')
    axes.set_ylabel('accuracy on noisy validation labels')
    axes.legend()


def _schedules(
    axes: Any, outcome: dict[str, Any], epochs: int, config: Config
) -> None:
    """Draws the keep rate that was found beside the configured one."""
    options = config.method
    rate = options.noise_rate
    tau = 0.0 if rate == 'auto' else float(rate)
    for label, found in (
        ('as configured (Co-teaching)', {}),
        (f'found: trial {outcome["trial"]}', outcome['options']),
    ):
        factor = found.get('tau_multiplier', options.tau_multiplier)
        schedule = keep.parse(
            found.get('keep_schedule', options.keep_schedule),
            tau * factor,
            options.num_gradual,
            options.exponent,
        )
        axes.plot(np.clip(schedule.rates(epochs), 0, 1), label=label)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel('epoch')
    axes.set_ylabel('keep rate R')
    axes.legend()
