"""Every benchmark runs, and prints a table with numbers."""

import json
import os
import re
import runpy
import sys

import pandas as pd
import pytest
from paths import ROOT

from ieg.features import names
from ieg.registry import DATASETS

FOLDER = ROOT / 'benchmarks'
STEP = ('--network=tiny', '--batch=4', '--rounds=1')
SMALLEST = {
    'augmentation': ('--examples=100', '--batch=50', '--rounds=1'),
    'backbone': (
        '--row',
        '--threads=1',
        '--calls=1',
        '--batch=1',
        '--rounds=1',
    ),
    'coteaching_step': STEP,
    'decode': ('--images=2', '--size=32', '--rounds=1'),
    'defaults': (
        *('--sets', 'cancer', '--noises', 'sym20', '--seeds', '0', '1'),
        *('--choices', 'auto', 'linear ce'),
    ),
    'dividemix_step': STEP,
    'evidence': (
        *('--sets', 'hopeless', '--networks', 'linear'),
        *('--methods', 'ce', '--seeds', '0', '--noises', 'sym20'),
    ),
    'features': ('--images=4', '--megapixels', '0.1', '--rounds=1'),
    'hard_class': (
        *('--images=200', '--seeds=1', '--epochs=2', '--warm_up=1'),
        *('--methods', 'dividemix, per_class'),
    ),
    'label_issues': (
        '--dataset=fake_uniform_0.4',
        '--method=supervised',
        '--network_name=tiny',
        '--max_epoch=1',
        '--batch_size=64',
    ),
    'lenet_epoch': ('--examples=200', '--rounds=1'),
    'lookalikes': (
        *('--sets', 'colors', '--seeds=1'),
        *('--images=60', '--copies=8', '--odd=8'),
    ),
    'meta_step': (*STEP, '--settings', 'supervised', 'l2r last_layer'),
    'pipeline': ('--examples=100', '--batch=50', '--rounds=1'),
    'search': ('--seeds=1',),
    'streaming_memory': ('--counts=40', '--steps=1'),
    'texts': ('--sets', 'files', '--rates', '0.2', '--seeds=1', '--most=20'),
    'tracker': ('--examples=200', '--rounds=1'),
    'vectors': ('--seeds=1', '--max_epoch=2'),
    'ways_in': (
        *('--sets', 'digits', '--models', 'logistic'),
        *('--examples=200', '--rows=26000', '--rounds=1'),
    ),
}
# They compile XLA, train six times or start processes.
SLOW = (
    'augmentation',
    'features',
    'hard_class',
    'label_issues',
    'lenet_epoch',
    'meta_step',
    'streaming_memory',
    'ways_in',
)
# Modules that others import.
HELPERS = {'common', 'evidence_sets', 'evidence_rivals'}


def test_every_benchmark_is_covered_here():
    scripts = {path.stem for path in FOLDER.glob('*.py')}
    assert scripts - HELPERS == set(SMALLEST)


@pytest.fixture
def script(monkeypatch, restored):
    """Returns a function that runs a benchmark in this process."""
    environment, modules = dict(os.environ), set(sys.modules)
    monkeypatch.setattr(DATASETS, '_entries', dict(DATASETS._entries))
    monkeypatch.syspath_prepend(FOLDER)

    def run(name, *arguments):
        path = str(FOLDER / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [path, *arguments])
        runpy.run_path(path, run_name='__main__')

    yield run
    for name in set(sys.modules) - modules:
        if (FOLDER / f'{name}.py').exists():
            del sys.modules[name]
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in SMALLEST
    ],
)
def test_it_runs(name, script, capsys, tiny):
    if name in ('label_issues', 'texts', 'ways_in'):
        pytest.importorskip('cleanlab')
    if (
        name in ('backbone', 'features')
        and names.BACKBONES['lite0'].find() is None
    ):
        pytest.skip('the weights of lite0 are not installed')
    script(name, *SMALLEST[name])
    text = capsys.readouterr().out
    # Rows of a table or lines of JSON.
    assert re.search(r'^(\| .*\d.* \||\w+ \{.*\d.*\})$', text, re.MULTILINE)
    assert 'nan' not in text.lower()


def test_evidence_holds_on_digits(script, tmp_path):
    path = tmp_path / 'cells.jsonl'
    what = ('--sets', 'digits', '--networks', 'linear', '--methods', 'ce')
    which = ('--noises', 'none', 'sym20', '--seeds', '0')
    script('evidence', *what, *which, f'--results={path}')
    clean, noisy = map(json.loads, path.read_text().splitlines())
    assert clean['truth'] == clean['lower'] == 0
    assert clean['upper'] > 0
    assert clean['point'] <= 0.02
    assert clean['marked'] <= 0.01
    assert 0 < noisy['lower'] <= noisy['truth'] <= noisy['upper']
    assert noisy['upper'] - noisy['lower'] <= 0.3
    assert noisy['precision'] >= 0.85
    assert noisy['auc'] >= noisy['old_auc'] - 0.02


GOOD_CELL = {
    'set': 'digits', 'noise': 'sym20', 'test': 0.95, 'truth': 0.2,
    'lower': 0.1, 'point': 0.2, 'upper': 0.3, 'inside': 1.0, 'marked': 0.2,
    'precision': 0.9, 'auc': 0.95, 'old_auc': 0.94,
}  # fmt: skip


@pytest.mark.parametrize(
    ('changed', 'word'),
    [
        ({}, ''),
        ({'set': 'hopeless'}, 'refused'),
        ({'truth': 0.0, 'precision': float('nan')}, 'clean'),
        ({'precision': 0.6}, 'precision'),
        ({'old_auc': 0.98}, 'ranks worse'),
        ({'upper': 0.65}, 'interval'),
        ({'inside': 0.0}, 'outside in bad'),
        # Networks repeat these labels.
        ({'inside': 0.0, 'noise': 'bound20'}, ''),
        ({'truth': 0.05, 'inside': 0.0}, 'above the truth'),
    ],
)
def test_evidence_says_what_fails(script, changed, word):
    del script
    import evidence

    cells = pd.DataFrame([GOOD_CELL, GOOD_CELL | changed], ['good', 'bad'])
    missed = evidence.failures(cells)
    assert bool(missed) == bool(word)
    assert all('good' not in text for text in missed)
    assert not word or any(word in text for text in missed)


@pytest.mark.parametrize(
    ('plain', 'best', 'words'),
    [(0.9, 0.91, ()), (0.915, 0.915, ('plain',)), (0.9, 0.94, ('best',))],
)
def test_a_default_that_is_worse_or_far_from_the_best_is_named(
    script, plain, best, words
):
    del script
    import defaults

    accuracy = {'auto': 0.9, 'linear ce': plain, 'mlp gce': best}
    rows = [
        {'set': 'digits', 'noise': 'none', 'choice': choice, 'seed': seed}
        | {'test': value + 0.001 * seed, 'auc': float('nan')}
        for choice, value in accuracy.items()
        for seed in range(3)
    ]
    missed = defaults.failures(pd.DataFrame(rows))
    assert len(missed) == len(words)
    for word, text in zip(words, missed, strict=True):
        assert word in text
