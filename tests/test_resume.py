"""Runs that are killed and started again end like those that were not."""

import random
import time

import command
import numpy as np
import pytest

pytestmark = pytest.mark.slow

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--network_name=cnn',
    '--batch_size=16',
    '--valid_ratio=0.1',
    '--max_epoch=12',
)
METHODS = {
    'coteaching': ('--method=coteaching', '--noise_rate=auto'),
    'supervised': ('--method=supervised', '--use_ema', '--mixup=1'),
    'dividemix': ('--method=dividemix', '--warm_up=3', '--loss_average=2'),
    'ieg': ('--method=ieg', '--pseudo_label_grad'),
    'fsr': ('--method=fsr', '--meta_start_epoch=4'),
}


def files(folder):
    checkpoints = folder / 'checkpoints'
    return set(checkpoints.rglob('*')) if checkpoints.exists() else set()


def wait_for_new_file(process, folder):
    """Waits until a checkpoint begins to be written, or the run ends."""
    before = files(folder)
    while process.poll() is None and not files(folder) - before:
        time.sleep(0.001)


@pytest.mark.parametrize('method', METHODS)
def test_kills_at_any_moment_change_nothing(method, tmp_path):
    def start(name):
        path = tmp_path / name
        arguments = (*SMALL, *METHODS[method], f'--checkpoint_path={path}')
        folder = path / 'fake_uniform_0.4' / f'{method}_cnn_s1'
        return command.start(*arguments), folder

    process, whole = start('whole')
    code, _, err = command.finish(process)
    assert code == 0, err
    chance = random.Random(0)
    kills = 0
    # While a file is written, just after, or anywhere in an epoch.
    for pause in (0, 0, 0, 0.002, 0.02, chance.random(), chance.random()):
        process, killed = start('killed')
        wait_for_new_file(process, killed)
        time.sleep(pause)
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 4
    process, killed = start('killed')
    code, _, err = command.finish(process)
    assert code == 0, err
    assert command.log(killed) == command.log(whole)
    found, expected = command.weights(killed), command.weights(whole)
    assert found.keys() == expected.keys() and len(found) > 10
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
