"""The files of a search: `search.json` and `trials.jsonl`.

A resumed search asks its searcher for the same candidates again, and takes the
results of finished trials from these files.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from ieg.errors import UsageError
from ieg.utils.files import atomic_write

# Score of a trial without an accuracy.
LOWEST = -2.0
HEAD, TRIALS, BEST = 'search.json', 'trials.jsonl', 'best.json'


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
        self.results: dict[str, Result] = {}
        self.trials: dict[str, Trial] = {}
        lines = []
        for line in self._lines():
            entry = self._read(line)
            if entry is not None:
                lines.append(line)
                trial, result = entry
                self.trials[trial.name] = trial
                self.results[trial.name] = result
        # Drops a line that was cut off when the process was killed.
        text = ''.join(f'{line}\n' for line in lines)
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
                saved = dict(json.load(file))
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
                    f'was {value!r} and is now {head.get(name)!r}. Use another '
                    '--checkpoint_path or --seed, or the old values.'
                )

    def _lines(self) -> list[str]:
        path = self._path(TRIALS)
        if not os.path.exists(path):
            return []
        # A crash of the machine can corrupt the end.
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read().splitlines()

    def _read(self, line: str) -> tuple[Trial, Result] | None:
        try:
            entry = json.loads(line)
            return Trial(**entry['trial']), Result(**entry['result'])
        except (ValueError, TypeError, KeyError):
            return None

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
        with open(self._path(TRIALS), 'a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')
            file.flush()
            os.fsync(file.fileno())
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
            return dict(json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f'The search in {folder} has not finished: train first with the '
            'same flags and --mode=train.'
        ) from error
