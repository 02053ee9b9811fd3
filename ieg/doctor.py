"""The command: `python -m ieg.doctor`.

What of this machine and installation works, what does not, what to do.
"""

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence

from ieg.diagnosis import facts
from ieg.diagnosis.verdicts import PROBLEM, Check, examine
from ieg.errors import UsageError
from ieg.utils.cli import Parser


def text(checks: Sequence[Check]) -> str:
    """Returns the list as the command prints it."""
    lines = []
    for check in checks:
        head = f'{check.state:<8} {check.title}: '
        lines.append(_wrap(head + check.text))
        if check.advice:
            lines.append(_wrap(f'{"":<8} -> {check.advice}'))
    count = sum(check.state == PROBLEM for check in checks)
    problems = f'{count} problem' + ('' if count == 1 else 's')
    lines.append(f'\n{problems if count else "No problem"}.')
    return '\n'.join(lines)


def _wrap(line: str) -> str:
    return textwrap.fill(
        line,
        79,
        subsequent_indent=' ' * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the arguments of the command, or shows help.

    Raises:
        UsageError: an argument is unknown, or there is no such folder.
    """
    parser = Parser(
        prog='python -m ieg.doctor',
        description='Looks at versions, devices and data sets, trains for a '
        'few steps, and says what does not work and what to do. Ends with '
        'code 1 if something is a problem.',
        allow_abbrev=False,
    )
    parser.add_argument(
        '--data_dir',
        default='',
        help='Folder of data sets to look into; empty = $TFDS_DATA_DIR, then '
        'the default of TFDS.',
    )
    asked = parser.parse_args(argv)
    if asked.data_dir and not os.path.isdir(os.path.expanduser(asked.data_dir)):
        raise UsageError(
            f'there is no data folder {asked.data_dir}: check --data_dir.'
        )
    return asked


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 for a problem, 2 for a mistake in it."""
    try:
        asked = parse(sys.argv[1:] if argv is None else argv)
        found = facts.gather(asked.data_dir)
        print('A short training runs; this takes half a minute.', flush=True)
        checks = examine(found | facts.measured())
    except UsageError as error:
        print(f'ieg: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('ieg: Interrupted.', file=sys.stderr)
        return 130
    print(text(checks))
    return int(any(check.state == PROBLEM for check in checks))


if __name__ == '__main__':
    sys.exit(main())
