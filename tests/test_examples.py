"""The examples run, and what they mark is really wrong."""

import importlib.util
import os
import re
import runpy
import subprocess
import sys

import pytest
from paths import ROOT

FOLDER = ROOT / 'examples'
# These need packages that everybody has.
PLAIN = ('keras_seen', 'sklearn_partial_fit', 'sklearn_staged')
# Packages that the others need, and backends of Keras.
EXTRAS = [
    ('hugging_face', ('torch', 'transformers', 'accelerate'), ''),
    ('keras_fit', ('torch',), 'torch'),
    ('lightning_net', ('torch', 'pytorch_lightning'), ''),
    ('pytorch_loop', ('torch',), ''),
    ('xgboost_rounds', ('xgboost',), ''),
]


def check(text, folder):
    """Checks the last two lines, and the page."""
    pattern = r'(\d+) of (\d+) marked labels are wrong;\n(\d+) labels'
    right, marked, wrong = map(int, re.search(pattern, text).groups())
    assert right > 0.9 * marked and right > 0.6 * wrong
    assert (folder / 'labels.html').read_text().count('<img') > 100


def test_every_example_is_covered_here():
    names = {path.stem for path in FOLDER.glob('*.py')} - {'noisy_digits'}
    assert names == {*PLAIN} | {name for name, *_ in EXTRAS}


@pytest.mark.parametrize('name', PLAIN)
def test_plain_examples(name, tmp_path, monkeypatch, capsys, restored):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)
    runpy.run_path(str(FOLDER / f'{name}.py'))
    check(capsys.readouterr().out, tmp_path)
    kind = 'seen' if name == 'keras_seen' else 'pass'
    word = {'seen': 'training steps', 'pass': 'after training'}[kind]
    assert word in (tmp_path / 'labels.html').read_text()


@pytest.mark.extras
@pytest.mark.parametrize('name, packages, backend', EXTRAS)
def test_examples_of_other_libraries(name, packages, backend, tmp_path):
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
    done = subprocess.run(
        [sys.executable, FOLDER / f'{name}.py'],
        cwd=tmp_path,
        env=os.environ
        | {'PYTHONPATH': str(ROOT)}
        | ({'KERAS_BACKEND': backend} if backend else {}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    check(done.stdout, tmp_path)


def test_a_loop_of_pytorch_needs_fewer_than_ten_lines():
    lines = (FOLDER / 'pytorch_loop.py').read_text().splitlines()
    added = [line for line in lines if line.endswith('  #')]
    assert 0 < len(added) + 1 < 10
    assert all(
        re.search('tracker|Tracker|no_grad', line) is not None for line in added
    )
