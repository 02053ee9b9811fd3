"""The command: `python -m ieg.main --dataset=... --method=...`."""

import dataclasses
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from ieg.errors import RunError, UsageError
from ieg.utils import cli

HELP = {'--help', '-help', '-h', '--helpshort', '-helpshort'}
TABLE = (
    ('test accuracy, last', 'test_accuracy_last', '{:.2%}'),
    ('test accuracy, mean of last 10', 'test_accuracy_last10', '{:.2%}'),
    (
        'test accuracy, best noisy validation',
        'test_accuracy_at_best_valid',
        '{:.2%}',
    ),
    ('noise rate, realised', 'noise_rate_realised', '{:.2%}'),
    ('AUC of clean against noisy labels', 'label_auc', '{:.4f}'),
    ('noise rate, estimated', 'noise_rate', '{:.2%}'),
    (
        'noise rate, probably between',
        'noise_rate_interval',
        '{0[0]:.2%} and {0[1]:.2%}',
    ),
    ('labels to check (label_issues.csv)', 'count', '{}'),
    ('AUC of their list', 'roc_auc', '{:.4f}'),
    ('run folder, with report.html', 'folder', '{}'),
)


def table(summary: dict[str, Any]) -> str:
    """Returns the few lines that a run ends with."""
    width = max(len(title) for title, _, _ in TABLE)
    figures = summary['label_issues'] | summary
    lines = []
    for title, key, form in TABLE:
        value = figures.get(key)
        shown = '-' if value is None else form.format(value)
        lines.append(f'{title:<{width}}  {shown}')
    return '\n'.join(lines)


def run(_: Sequence[str]) -> None:
    """Trains or evaluates as the parsed flags say."""
    from ieg import config as ieg_config
    from ieg import experiment

    config, opened = experiment.configure(ieg_config.from_flags())
    if config.run.mode == 'evaluation':
        if config.search.search:
            from ieg.search import driver

            config = driver.found(config)
        for name, value in experiment.evaluate(config, opened=opened).items():
            shown = f'{value:.4f}' if isinstance(value, float) else value
            print(f'{name:<24}  {shown}')
        return
    try:
        _train(config, opened)
    except BrokenPipeError as error:
        raise RunError(
            'Standard output was closed before the end of the run. Run the '
            'same command again to resume.'
        ) from error


def _train(config: Any, opened: Any) -> None:
    from ieg import experiment

    if config.advice:
        print(textwrap.fill(config.advice, 79))
    print(describe(config), flush=True)
    if config.search.search:
        from ieg.search import driver

        config = driver.search(config, _plugins(sys.argv), opened)
    print(table(experiment.train(config, opened=opened)))


def describe(config: Any) -> str:
    """Returns the configuration in a few lines."""
    options = [f'{k}={v}' for k, v in config.flat().items() if v != '']
    lines, line = [], ''
    for text in options:
        if len(line) + len(text) > 76:
            lines.append(line)
            line = ''
        line += f'  {text}'
    return '\n'.join([*lines, line])


def usage() -> str:
    """Returns what --help shows: the names to choose from and all flags."""
    import ieg.networks  # noqa: F401
    from ieg import config as ieg_config
    from ieg import options as options_
    from ieg import registry
    from ieg.data.noise.human import HUMAN_SETS
    from ieg.data.spec import TFDS_PREFIX

    parts = [
        'Usage: ieg --dataset=DATASET --method=METHOD [--FLAG=VALUE ...]',
        'Trains an image classifier on partly wrong labels, or evaluates one.',
        '\n'.join(
            _wrap(f'{title}: {", ".join(names)}', '')
            for title, names in (
                ('Methods', registry.METHODS.names()),
                ('Networks', registry.NETWORKS.names()),
                (
                    'Data sets',
                    [
                        *sorted([*registry.DATASETS.names(), *HUMAN_SETS]),
                        f'{TFDS_PREFIX}NAME',
                    ],
                ),
                ('Kinds of noise', registry.NOISES.names()),
            )
        ),
        'Flags and their defaults; a method may have others for a data set.',
    ]
    for title, options in (
        ('Run', options_.RunConfig),
        ('Data', options_.DataConfig),
        ('Training', options_.TrainConfig),
        ('Search', options_.SearchConfig),
        *(
            (f'Only with --method={name}', registry.METHODS.get(name).Config)
            for name in registry.METHODS.names()
        ),
    ):
        fields = dataclasses.fields(options)
        parts += [title + ':'] if fields else []
        parts += [
            _flag_help(
                f'{field.name}={field.default}',
                field.metadata['help'],
                field.metadata['choices'],
            )
            for field in fields
        ]
    parts.append('Where options come from:')
    parts += [_flag_help(f'{n}=', t) for n, t in ieg_config.SOURCES.items()]
    return '\n'.join(part if part[0] == ' ' else f'\n{part}' for part in parts)


def _flag_help(flag: str, text: str, choices: Sequence[str] | None = ()) -> str:
    if choices:
        text += f' One of: {", ".join(choices)}.'
    return f'  --{flag}\n{_wrap(text, " " * 6)}'


def _wrap(text: str, indent: str) -> str:
    return textwrap.fill(
        text, 79, initial_indent=indent, subsequent_indent=indent or '  '
    )


def parse(argv: Sequence[str]) -> list[str]:
    """Imports plugins, defines the flags and parses them, or shows help.

    Raises:
        UsageError: a plugin is missing, or an argument is no flag.
    """
    cli.import_tensorflow()
    import ieg.methods  # noqa: F401
    from ieg import config as ieg_config

    for module in _plugins(argv):
        cli.import_plugin(module)
    if HELP & set(argv[1:]):
        print(usage().strip())
        sys.exit(0)
    ieg_config.define_flags()
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        raise UsageError(' '.join(str(error).split())) from error
    if len(rest) > 1:
        raise UsageError(
            f'The argument {rest[1]!r} is no flag; write --name=value.'
        )
    return rest


def _plugins(argv: Sequence[str]) -> list[str]:
    """Finds --plugin before any flag is defined: plugins define flags."""
    found = []
    for place, text in enumerate(argv):
        name, equals, value = text.lstrip('-').partition('=')
        if text.startswith('-') and name == 'plugin':
            follows = argv[place + 1 : place + 2]
            value = value if equals else ''.join(follows)
            found += [module for module in value.split(',') if module]
    return found


def main() -> None:
    """Runs the command; exit code 2 for a mistake in it, 1 for a failed run."""
    sys.exit(
        cli.run(
            lambda: app.run(run, flags_parser=parse),
            interrupted='Interrupted. Run the same command again to resume.',
        )
    )


if __name__ == '__main__':
    main()
