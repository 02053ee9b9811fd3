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
from ieg import run_folder
from ieg.config import Config
from ieg.data.dataset import Opened
from ieg.errors import RunError, UsageError
from ieg.options import SearchConfig
from ieg.registry import SEARCHERS
from ieg.search import (
    searchers,  # noqa: F401  # Registers the built-in ones.
    store,
    summary,
)
from ieg.search.pool import Pool
from ieg.search.runner import Facts, Runner
from ieg.search.space import Warm, make_space, shorten
from ieg.search.store import Result, Store, Trial
from ieg.training import devices
from ieg.utils.randomness import generator

# How long a search is; it can become longer until something was trained.
LENGTHS = ('search_iterations', 'search_again')


def search(
    config: Config,
    plugins: Sequence[str] = (),
    opened: Opened | None = None,
) -> Config:
    """Searches, and returns the configuration of the final training.

    Goes on from where an earlier call with the same configuration ended.

    Args:
        config: with `search.search`.
        plugins: modules that its names come from.
        opened: the data set, if it has been opened already.

    Raises:
        UsageError: the options do not fit, or the folder is of another search.
        RunError: no trial came to an end, or files cannot be written.
    """
    _check(config)
    run_folder.make_folder(ieg_config.folder_of(config))
    _check_training(config)
    try:
        # Trials may train in this process.
        with devices.restoring():
            outcome = _Search(config, plugins, opened).run()
    except OSError as error:
        # Such as a full disk.
        raise RunError(
            f'The search stopped ({error}); the same command goes on from here.'
        ) from error
    return final_config(config, outcome['options'])


def found(config: Config) -> Config:
    """Returns the configuration that a finished search led to.

    Raises:
        UsageError: it is not finished.
    """
    return final_config(config, store.outcome(folder_of(config))['options'])


def folder_of(config: Config) -> str:
    """Returns the folder of a search, in the run folder."""
    return os.path.join(ieg_config.folder_of(config), 'search')


def final_config(config: Config, options: dict[str, Any]) -> Config:
    """Returns a configuration with options that were searched for."""
    values = config.flat() | vars(SearchConfig()) | options
    return ieg_config.resolve(values)


def trial_options(config: Config) -> dict[str, Any]:
    """Returns the options that all trials of a search have in common.

    Raises:
        UsageError: trials cannot be as short as asked for.
    """
    values = config.flat() | vars(SearchConfig())
    values |= {'mode': 'train', 'restore_step': 0, 'eval_every': 1}
    if config.search.search_epochs:
        values |= shorten(config, config.search.search_epochs)
    if config.run.distribution_strategy == 'auto':
        # One GPU each, so that it does not matter how many train at a time.
        values['distribution_strategy'] = 'default'
    return values


def _check(config: Config) -> None:
    SEARCHERS.get(config.search.searcher)
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
    mirrored = config.run.distribution_strategy == 'mirrored'
    if mirrored and config.search.parallel_trials > 1:
        raise UsageError(
            '--parallel_trials gives each trial a GPU and '
            '--distribution_strategy=mirrored gives it all of them; leave one '
            'of the two away.'
        )


def _check_training(config: Config) -> None:
    """Makes sure that the outcome of the search can be trained.

    Raises:
        UsageError: the run folder holds another training.
    """
    folder = ieg_config.folder_of(config)
    checkpoints = os.path.join(folder, 'checkpoints')
    if not os.path.isdir(checkpoints):
        return
    try:
        outcome = store.outcome(folder_of(config))
    except UsageError as error:
        raise UsageError(
            f'{folder} holds a training that no search led to; use another '
            '--checkpoint_path or --seed.'
        ) from error
    for name in LENGTHS:
        here, there = getattr(config.search, name), outcome.get(name)
        if here != there:
            raise UsageError(
                f'{folder} holds a training that the search led to with '
                f'--{name}={there}; use that, or move {checkpoints} away to '
                'search on.'
            )


