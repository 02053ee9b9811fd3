"""The command `ieg`, or `python -m ieg.main`.

`ieg train`, `evaluate`, `compare`, `report`, `predict`, `doctor`; or without a
subcommand: `ieg --dataset=... --method=... [--mode=evaluation]`.
"""

import contextlib
import importlib
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import app

from ieg import __version__
from ieg.commandline import arguments, plugged, usage
from ieg.commandline.catalog import Catalog
from ieg.data import spec, whereabouts
from ieg.errors import RunError, UsageError, nearest
from ieg.options import DataConfig
from ieg.registry import SEARCHERS
from ieg.utils import cli
from ieg.utils.interrupt import Interrupt
from ieg.utils.plugins import names as imported

if TYPE_CHECKING:
    from ieg.config import Config
    from ieg.data.dataset import Opened

# Subcommand -> value of --mode.
MODES = {'train': 'train', 'evaluate': 'evaluation'}
TABLE = (
    ('test accuracy, last', 'test_accuracy_last', '{:.2%}'),
    ('test accuracy, mean of last 10', 'test_accuracy_last10', '{:.2%}'),
    (
        'test accuracy, best noisy validation',
        'test_accuracy_at_best_valid',
        '{:.2%}',
    ),
    ('noise rate, realized', 'noise_rate_realised', '{:.2%}'),
    ('AUC of clean against noisy labels', 'label_auc', '{:.4f}'),
    ('labels to check (label_issues.csv)', 'count', '{}'),
    ('AUC of their list', 'roc_auc', '{:.4f}'),
    ('run folder, with report.html', 'folder', '{}'),
)
WIDTH = max(len(title) for title, _, _ in TABLE)


def table(summary: dict[str, Any]) -> str:
    """Returns the few lines that a run ends with."""
    from ieg.label_issues import similar
    from ieg.label_issues.ranking import statement

    figures = summary['label_issues'] | summary
    sentences = statement(summary['label_issues'])
    copies = similar.statement(summary['label_issues'])
    lines = []
    for title, key, form in TABLE:
        value = figures.get(key)
        shown = '-' if value is None else form.format(value)
        lines.append(f'{title:<{WIDTH}}  {shown}')
    filled = (textwrap.fill(text, 79) for text in (*sentences, *copies))
    return '\n'.join([*lines, *filled])


def run(given: dict[str, Any], plugins: Sequence[str]) -> None:
    """Trains or evaluates.

    Args:
        given: options by name.
        plugins: modules that register what the options name.
    """
    from ieg import experiment

    config, opened = experiment.configure(given, _check_search)
    if config.run.mode == 'evaluation':
        if config.search.search:
            from ieg.search import driver

            config = driver.found(config)
        for name, value in experiment.evaluate(config, opened=opened).items():
            shown = f'{value:.4f}' if isinstance(value, float) else value
            print(f'{name:<24}  {shown}')
        return
    _train(config, opened, plugins)


def _check_search(config: 'Config') -> None:
    from ieg.search import driver

    driver.check(config)


def _train(
    config: 'Config', opened: 'Opened | None', plugins: Sequence[str]
) -> None:
    from ieg import experiment, run_folder
    from ieg.config import folder_of

    if config.advice:
        print(textwrap.fill(config.advice, 79))
    print(describe(config), flush=True)
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        if config.search.search:
            from ieg.search import driver

            # The search and the training after it.
            stack.enter_context(run_folder.writing(folder_of(config)))
            config = driver.search(config, plugins, opened, interrupt)
        summary = experiment.train(config, opened=opened, interrupt=interrupt)
    print(table(summary))
    if failed := summary.get('not_written'):
        raise RunError(' '.join(failed))


def describe(config: 'Config') -> str:
    """Returns the configuration in a few lines."""
    options = [f'{k}={v}' for k, v in config.flat().items() if v != '']
    lines, line = [], ''
    for text in options:
        if len(line) + len(text) > 76:
            lines.append(line)
            line = ''
        line += f'  {text}'
    return '\n'.join([*lines, line])


def parse(argv: Sequence[str], command: str = '') -> dict[str, Any]:
    """Returns the options that a command line gives, or shows help and exits.

    TensorFlow and the methods are imported when the options are checked;
    before, if a plugin may register names and options.

    Args:
        argv: the name of the command, and its arguments without a subcommand.
        command: the subcommand: 'train', 'evaluate' or '' for none.

    Raises:
        UsageError: a plugin, an option or a name is unknown, or a value is
            impossible.
    """
    known = plugged.known(argv)
    if text := usage.asked(argv, known, HELP_TEXTS[command]):
        print(text)
        sys.exit(0)
    given = arguments.parse_flags(list(argv), known=known)
    if command and given.setdefault('mode', MODES[command]) != MODES[command]:
        raise UsageError(
            f'--mode={given["mode"]} contradicts `ieg {command}`; omit it.'
        )
    arguments.check(given, known)
    _check_data(given)
    if not imported and 'searcher' in given:
        SEARCHERS.check(given['searcher'])
    plugged.import_methods()
    return given


HELP_TEXTS: dict[str, Callable[[Catalog], str]] = {
    '': usage.overview,
    'train': usage.training,
    'evaluate': usage.evaluation,
}


def _check_data(given: dict[str, Any]) -> None:
    """Reports a wrong place of a user's own images before TensorFlow loads.

    Raises:
        UsageError: they are not there.
    """
    base = spec.parse(given.get('dataset', DataConfig().dataset)).base
    if base in spec.OWN:
        whereabouts.check(base, given.get('data_dir'))
        if given.get('probe_dir'):
            whereabouts.check('folder', given['probe_dir'])


def _experiment(argv: list[str], command: str = '') -> None:
    """Runs `ieg train`, `ieg evaluate` or the form without a subcommand."""
    given: dict[str, Any] = {}

    def parser(argv: list[str]) -> list[str]:
        given.update(parse(argv, command))
        return argv

    app.run(lambda argv: run(given, imported), argv=argv, flags_parser=parser)


def main() -> None:
    """Runs the command; exit code 2 for a mistake in it, 1 for a failed run."""
    program, *rest = sys.argv
    command = rest[0] if rest and not rest[0].startswith('-') else ''
    trains = not command or command in MODES

    def chosen() -> int | None:
        if rest == ['--version']:
            print(f'ieg {__version__}')
            return 0
        if command in usage.COMMANDS and not trains:
            module = importlib.import_module(f'ieg.{command}.__main__')
            return module.main(rest[1:], prog=f'ieg {command}')
        if not trains:
            raise _unknown_command(command)
        _experiment([program, *rest[bool(command) :]], command)
        return 0

    # What a training prints is in the run folder, too.
    silent = trains or command == 'audit'
    sys.exit(cli.run(chosen, needs_no_reader=silent))


def _unknown_command(command: str) -> UsageError:
    return UsageError(
        f'Unknown command {command!r}.{nearest(command, usage.COMMANDS)} '
        f'Commands: {", ".join(usage.COMMANDS)}; options are written as '
        '--name=value.'
    )


if __name__ == '__main__':
    main()
