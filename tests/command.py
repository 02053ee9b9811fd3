"""Runs `python -m ieg.main` in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
TIMES = {'seconds', 'images_per_second'}


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
    path = tf.train.latest_checkpoint(str(folder / 'checkpoints'))
    reader = tf.train.load_checkpoint(path)
    names = [n for n in reader.get_variable_to_shape_map() if 'variables/' in n]
    return {name: np.asarray(reader.get_tensor(name)) for name in names}
