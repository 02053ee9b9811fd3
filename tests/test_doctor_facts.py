"""The facts that the doctor gathers: of drivers, data and this machine."""

import json
import math
import subprocess
import sys

import pytest

from ieg.diagnosis import facts, measuring


@pytest.mark.parametrize(
    ('value', 'hidden'),
    [(None, False), ('0', False), ('0,1', False), ('', True), ('-1', True)],
)
def test_what_hides_gpus(value, hidden):
    assert facts.hidden_gpus(value) == hidden


def test_data_sets(tmp_path):
    for name in ('mnist/3.0.1', 'some/config/1.0.0'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'dataset_info.json').write_text('{}')
    (tmp_path / 'downloads' / 'x').mkdir(parents=True)
    found = facts.data_sets(str(tmp_path))
    assert found['sets'] == ['mnist', 'some/config'] and found['exists']
    gone = facts.data_sets(str(tmp_path / 'gone'))
    assert gone['sets'] == [] and not gone['exists']


def test_data_sets_in_the_usual_place(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    assert facts.data_sets()['folder'] == str(tmp_path)


@pytest.mark.parametrize(
    ('answer', 'devices', 'driver'),
    [
        (
            'NVIDIA H200, 9.0, 143771 MiB, 570.86.15\n'
            'NVIDIA A100-SXM4-40GB, 8.0, 40960 MiB, 570.86.15\n',
            [
                {'name': 'NVIDIA H200', 'capability': [9, 0], 'memory': 140},
                {
                    'name': 'NVIDIA A100-SXM4-40GB',
                    'capability': [8, 0],
                    'memory': 40,
                },
            ],
            '570.86.15',
        ),
        (
            'GRID, [N/A], [N/A], 535.1\n',
            [{'name': 'GRID', 'capability': None, 'memory': None}],
            '535.1',
        ),
        ('No devices were found\n', None, None),
        ('', None, None),
    ],
)
def test_what_the_driver_says(answer, devices, driver):
    found = facts.parse_smi(answer)
    assert found.get('devices') == devices
    assert found.get('driver') == driver


def fake_smi(tmp_path, monkeypatch, script):
    (tmp_path / 'nvidia-smi').write_text(f'#!/bin/sh\n{script}\n')
    (tmp_path / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))


def test_the_driver_is_asked(tmp_path, monkeypatch):
    fake_smi(tmp_path, monkeypatch, 'echo "RTX 5090, 12.0, 32768 MiB, 570.1"')
    found = facts.gpus()
    (device,) = found['devices']
    assert device == {'name': 'RTX 5090', 'capability': [12, 0], 'memory': 32}
    assert found['present']
    fake_smi(tmp_path, monkeypatch, 'echo "no driver"; exit 9')
    assert facts.gpus()['devices'] == []
    monkeypatch.setenv('PATH', '')
    assert facts.gpus()['driver'] is None


def test_facts_of_this_machine():
    found = facts.gather()
    assert json.loads(json.dumps(found)) == found
    assert found['versions']['tensorflow'].startswith('2.')
    assert found['cpu']['cores'] >= found['cpu']['usable'] >= 1
    assert found['libraries'].keys() == facts.LIBRARIES.keys()
    assert facts.version('no-such-package') is None


def test_a_short_training_on_this_machine(tiny, monkeypatch):
    monkeypatch.setitem(measuring.SELF_TEST, 'network_name', tiny)
    found = measuring.self_test()
    assert math.isfinite(found['loss']) and found['same']
    assert found['replicas'] == 1


def test_what_a_process_told_before_it_ended(monkeypatch):
    start = subprocess.Popen

    def python(code):
        monkeypatch.setattr(
            subprocess,
            'Popen',
            lambda command, **more: start([sys.executable, '-c', code], **more),
        )
        return facts.measured()

    found = python(
        'import os, sys\n'
        'assert "TF_CONFIG" not in os.environ\n'
        'print("noise")\nprint(\'{"xla": ""}\', flush=True)\n'
        'print("a\\nb\\n", file=sys.stderr, flush=True)\nos.abort()\n'
    )
    assert found == {'xla': '', 'ended': -6, 'error': 'b'}
    monkeypatch.setattr(facts, 'SELF_TEST_SECONDS', 0.2)
    assert python('import time\ntime.sleep(60)')['ended'] == 'timeout'
