"""Two worker processes compute what two replicas of one process do.

To rounding (1e-5): their sums over replicas may have another order.
"""

import json
import os
import socket
import time

import command
import numpy as np
import pytest
from paths import ROOT
from tiny_sets import make_folder

from ieg.training import checkpoint

pytestmark = pytest.mark.slow

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--network_name=cnn',
    '--batch_size=16',
)
METHODS = {
    'coteaching': (
        '--method=coteaching',
        '--noise_rate=auto',
        # With these an epoch does not depend on the length of the run.
        '--lr_schedule=constant',
        '--beta1_epoch=1',
    ),
    'supervised': ('--method=supervised',),
    'dividemix': ('--method=dividemix', '--warm_up=1'),
    'l2r': ('--method=l2r',),
    'ieg': ('--method=ieg',),
    'fsr': ('--method=fsr',),
    # The second start is in the middle of a refinement.
    'me_momentum': (
        '--method=me_momentum',
        '--early_epochs=1',
        '--round_epochs=2',
        '--learning_rate=0.05',
    ),
}


def free_ports(count):
    sockets = [socket.create_server(('localhost', 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start_workers(paths, *arguments, **environment):
    """Starts one process per path, each with its own `checkpoint_path`."""
    hosts = [f'localhost:{port}' for port in free_ports(len(paths))]
    return [
        command.start(
            *arguments,
            f'--checkpoint_path={path}',
            TF_CONFIG=json.dumps(
                {
                    'cluster': {'worker': hosts},
                    'task': {'type': 'worker', 'index': index},
                }
            ),
            **environment,
        )
        for index, path in enumerate(paths)
    ]


def finish(processes):
    for process in processes:
        code, _, err = command.finish(process)
        assert code == 0, err


@pytest.mark.parametrize('method', METHODS)
def test_two_workers_are_two_replicas(method, tmp_path):
    options = (*SMALL, *METHODS[method])
    name = f'fake_uniform_0.4/{method}_cnn_s1'
    alone, together = tmp_path / 'alone', tmp_path / 'together'
    finish(
        [
            command.start(
                *options,
                '--max_epoch=3',
                '--num_replicas=2',
                f'--checkpoint_path={alone}',
            )
        ]
    )
    finish(start_workers([together] * 2, *options, '--max_epoch=2'))
    assert len(command.log(together / name)) == 2
    finish(start_workers([together] * 2, *options, '--max_epoch=3'))
    logs = [command.log(path / name) for path in (together, alone)]
    for entry, expected in zip(*logs, strict=True):
        for listed in ('remarks', 'confident_per_class'):
            assert entry.pop(listed, []) == expected.pop(listed, [])
        assert entry == pytest.approx(expected, rel=1e-5)
    found = command.weights(together / name)
    expected = command.weights(alone / name)
    assert found.keys() == expected.keys() and len(found) > 10
    for variable, values in expected.items():
        np.testing.assert_allclose(
            found[variable], values, rtol=1e-5, atol=1e-5 * np.abs(values).max()
        )


def test_two_workers_see_the_files_that_two_replicas_see(tmp_path):
    make_folder(str(tmp_path / 'pictures'))
    options = (
        '--dataset=folder',
        f'--data_dir={tmp_path / "pictures"}',
        '--image_size=72',
        '--network_name=cnn',
        '--batch_size=4',
        '--max_epoch=1',
        *METHODS['supervised'],
    )
    name = 'folder-pictures/supervised_cnn_s1'
    alone, together = tmp_path / 'alone', tmp_path / 'together'
    path = f'--checkpoint_path={alone}'
    finish([command.start(*options, '--num_replicas=2', path)])
    finish(start_workers([together] * 2, *options))
    (entry,), (expected,) = (
        command.log(path / name) for path in (together, alone)
    )
    assert entry == pytest.approx(expected, rel=1e-5)


NETWORK = """
import keras
from ieg.networks import layers
from ieg.registry import NETWORKS

@NETWORKS.register('normalized')
def normalized(num_classes, image_shape):
    images = keras.Input(image_shape)
    x = layers.torch_conv(images, 8, 3, 'conv', padding=1)
    x = layers.global_mean(layers.bn_relu(x, 'bn'))
    logits = layers.torch_dense(x, num_classes, 'logits')
    return keras.Model(images, logits)
"""


@pytest.mark.parametrize('stopped', [0, 1])
def test_a_signal_to_one_worker_stops_all_in_an_epoch(stopped, tmp_path):
    (tmp_path / 'own_network.py').write_text(NETWORK)
    place = {'PYTHONPATH': f'{ROOT}{os.pathsep}{tmp_path}'}
    options = (
        *('--plugin=own_network', '--network_name=normalized'),
        *('--dataset=fake_uniform_0.4', '--method=dividemix', '--warm_up=1'),
        *('--max_epoch=3', '--batch_size=1', '--checkpoint_minutes=0.0001'),
    )
    alone, together = tmp_path / 'alone', tmp_path / 'together'
    path = f'--checkpoint_path={alone}'
    finish([command.start(*options, '--num_replicas=2', path, **place)])
    workers = start_workers([together] * 2, *options, **place)
    name = 'fake_uniform_0.4/dividemix_normalized_s1'
    middle = together / name / 'checkpoints' / 'unfinished.npz'
    while not command.last_step(together / name):
        assert workers[0].poll() is None
        time.sleep(0.05)
    time.sleep(0.1)
    while not middle.exists():
        assert workers[0].poll() is None
        time.sleep(0.01)
    workers[stopped].terminate()
    for worker in workers:
        code, _, err = command.finish(worker)
        assert code == 143, err
        assert 'resume in epoch 2 (step ' in err.splitlines()[-1]
        assert 'WARNING' not in err
    copies = checkpoint.read(str(middle))['running']['copies']
    assert copies and all(len(values) == 2 for values in copies)
    assert any((values[0] != values[1]).any() for values in copies)
    finish(start_workers([together] * 2, *options, **place))
    assert not middle.exists()
    logs = [command.log(path / name) for path in (together, alone)]
    for entry, expected in zip(*logs, strict=True):
        assert entry.pop('remarks', []) == expected.pop('remarks', [])
        assert entry == pytest.approx(expected, rel=1e-5)


def test_only_the_chief_writes(tmp_path):
    chief, other = tmp_path / 'chief', tmp_path / 'other'
    options = (*SMALL, *METHODS['supervised'], '--max_epoch=1')
    finish(start_workers([chief, other], *options))
    written = {path.name for path in chief.rglob('*') if path.is_file()}
    assert {'log.jsonl', 'summary.json', 'config.json'} <= written
    assert any(name.startswith('ckpt-') for name in written)
    assert not [path for path in other.rglob('*') if path.is_file()]
