"""The command: `ieg compare` or `python -m ieg.compare RUN...`.

Which of several runs to trust, and at which epoch, without any clean label.
Reads run folders only, so it needs no TensorFlow.
"""

import argparse
import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ieg.compare import plane, regions
from ieg.compare.comparison import (
    ACCURACIES,
    DEFAULT_RANKING,
    Report,
    Row,
    compare,
)
from ieg.errors import UsageError
from ieg.utils import cli
from ieg.utils.files import atomic_write

PROG = 'python -m ieg.compare'

__all__ = ['Report', 'Row', 'compare', 'main', 'table', 'text', 'write']


def text(report: Report) -> str:
    """Returns the report as the command prints it."""
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
    """Returns a line for each run."""
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
    for region, found in report.regions.items():
        lines.append(
            f'{region} {found["name"]:<28}{found["runs"]:>4}  {_spread(found)}'
        )
    overall = report.overall
    lines.append(f'{"all":<30}{overall["runs"]:>4}  {_spread(overall)}')
    return '\n'.join(lines)


def _spread(found: dict[str, Any]) -> str:
    mean, deviation = found['test_accuracy_mean'], found['test_accuracy_sd']
    if mean is None:
        return '-'
    return f'{_percent(mean)}, {_percent(deviation)}'


def _rankings(report: Report) -> str:
    """Returns how each ranking did, where all test accuracies are known."""
    outcomes = {n: f['outcome'] for n, f in report.rankings.items()}
    if None in outcomes.values():
        return ''
    lines = ['ranking   first     test    rank  regret  mean of its first']
    for name, found in outcomes.items():
        count = found['top_count']
        lines.append(
            f'{name:<10}{report.rankings[name]["order"][0]:<6}'
            f'{_percent(found["test_accuracy"]):>8}{found["rank"]:>8}'
            f'{found["regret_points"]:>8.2f}  {_percent(found["top_mean"])} '
            f'({count} run{"s" * (count > 1)})'
        )
    overall = report.overall
    lines.append(
        f'all runs: mean {_percent(overall["test_accuracy_mean"])}, best '
        f'{_percent(overall["test_accuracy_best"])}'
    )
    return '\n'.join(lines)


def _correlations(report: Report) -> str:
    found = report.correlations
    if found['pearson'] is None:
        return ''
    return (
        'Susceptibility against the fit on wrong labels: Pearson '
        f'{found["pearson"]:.3f}, Spearman {found["spearman"]:.3f} '
        f'({found["runs"]} runs).'
    )


def _recommendation(report: Report) -> str:
    found, row = report.recommendation, report.chosen
    reason = f': {found["reason"]}' if found['reason'] else ''
    epoch = 'no epoch is recommended'
    if found['epoch'] is not None:
        # The log counts from 0.
        epoch = f'after epoch {found["epoch"] + 1} (step {found["step"]})'
        if row.test_accuracy_at_epoch is not None:
            known = _percent(row.test_accuracy_at_epoch)
            epoch += f', where test accuracy was {known}'
    return (
        f'Recommended without any clean label ({DEFAULT_RANKING}): run '
        f'{found["number"]}, {found["label"]}\n  folder: {found["folder"]}\n'
        f'  {epoch}{reason}'
    )


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.2f}'


def write(report: Report, folder: str) -> list[str]:
    """Writes compare.csv, compare.json and compare.png.

    Args:
        report: of `compare`.
        folder: is made if there is none.

    Returns:
        paths: of the files.

    Raises:
        UsageError: the folder cannot be written.
    """
    folder = os.path.expanduser(folder)
    paths = [os.path.join(folder, f'compare.{e}') for e in EXTENSIONS]
    try:
        os.makedirs(folder, exist_ok=True)
        atomic_write(paths[0], _csv(report))
        atomic_write(paths[1], _json(report))
        plane.draw(paths[2], report)
    except OSError as error:
        raise UsageError(
            f'The folder {folder} cannot be written ({error.strerror}); '
            'choose another --out.'
        ) from error
    return paths


EXTENSIONS = ('csv', 'json', 'png')
# What a line of the table does not hold.
NO_COLUMNS = ('options', 'ranks', 'epochs', 'curve')


def _csv(report: Report) -> str:
    """Returns one line per run; options and ranks have columns of their own."""
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
    table = io.StringIO()
    writer = csv.DictWriter(table, list(lines[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return table.getvalue()


def _json(report: Report) -> str:
    found = dataclasses.asdict(report)
    accuracy, susceptibility = report.boundaries
    found['boundaries'] = dict(accuracy=accuracy, susceptibility=susceptibility)
    return json.dumps(found, indent=1, allow_nan=False) + '\n'


def parse(argv: Sequence[str], prog: str = PROG) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is missing or unknown.
    """
    parser = cli.Parser(
        prog=prog,
        description='Compares runs that were trained with '
        '--track_memorization, and recommends one of them, and its epoch, '
        'without any clean label.',
    )
    parser.add_argument(
        'run',
        nargs='+',
        help='Run folder, folder that holds some at any depth, or pattern.',
    )
    parser.add_argument(
        '--y',
        choices=ACCURACIES,
        default=ACCURACIES[0],
        help='Accuracy on the given training labels: in inference mode on a '
        'fixed part, or while training (default: %(default)s).',
    )
    parser.add_argument(
        '--boundary',
        choices=tuple(regions.BOUNDARIES),
        default='mean',
        help='Where the regions meet (default: %(default)s, as in the paper).',
    )
    parser.add_argument(
        '--top',
        type=cli.positive,
        default=5,
        help='How many of the first runs of a ranking are averaged (default: '
        '%(default)s).',
    )
    parser.add_argument(
        '--out',
        default='comparison',
        help='Folder for compare.csv, compare.json and compare.png (default: '
        '%(default)s); empty = print only.',
    )
    parser.add_argument(
        '--force',
        action='store_true',
        help='Compare runs of different probes or draws of the noise, too.',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(lambda: _run(sys.argv[1:] if argv is None else argv, prog))


def _run(argv: Sequence[str], prog: str) -> None:
    asked = parse(argv, prog)
    report = compare(
        asked.run,
        y=asked.y,
        boundary=asked.boundary,
        top=asked.top,
        force=asked.force,
    )
    print(text(report))
    if asked.out:
        print(f'\nWritten: {", ".join(write(report, asked.out))}')


if __name__ == '__main__':
    sys.exit(main())
