"""Cost of DivideMix' steps in plain passes of the same network.

    python benchmarks/dividemix_step.py [--precision=bfloat16] [--batch=64]

Unit: one forward pass of B images in inference mode (F). By counting, a
co-divide step of B + B images costs 4 training-mode and 2 inference forward
passes of B and one forward/backward of 4B: 18 F if a backward pass costs 2 F.
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
from ieg.methods.dividemix import DivideMix, DivideMixConfig
from ieg.networks import create_network
from ieg.ops.optim import SGD


def build(name: str, batch: int) -> DivideMix:
    info = Info(
        num_classes=10,
        image_shape=(32, 32, 3),
        labels=np.zeros(4 * batch, np.int32),
        num_probe=0,
        batch_size=batch,
        epochs=20,
        seed=0,
    )
    return DivideMix(
        DivideMixConfig(),
        info,
        lambda number: create_network(name, 10, (32, 32, 3)),
        lambda: SGD(0.02, 0.9, l2=5e-4),
    )


def random_batch(batch: int, views: int) -> dict:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(views, batch, 32, 32, 3)).astype(np.float32)
    return {
        'images': tuple(tf.constant(view) for view in images),
        'label': tf.constant(rng.integers(0, 10, batch), tf.int32),
        'index': tf.range(batch, dtype=tf.int64),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--precision', default='float32')
    parser.add_argument('--network', default='preact_resnet18')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    if args.precision == 'bfloat16':
        keras.config.set_dtype_policy('mixed_bfloat16')
    method = build(args.network, args.batch)
    one, two = (random_batch(args.batch, views) for views in (1, 2))
    wide = {k: tf.concat([v, v], -1) for k, v in one.items() if k != 'images'}
    wide['images'] = (tf.concat([one['images'][0]] * 2, 0),)
    step = {
        'number': 0,
        'seed': tf.constant([1, 2]),
        'share': tf.constant(0.7),
        'unlabeled_weight': tf.constant(25.0),
    }
    mixed = {'labeled': two, 'unlabeled': two, 'step': step}
    compiled = {
        'forward, inference': lambda: method.nets[0](one['images'][0]),
        'forward, training mode': lambda: method.nets[0](
            one['images'][0], training=True
        ),
        'plain training step': lambda: method.warm_up_step(0, {'train': one}),
        'warm-up step (2B images)': lambda: method.warm_up_step(
            0, {'train': wide}
        ),
        'co-divide step (B + B images)': lambda: method.mix_step(0, mixed),
    }
    compiled = {n: tf.function(f, autograph=False) for n, f in compiled.items()}
    found = interleaved(
        {
            n: lambda f=f: tf.nest.map_structure(np.asarray, f())
            for n, f in compiled.items()
        },
        args.rounds,
    )
    unit = found['forward, inference']
    print(f'{args.network}, B = {args.batch}, {args.precision}; {machine()}')
    print('| step | seconds | in F | in plain training steps |')
    print('| --- | --- | --- | --- |')
    for name, seconds in found.items():
        plain = seconds / found['plain training step']
        print(
            f'| {name} | {seconds:.3f} | {seconds / unit:.1f} | {plain:.2f} |'
        )


if __name__ == '__main__':
    main()
