"""Runs that are killed and started again end like those that were not."""

import itertools
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
    # Twice two early epochs and two refinements of three, and a last look.
    'me_momentum': (
        '--method=me_momentum',
        '--outer_rounds=2',
        '--inner_rounds=2',
        '--early_epochs=2',
        '--round_epochs=3',
        '--max_epoch=17',
        '--learning_rate=0.05',
    ),
}


def files(folder):
    checkpoints = folder / 'checkpoints'
    return set(checkpoints.rglob('*')) if checkpoints.exists() else set()


def wait_for_new_file(process, folder):
    """Waits until a checkpoint begins to be written, or the run ends."""
    before = files(folder)
    while process.poll() is None and not files(folder) - before:
        time.sleep(0.001)


def assert_same_end(killed, whole):
    assert command.log(killed) == command.log(whole)
    found, expected = command.weights(killed), command.weights(whole)
    assert found.keys() == expected.keys() and len(found) > 10
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def starter(tmp_path, method):
    """Returns a function that starts a run and returns it and its folder."""

    def start(name):
        path = tmp_path / name
        arguments = (*SMALL, *METHODS[method], f'--checkpoint_path={path}')
        folder = path / 'fake_uniform_0.4' / f'{method}_cnn_s1'
        return command.start(*arguments), folder

    return start


def finish(process):
    code, _, err = command.finish(process)
    assert code == 0, err


@pytest.mark.parametrize('method', METHODS)
def test_kills_at_any_moment_change_nothing(method, tmp_path):
    start = starter(tmp_path, method)
    process, whole = start('whole')
    finish(process)
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
    finish(process)
    assert_same_end(killed, whole)


def test_kills_in_the_middle_of_refinements_change_nothing(tmp_path):
    start = starter(tmp_path, 'me_momentum')
    process, whole = start('whole')
    finish(process)
    log = command.log(whole)
    # After the first and the second of three epochs.
    middle = {
        entry['step']: (entry['outer_round'], entry['inner_round'])
        for entry, following in itertools.pairwise(log[:-1])
        if entry['inner_round'] == following['inner_round'] > 0
    }
    rounds = [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert list(middle.values()) == [r for r in rounds for _ in range(2)]
    pauses = (0, 0.02, 0.05, 0.1)
    for step, pause in zip(list(middle)[::2], pauses, strict=True):
        process, killed = start('killed')
        while process.poll() is None and command.last_step(killed) < step:
            time.sleep(0.001)
        time.sleep(pause)
        assert process.poll() is None
        process.kill()
        process.communicate()
        assert command.last_step(killed) in middle
    process, killed = start('killed')
    finish(process)
    assert_same_end(killed, whole)
