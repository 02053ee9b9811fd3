"""Searches for good options before the final training.

The trials are the configured options and other promising ones, then the
candidates of a searcher, then the best ones again with another seed. The score
is the accuracy on *noisy* validation labels; trials never see the test split.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from ieg import config as ieg_config
from ieg import results, run_folder
from ieg.config import Config
from ieg.data.dataset import Opened
from ieg.errors import RunError, UsageError
from ieg.options import DataConfig, SearchConfig, TrainConfig
from ieg.registry import SEARCHERS, introduced
from ieg.search import (
    searchers,  # noqa: F401  # Registers them.
    store,
)
from ieg.search.pool import Pool
from ieg.search.runner import Facts, Runner
from ieg.search.space import Warm, make_space, shorten
from ieg.search.store import Result, Store, Trial
from ieg.training import devices
from ieg.utils.interrupt import Interrupt, Interrupted
from ieg.utils.randomness import generator


def search(
    config: Config,
    plugins: Sequence[str] = (),
    opened: Opened | None = None,
    interrupt: Interrupt | None = None,
) -> Config:
    """Searches, and returns the configuration of the final training.

    Resumes an earlier search with the same configuration.

    Args:
        config: a configuration with `search.search`.
        plugins: modules that register names of the configuration.
        opened: the data set, if it has been opened already.
        interrupt: asked whether to stop; None for never.

    Raises:
        Interrupted: `interrupt` received a signal.
        UsageError: the options do not fit together, or the folder has another
            search.
        RunError: no trial finished.
        OSError: files cannot be written.
    """
    check(config)
    interrupt = interrupt or Interrupt()
    try:
        with (
            run_folder.writing(ieg_config.folder_of(config)),
            # Trials may run in this process.
            devices.restoring(),
        ):
            _check_training(config)
            outcome = _Search(config, plugins, opened, interrupt).run()
    except Interrupted:
        interrupt.kept = 'the search'
        raise interrupt.error() from None
    interrupt.kept = 'after the search'
    return final_config(config, outcome['options'])


def found(config: Config) -> Config:
    """Returns the configuration of the final training after a search.

    Raises:
        UsageError: the search has not finished.
    """
    return final_config(config, store.outcome(folder_of(config))['options'])


def folder_of(config: Config) -> str:
    """Returns the folder of a search inside the run folder."""
    return os.path.join(ieg_config.folder_of(config), 'search')


def final_config(config: Config, options: dict[str, Any]) -> Config:
    """Returns a configuration with the options that a search chose."""
    values = config.flat() | vars(SearchConfig()) | options
    return ieg_config.resolve(values)


def trial_options(config: Config) -> dict[str, Any]:
    """Returns the options that all trials of a search share.

    Raises:
        UsageError: `--search_epochs` does not fit the run.
    """
    values = config.flat() | vars(SearchConfig())
    values |= {'mode': 'train', 'restore_step': 0, 'eval_every': 1}
    if config.search.search_epochs:
        values |= shorten(config, config.search.search_epochs)
    if config.run.distribution_strategy == 'auto':
        # One GPU each, so that the number of parallel trials does not matter.
        values['distribution_strategy'] = 'default'
    return values


def check(config: Config) -> None:
    """Checks a search before any data is read.

    Raises:
        UsageError: the options do not suit a search.
    """
    SEARCHERS.get(config.search.searcher)
    if not config.data.valid_ratio:
        raise UsageError(
            '--search needs --valid_ratio (0.1 is usual): it compares trials '
            'on noisy labels that are held out.'
        )
    if os.environ.get('TF_CONFIG'):
        raise UsageError(
            '--search runs on one machine: unset TF_CONFIG, and use '
            '--parallel_trials.'
        )
    mirrored = config.run.distribution_strategy == 'mirrored'
    if mirrored and config.search.parallel_trials > 1:
        raise UsageError(
            '--parallel_trials gives one GPU to each trial, but '
            '--distribution_strategy=mirrored gives it all GPUs: use only one '
            'of the two.'
        )
    make_space(config.search.search, ieg_config.resolve(trial_options(config)))


def _check_training(config: Config) -> None:
    """Checks that the final training can follow in this run folder.

    Raises:
        UsageError: the run folder has another training.
    """
    folder = ieg_config.folder_of(config)
    checkpoints = os.path.join(folder, 'checkpoints')
    if not os.path.isdir(checkpoints):
        return
    try:
        outcome = store.outcome(folder_of(config))
    except UsageError as error:
        raise UsageError(
            f'{folder} has a training without a search: name another folder '
            'with --run_name.'
        ) from error
    for name, length in lengths(config.search).items():
        before = outcome.get(name)
        if length != before:
            raise UsageError(
                f'{folder} has a training after a search with '
                f'--{name}={before}: use that value, or move {checkpoints} '
                'away to extend the search.'
            )


def lengths(search: SearchConfig) -> dict[str, int]:
    """Returns the options that set the length of a search, by name.

    A search can be extended until its final training has started.
    """
    return {
        'search_iterations': search.search_iterations,
        'search_again': search.search_again,
    }


class _Search:
    """One search: its trials, and what is known of them."""

    def __init__(
        self,
        config: Config,
        plugins: Sequence[str],
        opened: Opened | None,
        interrupt: Interrupt,
    ):
        self._config = config
        options = trial_options(config)
        trial_config = ieg_config.resolve(options)
        self._space = make_space(config.search.search, trial_config)
        self._store = Store(
            folder_of(config),
            self._head(trial_config),
            introduced(DataConfig, TrainConfig, type(trial_config.method)),
        )
        size = config.search.parallel_trials
        self._workers = (
            Runner(trial_config, opened, interrupt)
            if size == 1
            else Pool(options, plugins, size)
        )
        self._seen: dict[str, str] = {}
        # Set by `run`.
        self._facts: Facts
        self._bar: tqdm

    def _head(self, trial: Config) -> dict[str, Any]:
        """Returns the options that a resumed search must have."""
        asked = self._config.search
        head = {
            'search': asked.search,
            'searcher': asked.searcher,
            'search_population': asked.search_population,
        }
        length = (trial.train.max_epoch, trial.train.max_iteration)
        return head | {'length': list(length)} | trial.identity(1)

    # Stages.

    def run(self) -> dict[str, Any]:
        """Runs the missing trials; returns the outcome."""
        folder = ieg_config.folder_of(self._config)
        if not run_folder.is_trained(folder):
            # The final training writes its own options.
            results.write_config(folder, self._config)
        try:
            self._facts = self._workers.facts()
            warm = self._space.warm(self._facts.epochs)
            total = self._total(len(warm))
            self._print_length(total)
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
        # One more if the configured options are not among the best.
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
        """Repeats the best trials; returns the best one and its scores.

        The score of the best of many trials is biased upwards, so trials are
        compared by the mean of two. The configured options are always among
        them.
        """
        ranked = self.ranking()
        if not ranked:
            remark = self._store.results['0'].remark
            raise RunError(f'No trial finished. The first one: {remark}')
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
        """Returns the score of a trial, and that of its repetition."""
        names = (name, f'{name}_again')
        results = self._store.results
        return [results[n].score for n in names if n in results]

    def ranking(self) -> list[Trial]:
        """Returns the finished trials, best first."""
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
        """Trains the trials that have no result; returns all results."""
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
        """Returns the name of an earlier, equivalent trial."""
        facts = self._facts
        key = self._space.key(trial.options, facts.epochs, facts.batch_size)
        key = f'{trial.seed} {key}'
        name = self._seen.setdefault(key, trial.name)
        return None if name == trial.name else name

    def _same(self, twin: str) -> Result:
        return Result('same', self._store.results[twin].score, remark=twin)

    # Output.

    def _print_length(self, total: int) -> None:
        """Prints the expected time, including the final training."""
        facts, train = self._facts, self._config.train
        done = len(self._store.results)
        time = 'no trials left'
        if done < total:
            epochs: float = (total - done) * facts.epochs
            # Parallel trials on a CPU share it.
            if devices.has_gpu():
                epochs /= self._config.search.parallel_trials
            epochs += train.max_epoch
            epochs += train.max_iteration / facts.steps_per_epoch
            time = store.duration(epochs * self._workers.seconds())
            time = f'about {time} with the final training, without evaluations'
        print(
            f'Search: about {total} trials of {facts.epochs} epochs, {done} '
            f'done; {time}.',
            file=sys.stderr,
            flush=True,
        )

    def _show(self, trial: Trial) -> None:
        result = self._store.results[trial.name]
        best = max(r.score for r in self._store.results.values())
        self._bar.set_postfix_str(f'best {best:.4f}')
        self._bar.update()
        if self._bar.disable:
            line = store.line(trial, result)
            print(line, file=sys.stderr, flush=True)

    def _finish(self, best: Trial, scores: list[float]) -> dict[str, Any]:
        outcome = {
            'trial': best.name,
            'options': best.options,
            'score': float(np.mean(scores)),
            'scores': scores,
            'score_as_configured': float(np.mean(self._scores('0'))),
            'trials': len(self._store.results),
        } | lengths(self._config.search)
        self._store.finish(outcome)
        folder = ieg_config.folder_of(self._config)
        try:
            store.draw(os.path.join(folder, 'search.png'), self._store, best)
        except ImportError:
            print('No search.png: install matplotlib.', file=sys.stderr)
        print(store.table(self._store, self.ranking(), best))
        return outcome
