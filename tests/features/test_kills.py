"""Whatever ends a process, the next one has its features, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time

import extracting
import faults
import numpy as np
import photographs
import pytest
from paths import ROOT

from ieg.features import extract


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('images')
    photographs.write(path, 60)
    return path


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(extract, 'BATCH', 16)
    monkeypatch.setattr(extract, '_SECONDS', 0.0)


def test_an_end_at_any_operation_on_files(folder, tmp_path, small_shards):
    place = tmp_path / 'whole'
    with faults.injected(faults.nothing(place)) as layer:
        expected = extracting.features(folder, place)
    count = len(layer.operations)
    assert count > 20
    for number in random.Random(0).sample(range(1, count + 1), 12):
        place = tmp_path / str(number)
        fault = faults.Fault('end', str(place), number)
        with faults.injected(fault) as layer:
            with pytest.raises(faults.Ended):
                extracting.features(folder, place)
        found = extracting.features(folder, place)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_kills(folder, tmp_path):
    expected = extracting.features(folder, tmp_path / 'whole')
    place, chance = tmp_path / 'cache', random.Random(0)
    environment = os.environ | {
        'PYTHONPATH': f'{ROOT}:{ROOT / "tests/helpers"}',
        'CUDA_VISIBLE_DEVICES': '-1',
    }
    shards = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, extracting.__file__, str(folder), str(place)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 120
        while len([*place.rglob('*.npz')]) <= shards:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        now = len([*place.rglob('*.npz')])
        assert now > shards
        shards = now
    assert shards < 15
    seen = []

    def shown(pixels):
        seen.append(len(pixels))
        return extracting.network(pixels)

    found = extracting.features(folder, place, shown)
    np.testing.assert_array_equal(found, expected)
    # What was on the disk is not computed again.
    assert 0 < sum(seen) <= 60 - 4 * (shards - 1)
