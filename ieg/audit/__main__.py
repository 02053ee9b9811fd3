"""The command: `ieg audit` or `python -m ieg.audit PATH`.

Trains a classifier on a user's own data and reports which labels are probably
wrong.
"""

import sys
import textwrap
from collections.abc import Sequence

from ieg.audit import arguments, place
from ieg.commandline import arguments as options
from ieg.commandline import plugged, usage
from ieg.commandline.catalog import Catalog
from ieg.utils import cli

PROG = 'python -m ieg.audit'


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(
        lambda: _run(sys.argv[1:] if argv is None else argv, prog),
        interrupted='Interrupted. Run the same command again to resume.',
        needs_no_reader=True,
    )


def _run(argv: Sequence[str], prog: str) -> None:
    line = [prog, *argv]
    known = plugged.known(line)
    if text := usage.asked(line, known, _usage):
        print(text)
        return
    asked = arguments.parse(line, known)
    kind = place.kind(asked.path)
    given = asked.given | {'dataset': kind, 'data_dir': asked.path}
    options.check(given, known)
    found = place.look(asked.path, kind, given.get('probe_dir', ''))
    for sentence in (
        place.describe(found),
        *found.remarks,
        place.warning(found),
    ):
        say(sentence)
    plugged.import_methods()
    from ieg.audit import work

    for title, text in work.audit(given, asked.minutes, found.remarks, say):
        say(f'{title:<18} {text}', ' ' * 19)


def _usage(known: Catalog) -> str:
    return usage.auditing(known, arguments.BUDGET)


def say(sentence: str, indent: str = '') -> None:
    """Prints a sentence, if there is one; paths are not broken."""
    if sentence:
        wrapped = textwrap.fill(
            sentence,
            79,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        print(wrapped, flush=True)


if __name__ == '__main__':
    sys.exit(main())
