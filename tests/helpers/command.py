"""Runs `python -m ieg.main`, in this process or in one of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys

import pytest
from absl import flags
from paths import ROOT

from ieg import main
from ieg.training import checkpoint

TIMES = {'seconds', 'images_per_second'}


def ieg(*arguments):
    """Runs the command in this process; returns code, output and errors."""
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as caught,
    ):
        patch.setattr(sys, 'argv', ['ieg', *arguments])
        main.main()
    return caught.value.code or 0, out.getvalue(), err.getvalue()


def assert_mistake(result, *words):
    code, _, err = result
    assert code == 2, err
    (line,) = err.splitlines()
    assert line.startswith('ieg: ') and 'Traceback' not in err
    for word in words:
        assert word in line


def start(*arguments, cwd=None, **environment):
    """Starts the command and returns its process."""
    inherited = {k: v for k, v in os.environ.items() if k != 'TF_CONFIG'}
    return subprocess.Popen(
        [sys.executable, '-m', 'ieg.main', *arguments],
        cwd=cwd,
        env=inherited
        | {'CUDA_VISIBLE_DEVICES': '-1', 'PYTHONPATH': str(ROOT)}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=300):
    """Returns the exit code, standard output and standard error."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def log(folder):
    """Returns the entries of a run's log without times."""
    lines = (folder / 'log.jsonl').read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k not in TIMES}
        for line in lines
    ]


def weights(folder):
    """Returns all variables of a run's last checkpoint."""
    path = folder / 'checkpoints' / f'ckpt-{last_step(folder)}.npz'
    variables = checkpoint.read(str(path))['variables']
    return dict(enumerate(variables))


def last_step(folder):
    """Returns the number of a run's last checkpoint, or 0."""
    files = (folder / 'checkpoints').glob('ckpt-*.npz')
    return max((int(file.stem.partition('-')[2]) for file in files), default=0)
