"""Facts about drivers, data sets and this machine; the short training."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from ieg import doctor
from ieg.doctor import __main__
from ieg.features import cache


@pytest.mark.parametrize(
    ('value', 'hidden'),
    [(None, False), ('0', False), ('0,1', False), ('', True), ('-1', True)],
)
def test_what_hides_gpus(monkeypatch, value, hidden):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', value or '')
    if value is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    assert doctor.gather()['hidden'] == hidden


def test_data_sets(tmp_path):
    for name in ('mnist/3.0.1', 'some/config/1.0.0'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'dataset_info.json').write_text('{}')
    (tmp_path / 'downloads' / 'x').mkdir(parents=True)
    found = doctor.data_sets(str(tmp_path))
    assert found['sets'] == ['mnist', 'some/config'] and found['exists']
    gone = doctor.data_sets(str(tmp_path / 'gone'))
    assert gone['sets'] == [] and not gone['exists']


def test_data_sets_in_the_usual_place(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    assert doctor.data_sets()['folder'] == str(tmp_path)


@pytest.mark.parametrize(
    ('answer', 'devices'),
    [
        (
            'NVIDIA H200, 9.0, 143771 MiB, 570.86.15\n'
            'NVIDIA A100-SXM4-40GB, 8.0, 40960 MiB, 570.86.15\n',
            [
                {
                    'name': 'NVIDIA H200',
                    'capability': [9, 0],
                    'memory': 140,
                    'driver': '570.86.15',
                },
                {
                    'name': 'NVIDIA A100-SXM4-40GB',
                    'capability': [8, 0],
                    'memory': 40,
                    'driver': '570.86.15',
                },
            ],
        ),
        (
            'GRID, [N/A], [N/A], 535.1\n',
            [
                {
                    'name': 'GRID',
                    'capability': None,
                    'memory': None,
                    'driver': '535.1',
                }
            ],
        ),
        ('No devices were found\n', []),
        ('', []),
    ],
)
def test_what_the_driver_says(answer, devices):
    assert doctor.parse_smi(answer) == devices


def fake_smi(tmp_path, monkeypatch, script):
    (tmp_path / 'nvidia-smi').write_text(f'#!/bin/sh\n{script}\n')
    (tmp_path / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))


def test_the_driver_is_asked(tmp_path, monkeypatch):
    fake_smi(tmp_path, monkeypatch, 'echo "RTX 5090, 12.0, 32768 MiB, 570.1"')
    found = doctor.gpus()
    (device,) = found['devices']
    assert device['name'] == 'RTX 5090' and device['driver'] == '570.1'
    assert (device['capability'], device['memory']) == ([12, 0], 32)
    assert found['present']
    fake_smi(tmp_path, monkeypatch, 'echo "no driver"; exit 9')
    assert doctor.gpus()['devices'] == []
    monkeypatch.setenv('PATH', '')
    assert doctor.gpus()['devices'] == []


def test_facts_of_this_machine():
    found = doctor.gather()
    assert json.loads(json.dumps(found)) == found
    assert found['versions']['tensorflow'].startswith('2.')
    assert found['cpu']['cores'] >= found['cpu']['usable'] >= 1
    assert found['libraries'].keys() == doctor.LIBRARIES.keys()
    assert doctor.version('no-such-package') is None


def test_a_short_training_on_this_machine(tiny, monkeypatch):
    monkeypatch.setitem(doctor.OPTIONS, 'network_name', tiny)
    found = doctor.train()
    assert math.isfinite(found['loss']) and found['same']
    assert found['replicas'] == 1


def test_what_a_process_told_before_it_ended(monkeypatch):
    start = subprocess.run

    def python(code):
        monkeypatch.setattr(
            subprocess,
            'run',
            lambda command, **more: start([sys.executable, '-c', code], **more),
        )
        return doctor.self_test()

    found = python(
        'import os, sys\n'
        'assert "TF_CONFIG" not in os.environ\n'
        'print("noise")\nprint(\'{"xla": ""}\', flush=True)\n'
        'print("a\\nb\\n", file=sys.stderr, flush=True)\nos.abort()\n'
    )
    assert found == {'xla': '', 'ended': -6, 'error': 'b'}
    monkeypatch.setattr(doctor, 'SECONDS', 0.5)
    slow = 'import time\nprint(\'{"xla": ""}\', flush=True)\ntime.sleep(60)'
    assert python(slow)['ended'] == 'timeout'


def test_features_that_are_kept(tmp_path):
    folder = cache.root(str(tmp_path))
    assert doctor.features(str(tmp_path)) == {
        'folder': folder,
        'size': '0.0 MB in 0 files',
    }
    held = cache.Cache(folder, cache.Key('weights', 8, 'squares'), (1, 2))
    held.write([bytes(cache.DIGEST)], np.zeros((1, 1, 2), cache.STORED))
    assert doctor.features(str(tmp_path))['size'].endswith('1 file')


def test_clearing_removes_the_features_and_nothing_else(tmp_path, capsys):
    folder = cache.root(str(tmp_path))
    held = cache.Cache(folder, cache.Key('weights', 8, 'squares'), (1, 2))
    held.write([bytes(cache.DIGEST)], np.zeros((1, 1, 2), cache.STORED))
    (tmp_path / 'notes.txt').write_text('mine')
    assert __main__.main([f'--cache_dir={tmp_path}', '--clear_cache']) == 0
    out = capsys.readouterr().out
    assert '1 file' in out and folder in out
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']
