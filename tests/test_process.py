"""A run and a fit leave the process of the caller as it was."""

import concurrent.futures
import os
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_runs import settings
from process import process_state
from sklearn.datasets import load_digits
from sums import gradient_of_three_uses

from ieg import NoisyLabelClassifier, experiment
from ieg.training import devices
from ieg.training.devices import restoring

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def everything():
    """Returns what could have changed; draws no number."""
    return process_state() | {
        'sums of a tape': float(gradient_of_three_uses()),
        'signal handlers': [signal.getsignal(number) for number in SIGNALS],
        'environment': dict(os.environ),
        'python': random.getstate(),
        'numpy': str(np.random.get_state()),
        'devices': tf.config.list_logical_devices(),
        'threads': (
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ),
    }


def fit(path):
    images, labels = load_digits(return_X_y=True)
    NoisyLabelClassifier(
        'supervised',
        max_epoch=1,
        image_shape=(8, 8),
        options={'precision': 'bfloat16'},
    ).fit(images[:100], labels[:100])


def train(path):
    strategy = tf.distribute.get_strategy()
    config = settings(
        'supervised', strategy, path, max_epoch=1, precision='bfloat16'
    )
    experiment.train(config, progress=False)
    config = settings(
        'supervised',
        strategy,
        path,
        max_epoch=1,
        precision='bfloat16',
        mode='evaluation',
    )
    experiment.evaluate(config)


@pytest.mark.parametrize('run', [fit, train])
def test_it_restores_what_it_sets(run, tmp_path, tiny, monkeypatch, bfloat16):
    monkeypatch.delenv('TF_CPP_MIN_LOG_LEVEL', raising=False)
    inside = []
    set_numerics = devices.set_numerics

    def remember(config):
        set_numerics(config)
        inside.append(everything())

    monkeypatch.setattr(devices, 'set_numerics', remember)
    # An earlier test may have left what a run sets.
    np.random.seed(5)
    before = everything()
    run(tmp_path)
    assert everything() == before
    # Otherwise nothing would have had to be restored.
    for name in ('policy', 'graph optimizer', 'sums of a tape', 'numpy'):
        assert all(state[name] != before[name] for state in inside), name
    assert all(state['deterministic'] for state in inside)


@pytest.fixture
def other_settings():
    """Sets what a host program may have set; not by `restoring`, see below."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    layout = keras.config.image_data_format()
    yield lambda: [
        keras.config.set_floatx('float16'),
        keras.config.set_dtype_policy('mixed_float16'),
        keras.config.set_image_data_format('channels_first'),
    ]
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(layout)


def test_neither_threads_nor_settings_of_the_caller_change_numbers(
    tiny, other_settings
):
    # Height, width and channels differ.
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 12, 3), np.uint8)

    def fitted():
        estimator = NoisyLabelClassifier('supervised', tiny, max_epoch=1)
        estimator.fit(images, np.arange(64) % 2)
        weights = [v.numpy() for v in estimator.model_.variables]
        return [*weights, estimator.predict_proba(images)]

    expected = fitted()
    other_settings()
    # `restoring` around them would make the threads wait for ever.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fitted) for _ in range(2)]
    for future in both:
        for ours, theirs in zip(future.result(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_floating_point_errors_of_the_caller_do_not_end_a_run():
    with np.errstate(all='raise'):
        with restoring():
            assert np.float32(1e-30) * np.float32(1e-30) == 0
        assert set(np.geterr().values()) == {'raise'}


def test_an_error_restores_as_well(precision):
    before = everything()
    with pytest.raises(ZeroDivisionError), restoring():
        precision('mixed_bfloat16', 'float64')
        keras.utils.set_random_seed(1)
        raise ZeroDivisionError
    assert everything() == before


def test_the_numbers_of_a_seeded_caller_continue():
    def draw():
        # Each of the four global generators.
        return [
            random.random(),
            np.random.random(),
            float(tf.random.uniform([])),
            float(keras.random.uniform([])),
        ]

    def drawn(between):
        keras.utils.set_random_seed(3)
        first = draw()
        between()
        return first + draw()

    def use_other_numbers():
        with restoring():
            keras.utils.set_random_seed(4)
            draw()

    with restoring():
        assert drawn(use_other_numbers) == drawn(lambda: None)


def test_a_fit_sets_no_devices():
    images, labels = load_digits(return_X_y=True)
    estimator = NoisyLabelClassifier(
        'supervised', image_shape=(8, 8), options={'num_replicas': 3}
    )
    with pytest.raises(ValueError, match='num_replicas=3'):
        estimator.fit(images[:100], labels[:100])


IN_A_NEW_PROCESS = """
import os
import numpy as np
from ieg import NoisyLabelClassifier
before = dict(os.environ)
x = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
try:
    NoisyLabelClassifier('supervised', options={'batch_size': 1000}).fit(
        x, np.arange(40) % 2
    )
except ValueError:
    pass
import tensorflow
assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ
"""


@pytest.mark.slow
def test_a_first_fit_leaves_no_log_level():
    environment = dict(os.environ)
    environment.pop('TF_CPP_MIN_LOG_LEVEL', None)
    subprocess.run(
        [sys.executable, '-c', IN_A_NEW_PROCESS], env=environment, check=True
    )
