"""Programs that a run reports to, `--log_to`, such as MLflow.

A logger sends the entries of `log.jsonl` and the summary. It keeps its place in
a file of the run folder, so that a resumed run continues what it began.
"""

import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tqdm import tqdm

from ieg.errors import UsageError
from ieg.options import RunConfig
from ieg.registry import LOGGERS
from ieg.training.callbacks import Callback
from ieg.training.runlog import RunLog
from ieg.utils.files import atomic_write, from_json


class Logger(Protocol):
    """Where a run is logged.

    It is made with the run folder and the options of the run; an exception of
    any function is one sentence for the user.

    Attributes:
        package: that must be installed.
        epochs: epochs that were logged before, counted from 0.
    """

    package: str
    epochs: set[int]

    def __init__(self, folder: str, options: Mapping[str, Any]): ...

    def log(self, entry: Mapping[str, Any]) -> None:
        """Sends an entry of `log.jsonl`."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Sends the content of `summary.json`, and ends."""


@LOGGERS.register('mlflow')
class MLflow:
    """A run of MLflow, in the experiment MLFLOW_EXPERIMENT_NAME or 'ieg'."""

    package = 'mlflow'

    def __init__(self, folder: str, options: Mapping[str, Any]):
        from mlflow import MlflowClient

        self._client = MlflowClient()
        path = os.path.join(folder, 'mlflow.json')
        if os.path.exists(path):
            with open(path, encoding='utf-8') as file:
                self._run = from_json(file.read())['run_id']
            self._client.update_run(self._run, status='RUNNING')
        else:
            name = os.environ.get('MLFLOW_EXPERIMENT_NAME', 'ieg')
            known = self._client.get_experiment_by_name(name)
            place = (
                known.experiment_id
                if known
                else self._client.create_experiment(name)
            )
            run = self._client.create_run(
                place, run_name=os.path.basename(folder)
            )
            self._run = run.info.run_id
            for option, value in options.items():
                self._client.log_param(self._run, option, value)
            atomic_write(path, json.dumps({'run_id': self._run}) + '\n')
        history = self._client.get_metric_history(self._run, 'epoch')
        self.epochs = {metric.step for metric in history}

    def log(self, entry: Mapping[str, Any]) -> None:
        """Sends the figures of an epoch, whose number is the step."""
        self._send(entry, entry['epoch'])

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Sends the figures of the summary; the run is then finished."""
        issues = summary['label_issues']
        named = {f'label_issues.{name}': v for name, v in issues.items()}
        self._send({f'summary.{k}': v for k, v in summary.items()} | named, 0)
        self._client.set_terminated(self._run)

    def _send(self, figures: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, step)
            for name, value in figures.items()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        self._client.log_batch(self._run, metrics)


def chosen(run: RunConfig) -> list[str]:
    """Returns the names in `--log_to`."""
    return [name for name in run.log_to.split(',') if name]


def check(run: RunConfig) -> None:
    """Checks that the loggers of a run are known and installed.

    Raises:
        UsageError: one is not.
    """
    for name in chosen(run):
        package = LOGGERS.get(name).package
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f'--log_to={name} needs a package that is not installed: run '
                f'`pip install {package}`.'
            )


class Loggers(Callback):
    """Reports a run to its loggers.

    One that fails during the run is left out with a warning; the training goes
    on.

    Args:
        names: of the loggers.
        folder: the run folder.
        options: of the run.
        log: of the run.

    Raises:
        UsageError: a logger cannot begin.
    """

    def __init__(
        self,
        names: Iterable[str],
        folder: str,
        options: Mapping[str, Any],
        log: RunLog,
    ):
        super().__init__()
        self._log = log
        self._loggers: dict[str, Logger] = {}
        for name in names:
            try:
                self._loggers[name] = LOGGERS.get(name)(folder, options)
            # A server can fail in many ways, here and below.
            except Exception as error:
                raise UsageError(
                    f'--log_to={name} cannot begin ({_reason(error)}): correct '
                    'its settings, or leave it out.'
                ) from error

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Sends all entries that were not sent yet."""
        for name, logger in list(self._loggers.items()):
            try:
                for entry in self._log.entries:
                    if entry['epoch'] not in logger.epochs:
                        logger.log(entry)
                        logger.epochs.add(entry['epoch'])
            except Exception as error:
                self._leave_out(name, error)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Sends the summary.

        Args:
            summary: content of `summary.json`.
        """
        # What was not sent before the run was killed after its last epoch.
        self.on_epoch_end(len(self._log.entries))
        for name, logger in list(self._loggers.items()):
            try:
                logger.finish(summary)
            except Exception as error:
                self._leave_out(name, error)

    def _leave_out(self, name: str, error: Exception) -> None:
        del self._loggers[name]
        text = (
            f'--log_to={name} failed ({_reason(error)}); the training goes on '
            'without it. Resuming the run sends what is missing.'
        )
        tqdm.write(text, file=sys.stderr)


def _reason(error: Exception) -> str:
    text = ' '.join(str(error).split())[:200].rstrip('.')
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
