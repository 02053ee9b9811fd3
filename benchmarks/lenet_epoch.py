"""One epoch of Me-Momentum on MNIST-sized images, against plain loops.

    python benchmarks/lenet_epoch.py [--examples=60000] [--rounds=3]

LeNet, 54,000 images for training and 6,000 for validation, batch 128, SGD. An
epoch is all training steps and the pass over the validation images. Baselines
on the same network: Keras' `train_on_batch` and a hand-written compiled step,
each fed by slices of shuffled NumPy arrays, as a research script would.
"""

import argparse
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import tempfile

import keras
import numpy as np
import tensorflow as tf
from common import interleaved, machine

from ieg import config as ieg_config
from ieg import experiment
from ieg.data.dataset import Arrays
from ieg.networks import create_network
from ieg.ops.optim import SGD
from ieg.registry import DATASETS

EXAMPLES, VALID_RATIO, BATCH, SHAPE = 60_000, 0.1, 128, (28, 28, 1)


def random_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return images, rng.integers(0, 10, count).astype(np.int32)


def register_noise28(examples: int) -> None:
    """Registers random images of the size of MNIST's as `noise28`."""

    @DATASETS.register('noise28')
    def noise28(data_dir: str | None) -> Arrays:
        images, labels = random_images(examples)
        return Arrays(
            train_images=images,
            train_labels=labels,
            test_images=images[:100],
            test_labels=labels[:100],
            class_names=tuple('0123456789'),
            padding=0,
            flip=False,
            mean=(0.1307,),
            std=(0.3081,),
        )


def ours(folder: str):
    """Returns a function that trains one epoch as the package does."""
    config = ieg_config.resolve(
        {
            'dataset': 'noise28',
            'method': 'me_momentum',
            'network_name': 'lenet',
            'batch_size': BATCH,
            'learning_rate': 0.01,
            'valid_ratio': VALID_RATIO,
            'precision': 'float32',
            'checkpoint_path': folder,
        }
    )
    trainer = experiment.build(config).trainer
    callbacks = keras.callbacks.CallbackList([])

    def epoch() -> None:
        trainer._train_phases(trainer._begun(0), callbacks)
        trainer.evaluate('valid')

    return epoch


def plain(compiled: bool, examples: int):
    """Returns a function that trains one epoch by a plain loop."""
    valid = round(VALID_RATIO * examples)
    images, labels = random_images(examples - valid)
    held_out, _ = random_images(valid)
    images = (images / 255.0).astype(np.float32)
    held_out = (held_out / 255.0).astype(np.float32)
    net = create_network('lenet', 10, SHAPE)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = SGD(0.01, 0.9, l2=1e-4)
    net.compile(optimizer, loss, jit_compile=False)

    @tf.function(autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, net(x, training=True))
        variables = net.trainable_variables
        gradients = tape.gradient(value, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return value

    def epoch() -> None:
        order = np.random.default_rng(1).permutation(len(images))
        for start in range(0, len(images), BATCH):
            rows = order[start : start + BATCH]
            if compiled:
                float(step(images[rows], labels[rows]))
            else:
                net.train_on_batch(images[rows], labels[rows])
        net.predict(held_out, batch_size=256, verbose=0)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--examples', type=int, default=EXAMPLES)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    register_noise28(args.examples)
    with tempfile.TemporaryDirectory() as folder:
        functions = {
            'ieg': ours(folder),
            'compiled step, NumPy batches': plain(True, args.examples),
            'Keras train_on_batch': plain(False, args.examples),
        }
        seconds = interleaved(functions, args.rounds)
    print(f'{machine()}; TensorFlow {tf.__version__}, float32')
    print('| loop | seconds | ieg is faster by |')
    print('| --- | --- | --- |')
    for name, value in seconds.items():
        print(f'| {name} | {value:.2f} | {value / seconds["ieg"]:.2f} |')


if __name__ == '__main__':
    main()
