"""Devices, workers, agreement between them, and the state of a process."""

import contextlib
import functools
import json
import os
import random
import re
import socket
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.config import Config
from ieg.data.images.survey import without_warnings
from ieg.errors import RunError, UsageError
from ieg.methods.base import Method, Phase
from ieg.networks.layers import nested
from ieg.utils.cli import ONE_AT_A_TIME

# After how long a worker says for whom it waits, and when it gives up.
WAIT_SECONDS = (10, 600)
# Whether tapes of this process currently add two tensors at a time.
_fixed = False


def fix_order() -> None:
    """Makes this process add tensors two at a time, see `restoring_order`.

    TensorFlow's `AddN` of three or more tensors starts with the one whose
    memory is free, which depends on the timing of threads, even with
    deterministic kernels. Gradient tapes use it for a tensor with three uses
    (as in forward mode through a residual network), and the graph optimizer
    for merged additions. Only the latter has a public switch. If TensorFlow
    lacks the private entry for the former, tapes are left as they are, with
    one warning.
    """
    global _fixed
    tf.config.optimizer.set_experimental_options(
        {'arithmetic_optimization': False}
    )
    _fixed = _register(in_order=True)


@contextlib.contextmanager
def restoring_order() -> Iterator[None]:
    """Undoes on exit what `fix_order` has done since entry."""
    global _fixed
    before = _fixed
    name = 'arithmetic_optimization'
    # None is TensorFlow's default.
    option = tf.config.optimizer.get_experimental_options().get(name)
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: option})
        if _fixed and not before:
            _register(in_order=False)
            _fixed = False


def _register(in_order: bool) -> bool:
    """Sets how tapes add gradients; returns whether TensorFlow allows that."""
    try:
        from tensorflow.python import pywrap_tfe
        from tensorflow.python.eager import backprop

        usual = backprop._default_vspace
        aggregate = functools.partial(_aggregate, usual.aggregate_fn)
        space = usual._replace(aggregate_fn=aggregate) if in_order else usual
        pywrap_tfe.TFE_Py_RegisterVSpace(space)
    except (ImportError, AttributeError):
        _warn()
        return False
    return True


@functools.cache
def _warn() -> None:
    """Warns once in a process."""
    warnings.warn(
        f'TensorFlow {tf.__version__} does not allow setting the order in '
        'which gradients are added, so runs with the same seed may differ '
        'slightly.',
        RuntimeWarning,
        stacklevel=2,
    )


def _aggregate(usual: Any, gradients: Sequence[Any]) -> Any:
    """Returns the sum of the gradients of one tensor.

    Args:
        usual: TensorFlow's function, which sparse gradients need.
        gradients: tensors or sparse gradients.
    """
    if all(isinstance(gradient, tf.Tensor) for gradient in gradients):
        return functools.reduce(tf.add, gradients)
    return usual(gradients)


def set_numerics(config: Config) -> None:
    """Sets formats, precision and determinism of the process.

    See `restoring`.
    """
    precision = config.train.precision
    if precision == 'auto':
        # The same on all CPUs, so that a command computes in the same
        # precision on each of them.
        fast = has_gpu() and has_fast_bfloat16()
        precision = 'bfloat16' if fast else 'float32'
    keras.config.set_image_data_format('channels_last')
    keras.config.set_floatx('float32')
    keras.config.set_dtype_policy(
        'mixed_bfloat16' if precision == 'bfloat16' else 'float32'
    )
    # Ops that draw their own random numbers need a global seed. The package
    # has none, but Keras checks that it is set.
    keras.utils.set_random_seed(config.train.seed)
    if config.run.deterministic:
        tf.config.experimental.enable_op_determinism()
        fix_order()


def has_fast_bfloat16() -> bool:
    """Whether the GPU (the CPU if there is none) has fast bfloat16."""
    gpus = tf.config.list_physical_devices('GPU')
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get('compute_capability', (0, 0)) >= (8, 0)
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            flags = file.read()
    except OSError:
        return False
    return 'avx512_bf16' in flags or 'amx_bf16' in flags


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices('GPU'))


def use_jit(config: Config, method: Method) -> bool:
    """Returns whether to compile the steps with XLA.

    XLA has no deterministic gradient of max-pooling.

    Raises:
        UsageError: `--jit=on`, but the network has max-pooling and kernels
            must be deterministic.
    """
    pooled = config.run.deterministic and any(
        isinstance(layer, keras.layers.MaxPooling2D)
        for net in method.nets
        for layer in nested(net)
    )
    if config.run.jit == 'on' and pooled:
        raise UsageError(
            f'--jit=on cannot train {config.train.network_name} with '
            'deterministic kernels; add --nodeterministic, or use --jit=off.'
        )
    # On CPUs XLA is slower than oneDNN.
    auto = config.run.jit == 'auto' and has_gpu() and not pooled
    return config.run.jit == 'on' or auto


