"""A picture of a search."""

import json
import os
from typing import Any

import numpy as np

from ieg.search.store import Store, Trial


def draw(path: str, store: Store, best: Trial) -> None:
    """Draws the scores of all trials, and the keep rates that were found.

    Args:
        path: of the PNG file.
        store: the trials.
        best: the one that was chosen.

    Raises:
        ImportError: there is no Matplotlib.
    """
    from matplotlib.figure import Figure

    curves = {'as configured': _keep_rates(store, store.trials['0'])}
    if best.name != '0':
        curves[f'chosen: trial {best.name}'] = _keep_rates(store, best)
    curves = {label: rates for label, rates in curves.items() if rates}
    figure = Figure(figsize=(10 if curves else 5, 4), layout='constrained')
    axes = np.atleast_1d(figure.subplots(1, 2 if curves else 1))
    _progress(axes[-1], store)
    if curves:
        _schedules(axes[0], curves)
    figure.savefig(f'{path}.tmp', format='png', dpi=120)
    os.replace(f'{path}.tmp', path)


def _keep_rates(store: Store, trial: Trial) -> list[float]:
    """Returns the keep rate of each epoch, from the log of a trial.

    Empty where the method has none, or the log is gone.
    """
    path = os.path.join(store.trial_folder(trial), 'log.jsonl')
    try:
        with open(path, encoding='utf-8') as file:
            return [json.loads(line)['keep_rate'] for line in file]
    except (OSError, ValueError, KeyError):
        return []


def _progress(axes: Any, store: Store) -> None:
    """Draws the score of each trial and the best so far."""
    names = [n for n, t in store.trials.items() if t.stage != 'again']
    scores = np.array([store.results[name].score for name in names])
    places = np.arange(len(names))
    ended = scores >= 0
    axes.plot(places[ended], scores[ended], '.', label='trial')
    best = np.fmax.accumulate(np.where(ended, scores, np.nan))
    axes.step(places, best, where='post', label='best so far')
    for place in places[~ended]:
        axes.axvline(place, color='0.85', zorder=0)
    axes.set_xlabel('trial (grey: given up)')
    axes.set_ylabel('accuracy on noisy validation labels')
    axes.legend()


def _schedules(axes: Any, curves: dict[str, list[float]]) -> None:
    """Draws the keep rate that was found beside the configured one."""
    for label, rates in curves.items():
        axes.plot(np.arange(1, len(rates) + 1), rates, label=label)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel('epoch')
    axes.set_ylabel('keep rate R')
    axes.legend()
