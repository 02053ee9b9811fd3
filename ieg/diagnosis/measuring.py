"""What only TensorFlow knows of a machine, and a short training.

As a command, `python -m ieg.diagnosis.measuring`, it prints facts as lines of
JSON. That is a process of its own, because TensorFlow can hang or die on a
GPU that it does not fit.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ieg.diagnosis.facts import gpus, runs_on

SELF_TEST = {
    'dataset': 'fake_uniform_0.4',
    'method': 'supervised',
    'network_name': 'cnn',
    'max_iteration': 8,
    'batch_size': 16,
}


def measure(tell: Callable[[dict[str, Any]], None]) -> None:
    """Finds out what TensorFlow can do here, and tells it piece by piece."""
    from ieg.utils.cli import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    made = build(tf)
    tell({'tensorflow': made})
    here = gpus()['devices']
    if not all(runs_on(gpu['capability'], made['kernels']) for gpu in here):
        # The rest could take for ever, or end this process. Nobody has asked
        # TensorFlow for its devices yet, so it still heeds the variable.
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
        tell({'kept_off': True})
    tell({'devices': devices(tf)})
    tell({'xla': xla(tf)})
    tell({'self_test': self_test()})


def build(tf: Any) -> dict[str, Any]:
    """Returns what TensorFlow was made for."""
    info = tf.sysconfig.get_build_info()
    return {
        'version': tf.__version__,
        'cuda': info.get('cuda_version') if info['is_cuda_build'] else None,
        'cudnn': info.get('cudnn_version'),
        'kernels': list(info.get('cuda_compute_capabilities', [])),
    }


def devices(tf: Any) -> list[dict[str, Any]]:
    """Returns name and capability of each GPU that TensorFlow uses."""
    found = []
    for gpu in tf.config.list_physical_devices('GPU'):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get('compute_capability')
        found.append(
            {
                'name': details.get('device_name', gpu.name),
                'capability': capability and list(capability),
            }
        )
    return found


def xla(tf: Any) -> str:
    """Returns '' if XLA compiles for the default device, else why not."""
    try:
        double = tf.function(lambda x: tf.nn.relu(x @ x), jit_compile=True)
        found = double(tf.eye(4)).numpy()
    # It finds no compiler, no libraries, no device.
    except Exception as error:
        return str(error).strip().split('\n')[0] or type(error).__name__
    return '' if (found == np.eye(4)).all() else 'it computes wrong numbers'


def self_test() -> dict[str, Any]:
    """Trains a small network twice, as a run does.

    Returns:
        `loss` of the last epoch, whether both are the `same` bit by bit,
        `seconds`, `precision`, and the number of `replicas`.
    """
    import keras

    from ieg import config as ieg_config
    from ieg import experiment, run_folder
    from ieg.training.checkpoint import Rewind

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        chosen = ieg_config.resolve(SELF_TEST | {'checkpoint_path': folder})
        built = experiment.build(chosen)
        run_folder.make_folder(built.folder)
        rewind = Rewind(built.trainer.method)
        first, loss = _train(built.trainer)
        rewind.apply()
        second, again = _train(built.trainer)
    same = all(map(np.array_equal, first, second))
    return {
        'loss': loss,
        'same': same and loss == again,
        'seconds': round(time.monotonic() - started, 1),
        'precision': keras.config.dtype_policy().compute_dtype,
        'replicas': built.strategy.num_replicas_in_sync,
    }


def _train(trainer: Any) -> tuple[list[np.ndarray], float | None]:
    """Returns the weights that a run ends with, and its last loss."""
    trainer.train()
    weights = [variable.numpy() for variable in trainer.method.variables]
    return weights, trainer.log.entries[-1]['loss']


if __name__ == '__main__':
    measure(lambda facts: print(json.dumps(facts), flush=True))
