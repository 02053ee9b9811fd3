"""Exit codes, one-line errors and imports of the commands."""

import errno
import os
import subprocess
import sys
import types

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


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (errno.ENOSPC, 'disk is full'),
        (errno.EDQUOT, 'quota'),
        (errno.EFBIG, 'size limit'),
        (errno.EROFS, 'read-only'),
        (errno.EIO, 'disk reports an error'),
        (errno.EACCES, 'permission'),
        (errno.ENOENT, 'No such file'),
    ],
)
def test_a_file_that_cannot_be_used_is_named(capsys, number, words):
    error = OSError(number, os.strerror(number), '/run/log.jsonl')
    assert cli.run(raising(error)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('ieg: /run/log.jsonl cannot be ')
    assert words in line and 'resumes' in line


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        ('a\nb', 'a\\nb'),
        ('a\r\x1b[31mb\x85', 'a\\r\\x1b[31mb\\x85'),
        ('caf\udce9', 'caf\\udce9'),
        ('Müll 猫', 'Müll 猫'),
        ('x' * 5000, 'xxx [...] xxx'),
    ],
)
def test_a_sentence_is_one_line_whatever_was_given(capsys, value, shown):
    error = UsageError(f'--run={value} is wrong; correct it.')
    assert cli.run(raising(error)) == 2
    (line,) = capsys.readouterr().err.split('\n')[:-1]
    assert shown in line and len(line) < 1300
    assert line.startswith('ieg: --run=') and line.endswith('correct it.')
    assert line.isprintable()


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


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('def broken(:', ['SyntaxError', 'plugin_bad.py:2']),
        ('{}["key"]', ['KeyError', "'key'", 'plugin_bad.py:2']),
        ('import plugin_that_is_gone', ['plugin_bad.py:2', 'that_is_gone']),
    ],
)
def test_what_a_plugin_raises_is_said_with_its_line(
    line, words, tmp_path, monkeypatch
):
    (tmp_path / 'plugin_bad.py').write_text(f'# A comment.\n{line}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match='--plugin=plugin_bad ') as caught:
        cli.import_plugins('plugin_bad')
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize('where', ['variable', 'file', 'process'])
def test_another_backend_of_keras_is_refused(where, tmp_path, monkeypatch):
    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    monkeypatch.delenv('KERAS_BACKEND', raising=False)
    monkeypatch.delitem(sys.modules, 'keras', raising=False)
    cli.check_backend()
    if where == 'variable':
        monkeypatch.setenv('KERAS_BACKEND', 'torch')
    elif where == 'file':
        (tmp_path / 'keras.json').write_text('{"backend": "torch"}')
    else:
        config = types.SimpleNamespace(backend=lambda: 'torch')
        keras = types.SimpleNamespace(config=config)
        monkeypatch.setitem(sys.modules, 'keras', keras)
    with pytest.raises(UsageError, match="'torch'.* KERAS_BACKEND=tensorflow"):
        cli.import_tensorflow()


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


ON_TO_THE_END = """
import sys
from ieg.utils import cli

def command():
    sys.stdin.read()
    for number in range(3):
        print(20_000 * 'long')
        print('line', flush=True)
        print('to the other', file=sys.stderr)
    open(sys.argv[1], 'w').write('done')

sys.exit(cli.run(command, needs_no_reader=True))
"""


@pytest.mark.parametrize(
    'redirection',
    ['| true', '2>&1 | true', '>&-', '2>&-', '<&- >&- 2>&-', '>/dev/full'],
)
def test_what_needs_no_reader_goes_on(redirection, tmp_path):
    done = tmp_path / 'done'
    command = (
        f"sleep 0.2 | '{sys.executable}' -c \"$CODE\" '{done}' {redirection}; "
        'exit ${PIPESTATUS[1]}'
    )
    if '<&-' in redirection:
        command = command.replace('sleep 0.2 |', '').replace('[1]', '[0]')
    ended = subprocess.run(
        ['bash', '-c', command],
        env=os.environ | {'CODE': ON_TO_THE_END},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0
    assert 'Traceback' not in ended.stderr
    assert done.read_text() == 'done'


def test_names_are_printed_whatever_the_encoding():
    code = (
        'import sys\nfrom ieg.utils import cli\n'
        'def command():\n'
        '    print("M\\xfcll \\udce4")\n'
        '    raise cli.UsageError("M\\xfcll")\n'
        'sys.exit(cli.run(command))\n'
    )
    ended = subprocess.run(
        [sys.executable, '-c', code],
        env=os.environ | {'PYTHONIOENCODING': 'ascii'},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stdout == 'M\\xfcll \\udce4\n'
    assert ended.stderr == 'ieg: M\\xfcll\n'
