"""Cost of a Co-teaching step in plain training steps of the same network.

    python benchmarks/coteaching_step.py [--precision=bfloat16] [--batch=128]

Both networks see the whole batch, so by counting a step costs two plain steps;
what is above that is the ranking and the record of what was chosen. Dropout is
off, as in the runs that Co-teaching was published with.
"""

import argparse
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import keras
import numpy as np
import tensorflow as tf
from common import interleaved, machine

import ieg.methods  # noqa: F401
from ieg.methods.base import Info
from ieg.networks import create_network
from ieg.ops.optim import Adam
from ieg.registry import METHODS

SELECTIONS = ('coteaching', 'coteaching_plus', 'jocor')
SHAPE = (32, 32, 3)


def build(name: str, network: str, batch: int, **options):
    info = Info(
        num_classes=10,
        image_shape=SHAPE,
        labels=np.zeros(4 * batch, np.int32),
        num_probe=0,
        batch_size=batch,
        epochs=200,
        seed=0,
    )
    chosen = {'dropout_mode': 'off'} if network == 'cnn9' else {}
    method = METHODS.get(name)
    return method(
        method.Config(**options),
        info,
        lambda number: create_network(network, 10, SHAPE, **chosen),
        Adam,
    )


def random_batch(batch: int) -> dict:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, *SHAPE)).astype(np.float32)
    return {
        'train': {
            'images': (tf.constant(images),),
            'label': tf.constant(rng.integers(0, 10, batch), tf.int32),
            'index': tf.range(batch, dtype=tf.int64),
        },
        'step': {'number': 0, 'seed': tf.constant([1, 2])},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--precision', default='float32')
    parser.add_argument('--network', default='cnn9')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    if args.precision == 'bfloat16':
        keras.config.set_dtype_policy('mixed_bfloat16')
    batch = random_batch(args.batch)
    plain = build('supervised', args.network, args.batch)

    def compiled(step, *leading):
        function = tf.function(lambda: step(*leading, batch), autograph=False)
        return lambda: {k: v.numpy() for k, v in function().items()}

    functions = {'supervised': compiled(plain.train_step)}
    for selection in SELECTIONS:
        method = build(
            'coteaching',
            args.network,
            args.batch,
            selection=selection,
            noise_rate='0.45',
        )
        method.begin_epoch(20, None)
        disagree = selection == 'coteaching_plus'
        functions[selection] = compiled(method.pair_step, disagree)
    seconds = interleaved(functions, args.rounds)
    print(f'{machine()}; TensorFlow {tf.__version__}, {args.precision}')
    print(f'{args.network}, batch {args.batch}, median of {args.rounds} rounds')
    print('| step | seconds | in two plain steps |')
    print('| --- | --- | --- |')
    for name, value in seconds.items():
        ratio = value / (2 * seconds['supervised'])
        print(f'| {name} | {value:.3f} | {ratio:.3f} |')


if __name__ == '__main__':
    main()
