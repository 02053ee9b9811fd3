"""What an audit does once TensorFlow is there."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ieg import experiment, label_issues
from ieg.audit import verdict
from ieg.errors import RunError
from ieg.run_folder import ISSUES
from ieg.utils.interrupt import Interrupt


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
    say(config.advice)
    data = experiment.load_data(config, opened)
    for remark in data.remarks:
        say('' if remark in said else remark)
    with Interrupt() as interrupt:
        summary = experiment.train(
            config, opened=opened, data=data, interrupt=interrupt
        )
    if failed := summary.get('not_written'):
        raise RunError(' '.join(failed))
    path = f'{summary["folder"]}/{ISSUES}'
    return verdict.lines(summary, label_issues.read(path), data.test)
