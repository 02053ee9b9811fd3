"""Small-loss selection with networks that are tables, one step at a time.

Modules that use it ask for the fixture `constant_rate`.
"""

import keras
import numpy as np
import tensorflow as tf

from ieg.methods.base import Info
from ieg.methods.coteaching import CoTeaching, CoTeachingConfig
from ieg.ops import optim


def keeping(rate):
    """Returns the options that keep one share of every batch."""
    return {'keep_schedule': f'constant:{float(rate)}', 'noise_rate': '0'}


def make_method(tables, labels, optimizer=None, epochs=2, **options):
    """Returns a method with one logit per example and class.

    Images are rows of the identity, so that a network's kernel is its logits,
    and the velocity of its optimizer the gradient by them.
    """
    rows, num_classes = tables[0].shape

    def build_network(number):
        table = keras.layers.Dense(num_classes, use_bias=False)
        net = keras.Sequential([keras.Input((rows,)), table])
        table.kernel.assign(tables[number])
        return net

    info = Info(
        num_classes=num_classes,
        image_shape=(rows,),
        labels=np.asarray(labels, np.int32),
        num_probe=0,
        batch_size=rows,
        epochs=epochs,
        seed=0,
    )
    optimizer = optimizer or (lambda: optim.SGD(1.0, 0.0))
    return CoTeaching(
        CoTeachingConfig(**options), info, build_network, optimizer
    )


def one_step(method, strategy=None, epoch=0):
    """Makes a step with all examples; returns its logs."""
    strategy = strategy or tf.distribute.get_strategy()
    (phase,) = method.begin_epoch(epoch, None)
    labels = tf.constant(method.info.labels)
    share = len(labels) // strategy.num_replicas_in_sync
    dtype = method.nets[0].compute_dtype

    def replica_step():
        context = tf.distribute.get_replica_context()
        start = context.replica_id_in_sync_group * share
        index = start + tf.range(share)
        images = tf.one_hot(index, len(labels), dtype=dtype)
        part = {
            'images': (images,),
            'label': tf.gather(labels, index),
            'index': tf.cast(index, tf.int64),
        }
        return method.pair_step(*phase.args, {'train': part})

    def run():
        return strategy.run(replica_step)

    if strategy.num_replicas_in_sync > 1:
        run = tf.function(run, autograph=False)
    return {
        name: np.mean(strategy.experimental_local_results(value))
        for name, value in run().items()
    }


def chosen_by(method):
    """Returns which examples each network chose, as two arrays of ids."""
    chosen = method.selection().chosen
    return [np.flatnonzero(chosen[:, net]) for net in range(2)]


def gradients(method):
    return [optimizer.velocities[0].numpy() for optimizer in method.optimizers]


def random_tables(rows, num_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    tables = [rng.normal(0, 2, (rows, num_classes)) for _ in range(2)]
    return tables, rng.integers(num_classes, size=rows)


def log_softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.log(powers / powers.sum(axis=1, keepdims=True))


def cross_entropies(tables, labels):
    """Returns the loss of each example for each table `[N, 2]`."""
    rows = np.arange(len(labels))
    return np.stack([-log_softmax(t)[rows, labels] for t in tables], axis=1)
