"""The command: `ieg compare` or `python -m ieg.compare RUN...`.

Recommends one of several runs, and its epoch, without any clean label, if they
were tracked. Only reads run folders, so it does not need TensorFlow.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ieg.compare import plane, runs, untracked
from ieg.compare.comparison import (
    ACCURACIES,
    BOUNDARIES,
    DEFAULT_RANKING,
    Report,
    compare,
)
from ieg.compare.untracked import Table
from ieg.errors import UsageError
from ieg.utils import cli, tables
from ieg.utils.files import atomic_write

PROG = 'python -m ieg.compare'

__all__ = ['Report', 'compare', 'main', 'table', 'text', 'write']


def text(report: Report) -> str:
    """Returns the text that the command prints."""
    parts = [
        '\n'.join(report.left_out),
        _heading(report),
        table(report),
        _regions(report),
        _rankings(report),
        _correlations(report),
        _recommendation(report),
        '\n'.join(f'Warning: {warning}' for warning in report.warnings),
    ]
    return '\n\n'.join(part for part in parts if part)


def _heading(report: Report) -> str:
    up, across = report.boundaries
    return (
        f'{report.dataset}: {len(report.rows)} runs. T is {report.y} of the '
        f'last epoch, in percent.\nThe {report.boundary}s: T {_percent(up)}, '
        f'susceptibility {across:.5g}.'
    )


def table(report: Report) -> str:
    """Returns the table, one line per run."""
    lines = [
        ' no.       T  susceptibility  region  regions  lowhalf  corner    '
        'test  run'
    ]
    for row in report.rows:
        ranks = {name: rank or '-' for name, rank in row.ranks.items()}
        lines.append(
            f'{row.number:>4}{_percent(row.accuracy):>8}'
            f'{row.susceptibility:>16.5g}{row.region:>8}'
            f'{ranks["regions"]:>9}{ranks["lowhalf"]:>9}{ranks["corner"]:>8}'
            f'{_percent(row.test_accuracy):>8}  {row.label}'
        )
    return '\n'.join(lines)


def _regions(report: Report) -> str:
    lines = [f'{"region":<30}runs  test accuracy: mean, sample sd (ddof 1)']
    for region, figures in report.regions.items():
        lines.append(
            f'{region} {figures["name"]:<28}{figures["runs"]:>4}  '
            f'{_spread(figures)}'
        )
    overall = report.overall
    lines.append(f'{"all":<30}{overall["runs"]:>4}  {_spread(overall)}')
    return '\n'.join(lines)


def _spread(figures: dict[str, Any]) -> str:
    mean, deviation = figures['test_accuracy_mean'], figures['test_accuracy_sd']
    if mean is None:
        return '-'
    return f'{_percent(mean)}, {_percent(deviation)}'


def _rankings(report: Report) -> str:
    """Returns the outcome of each ranking if all test accuracies are known."""
    outcomes = {n: f['outcome'] for n, f in report.rankings.items()}
    if None in outcomes.values():
        return ''
    lines = ['ranking   first     test    rank  regret  mean of its first']
    for name, outcome in outcomes.items():
        count = outcome['top_count']
        lines.append(
            f'{name:<10}{report.rankings[name]["order"][0]:<6}'
            f'{_percent(outcome["test_accuracy"]):>8}{outcome["rank"]:>8}'
            f'{outcome["regret_points"]:>8.2f}  '
            f'{_percent(outcome["top_mean"])} '
            f'({count} run{"s" * (count > 1)})'
        )
    overall = report.overall
    lines.append(
        f'all runs: mean {_percent(overall["test_accuracy_mean"])}, best '
        f'{_percent(overall["test_accuracy_best"])}'
    )
    return '\n'.join(lines)


def _correlations(report: Report) -> str:
    figures = report.correlations
    if figures['pearson'] is None:
        return ''
    return (
        'Correlation of susceptibility with the fit on wrong labels: Pearson '
        f'{figures["pearson"]:.3f}, Spearman {figures["spearman"]:.3f} '
        f'({figures["runs"]} runs).'
    )


def _recommendation(report: Report) -> str:
    chosen, row = report.recommendation, report.chosen
    reason = f': {chosen["reason"]}' if chosen['reason'] else ''
    epoch = 'no epoch is recommended'
    if chosen['epoch'] is not None:
        # The log counts from 0.
        epoch = f'after epoch {chosen["epoch"] + 1} (step {chosen["step"]})'
        if row.test_accuracy_at_epoch is not None:
            known = _percent(row.test_accuracy_at_epoch)
            epoch += f', where test accuracy was {known}'
    return (
        f'Recommended without any clean label ({DEFAULT_RANKING}): run '
        f'{chosen["number"]}, {chosen["label"]}\n  folder: {chosen["folder"]}\n'
        f'  {epoch}{reason}'
    )


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.2f}'


def write(report: Report | Table, folder: str) -> list[str]:
    """Writes compare.csv, and of a report compare.json and compare.png.

    Args:
        report: see `compare` and `untracked.table`.
        folder: folder of the files; created if it does not exist.

    Returns:
        The paths of the files.

    Raises:
        UsageError: the folder cannot be written.
    """
    folder = os.path.expanduser(folder)
    paths = [os.path.join(folder, f'compare.{e}') for e in EXTENSIONS]
    try:
        os.makedirs(folder, exist_ok=True)
        if isinstance(report, Table):
            tables.write(paths[0], report.cells())
            return paths[:1]
        tables.write(paths[0], _rows(report))
        atomic_write(paths[1], _json(report))
        plane.draw(paths[2], report)
    except OSError as error:
        raise UsageError(
            f'The folder {folder} cannot be written ({error.strerror}): '
            'choose another --out.'
        ) from error
    return paths


EXTENSIONS = ('csv', 'json', 'png')
# Fields of a run that are not in the files, and those without a column.
NOT_WRITTEN = ('drops', 'probe')
NO_COLUMNS = (*NOT_WRITTEN, 'options', 'ranks', 'epochs', 'curve')


def _rows(report: Report) -> list[list[Any]]:
    """Returns a header with a column per option and ranking, and the runs."""
    lines = [
        {
            **{
                name: value
                for name, value in dataclasses.asdict(row).items()
                if name not in NO_COLUMNS
            },
            **{f'rank_{name}': rank for name, rank in row.ranks.items()},
            **row.options,
        }
        for row in report.rows
    ]
    # As objects, so that ranks stay integers if some runs have none.
    frame = pd.DataFrame(lines, dtype=object)
    return [list(frame), *frame.to_numpy().tolist()]


def _json(report: Report) -> str:
    content = dataclasses.asdict(report)
    names = ('accuracy', 'susceptibility')
    content['boundaries'] = dict(zip(names, report.boundaries, strict=True))
    for row in content['rows']:
        for name in NOT_WRITTEN:
            del row[name]
    return json.dumps(content, indent=1, allow_nan=False) + '\n'


def parse(argv: Sequence[str], prog: str = PROG) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is missing or unknown.
    """
    parser = cli.Parser(
        prog=prog,
        description='Compares runs that were trained with '
        '--track_memorization, and recommends one of them, and its epoch, '
        'without any clean label. Other runs are listed with their figures.',
    )
    parser.add_argument(
        'run',
        nargs='+',
        type=cli.path,
        help='Run folder, folder that contains some at any depth, or pattern.',
    )
    parser.add_argument(
        '--y',
        choices=ACCURACIES,
        default=ACCURACIES[0],
        help='Accuracy on the given training labels: in inference mode on a '
        'fixed sample, or during training (default: %(default)s).',
    )
    parser.add_argument(
        '--boundary',
        choices=tuple(BOUNDARIES),
        default='mean',
        help='Boundary between the regions (default: %(default)s, as in the '
        'paper).',
    )
    parser.add_argument(
        '--top',
        type=cli.positive,
        default=5,
        help='Number of first runs of a ranking to average (default: '
        '%(default)s).',
    )
    parser.add_argument(
        '--out',
        type=cli.path,
        default='comparison',
        help='Folder for compare.csv, compare.json and compare.png (default: '
        '%(default)s); empty = print only.',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='Compare runs with different probes or noise draws.',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(lambda: _run(sys.argv[1:] if argv is None else argv, prog))


def _run(argv: Sequence[str], prog: str) -> None:
    asked = parse(argv, prog)
    folders = runs.find(asked.run)
    report: Report | Table = untracked.table(folders) or compare(
        folders,
        y=asked.y,
        boundary=asked.boundary,
        top=asked.top,
        force=asked.force,
    )
    # The files first: a reader of the text, such as `head`, may stop early.
    paths = write(report, asked.out) if asked.out else []
    print(report if isinstance(report, Table) else text(report))
    if paths:
        print(f'\nWritten: {", ".join(paths)}')


if __name__ == '__main__':
    sys.exit(main())
