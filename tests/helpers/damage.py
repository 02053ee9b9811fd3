"""Damages the files of a run folder, and judges what a command makes of it."""

import dataclasses
import pathlib
import re
import shutil

import ends

# Never read again, or other programs' own.
LEFT_OUT = ('tensorboard',)


def _truncate(path, other):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _zero(path, other):
    path.write_bytes(bytes(path.stat().st_size))


def flip(path, place, bit=0):
    """Changes one bit of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    if content:
        content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
        path.write_bytes(content)


def _flip(path, other):
    # The highest bit: another digit of a text would go unnoticed.
    flip(path, 0.5, 7)


def _replace(path, other):
    shutil.copyfile(other, path)


def _empty(path, other):
    path.write_bytes(b'')


def _make_folder(path, other):
    path.unlink()
    path.mkdir()


WAYS = {
    'truncated': _truncate,
    'zeroed': _zero,
    'flipped': _flip,
    "another run's": _replace,
    'empty': _empty,
    'a folder': _make_folder,
}


def files(folder):
    """Returns the names of all files of a run folder, sorted."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob('*')
        if path.is_file() and not set(LEFT_OUT) & set(path.parts)
    )


def apply(way, folder, name, other):
    """Damages a file.

    Args:
        way: see `WAYS`, or a function of a path.
        folder: the run folder.
        name: of the file in it.
        other: folder of another run, whose file of that name, or of that
            kind, is copied.

    Returns:
        Whether the file has changed.
    """
    path = folder / name
    alike = other / name
    if not alike.exists():
        same = sorted((other / name).parent.glob(f'*{path.suffix}'))
        alike = same[-1] if same else None
    before = path.read_bytes()
    if way == "another run's":
        if alike is None or alike.read_bytes() == before:
            return False
    (way if callable(way) else WAYS[way])(path, alike)
    return path.is_dir() or path.read_bytes() != before


@dataclasses.dataclass
class Outcome:
    """What a command did: exit code, output, errors and its result."""

    code: int
    out: str
    err: str
    result: dict = dataclasses.field(default_factory=dict)


def fault(name, outcome, expected):
    """Returns what is wrong with an outcome, or nothing.

    Args:
        name: of the damaged file.
        outcome: of the command.
        expected: its result without damage.
    """
    if 'Traceback' in outcome.err:
        return f'a traceback: {outcome.err[-200:]}'
    # The table at the end of a run has the names of two files.
    said = re.sub(r'\(label_issues.csv\)|with report.html', '', outcome.out)
    named = pathlib.PurePath(name).name in said + outcome.err
    if outcome.code == 0:
        changed = ends.differences(outcome.result, expected)
        return '' if named or not changed else f'silently other {changed}'
    if outcome.code not in (1, 2):
        return f'exit code {outcome.code}'
    lines = [x for x in outcome.err.split('\n') if x.startswith('ieg: ')]
    if len(lines) != 1:
        return f'{len(lines)} lines: {outcome.err[-300:]}'
    return '' if named else f'does not name the file: {lines[0]}'
