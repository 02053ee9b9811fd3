"""The command: `python -m ieg.report RUN`.

Writes `report.html` into a run folder, or applies the corrections that a
person saved from it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from ieg import report, run_folder
from ieg.errors import RunError, UsageError
from ieg.report import run
from ieg.utils import cli


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is missing or unknown.
    """
    parser = cli.Parser(
        prog='python -m ieg.report',
        description='Writes report.html into the folder of a run: how it '
        'went, which labels look wrong, and pictures of them.',
    )
    parser.add_argument('run', help='Run folder.')
    parser.add_argument(
        '--apply',
        metavar='CSV',
        help='Write corrected labels in the form in which the data came, from '
        'a file that the report has saved, or from label_issues.csv with the '
        'column corrected_label filled in.',
    )
    parser.add_argument(
        '--output',
        metavar='PATH',
        help='Where --apply writes; a usual name if left out.',
    )
    parser.add_argument(
        '--plugin',
        default='',
        help='Modules to import first, as when the run was trained; separated '
        'by commas.',
    )
    asked = parser.parse_args(argv)
    if asked.output is not None and asked.apply is None:
        raise UsageError('--output needs --apply; see --help.')
    return asked


def load(folder: str) -> tuple[Any, str]:
    """Loads what a run learnt from.

    Returns:
        data: `ieg.data.dataset.Data`, or None.
        reason: why there are none, a sentence.
    """
    from ieg import config as ieg_config
    from ieg import experiment

    try:
        options = ieg_config.read_file(os.path.join(folder, run_folder.CONFIG))
        return experiment.load_data(ieg_config.resolve(options)), ''
    except (UsageError, RunError) as error:
        return None, f'The images cannot be shown: {error}'


def _prepare(plugins: str) -> None:
    """Imports what data sets and methods need."""
    cli.import_tensorflow()
    import ieg.methods  # noqa: F401  # Registers the built-in ones.

    cli.import_plugins(plugins)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(
        lambda: _run(sys.argv[1:] if argv is None else argv),
        interrupted='Interrupted; nothing was written.',
    )


def _run(argv: Sequence[str]) -> None:
    asked = parse(argv)
    folder = os.path.expanduser(asked.run)
    if asked.apply is not None:
        _prepare(asked.plugin)
        from ieg.corrections import apply

        print(apply.apply(folder, asked.apply, asked.output))
        return
    # Before anything slow, so that mistakes are reported at once.
    run.read(folder)
    _prepare(asked.plugin)
    data, reason = load(folder)
    if reason:
        print(reason, file=sys.stderr)
    print(report.write(folder, data, reason))


if __name__ == '__main__':
    sys.exit(main())
