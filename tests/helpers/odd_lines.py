"""Malformed command lines, and checks of how they are refused."""

import contextlib
import io
import sys

import pytest
from absl import flags
from hypothesis import strategies as st

from ieg import experiment, main
from ieg.audit import work
from ieg.commandline import catalog
from ieg.config import TRACKING
from ieg.options import SCHEDULES
from ieg.search import driver

# A process cannot be given the character NUL, a file of options can have it.
ODD = (
    '',
    ' ',
    '-',
    'nan',
    'inf',
    '-inf',
    '-1',
    '0',
    '1.5',
    '1e308',
    '1e999',
    '1_000',
    '0x10',
    '٣',
    str(10**30),
    str(-(10**30)),
    '9' * 5000,
    'x' * 5000,
    'ü',
    '日本語',
    'two\nlines',
    'tab\tbell\a',
    'carriage\rreturn',
    '\u2028',
    'nul\0',
    '\udcff',
    '%s{0}$HOME`id`',
    '--seed=1',
    'None',
    'True',
    '[]',
    '{}',
    '/missing/path',
    '/dev/null',
    '/dev/full',
    '.',
    'empty',
    'some.txt',
    'http://example.org/x',
    'gs://bucket/x',
    'file:///tmp/x',
    '~nobody_at_all/x',
    '*',
    '[a]',
    'a,b',
    ',',
)
PLUGINS = ('missing_module', 'wrong_syntax', 'raising', '..', '/', './x.py')
COMMANDS = ('train', 'evaluate', 'audit', 'compare', 'report', 'predict')
LATER = {
    'audit': ('--output', '--time_budget', '--backbone', '--max_epoch'),
    'compare': ('--y', '--boundary', '--top', '--out', '--force'),
    'report': ('--apply', '--output', '--plugin'),
    'predict': ('--output', '--top', '--batch_size', '--plugin'),
}


def prepare(folder):
    """Writes the files that the values name into a folder."""
    (folder / 'empty').mkdir()
    (folder / 'some.txt').write_text('text\n')
    (folder / 'wrong_syntax.py').write_text('def f(:\n')
    (folder / 'raising.py').write_text('1 / 0\n')


def names():
    """Returns all names of options."""
    return sorted(catalog.current().options())


@st.composite
def misspelt(draw):
    """Draws the name of an option with a letter changed or left out."""
    name = draw(st.sampled_from(names()))
    place = draw(st.integers(0, len(name) - 1))
    letter = draw(st.sampled_from(['', 'q', '-', 'é', '=', name[place] * 2]))
    return name[:place] + letter + name[place + 1 :]


@st.composite
def flag(draw):
    """Draws one argument of a training."""
    kind = draw(st.sampled_from(['odd'] * 6 + ['misspelt', 'bare', 'plugin']))
    value = draw(st.sampled_from(ODD))
    if kind == 'misspelt':
        return f'--{draw(misspelt())}={value}'
    if kind == 'plugin':
        return f'--plugin={draw(st.sampled_from(PLUGINS))}'
    name = draw(st.sampled_from([*names(), 'config']))
    if kind == 'bare':
        return draw(st.sampled_from([f'--{name}', value or 'word', '--']))
    return f'--{name}={value}'


@st.composite
def line(draw):
    """Draws the arguments of a command."""
    command = draw(st.sampled_from(['', '', '', '', *COMMANDS, 'trian']))
    if command in LATER:
        more = st.one_of(
            st.sampled_from(ODD),
            st.builds(
                '{}={}'.format,
                st.sampled_from(LATER[command]),
                st.sampled_from(ODD),
            ),
        )
        return [command, *draw(st.lists(more, max_size=3))]
    base = ['--dataset=fake_uniform_0.4', '--network_name=cnn']
    arguments = draw(st.lists(flag(), min_size=1, max_size=3))
    repeated = draw(st.booleans()) and draw(st.booleans())
    return [
        *([command] if command else []),
        *base[: draw(st.integers(0, 2))],
        *arguments,
        *(arguments[:1] if repeated else []),
    ]


def run(arguments):
    """Runs the command, but no training, in this process.

    Its standard output and errors take what those of a terminal take.

    Returns:
        code: the exit code.
        err: what it wrote to standard error.
    """
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    out = io.TextIOWrapper(io.BytesIO(), 'utf-8')
    err = io.TextIOWrapper(io.BytesIO(), 'utf-8', errors='backslashreplace')
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, 'argv', ['ieg', *arguments])
        summary = {'label_issues': {}}
        patch.setattr(experiment, 'train', lambda *a, **k: summary)
        patch.setattr(experiment, 'evaluate', lambda *a, **k: {})
        patch.setattr(work, 'audit', lambda *a, **k: ())
        patch.setattr(driver, 'search', lambda config, *a, **k: config)
        try:
            main.main()
            code = 0
        except SystemExit as error:
            code = error.code or 0
    err.flush()
    return code, err.buffer.getvalue().decode()


def fault(arguments, code, err):
    """Returns what is wrong with an outcome, or nothing."""
    if code == 0:
        return ''
    if code not in (1, 2):
        return f'exit code {code}'
    lines = [line for line in err.split('\n') if line]
    if len(lines) != 1 or not lines[0].startswith('ieg: '):
        return f'{len(lines)} lines'
    if len(lines[0]) > 2000:
        return f'a line of {len(lines[0])} characters'
    if not any(_is_named(argument, lines[0]) for argument in arguments):
        return 'neither flag nor value'
    return ''


# Options that sentences call by other words.
WORDS = {
    '--backbone': 'backbone',
    '--dataset': 'data set',
    '--method': 'method',
    '--network_name': 'network',
    '--noise_sampler': 'noise sampler',
    '--searcher': 'searcher',
}
# Sentences about an option whatever its value is.
REGARDLESS = ('Unknown option', 'not used by', ' needs ', 'not both')


def _is_named(argument, line):
    """Returns whether a line says which argument is wrong."""
    if 'required: ' in line:
        return True
    name, equals, value = argument.partition('=')
    if not argument.startswith('--') or not equals:
        name, value = '', argument
    # Long values may be cut, and numbers be shown as numbers.
    shown = [value[:20], repr(value)[1:-1][:20], ascii(value)[1:-1][:20]]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            shown.append(repr(kind(value))[:20])
    is_there = name in line or WORDS.get(name, name) in line
    return is_there and (
        (bool(name) and any(words in line for words in REGARDLESS))
        or any(text in line for text in shown)
    )


def singles():
    """Yields lines: each option with each odd value, and what it needs."""
    for name, (_, users) in sorted(catalog.current().options().items()):
        base = ['--dataset=fake_uniform_0.4', '--network_name=cnn']
        base += [f'--method={users[0]}'] if users else []
        base += ['--track_memorization'] if name in TRACKING else []
        base = [b for b in base if not b.startswith(f'--{name}=')]
        for schedule, needed in SCHEDULES.items():
            if name in needed:
                base.append(f'--lr_schedule={schedule}')
                break
        for value in ODD:
            yield [*base, f'--{name}={value}']