def make_strategy(name: str, num_replicas: int = 0) -> tf.distribute.Strategy:
    """Returns a distribution strategy; the same one for the same arguments.

    Args:
        name: auto, default, mirrored or multi_worker. auto is multi_worker
            if `TF_CONFIG` names several workers, mirrored on several GPUs, and
            the default strategy otherwise.
        num_replicas: number of replicas on one CPU (for tests); 0 = one per
            device.

    Raises:
        UsageError: TensorFlow has started with other devices, multi_worker is
            requested without `TF_CONFIG`, or `TF_CONFIG` cannot be read.
    """
    workers = _workers() if name in ('auto', 'multi_worker') else []
    if name == 'multi_worker' and not workers:
        raise UsageError(
            '--distribution_strategy=multi_worker needs the environment '
            'variable TF_CONFIG with the addresses of all workers.'
        )
    if name == 'multi_worker' or (name == 'auto' and len(workers) > 1):
        return _multi_worker(tuple(workers))
    if num_replicas:
        return _mirrored(_logical_cpus(num_replicas))
    gpus = tf.config.list_logical_devices('GPU')
    if name == 'mirrored' or (name == 'auto' and len(gpus) > 1):
        return _mirrored()
    return tf.distribute.get_strategy()


# A process can have only one of each.


@functools.cache
def _multi_worker(addresses: tuple[str, ...]) -> tf.distribute.Strategy:
    config = json.loads(os.environ['TF_CONFIG'])
    cluster, task = config['cluster'], config['task']
    own = cluster[task['type']][task['index']]
    leader = (cluster.get('chief') or cluster['worker'])[0]
    others = [address for address in addresses if address != own]
    started = threading.Event()
    threading.Thread(
        target=_await_workers, args=(others, started), daemon=True
    ).start()
    try:
        # TensorFlow would wait for it without letting the thread run.
        while own != leader and silent([leader]):
            time.sleep(1)
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        started.set()


def _await_workers(addresses: Sequence[str], started: threading.Event) -> None:
    """Says which workers are missing, and ends the process in the end.

    TensorFlow waits for them without a word, a limit or a way to interrupt it.
    """
    soon, at_last = WAIT_SECONDS
    if started.wait(soon):
        return
    print(
        f'Waiting up to {at_last // 60} minutes for the worker '
        f'{" and ".join(silent(addresses))} to start.',
        file=sys.stderr,
        flush=True,
    )
    if started.wait(at_last - soon):
        return
    with contextlib.suppress(OSError):
        print(
            f'ieg: The worker {" and ".join(silent(addresses))} did not start '
            f'within {at_last // 60} minutes: start all workers together.',
            file=sys.stderr,
            flush=True,
        )
    os._exit(1)


def silent(addresses: Sequence[str] | None = None) -> list[str]:
    """Returns the workers that do not answer; None: of those in `TF_CONFIG`."""
    missing = []
    for address in _workers() if addresses is None else addresses:
        host, _, port = address.rpartition(':')
        try:
            socket.create_connection((host.strip('[]'), int(port)), 2).close()
        except OSError:
            missing.append(address)
    return missing


@functools.cache
def _mirrored(devices: tuple[str, ...] = ()) -> tf.distribute.Strategy:
    """Returns a strategy on the given devices, or on all GPUs."""
    return tf.distribute.MirroredStrategy(devices or None)


def _workers() -> list[str]:
    """Returns the addresses in `TF_CONFIG`, which are checked.

    Raises:
        UsageError: TensorFlow could not start this worker with it.
    """
    try:
        return _cluster(json.loads(os.environ.get('TF_CONFIG') or '{}'))
    except (ValueError, RecursionError) as error:
        reason = error
        if isinstance(error, json.JSONDecodeError | RecursionError):
            reason = ValueError('it must be valid JSON')
        raise UsageError(
            f'The environment variable TF_CONFIG is wrong: {reason}. Its form '
            'is {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": '
            '"worker", "index": 0}}.'
        ) from error


def _cluster(config: Any) -> list[str]:
    """Returns the addresses in the content of `TF_CONFIG`.

    Raises:
        ValueError: it says what is wrong.
    """
    if not isinstance(config, dict):
        raise ValueError('it must be a JSON object')
    cluster, task = config.get('cluster', {}), config.get('task')
    if not isinstance(cluster, dict):
        raise ValueError('cluster must be a JSON object')
    if others := sorted(cluster.keys() - {'chief', 'worker'}):
        raise ValueError(f'ieg has no use for {others[0]!r} in cluster')
    for role, addresses in cluster.items():
        if not isinstance(addresses, list):
            raise ValueError(f'{role} in cluster must be a list')
    listed = [address for role in cluster.values() for address in role]
    for address in listed:
        host, _, port = str(address).rpartition(':')
        # The port has a limit, and so does int().
        is_port = re.fullmatch('[0-9]{1,5}', port) and 0 < int(port) < 2**16
        if not (isinstance(address, str) and host and is_port):
            raise ValueError(f'{address!r} must be HOST:PORT')
        if listed.count(address) > 1:
            raise ValueError(f'{address!r} is listed twice')
    if not listed:
        return listed
    if not isinstance(task, dict) or task.get('type') not in cluster:
        raise ValueError(f'the type of task must be {" or ".join(cluster)}')
    count, index = len(cluster[task['type']]), task.get('index')
    if type(index) is not int or not 0 <= index < count:
        raise ValueError(f'the index of task must be from 0 to {count - 1}')
    if len(cluster.get('chief', [])) > 1:
        raise ValueError('chief must be one address')
    return listed


