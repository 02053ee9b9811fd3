"""The parts of an experiment: numerics, settings, networks, a method."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from ieg.config import Config
from ieg.errors import RunError, UsageError
from ieg.methods.base import Info, Method, steps_for
from ieg.networks import create_network
from ieg.options import TrainConfig
from ieg.randomness import generator
from ieg.registry import METHODS, NETWORKS
from ieg.training import optim
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
    config: Config, num_examples: int, replicas: int, workers: bool
) -> Settings:
    """Returns how to train on so many examples.

    Raises:
        UsageError: a batch has more examples than there are.
    """
    run, train = config.run, config.train
    batch = train.batch_size * replicas
    if batch > num_examples:
        raise UsageError(
            f'--batch_size={train.batch_size} on {replicas} replicas is more '
            f'than the {num_examples} training examples.'
        )
    whole = steps_for(num_examples, batch)
    per_epoch = min(train.steps_per_epoch or whole, whole)
    total = train.max_iteration or train.max_epoch * per_epoch
    schedule = optim.make_schedule(train, per_epoch, total)
    gpu = has_gpu()
    return Settings(
        schedule=schedule,
        steps_per_epoch=per_epoch,
        share=per_epoch / whole,
        total_steps=schedule.run_end(total),
        eval_batch_size=run.val_batch_size * replicas,
        eval_every=max(1, round(run.eval_freq / per_epoch))
        if run.eval_freq
        else run.eval_every,
        seed=train.seed,
        on_device=run.augment_on == 'device'
        or (run.augment_on == 'auto' and gpu and not workers),
        keep_checkpoints=run.keep_checkpoints,
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
