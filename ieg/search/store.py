"""What a search has found out so far: `search.json` and `trials.jsonl`.

The two are the truth: a search that is started again asks its searcher the
same questions and takes the answers from there.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

from ieg.errors import UsageError
from ieg.utils.files import atomic_write

# Score of a trial that has no accuracy.
LOWEST = -2.0
HEAD, TRIALS, BEST = 'search.json', 'trials.jsonl', 'best.json'


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training with some options.

    Attributes:
        name: unique in the search; also of its folder.
        stage: 'warm', 'search', or 'again' for a repetition.
        options: what differs from the configuration.
        seed: of the training.
        point: in the unit cube, where it comes from there.
    """

    name: str
    stage: str
    options: dict[str, Any]
    seed: int
    point: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """How a trial ended.

    Attributes:
        status: 'done'; 'stopped' (hopeless); 'same' as an earlier one;
            'refused' (impossible options) or 'failed'.
        score: mean validation accuracy of the last epochs; of a stopped trial
            the accuracy so far less 1, and of one without any `LOWEST`, so
            that worse ends rank lower.
        epochs: how many were trained.
        seconds: how long that took.
        remark: why, or the name of the trial that this one is the same as.
    """

    status: str
    score: float
    epochs: int = 0
    seconds: float = 0.0
    remark: str = ''


class Store:
    """The folder of a search.

    Args:
        folder: of the search; made if it is not there.
        head: what the search is, JSON-able.
        introduced: values of options that an older search does not know.

    Raises:
        UsageError: the folder is of another search, or cannot be read.
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
                f'The folder {folder} cannot be made ({error.strerror}); '
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
        # Without a line that was cut by a kill.
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
                found = dict(json.load(file))
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f'{path} cannot be read; delete the folder {self.folder} to '
                'search anew.'
            ) from error
        found = {name: introduced.get(name) for name in head} | found
        for name in found:
            if found.get(name) != head.get(name):
                raise UsageError(
                    f'{self.folder} holds another search: {name} is '
                    f'{found.get(name)!r} there and {head.get(name)!r} here. '
                    'Use another --checkpoint_path or --seed, or the old '
                    'values.'
                )

    def _lines(self) -> list[str]:
        path = self._path(TRIALS)
        if not os.path.exists(path):
            return []
        # A crash of the machine can leave anything at the end.
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
        """Returns how a trial ended, if it has.

        Raises:
            UsageError: a trial of this name had other options.
        """
        found = self.trials.get(trial.name)
        if found is None:
            return None
        if found != trial:
            raise UsageError(
                f'{self._path(TRIALS)} has another trial {trial.name} than '
                f'this search makes; delete the folder {self.folder} to search '
                'anew.'
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
        """Deletes the checkpoints of a recorded trial; its log is for people.

        Not before it is recorded: a trial that ends in a kill goes on from
        them.
        """
        checkpoints = os.path.join(self.trial_folder(trial), 'checkpoints')
        shutil.rmtree(checkpoints, ignore_errors=True)

    def finish(self, found: dict[str, Any]) -> None:
        """Records the outcome of the search."""
        atomic_write(self._path(BEST), json.dumps(found, indent=1) + '\n')


def outcome(folder: str) -> dict[str, Any]:
    """Returns what `finish` recorded in a folder.

    Raises:
        UsageError: the search has not come to its end.
    """
    path = os.path.join(folder, BEST)
    try:
        with open(path, encoding='utf-8') as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f'The search in {folder} has not come to its end; train first with '
            'the same flags and --mode=train.'
        ) from error
