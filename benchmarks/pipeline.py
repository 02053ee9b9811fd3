"""Throughput of the input pipeline against a per-image pipeline.

    python benchmarks/pipeline.py [--examples=50000] [--batch=128]

CIFAR-sized random images, the `weak` view (pad 4, crop, flip, standardise).
The baseline maps TensorFlow's own stateless crop and flip over single images,
as most input pipelines do.
"""

import argparse
import dataclasses
import os
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import numpy as np
import tensorflow as tf
from common import machine

from ieg.data import dataset as dataset_
from ieg.data import load
from ieg.data.dataset import InMemory, Preprocessing
from ieg.data.pipeline import Pipeline
from ieg.methods.base import Phase, Stream
from ieg.options import DataConfig, RunConfig


def random_images(examples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (examples, 32, 32, 3), np.uint8)


def as_data(images: np.ndarray) -> dataset_.Data:
    """Returns training images as the package has them."""
    split = dataset_.Split(
        InMemory(images).fetch,
        np.zeros(len(images), np.int32),
        None,
        np.arange(len(images)),
        images,
    )
    return dataclasses.replace(
        load.load(DataConfig('fake'), RunConfig(), seed=0),
        train=split,
        preprocessing=Preprocessing(4, True, (0.5,) * 3, (0.2,) * 3),
    )


def ours(data: dataset_.Data, examples: int, batch: int):
    pipeline = Pipeline(
        data, {'train': Stream(batch)}, tf.distribute.get_strategy(), seed=0
    )
    steps = examples // batch
    phase = Phase('train_step', {'train': np.arange(examples)}, steps)

    def run(epoch: int) -> int:
        iterator = pipeline.batches(phase, epoch, 0, np.zeros(steps))
        for _ in range(steps):
            next(iterator)
        return steps * batch

    return run


def per_image(data: dataset_.Data, examples: int, batch: int):
    def view(position, image):
        seed = tf.stack([position, 1])
        image = tf.image.resize_with_crop_or_pad(image, 40, 40)
        image = tf.image.stateless_random_crop(image, (32, 32, 3), seed)
        image = tf.image.stateless_random_flip_left_right(image, seed)
        return (tf.cast(image, tf.float32) / 255 - 0.5) / 0.2

    dataset = (
        tf.data.Dataset.from_tensor_slices(
            (np.arange(examples), data.train.images)
        )
        .map(view, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch, drop_remainder=True)
        .prefetch(2)
    )

    def run(epoch: int) -> int:
        return sum(batch for _ in dataset)

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--examples', type=int, default=50_000)
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    data = as_data(random_images(args.examples))
    runs = {
        'ieg, batched': ours(data, args.examples, args.batch),
        'per image': per_image(data, args.examples, args.batch),
    }
    speeds = {name: [] for name in runs}
    for epoch in range(args.rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            count = run(epoch)
            if epoch:  # The first one builds the graph.
                speeds[name].append(count / (time.perf_counter() - start))
    medians = {name: float(np.median(found)) for name, found in speeds.items()}
    print(f'batch {args.batch}, {args.examples} images; {machine()}')
    print('| pipeline | images/s | ratio |')
    print('| --- | --- | --- |')
    for name, speed in medians.items():
        print(f'| {name} | {speed:,.0f} | {speed / medians["per image"]:.1f} |')


if __name__ == '__main__':
    main()
