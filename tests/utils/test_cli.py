"""Exit codes, one-line errors and imports of the commands."""

import os
import subprocess
import sys

import pytest

from ieg.errors import RunError, UsageError
from ieg.utils import cli


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ('error', 'code', 'sentence'),
    [
        (UsageError('--flag is wrong.'), 2, 'ieg: --flag is wrong.\n'),
        (RunError('It failed.'), 1, 'ieg: It failed.\n'),
        (KeyboardInterrupt(), 130, 'ieg: Stopped.\n'),
    ],
)
def test_an_error_is_one_line_and_a_code(capsys, error, code, sentence):
    assert cli.run(raising(error), interrupted='Stopped.') == code
    assert capsys.readouterr() == ('', sentence)


@pytest.mark.parametrize(('answer', 'code'), [(None, 0), (0, 0), (1, 1)])
def test_a_command_chooses_its_code(capsys, answer, code):
    assert cli.run(lambda: answer) == code
    assert capsys.readouterr() == ('', '')


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 // 0)


@pytest.mark.parametrize('line', ['print(10**5 * "x")', 'print("x")'])
@pytest.mark.parametrize('end', ['', 'raise RunError("It failed.")'])
def test_a_reader_that_stops_reading(line, end):
    code = (
        'import sys\n'
        'from ieg.errors import RunError\n'
        'from ieg.utils import cli\n'
        'def command():\n'
        '    sys.stdin.read()\n'
        f'    {line}\n'
        f'    {end or "pass"}\n'
        'sys.exit(cli.run(command))\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': ''},
    )
    process.stdout.close()
    process.stdin.close()
    error = process.stderr.read()
    process.stderr.close()
    # A long line fails while it is printed, a short one when it is flushed.
    fails = end and '10**5' not in line
    assert process.wait() == (1 if fails else 0)
    assert error == ('ieg: It failed.\n' if fails else '')


def parser():
    parser = cli.Parser(prog='command', description='Does it.')
    parser.add_argument('--number', type=cli.positive, default=1)
    return parser


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--none'], '--none'),
        (['--num=2'], '--num=2'),
        (['--number'], '--number'),
        (['--number=0'], "--number: must be a positive integer, got '0'"),
        (['--number=x'], "got 'x'"),
        (['--number=-1'], "got '-1'"),
    ],
)
def test_a_mistake_in_an_argument_is_a_usage_error(arguments, words):
    with pytest.raises(UsageError) as caught:
        parser().parse_args(arguments)
    assert words in str(caught.value) and '\n' not in str(caught.value)


def test_arguments_are_parsed():
    assert parser().parse_args(['--number=12']).number == 12
    with pytest.raises(SystemExit) as caught:
        cli.run(lambda: parser().parse_args(['--help']))
    assert caught.value.code == 0


def test_plugins_are_imported_from_the_current_folder(tmp_path, monkeypatch):
    for name in ('plugin_one', 'plugin_two'):
        (tmp_path / f'{name}.py').write_text('VALUE = 5\n')
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    cli.import_plugins('plugin_one,./plugin_two,')
    for name in ('plugin_one', 'plugin_two'):
        assert sys.modules.pop(name).VALUE == 5
    cli.import_plugins('')
    assert sys.path == path


@pytest.mark.parametrize('name', ['no_such_plugin', './'])
def test_a_plugin_that_is_missing(name):
    with pytest.raises(UsageError, match=f'--plugin={name} cannot be imported'):
        cli.import_plugins(name)


def test_a_plugin_that_imports_what_is_gone(tmp_path, monkeypatch):
    (tmp_path / 'plugin_old.py').write_text('from ieg.data import Gone\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match='--plugin=plugin_old .*Gone'):
        cli.import_plugins('plugin_old')


def test_tensorflow_is_imported_quietly():
    code = (
        'import sys\n'
        'from ieg.utils import cli\n'
        'assert "absl" not in sys.modules\n'
        'cli.import_tensorflow()\n'
        'assert "tensorflow" in sys.modules\n'
        'print("still there", file=sys.stderr)\n'
    )
    ended = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, 'still there\n')
