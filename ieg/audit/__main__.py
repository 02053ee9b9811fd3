"""The command: `ieg audit` or `python -m ieg.audit PATH`.

Trains a classifier on a user's own data and reports which labels are probably
wrong.
"""

import contextlib
import dataclasses
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence

from ieg.audit import arguments, place
from ieg.commandline import arguments as options
from ieg.commandline import plugged, usage
from ieg.commandline.catalog import Catalog
from ieg.data import hub
from ieg.utils import cli

PROG = 'python -m ieg.audit'
# A step that takes longer says what it does.
_SECONDS = 2.0


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Runs the command; returns its exit code, see `cli.run`."""
    return cli.run(
        lambda: _run(sys.argv[1:] if argv is None else argv, prog),
        interrupted='Interrupted. Run the same command again to resume.',
        needs_no_reader=True,
    )


def _run(argv: Sequence[str], prog: str) -> None:
    words = [prog, *argv]
    known = plugged.known(words)
    if text := usage.asked(words, known, _usage):
        print(text)
        return
    asked = arguments.parse(words, known)
    if hub.is_named(asked.path):
        with _announced(f'Reading {asked.path}.'):
            made = hub.read(asked.path, asked.given.get('cache_dir', ''))
        asked = dataclasses.replace(asked, path=made.path)
        for remark in made.remarks:
            say(remark)
    kind = place.kind(asked.path)
    given = asked.given | {'dataset': kind, 'data_dir': asked.path}
    options.check(given, known)
    with _announced(f'Counting what is in {asked.path}.'):
        found = place.look(
            asked.path,
            kind,
            given.get('probe_dir', ''),
            given.get('feature_columns', ''),
        )
    for sentence in (
        place.describe(found),
        *found.remarks,
        place.warning(found),
    ):
        say(sentence)
    plugged.import_methods()
    from ieg.audit import work

    indent = ' ' * 19
    for title, text in work.audit(given, asked.minutes, found, say):
        first, *commands = text.split('\n')
        say(f'{title:<18} {first}', indent)
        for command in commands:
            print(indent + command)


@contextlib.contextmanager
def _announced(sentence: str) -> Iterator[None]:
    """Prints a sentence if its block takes longer than usual."""
    timer = threading.Timer(_SECONDS, say, [sentence])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
