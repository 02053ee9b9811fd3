"""Devices, workers, and agreement between them."""

import functools
import json
import os
import zlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ieg.errors import RunError, UsageError


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
