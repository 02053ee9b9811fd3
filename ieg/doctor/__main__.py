"""The command: `ieg doctor` or `python -m ieg.doctor`.

Checks your installation.
"""

import os
import sys
import textwrap
from collections.abc import Sequence

from ieg import doctor
from ieg.doctor import PROBLEM, Check, examine
from ieg.errors import UsageError
from ieg.features import cache
from ieg.utils import cli

PROG = 'python -m ieg.doctor'

_CACHE_HELP = (
    'Folder of features of images; empty = $XDG_CACHE_HOME/ieg, or '
    '~/.cache/ieg.'
)
_HELP = 'Folder of data sets; empty = $TFDS_DATA_DIR, then the default of TFDS.'


def text(checks: Sequence[Check]) -> str:
    """Returns the lines that the command prints."""
    lines = []
    for state, title, result, advice in checks:
        lines.append(f'{state:<8} {title}: {result}')
        lines += [f'{"":<8} -> {advice}'] if advice else []
    count = sum(check.state == PROBLEM for check in checks)
    wrap = textwrap.TextWrapper(79, subsequent_indent=' ' * 12)
    wrap.break_long_words = wrap.break_on_hyphens = False
    ending = f'{count or "No"} problem{"" if count == 1 else "s"}.'
    return '\n'.join([*map(wrap.fill, lines), '', ending])


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns 1 if there is a problem, see `cli.run`."""
    return cli.run(lambda: _run(sys.argv[1:] if argv is None else argv, prog))


def _run(argv: Sequence[str], prog: str) -> int:
    parser = cli.Parser(
        prog=prog,
        description='Check your installation: versions, devices, data sets '
        'and a short training. Exits with 1 if there is a problem.',
    )
    parser.add_argument('--data_dir', type=cli.path, default='', help=_HELP)
    parser.add_argument(
        '--cache_dir', type=cli.path, default='', help=_CACHE_HELP
    )
    parser.add_argument(
        '--clear_cache',
        action='store_true',
        help='Only remove the features that are kept.',
    )
    asked = parser.parse_args(argv)
    if asked.clear_cache:
        folder = cache.root(asked.cache_dir)
        print(f'Removed {cache.clear(folder)} from {folder}.')
        return 0
    folder = os.path.expanduser(asked.data_dir)
    if folder and not os.path.isdir(folder):
        raise UsageError(f'--data_dir={folder} is not a folder.')
    cli.check_backend()
    known = doctor.gather(folder, asked.cache_dir)
    print('Running a short training; this takes half a minute.', flush=True)
    checks = examine(known | doctor.self_test())
    print(text(checks))
    return int(any(check.state == PROBLEM for check in checks))


if __name__ == '__main__':
    sys.exit(main())
