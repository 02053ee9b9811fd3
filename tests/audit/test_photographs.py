"""An audit as the README shows it: pictures of CIFAR-10, some labels wrong."""

import csv
import json
import os
import subprocess
import sys

import pytest
from command import ROOT
from paths import TFDS

from ieg import label_issues
from ieg.features.names import BACKBONES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (TFDS / 'cifar10').is_dir(), reason='needs cifar10 of TFDS'
    ),
    pytest.mark.skipif(
        BACKBONES['lite0'].find() is None, reason='needs the weights of lite0'
    ),
]


def run(*arguments, cwd):
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ
        | {'PYTHONPATH': str(ROOT), 'XDG_CACHE_HOME': str(cwd / 'cache')},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return ' '.join(process.stdout.split())


def test_most_of_the_list_is_wrong_and_most_wrong_labels_are_on_it(tmp_path):
    script = ROOT / 'scripts' / 'cifar10_folder.py'
    run(script, 'photos', f'--data_dir={TFDS}', '--count=1000', cwd=tmp_path)
    text = run('-m', 'ieg', 'audit', 'photos', cwd=tmp_path)
    assert 'backbone lite0' in text and 'about 85 of 100' in text
    folder = tmp_path / 'runs' / 'folder-photos' / 'supervised_linear_s1'
    with open(tmp_path / 'photos-truth.csv') as file:
        truth = {row['path']: row['true'] for row in csv.DictReader(file)}
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    true = [truth[os.sep.join(path.split(os.sep)[-2:])] for path in rows.path]
    wrong = rows.given != true
    assert wrong.sum() == 150
    assert wrong[rows.is_issue].mean() > 0.7
    assert rows.is_issue[wrong].mean() > 0.6
    # What a marked wrong label looks like is mostly what it is.
    found = rows.is_issue & wrong
    assert (rows.suggested == true)[found].mean() > 0.8
    summary = json.loads((folder / 'summary.json').read_text())
    low, high = summary['label_issues']['noise_rate_interval']
    assert low <= 0.15 <= high
