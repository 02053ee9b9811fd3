"""The command: `ieg report` or `python -m ieg.report RUN`.

Writes `report.html` into a run folder, or applies corrections saved from it.
Draws labels for a review, and reads the review.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ieg import report, run_folder
from ieg.errors import RunError, UsageError
from ieg.label_issues.ranking import statement
from ieg.report import review, run
from ieg.utils import cli, plugins

if TYPE_CHECKING:
    from ieg.data.dataset import Data

PROG = 'python -m ieg.report'


def parse(argv: Sequence[str], prog: str = PROG) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is missing or unknown.
    """
    parser = cli.Parser(
        prog=prog,
        description='Writes report.html into a run folder: results, labels '
        'that look wrong, and pictures of them. With --apply, writes '
        'corrected labels instead. Labels that you review narrow how many '
        'are wrong: draw them with --sample, read them with --reviewed.',
    )
    parser.add_argument('run', type=cli.path, help='Run folder.')
    tasks = parser.add_mutually_exclusive_group()
    tasks.add_argument(
        '--apply',
        type=cli.path,
        metavar='CSV',
        help='Write corrected labels in the format of the data, from the file '
        'that the report saved, or from label_issues.csv with the column '
        'corrected_label filled in.',
    )
    tasks.add_argument(
        '--sample',
        type=cli.positive,
        metavar='COUNT',
        help='Write sample.csv into the run folder, so many training labels '
        'drawn at random, for you to review.',
    )
    tasks.add_argument(
        '--reviewed',
        type=cli.path,
        metavar='CSV',
        help='Write report.html, summary.json and the marks of '
        'label_issues.csv again, by a file that --sample wrote, with the '
        'right class of each example in the column corrected_label.',
    )
    parser.add_argument(
        '--output',
        type=cli.path,
        metavar='PATH',
        help='Where --apply writes; by default next to your data, or in the '
        'run folder.',
    )
    parser.add_argument(
        '--plugin',
        default='',
        help='Comma-separated modules to import first; by default those of '
        'the training run.',
    )
    asked = parser.parse_args(argv)
    if asked.output is not None and asked.apply is None:
        raise UsageError('--output needs --apply; see --help.')
    return asked


def load(folder: str, modules: str = '') -> tuple['Data | None', str]:
    """Loads the data that a run was trained on.

    Args:
        folder: of the run.
        modules: plugins to import, separated by commas, if not those that the
            run has recorded.

    Returns:
        data: the data, or None.
        reason: why there are no images, a sentence; empty otherwise.
    """
    from ieg import experiment
    from ieg.commandline import arguments

    try:
        path = os.path.join(folder, run_folder.CONFIG)
        cli.import_plugins(modules or plugins.recorded(path))
        options = arguments.read_run(folder)
        return experiment.load_pictures(options), ''
    except (UsageError, RunError) as error:
        return None, f'There are no images: {error}'


def _prepare(plugins: str) -> None:
    """Imports TensorFlow, the methods and the plugins."""
    cli.import_tensorflow()
    import ieg.methods  # noqa: F401  # Registers the built-in ones.

    cli.import_plugins(plugins)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(
        lambda: _run(sys.argv[1:] if argv is None else argv, prog),
        interrupted='Interrupted. Nothing was written.',
    )


def _run(argv: Sequence[str], prog: str) -> None:
    asked = parse(argv, prog)
    folder = os.path.expanduser(asked.run)
    path = os.path.join(folder, run_folder.CONFIG)
    if asked.apply is not None:
        _prepare(asked.plugin or plugins.recorded(path))
        from ieg.corrections import apply

        print(apply.apply(folder, asked.apply, asked.output))
        return
    # Before anything slow, so that mistakes are reported at once.
    run.read(folder)
    if asked.sample is not None:
        with run_folder.writing(folder):
            print(review.sample(folder, asked.sample))
        return
    if asked.reviewed is not None:
        with run_folder.writing(folder):
            _review(folder, asked.reviewed, asked.plugin)
        return
    _prepare(asked.plugin)
    data, reason = load(folder, asked.plugin)
    path = report.write(folder, data, reason)
    if reason:
        print(reason, file=sys.stderr)
    print(path)


def _review(folder: str, path: str, modules: str) -> None:
    reviewed = review.read(folder, os.path.expanduser(path))
    _prepare(modules)
    data, reason = load(folder, modules)
    shown = review.write(reviewed, data, reason)
    if reason:
        print(reason, file=sys.stderr)
    print(*statement(reviewed.issue_summary), shown, sep='\n')


if __name__ == '__main__':
    sys.exit(main())
