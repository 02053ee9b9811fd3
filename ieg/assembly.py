"""The parts of an experiment: numerics, settings, networks, a method."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.config import Config
from ieg.data import Data
from ieg.errors import RunError, UsageError
from ieg.methods.base import Info, Method, steps_for
from ieg.networks import create_network
from ieg.options import TrainConfig
from ieg.randomness import generator
from ieg.registry import METHODS, NETWORKS
from ieg.training import optim, sums
from ieg.training.settings import Settings


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
        sums.fix_order()


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


def make_settings(
    config: Config, data: Data, replicas: int, workers: bool
) -> Settings:
    """Returns how to train on a data set.

    Args:
        config: what was asked for.
        data: what is learnt from.
        replicas: on all machines.
        workers: whether there are several processes.

    Raises:
        UsageError: a batch has more examples than there are, or their views
            cannot be computed where they should be.
    """
    run, train = config.run, config.train
    batch, num_examples = train.batch_size * replicas, len(data.train)
    if batch > num_examples:
        raise UsageError(
            f'--batch_size={train.batch_size} on {replicas} replicas is more '
            f'than the {num_examples} training examples.'
        )
    whole = steps_for(num_examples, batch)
    per_epoch = min(train.steps_per_epoch or whole, whole)
    total = train.max_iteration or train.max_epoch * per_epoch
    schedule = optim.make_schedule(train, per_epoch, total)
    return Settings(
        schedule=schedule,
        steps_per_epoch=per_epoch,
        share=per_epoch / whole,
        total_steps=schedule.run_end(total),
        eval_batch_size=run.val_batch_size * replicas,
        eval_every=max(1, round(run.eval_freq / per_epoch))
        if run.eval_freq
        else run.eval_every,
        eval_splits=('valid', 'test', *data.further),
        seed=train.seed,
        on_device=_on_device(run.augment_on, data, workers),
        keep_checkpoints=run.keep_checkpoints,
    )


def _on_device(where: str, data: Data, workers: bool) -> bool:
    """Whether views are computed where the steps run.

    Raises:
        UsageError: they should be and cannot.
    """
    if where == 'auto':
        return has_gpu() and not workers and data.in_memory
    if where == 'device' and workers:
        raise UsageError(
            '--augment_on=device does not work with several workers; use host.'
        )
    if where == 'device' and not data.in_memory:
        raise UsageError(
            '--augment_on=device needs images in memory, and those of '
            f'{data.spec.base} are read from files; use host.'
        )
    return where == 'device'


def make_info(config: Config, data: Data, replicas: int, epochs: int) -> Info:
    """Returns what a method may know of a run before it begins."""
    train = config.train
    unused = (
        METHODS.get(train.method).ignores_probe
        and not config.data.probe_dataset_hold_ratio
    )
    return Info(
        num_classes=data.num_classes,
        image_shape=data.image_shape,
        labels=data.train.labels,
        num_probe=len(data.probe) if data.probe and not unused else 0,
        batch_size=train.batch_size * replicas,
        epochs=epochs,
        seed=train.seed,
        valid_counts=None
        if data.valid is None
        else np.bincount(data.valid.labels, minlength=data.num_classes),
    )


def check_splits(method: Method, name: str, data: Data) -> None:
    """Raises UsageError where a method needs examples that nobody set aside.

    Args:
        method: says what it needs.
        name: its own.
        data: what is learnt from.
    """
    splits = {stream.split for stream in method.streams().values()}
    if 'probe' in splits and data.probe is None:
        raise UsageError(
            f'{name} learns from clean probe images and there are none; set '
            '--probe_dataset_hold_ratio to the share of the training set to '
            'hold out (0.02 is usual).'
        )
    if method.needs_validation and data.valid is None:
        raise UsageError(
            f'{name} chooses networks by noisy validation labels; set '
            '--valid_ratio to the share of the training set to hold out (0.1 '
            'is usual).'
        )


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


def network_options(train: TrainConfig) -> dict[str, Any]:
    """Returns the options of training that the network takes.

    Raises:
        UsageError: it takes none of a kind that was asked for.
    """
    taken = inspect.signature(NETWORKS.get(train.network_name)).parameters
    found, usual = {}, TrainConfig()
    for name, value, unless, what in (
        ('dropout_mode', train.dropout_mode, usual.dropout_mode, 'dropout'),
        ('pretrained', train.pretrained, usual.pretrained, 'ImageNet weights'),
    ):
        if name in taken:
            found[name] = value
        elif value != unless:
            raise UsageError(
                f'--{name} is not used by the network {train.network_name}, '
                f'which has no {what}.'
            )
    return found


def build_method(
    config: Config, info: Info, strategy: tf.distribute.Strategy
) -> Method:
    """Returns the method with its networks, under the scope of a strategy."""
    train = config.train
    chosen = network_options(train)

    def build_network(number: int) -> keras.Model:
        # Each network has initial weights of its own.
        seed = generator(train.seed, 'network', number).integers(2**31)
        keras.utils.set_random_seed(int(seed))
        return create_network(
            train.network_name, info.num_classes, info.image_shape, **chosen
        )

    def build_optimizer() -> keras.optimizers.Optimizer:
        return optim.make_optimizer(train)

    with strategy.scope():
        return METHODS.get(train.method)(
            config.method, info, build_network, build_optimizer
        )


@contextlib.contextmanager
def one_sentence(in_memory: bool) -> Iterator[None]:
    """Turns what goes wrong outside of this program into one sentence.

    Args:
        in_memory: whether no image is read any more.

    Raises:
        RunError: memory is short, or an image cannot be read any more.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(
            'There is not enough memory for a step; lower --batch_size (and '
            '--val_batch_size).'
        ) from error
    except (
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
        tf.errors.UnknownError,
    ) as error:
        if in_memory:
            raise
        raise RunError(
            'An image that was there when the run began cannot be read: '
            f'{" ".join(error.message.split())[:300]}'
        ) from error
