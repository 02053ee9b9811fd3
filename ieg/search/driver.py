"""The search for good options that comes before a training.

First what is known to be worth a trial, then what a searcher asks for, then
the best ones again with other seeds. Scores are accuracies on a part of the
*noisy* training data that trials do not learn from; trials never see the test
split.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from ieg import config as ieg_config
from ieg import experiment
from ieg.config import Config
from ieg.errors import RunError, UsageError
from ieg.options import SearchConfig
from ieg.randomness import generator
from ieg.registry import SEARCHERS
from ieg.search import (
    plots,
    searchers,  # noqa: F401  # Registers them.
    store,
)
from ieg.search.pool import Pool
from ieg.search.runner import Facts, Runner
from ieg.search.space import Space, make_space
from ieg.search.store import Result, Store, Trial

SHOWN_TRIALS = 10


def search(config: Config, plugins: Sequence[str] = ()) -> Config:
    """Searches, and returns the configuration of the final training.

    Goes on from where an earlier call with the same configuration ended.

    Args:
        config: with `search.search`.
        plugins: modules that its names come from.

    Raises:
        UsageError: the options do not fit, or the folder is of another search.
        RunError: no trial came to an end.
    """
    _check(config)
    space = make_space(config)
    experiment.make_folder(experiment.run_folder(config))
    found = _Search(config, space, plugins).run()
    return final_config(config, found['options'])


def found(config: Config) -> Config:
    """Returns the configuration that a finished search led to.

    Raises:
        UsageError: it is not finished.
    """
    return final_config(config, store.outcome(folder_of(config))['options'])


def folder_of(config: Config) -> str:
    """Returns the folder of a search, in the run folder."""
    return os.path.join(experiment.run_folder(config), 'search')


def final_config(config: Config, options: dict[str, Any]) -> Config:
    """Returns a configuration with options that were searched for."""
    values = config.flat() | vars(SearchConfig()) | options
    return ieg_config.resolve(values)


def _check(config: Config) -> None:
    if not config.data.valid_ratio:
        raise UsageError(
            'A search compares trials on a part of the noisy training data; '
            'hold it out with --valid_ratio (0.1 is usual).'
        )
    if os.environ.get('TF_CONFIG'):
        raise UsageError(
            'A search runs on one machine; unset TF_CONFIG, and search with '
            '--parallel_trials.'
        )


class _Search:
    """One search: what it asks, trains and remembers."""

    def __init__(self, config: Config, space: Space, plugins: Sequence[str]):
        self._config = config
        self._space = space
        self._options = self._trial_options()
        self._trial_config = ieg_config.resolve(self._options)
        size = config.search.parallel_trials
        self._workers = (
            Runner(self._trial_config)
            if size == 1
            else Pool(self._options, plugins, size)
        )
        self._store = Store(folder_of(config), self._head(self._trial_config))
        self._seen: dict[str, str] = {}
        self._facts: Facts | None = None
        self._bar: tqdm | None = None

    def _trial_options(self) -> dict[str, Any]:
        """Returns the options that all trials have in common."""
        config = self._config
        values = config.flat() | vars(SearchConfig())
        values |= {'mode': 'train', 'restore_step': 0, 'eval_every': 1}
        if config.search.search_epochs:
            values |= self._space.shorten(config.search.search_epochs)
        return values

    def _head(self, trial: Config) -> dict[str, Any]:
        """Returns what must agree for a search to be continued."""
        asked = self._config.search
        found = {
            'search': asked.search,
            'searcher': asked.searcher,
            'search_population': asked.search_population,
        }
        length = (trial.train.max_epoch, trial.train.max_iteration)
        return found | {'length': list(length)} | trial.identity(1)

    # The course of it.

    def run(self) -> dict[str, Any]:
        """Makes all trials that are missing; returns the outcome."""
        asked = self._config.search
        warm = self._space.warm()
        total = len(warm) + asked.search_iterations * asked.search_population
        total += asked.search_again
        self._facts = self._workers.facts(
            os.path.join(self._store.folder, 'measure')
        )
        self._tell_length(total)
        self._bar = tqdm(total=total, desc='search', disable=None)
        try:
            self._warm_up(warm)
            self._iterate(warm)
            best, scores = self._repeat()
        finally:
            self._bar.close()
            if isinstance(self._workers, Pool):
                self._workers.close()
        return self._finish(best, scores)

    def _warm_up(self, warm: Sequence[Any]) -> None:
        seed = self._config.train.seed
        self._train(
            [
                Trial(str(number), 'warm', dict(start.options), seed)
                for number, start in enumerate(warm)
            ]
        )

    def _iterate(self, warm: Sequence[Any]) -> None:
        asked, seed = self._config.search, self._config.train.seed
        scores = [self._store.results[str(n)].score for n in range(len(warm))]
        searcher = SEARCHERS.get(asked.searcher)(
            self._space.dimension,
            asked.search_population,
            seed,
            start=warm[int(np.argmax(scores))].point,
        )
        number = len(warm)
        for _ in range(asked.search_iterations):
            points = searcher.ask()
            trials = [
                Trial(
                    str(number + place),
                    'search',
                    self._space.decode(point),
                    seed,
                    [float(coordinate) for coordinate in point],
                )
                for place, point in enumerate(points)
            ]
            number += len(trials)
            results = self._train(trials)
            searcher.tell(points, np.array([r.score for r in results]))

    def _repeat(self) -> tuple[Trial, list[float]]:
        """Trains the best ones again; returns the best of them on average.

        The best of many is best by luck as well, so its score alone is too
        good to be true.
        """
        ranked = self.ranking()
        if not ranked:
            remarks = [r.remark for r in self._store.results.values()]
            raise RunError(
                'No trial of the search came to an end. The first one: '
                f'{remarks[0] or "hopeless"}'
            )
        best = ranked[: self._config.search.search_again]
        seed = generator(self._config.train.seed, 'again').integers(2**31)
        again = [
            Trial(f'{trial.name}_again', 'again', trial.options, int(seed))
            for trial in best
        ]
        results = self._train(again)
        scores = [
            [self._store.results[trial.name].score, result.score]
            for trial, result in zip(best, results, strict=True)
        ]
        winner = int(np.argmax([np.mean(pair) for pair in scores]))
        return best[winner], scores[winner]

    def ranking(self) -> list[Trial]:
        """Returns the trials that came to an end, best first."""
        done = [
            trial
            for name, trial in self._store.trials.items()
            if trial.stage != 'again'
            and self._store.results[name].status == 'done'
        ]
        return sorted(
            done, key=lambda trial: -self._store.results[trial.name].score
        )

    # Trials.

    def _train(self, trials: Sequence[Trial]) -> list[Result]:
        """Returns how trials end; trains those that nobody has trained."""
        missing, first = [], {}
        for trial in trials:
            twin = self._twin(trial)
            if self._store.known(trial) is None and twin is None:
                missing.append((trial, self._store.trial_folder(trial)))
            first[trial.name] = twin
        trained = iter(self._results(missing))
        for trial in trials:
            if self._store.known(trial) is None:
                twin = first[trial.name]
                if twin is None:
                    _, result = next(trained)
                else:
                    score = self._store.results[twin].score
                    result = Result('same', score, remark=twin)
                self._store.append(trial, result)
            self._show(trial)
        return [self._store.results[trial.name] for trial in trials]

    def _twin(self, trial: Trial) -> str | None:
        """Returns the name of an earlier trial that does the same."""
        facts = self._facts
        key = self._space.key(trial.options, facts.epochs, facts.batch_size)
        key = f'{trial.seed} {key}'
        name = self._seen.setdefault(key, trial.name)
        return None if name == trial.name else name

    def _results(self, missing):
        if isinstance(self._workers, Pool):
            return self._workers.run(missing)
        return ((t, self._workers.run(t, f)) for t, f in missing)

    # What is told.

    def _tell_length(self, total: int) -> None:
        done = len(self._store.results)
        parallel = self._config.search.parallel_trials
        facts = self._facts
        # Those that train at the same time share the processor.
        hours = max(total - done, 0) * facts.seconds / 3600
        if parallel > 1 and experiment.assembly.has_gpu():
            hours /= parallel
        time = f'{hours:.1f} h' if hours >= 1 else f'{60 * hours:.0f} min'
        print(
            f'Search: {total} trials of {facts.epochs} epochs, {done} of them '
            f'done; about {time}, evaluations not counted.',
            file=sys.stderr,
            flush=True,
        )

    def _show(self, trial: Trial) -> None:
        result = self._store.results[trial.name]
        best = max(r.score for r in self._store.results.values())
        self._bar.set_postfix_str(f'best {best:.4f}')
        self._bar.update()
        if self._bar.disable:
            print(
                f'trial {trial.name} ({trial.stage}): {result.status}, score '
                f'{result.score:.4f} ({result.seconds:.0f} s)',
                file=sys.stderr,
                flush=True,
            )

    def _finish(self, best: Trial, scores: list[float]) -> dict[str, Any]:
        base = self._store.results['0'].score
        outcome = {
            'trial': best.name,
            'options': best.options,
            'score': float(np.mean(scores)),
            'scores': scores,
            'score_as_configured': base,
            'trials': len(self._store.results),
        }
        self._store.finish(outcome)
        plots.draw(
            os.path.join(experiment.run_folder(self._config), 'search.png'),
            self._store,
            outcome,
            self._facts.epochs,
            self._trial_config,
        )
        print(self._table(best))
        return outcome

    def _table(self, best: Trial) -> str:
        lines = [f'{"trial":<8}{"score":<9}{"again":<9}options']
        for trial in self.ranking()[:SHOWN_TRIALS]:
            again = self._store.results.get(f'{trial.name}_again')
            options = ' '.join(f'{k}={v}' for k, v in trial.options.items())
            lines.append(
                f'{trial.name:<8}'
                f'{self._store.results[trial.name].score:<9.4f}'
                f'{"-" if again is None else format(again.score, ".4f"):<9}'
                f'{_short(options) or "as configured"}'
                f'{"   <- chosen" if trial == best else ""}'
            )
        return '\n'.join(lines)


def _short(text: str, width: int = 50) -> str:
    return text if len(text) <= width else f'{text[: width - 3]}...'
