"""The printed and drawn summary of a search."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.search.store import Result, Store, Trial
from ieg.utils.files import atomic_open

SHOWN_TRIALS = 10
WIDTH = 50


def line(trial: Trial, result: Result) -> str:
    """Returns a line about a finished trial."""
    remark = f' ({result.remark})' if result.remark else ''
    # The score of a stopped trial only ranks it.
    score = f', {result.score:.4f}' if result.score >= 0 else ''
    return (
        f'trial {trial.name}, {trial.stage}: {result.status}{remark}{score}, '
        f'{result.seconds:.0f} s'
    )


def table(store: Store, ranked: Sequence[Trial], best: Trial) -> str:
    """Returns a table of the best trials, and the number of each status.

    Args:
        store: all trials.
        ranked: the finished trials, best first.
        best: the chosen trial.
    """
    lines = [f'{"trial":<8}{"score":<9}{"again":<9}options']
    for trial in ranked[:SHOWN_TRIALS]:
        again = store.results.get(f'{trial.name}_again')
        options = ' '.join(f'{k}={v}' for k, v in trial.options.items())
        lines.append(
            f'{trial.name:<8}'
            f'{_score(store.results[trial.name]):<9}'
            f'{_score(again):<9}'
            f'{_short(options) or "as configured"}'
            f'{"   <- chosen" if trial == best else ""}'
        )
    more = len(ranked) - SHOWN_TRIALS
    lines += [f'and {more} more'] if more > 0 else []
    ends = Counter(result.status for result in store.results.values())
    counts = ', '.join(f'{count} {end}' for end, count in ends.items())
    return '\n'.join([*lines, f'{ends.total()} trials: {counts}'])


def duration(seconds: float) -> str:
    """Returns a duration as text."""
    if seconds >= 3600:
        return f'{seconds / 3600:.1f} h'
    return f'{max(seconds / 60, 1):.0f} min'


def _score(result: Result | None) -> str:
    return '-' if result is None or result.score < 0 else f'{result.score:.4f}'


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f'{text[: WIDTH - 3]}...'


def draw(path: str, store: Store, best: Trial) -> None:
    """Draws the scores of all trials, and the chosen keep rates.

    Args:
        path: path of the PNG file.
        store: the trials.
        best: the chosen trial.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    curves = {'as configured': _keep_rates(store, store.trials['0'])}
    if best.name != '0':
        curves[f'chosen: trial {best.name}'] = _keep_rates(store, best)
    curves = {label: rates for label, rates in curves.items() if rates}
    figure = Figure(figsize=(10 if curves else 5, 4), layout='constrained')
    axes = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    _progress(axes[-1], store)
    if curves:
        _schedules(axes[0], curves)
    with atomic_open(path, 'wb') as file:
        figure.savefig(file, format='png', dpi=120)


def _keep_rates(store: Store, trial: Trial) -> list[float]:
    """Returns the keep rate of each epoch, from the log of a trial.

    The list is empty if the method has none, or the log is missing.
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
    axes.set_xlabel('trial (grey: stopped)')
    axes.set_ylabel('accuracy on noisy validation labels')
    axes.legend()


def _schedules(axes: Any, curves: dict[str, list[float]]) -> None:
    """Draws the chosen keep rates and the configured ones."""
    for label, rates in curves.items():
        axes.plot(np.arange(1, len(rates) + 1), rates, label=label)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel('epoch')
    axes.set_ylabel('keep rate R')
    axes.legend()
