"""The files of a search, and its printed and drawn summary.

`search.json` has its options, `trials.jsonl` the finished trials.
A resumed search asks its searcher for the same candidates again, and takes the
results of finished trials from these files.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ieg.errors import UsageError
from ieg.utils.files import (
    append,
    atomic_open,
    atomic_write,
    clear_leftovers,
    from_json,
)

# Score of a trial without an accuracy.
LOWEST = -2.0
HEAD, TRIALS, BEST = 'search.json', 'trials.jsonl', 'best.json'
# Rows of the printed table, and characters of the options in one.
SHOWN_TRIALS = 10
WIDTH = 50


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training with some options.

    Attributes:
        name: unique in the search; part of the folder's name.
        stage: 'warm', 'search', or 'again' for a repetition.
        options: options that differ from the configuration.
        seed: seed of the training.
        point: the candidate `[d]` of the searcher, if it proposed the trial.
    """

    name: str
    stage: str
    options: dict[str, Any]
    seed: int
    point: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a trial.

    Attributes:
        status: 'done'; 'stopped' (hopeless); 'same' as an earlier trial;
            'refused' (invalid options) or 'failed'.
        score: mean validation accuracy of the last epochs. It is the accuracy
            so far minus 1 for a stopped trial, and `LOWEST` for a trial without
            any, so that these rank lower.
        epochs: number of trained epochs.
        seconds: duration of the training.
        remark: the reason, or the name of the earlier trial.
    """

    status: str
    score: float
    epochs: int = 0
    seconds: float = 0.0
    remark: str = ''


class Store:
    """The folder of a search.

    Args:
        folder: the folder; created if it does not exist.
        head: options that identify the search, which JSON can hold.
        introduced: values of options that are newer than a search.

    Raises:
        UsageError: the folder has another search, or cannot be read.
    """

    def __init__(
        self,
        folder: str,
        head: dict[str, Any],
        introduced: Mapping[str, Any],
    ):
        self.folder = folder
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f'The folder {folder} cannot be created ({error.strerror}): '
                'choose another --checkpoint_path.'
            ) from error
        self._check(json.loads(json.dumps(head)), introduced)
        clear_leftovers(folder)
        self.results: dict[str, Result] = {}
        self.trials: dict[str, Trial] = {}
        text = ''
        for line in self._lines():
            # Drops a line that was cut off when the process was killed.
            with contextlib.suppress(ValueError, TypeError, KeyError):
                entry = from_json(line)
                trial = Trial(**entry['trial'])
                self.results[trial.name] = Result(**entry['result'])
                self.trials[trial.name] = trial
                text += f'{line}\n'
        atomic_write(self._path(TRIALS), text)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _check(
        self, head: dict[str, Any], introduced: Mapping[str, Any]
    ) -> None:
        path = self._path(HEAD)
        if not os.path.exists(path):
            atomic_write(path, json.dumps(head, indent=1) + '\n')
            return
        try:
            with open(path, encoding='utf-8') as file:
                saved = dict(from_json(file.read()))
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f'{path} cannot be read: delete the folder {self.folder} to '
                'start a new search.'
            ) from error
        saved = {name: introduced.get(name) for name in head} | saved
        for name, value in saved.items():
            if value != head.get(name):
                raise UsageError(
                    f'{self.folder} has a search with other options: {name} '
                    f'was {value!r} and is now {head.get(name)!r}. Use the '
                    'old values, or name another run folder with --run_name.'
                )

    def _lines(self) -> list[str]:
        path = self._path(TRIALS)
        if not os.path.exists(path):
            return []
        # A crash of the machine can corrupt the end.
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().splitlines()

    def trial_folder(self, trial: Trial) -> str:
        """Returns the run folder of a trial."""
        return os.path.join(self.folder, f'trial_{trial.name}')

    def known(self, trial: Trial) -> Result | None:
        """Returns the result of a trial, or None if it has not finished.

        Raises:
            UsageError: the recorded trial of this name has other options.
        """
        recorded = self.trials.get(trial.name)
        if recorded is None:
            return None
        if recorded != trial:
            raise UsageError(
                f'{self._path(TRIALS)}: trial {trial.name} does not belong to '
                f'this search: delete the folder {self.folder} to start a new '
                'search.'
            )
        return self.results[trial.name]

    def append(self, trial: Trial, result: Result) -> None:
        """Records a finished trial."""
        entry = {
            'trial': dataclasses.asdict(trial),
            'result': dataclasses.asdict(result),
        }
        append(self._path(TRIALS), json.dumps(entry) + '\n')
        self.trials[trial.name] = trial
        self.results[trial.name] = result

    def tidy(self, trial: Trial) -> None:
        """Deletes the checkpoints of a recorded trial; its log is kept.

        Until the trial is recorded, it is resumed from them.
        """
        checkpoints = os.path.join(self.trial_folder(trial), 'checkpoints')
        shutil.rmtree(checkpoints, ignore_errors=True)

    def finish(self, outcome: dict[str, Any]) -> None:
        """Records the outcome of the search."""
        atomic_write(self._path(BEST), json.dumps(outcome, indent=1) + '\n')


def outcome(folder: str) -> dict[str, Any]:
    """Returns the outcome that `Store.finish` recorded in a folder.

    Raises:
        UsageError: the search has not finished.
    """
    path = os.path.join(folder, BEST)
    try:
        with open(path, encoding='utf-8') as file:
            return dict(from_json(file.read()))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f'The search in {folder} has not finished: train first with the '
            'same flags and --mode=train.'
        ) from error


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
            return [from_json(line)['keep_rate'] for line in file]
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
    axes.set_xlabel('trial (gray: stopped)')
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