class _Search:
    """One search: what it asks, trains and remembers."""

    def __init__(
        self, config: Config, plugins: Sequence[str], opened: Opened | None
    ):
        self._config = config
        options = trial_options(config)
        trial_config = ieg_config.resolve(options)
        self._space = make_space(config.search.search, trial_config)
        self._store = Store(folder_of(config), self._head(trial_config))
        size = config.search.parallel_trials
        self._workers = (
            Runner(trial_config, opened)
            if size == 1
            else Pool(options, plugins, size)
        )
        self._seen: dict[str, str] = {}
        self._facts: Facts | None = None
        self._bar: tqdm | None = None

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
        try:
            self._facts = self._workers.facts()
            warm = self._space.warm(self._facts.epochs)
            total = self._total(len(warm))
            self._tell_length(total)
            with tqdm(total=total, desc='search', disable=None) as self._bar:
                self._warm_up(warm)
                self._iterate(warm)
                best, scores = self._repeat()
        finally:
            self._workers.close()
        return self._finish(best, scores)

    def _total(self, warm: int) -> int:
        asked = self._config.search
        searched = asked.search_iterations * asked.search_population
        # One more if the configuration is not among the best.
        return warm + searched + asked.search_again

    def _warm_up(self, warm: Sequence[Warm]) -> None:
        seed = self._config.train.seed
        self._train(
            [
                Trial(str(number), 'warm', dict(start.options), seed)
                for number, start in enumerate(warm)
            ]
        )

    def _iterate(self, warm: Sequence[Warm]) -> None:
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
        good to be true. The configuration itself is always among them: what
        is chosen must beat it twice on average.
        """
        ranked = self.ranking()
        if not ranked:
            remark = self._store.results['0'].remark
            raise RunError(f'No trial came to an end; the first one: {remark}')
        best = ranked[: self._config.search.search_again]
        best += [t for t in ranked if t.name == '0' and t not in best]
        seed = generator(self._config.train.seed, 'again').integers(2**31)
        again = [
            Trial(f'{trial.name}_again', 'again', trial.options, int(seed))
            for trial in best
        ]
        self._train(again)
        scores = [self._scores(trial.name) for trial in best]
        winner = int(np.argmax([np.mean(pair) for pair in scores]))
        return best[winner], scores[winner]

    def _scores(self, name: str) -> list[float]:
        """Returns the scores of a trial: the first one, and that of `again`."""
        names = (name, f'{name}_again')
        results = self._store.results
        return [results[n].score for n in names if n in results]

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
        twins = {trial.name: self._twin(trial) for trial in trials}
        trained = self._workers.run(
            [
                (trial, self._store.trial_folder(trial))
                for trial in trials
                if not self._store.known(trial) and not twins[trial.name]
            ]
        )
        for trial in trials:
            if not self._store.known(trial):
                twin = twins[trial.name]
                result = self._same(twin) if twin else next(trained)[1]
                self._store.append(trial, result)
            self._store.tidy(trial)
            self._show(trial)
        return [self._store.results[trial.name] for trial in trials]

    def _twin(self, trial: Trial) -> str | None:
        """Returns the name of an earlier trial that does the same."""
        facts = self._facts
        key = self._space.key(trial.options, facts.epochs, facts.batch_size)
        key = f'{trial.seed} {key}'
        name = self._seen.setdefault(key, trial.name)
        return None if name == trial.name else name

    def _same(self, twin: str) -> Result:
        return Result('same', self._store.results[twin].score, remark=twin)

    # What is told.

    def _tell_length(self, total: int) -> None:
        """Says how long it will take, the final training included."""
        facts, train = self._facts, self._config.train
        done = len(self._store.results)
        time = 'none is left'
        if done < total:
            epochs = (total - done) * facts.epochs
            # On a processor trials at a time share it.
            if devices.has_gpu():
                epochs /= self._config.search.parallel_trials
            epochs += train.max_epoch
            epochs += train.max_iteration / facts.steps_per_epoch
            time = summary.duration(epochs * self._workers.seconds())
            time = f'about {time} with the final training, evaluations aside'
        print(
            f'Search: about {total} trials of {facts.epochs} epochs, {done} of '
            f'them done; {time}.',
            file=sys.stderr,
            flush=True,
        )

    def _show(self, trial: Trial) -> None:
        result = self._store.results[trial.name]
        best = max(r.score for r in self._store.results.values())
        self._bar.set_postfix_str(f'best {best:.4f}')
        self._bar.update()
        if self._bar.disable:
            line = summary.line(trial, result)
            print(line, file=sys.stderr, flush=True)

    def _finish(self, best: Trial, scores: list[float]) -> dict[str, Any]:
        asked = self._config.search
        outcome = {
            'trial': best.name,
            'options': best.options,
            'score': float(np.mean(scores)),
            'scores': scores,
            'score_as_configured': float(np.mean(self._scores('0'))),
            'trials': len(self._store.results),
        } | {name: getattr(asked, name) for name in LENGTHS}
        self._store.finish(outcome)
        folder = ieg_config.folder_of(self._config)
        try:
            summary.draw(os.path.join(folder, 'search.png'), self._store, best)
        except ImportError:
            print('No search.png: install matplotlib.', file=sys.stderr)
        print(summary.table(self._store, self.ranking(), best))
        return outcome
