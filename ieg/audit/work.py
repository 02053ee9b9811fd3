"""What an audit does once TensorFlow is there."""

import json
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ieg import config as ieg_config
from ieg import experiment, label_issues, run_folder
from ieg.audit import plan, verdict
from ieg.config import Config, folder_of
from ieg.data.dataset import Data
from ieg.errors import RunError
from ieg.options import DataConfig, TrainConfig
from ieg.registry import introduced
from ieg.utils.interrupt import Interrupt

# What a run is identified by, and devices determine.
_OF_DEVICES = ('global_batch_size', 'precision')


def audit(
    given: Mapping[str, Any],
    minutes: float,
    said: Collection[str],
    say: Callable[[str], None],
) -> list[tuple[str, str]]:
    """Trains, and returns the lines that an audit ends with.

    Args:
        given: options by name.
        minutes: how long it may take; 0 = any time.
        said: remarks about the data that were printed already.
        say: prints a sentence.

    Raises:
        UsageError: the data or the options do not fit, or the run folder has
            another run.
        RunError: the training cannot continue, or a file of the results
            cannot be written.
    """
    config, opened = experiment.configure(given)
    started = plan.started(config)
    if minutes and started:
        # Whatever would be measured now.
        config = plan.with_epochs(config, started)
    _check_options(config)
    say(config.advice)
    data = experiment.load_data(config, opened)
    if not os.path.exists(os.path.join(folder_of(config), run_folder.SUMMARY)):
        config = _planned(config, data, given, 0 if started else minutes, say)
    with Interrupt() as interrupt:
        summary = experiment.train(
            config, opened=opened, data=data, interrupt=interrupt, said=said
        )
    if failed := summary.get('not_written'):
        raise RunError(' '.join(failed))
    path = os.path.join(summary['folder'], run_folder.ISSUES)
    issues = label_issues.read(path) if os.path.exists(path) else None
    return verdict.lines(summary, issues, data)


def _planned(
    config: Config,
    data: Data,
    given: Mapping[str, Any],
    minutes: float,
    say: Callable[[str], None],
) -> Config:
    """Says how long a run takes; returns one that fits into a budget.

    Raises:
        UsageError: none does.
    """
    chosen = plan.of_run(config, data)
    say(str(chosen))
    fixed = bool({'max_epoch', 'max_iteration'} & given.keys())
    if not minutes:
        return config
    epochs = plan.epochs_within(minutes, chosen, fixed)
    if epochs == chosen.epochs:
        return config
    say(f'For --time_budget={minutes:g}: --max_epoch={epochs}.')
    return plan.with_epochs(config, epochs)


def _check_options(config: Config) -> None:
    """Checks that the run folder has no run with other options.

    Everything else, such as the data, is compared when it is known.

    Raises:
        UsageError: it has one.
    """
    path = os.path.join(folder_of(config), run_folder.IDENTITY)
    if not os.path.exists(path):
        return
    saved = run_folder.read_object(path)
    now = json.loads(json.dumps(config.identity(1)))
    ieg_config.check_identity(
        path,
        saved,
        now,
        introduced(DataConfig, TrainConfig, type(config.method)),
        ignore={*(saved.keys() - now.keys()), *_OF_DEVICES},
    )
