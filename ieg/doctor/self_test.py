"""What TensorFlow can do here, tested in a process that may hang or crash."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ieg.doctor.facts import gpus, runs_on
from ieg.utils import cli

SECONDS = 180
OPTIONS = {
    'dataset': 'fake_uniform_0.4', 'method': 'supervised',
    'network_name': 'cnn', 'max_iteration': 8, 'batch_size': 16,
}  # fmt: skip


def run() -> dict[str, Any]:
    """Returns what the process reports before it ends.

    `ended` is its exit code, -N for signal N, or 'timeout'; `error` the last
    line that it writes to standard error.
    """
    # With TF_CONFIG it would wait for other workers.
    environment = {k: v for k, v in os.environ.items() if k != 'TF_CONFIG'}
    command = [sys.executable, '-m', 'ieg.doctor.self_test']
    ended: int | str = 'timeout'
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, env=environment
        )
        ended, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        out, err = error.stdout or b'', error.stderr or b''
    text = err.decode(errors='replace').strip() or ' '
    reported = {'ended': ended, 'error': text.splitlines()[-1].strip()[:300]}
    for line in out.splitlines():
        # Other code may print, too.
        with contextlib.suppress(ValueError, TypeError):
            reported |= json.loads(line)
    return reported


def measure(report: Callable[..., None]) -> None:
    """Reports facts about TensorFlow as keyword arguments, one at a time."""
    cli.import_tensorflow()
    import tensorflow as tf

    info = tf.sysconfig.get_build_info()
    kernels = list(info.get('cuda_compute_capabilities', []))
    cuda = info.get('cuda_version') if info['is_cuda_build'] else None
    build = {'version': tf.__version__, 'cuda': cuda, 'kernels': kernels}
    report(tensorflow=build | {'cudnn': info.get('cudnn_version')})
    if not all(runs_on(g['capability'], kernels) for g in gpus()['devices']):
        # It could hang or crash. TensorFlow reads this variable later.
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
        report(kept_off=True)
    devices = []
    for gpu in tf.config.list_physical_devices('GPU'):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get('compute_capability')
        name = details.get('device_name', gpu.name)
        devices.append({'name': name, 'capability': capability})
    report(devices=devices)
    report(xla=xla(tf))
    report(self_test=train())


def xla(tf: Any) -> str:
    """Returns '' if XLA compiles for the default device, otherwise why not."""
    try:
        double = tf.function(lambda x: tf.nn.relu(x @ x), jit_compile=True)
        product = double(tf.eye(4)).numpy()
    # There may be no compiler, no library, no device.
    except Exception as error:
        return str(error).strip().split('\n')[0] or type(error).__name__
    return '' if (product == np.eye(4)).all() else 'it computes wrong numbers'


def train() -> dict[str, Any]:
    """Trains a small network twice; returns whether both are the `same`."""
    from ieg import config as ieg_config
    from ieg import experiment, run_folder
    from ieg.training.checkpoint import Rewind
    from ieg.training.devices import restoring

    started, results = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder, restoring():
        chosen = ieg_config.resolve(OPTIONS | {'checkpoint_path': folder})
        built = experiment.build(chosen)
        run_folder.make_folder(built.folder)
        rewind = Rewind(built.trainer.method)
        for _ in range(2):
            rewind.apply()
            built.trainer.train()
            loss = built.trainer.log.entries[-1]['loss']
            weights = [v.numpy() for v in built.trainer.method.variables]
            results.append([loss, *weights])
    return {
        'loss': loss,
        'same': all(map(np.array_equal, *results)),
        'seconds': round(time.monotonic() - started, 1),
        'precision': built.trainer.method.nets[0].compute_dtype,
        'replicas': built.strategy.num_replicas_in_sync,
    }


if __name__ == '__main__':
    measure(lambda **facts: print(json.dumps(facts), flush=True))
