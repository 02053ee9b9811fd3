"""Devices, workers, and agreement between them."""

import functools
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import backprop

from ieg.config import Config
from ieg.errors import RunError, UsageError
from ieg.methods.base import Method


def fix_order() -> None:
    """Makes this process add tensors two at a time, from now on.

    TensorFlow's `AddN` of three or more begins with whichever one's memory is
    free, which depends on the timing of threads, deterministic kernels or not.
    It stands where a gradient tape meets a tensor that was used three times
    (once and in two ways by a convolution, under forward mode through a
    residual network), and where the graph optimizer merges additions. There
    is no public switch for the former.
    """
    tf.config.optimizer.set_experimental_options(
        {'arithmetic_optimization': False}
    )
    space = backprop._default_vspace._replace(aggregate_fn=_aggregate)
    pywrap_tfe.TFE_Py_RegisterVSpace(space)


def _aggregate(gradients: Sequence[Any]) -> Any:
    """Returns the sum of what a tape found for one tensor."""
    if all(isinstance(gradient, tf.Tensor) for gradient in gradients):
        return functools.reduce(tf.add, gradients)
    return backprop._aggregate_grads(gradients)


def set_numerics(config: Config) -> None:
    """Sets precision and determinism."""
    precision = config.train.precision
    if precision == 'auto':
        precision = 'bfloat16' if _has_fast_bfloat16() else 'float32'
    keras.config.set_dtype_policy(
        'mixed_bfloat16' if precision == 'bfloat16' else 'float32'
    )
    # Ops with randomness of their own would need a global seed; there are
    # none, but Keras checks that one was set.
    keras.utils.set_random_seed(config.train.seed)
    if config.run.deterministic:
        tf.config.experimental.enable_op_determinism()
        fix_order()


def _has_fast_bfloat16() -> bool:
    """Whether the GPU, or without one the CPU, multiplies bfloat16 fast."""
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
    """Decides about XLA, which has no deterministic gradient of max-pooling."""
    pooled = config.run.deterministic and any(
        isinstance(layer, keras.layers.MaxPooling2D)
        for net in method.nets
        for layer in net.layers
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
    """Returns a distribution strategy, the same one for the same request.

    Args:
        name: auto, default, mirrored or multi_worker. auto is multi_worker
            where `TF_CONFIG` names several workers, mirrored on several GPUs,
            and the default strategy otherwise.
        num_replicas: replicas to make on one CPU (for tests); 0 = one per
            device.

    Raises:
        UsageError: TensorFlow has started with other devices, multi_worker
            is asked for without `TF_CONFIG`, or that cannot be read.
    """
    workers = _workers()
    if name == 'multi_worker' and not workers:
        raise UsageError(
            '--distribution_strategy=multi_worker needs the environment '
            'variable TF_CONFIG with the addresses of all workers.'
        )
    if name == 'multi_worker' or (name == 'auto' and len(workers) > 1):
        return _multi_worker()
    if num_replicas:
        return _mirrored(_logical_cpus(num_replicas))
    gpus = tf.config.list_logical_devices('GPU')
    if name == 'mirrored' or (name == 'auto' and len(gpus) > 1):
        return _mirrored()
    return tf.distribute.get_strategy()


# A process can have one of each only.


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _mirrored(devices: tuple[str, ...] = ()) -> tf.distribute.Strategy:
    """Returns a strategy on the given devices, or on all GPUs."""
    return tf.distribute.MirroredStrategy(devices or None)


def _workers() -> list[str]:
    try:
        config = json.loads(os.environ.get('TF_CONFIG') or '{}')
    except ValueError as error:
        raise UsageError(
            'The environment variable TF_CONFIG is no JSON object.'
        ) from error
    cluster = config.get('cluster', {})
    return cluster.get('worker', []) + cluster.get('chief', [])


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
    strategy: tf.distribute.Strategy, place: str, phases: Sequence
) -> None:
    """Makes sure that all workers are about to run the same phases.

    Workers that disagree on the number of steps would wait for each other in
    a collective for ever.

    Args:
        strategy: the strategy.
        place: where in the run this worker is.
        phases: what it is about to run.

    Raises:
        RunError: they disagree.
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
    found = strategy.gather(
        strategy.run(lambda: tf.constant([checksum], tf.int64)), axis=0
    )
    if len(set(found.numpy())) > 1:
        raise RunError(
            'The workers are at different places of the run or chose '
            'different examples; they must share the run folder and run the '
            'same version with the same flags and data.'
        )