def use_one_thread() -> None:
    """Makes each operation of this process run on one thread.

    For a process whose own threads keep all cores busy, or whose operations are
    too short to be shared. It has no effect once TensorFlow has started, nor
    where TF_NUM_INTRAOP_THREADS decides it.
    """
    if 'TF_NUM_INTRAOP_THREADS' not in os.environ:
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def _logical_cpus(count: int) -> tuple[str, ...]:
    (cpu,) = tf.config.list_physical_devices('CPU')[:1]
    if count > len(tf.config.get_logical_device_configuration(cpu) or [None]):
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError as error:
            raise UsageError(
                f'--num_replicas={count} must be set before TensorFlow starts.'
            ) from error
    return tuple(f'CPU:{number}' for number in range(count))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the run folder."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == 'chief':
        return True
    has_chief = 'chief' in resolver.cluster_spec().as_dict()
    return not has_chief and resolver.task_id == 0


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether several processes train together."""
    return strategy.cluster_resolver is not None


def agree(
    strategy: tf.distribute.Strategy, place: str, phases: Sequence[Phase]
) -> None:
    """Checks that all workers are about to run the same phases.

    Workers that disagree on the number of steps would wait for each other
    forever.

    Args:
        strategy: the strategy.
        place: position of this worker in the run.
        phases: the phases that it is about to run.

    Raises:
        RunError: the workers disagree.
    """
    if not has_workers(strategy):
        return
    checksum = zlib.crc32(place.encode())
    for phase in phases:
        head = f'{phase.step}{phase.args}{phase.num_steps}'
        checksum = zlib.crc32(head.encode(), checksum)
        for name in sorted(phase.examples):
            ids = np.ascontiguousarray(phase.examples[name])
            checksum = zlib.crc32(ids.tobytes(), checksum)
    if len(set(_gathered(strategy, checksum)[:, 0])) > 1:
        raise RunError(
            'The workers are at different positions in the run or chose '
            'different examples: they must share the run folder and run the '
            'same version with the same flags and data.'
        )


def largest(strategy: tf.distribute.Strategy, *values: int) -> tuple[int, ...]:
    """Returns the largest of each value on all workers."""
    if not has_workers(strategy):
        return values
    return tuple(_gathered(strategy, *values).max(axis=0).tolist())


def _gathered(strategy: tf.distribute.Strategy, *values: int) -> np.ndarray:
    """Returns the integers of all workers [workers, n]."""
    own = tf.constant(np.array([values], np.int64))
    return strategy.gather(strategy.run(_itself, args=(own,)), axis=0).numpy()


# Compiled, because TensorFlow warns of functions that are not.
_itself = tf.function(lambda value: value, autograph=False)


# Settings of the whole process.


@contextlib.contextmanager
def restoring() -> Iterator[None]:
    """Restores on exit what a run sets for its whole process.

    That is Keras' dtype policy, float type and format of images, the global
    seeds of Python, NumPy, Keras and TensorFlow, NumPy's handling of
    floating-point errors, deterministic kernels, the order of sums (see
    `fix_order`), and that Pillow does not warn. The process may run other
    code, and the next run in it may have other options. Other threads wait for
    their turn.
    """
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    layout = keras.config.image_data_format()
    with contextlib.ExitStack() as stack:
        stack.enter_context(ONE_AT_A_TIME)
        stack.callback(keras.config.set_dtype_policy, policy)
        stack.callback(keras.config.set_floatx, floatx)
        stack.callback(keras.config.set_image_data_format, layout)
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        # NumPy's defaults: no run depends on errors.
        stack.enter_context(np.errstate(all='warn', under='ignore'))
        for restore in _without_public_getter():
            stack.callback(restore)
        stack.enter_context(restoring_order())
        stack.enter_context(without_warnings())
        yield


def _without_public_getter() -> list[Callable[[], object]]:
    """Returns functions that restore settings without a public getter.

    These are the seeds of `keras.utils.set_random_seed` and deterministic
    kernels. In a release without the private entries they are not restored.
    """
    restore: list[Callable[[], object]] = []
    missing = contextlib.suppress(ImportError, AttributeError)
    with missing:
        from keras.src.backend.common import global_state

        for name in ('global_random_seed', 'global_seed_generator'):
            value = global_state.get_global_attribute(name)
            restore.append(
                functools.partial(
                    global_state.set_global_attribute, name, value
                )
            )
    with missing:
        from tensorflow.python.eager import context

        state = vars(context.context())
        seeds = {n: state[n] for n in ('_seed', '_rng') if n in state}
        restore.append(lambda: state.update(seeds))
    with missing:
        from tensorflow.python.framework import config

        if not config.is_op_determinism_enabled():
            restore.append(config.disable_op_determinism)
    return restore
