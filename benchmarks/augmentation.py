"""Throughput of the strong views against Pillow and Keras.

    python benchmarks/augmentation.py [--examples=20000] [--batch=100]

Smooth random colour images of 32x32. `autoaug` goes through the input
pipeline as in training: AutoAugment, crop, flip, cutout, standardised floats.
Pillow and NumPy do the same one image at a time in one process. Keras'
`RandAugment` layer maps batches in `tf.data`, without crop, flip and cutout,
and with the same operations for a whole batch. "Policy" is the choice and the
two operations only, from bytes to bytes. On a machine that others use too,
the processor's time per image says more than images per second.
"""

import argparse
import os
import random
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import keras
import numpy as np
import tensorflow as tf
from common import machine
from PIL import Image, ImageEnhance, ImageOps
from pipeline import as_data

from ieg.data.augment import image_ops
from ieg.data.augment import policies as policies_
from ieg.data.augment.views import Draws
from ieg.data.pipeline import Pipeline
from ieg.methods.base import Phase, Stream

GREY = (128, 128, 128)
SIZE = 32


def smooth_images(examples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (examples, 8, 8, 3))
    large = tf.image.resize(small, (SIZE, SIZE), 'bicubic')
    return np.clip(large, 0, 255).astype(np.uint8)


# Pillow.


def pillow_operation(
    image: Image.Image, name: str, value: float
) -> Image.Image:
    if name in image_ops.SIGNED and random.random() < 0.5:
        value = -value
    affine = {
        'ShearX': (1, value, 0, 0, 1, 0),
        'ShearY': (1, 0, 0, value, 1, 0),
        'TranslateX': (1, 0, value, 0, 1, 0),
        'TranslateY': (1, 0, 0, 0, 1, value),
    }
    if name in affine:
        return image.transform(
            image.size, Image.Transform.AFFINE, affine[name], fillcolor=GREY
        )
    if name == 'Rotate':
        return image.rotate(value, fillcolor=GREY)
    if name == 'Cutout':
        x, y = random.randrange(SIZE), random.randrange(SIZE)
        half = int(value)
        image = image.copy()
        image.paste(GREY, (x - half, y - half, x + half, y + half))
        return image
    if name in image_ops.ENHANCING:
        return getattr(ImageEnhance, name)(image).enhance(value)
    function = getattr(ImageOps, name.lower())
    if name in ('Solarize', 'Posterize'):
        return function(image, int(value))
    return function(image)


def pillow_policy(raw: np.ndarray, policies: list) -> np.ndarray:
    steps = [
        (name, policies_.cifar_value(name, level))
        for name, chance, level in random.choice(policies)
        if random.random() < chance
    ]
    if not steps:
        return raw
    image = Image.fromarray(raw)
    for name, value in steps:
        image = pillow_operation(image, name, value)
    return np.asarray(image)


def pillow_strong(raw: np.ndarray, policies: list) -> np.ndarray:
    padded = np.full((SIZE + 8, SIZE + 8, 3), 128, np.uint8)
    padded[4:-4, 4:-4] = pillow_policy(raw, policies)
    top, left = random.randrange(9), random.randrange(9)
    image = padded[top : top + SIZE, left : left + SIZE]
    if random.random() < 0.5:
        image = image[:, ::-1]
    y, x = random.randrange(SIZE), random.randrange(SIZE)
    image[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 128
    return image


def with_pillow(images: np.ndarray, batch: int, strong: bool):
    policies = policies_.parse(policies_.CIFAR)
    function = pillow_strong if strong else pillow_policy
    scale = np.float32(1 / (255 * 0.2))
    shift = np.float32(-0.5 / 0.2)

    def batches():
        for start in range(0, len(images), batch):
            rows = images[start : start + batch]
            done = np.stack([function(raw, policies) for raw in rows])
            yield done * scale + shift if strong else done

    return batches


# TensorFlow.


def mapped(images: np.ndarray, batch: int, function):
    """Returns batches of a function of images and a step's number."""
    held = tf.constant(images)

    @tf.autograph.experimental.do_not_convert
    def one(number):
        places = tf.range(batch) + tf.cast(number, tf.int32) * batch
        return function(tf.gather(held, places), number)

    dataset = (
        tf.data.Dataset.range(len(images) // batch)
        .map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(2)
    )
    return lambda: iter(dataset)


def in_pipeline(images: np.ndarray, batch: int, view: str):
    steps = len(images) // batch
    phase = Phase('train_step', {'train': np.arange(len(images))}, steps)
    pipeline = Pipeline(
        as_data(images),
        {'train': Stream(batch, (view,))},
        tf.distribute.get_strategy(),
        seed=0,
    )

    return lambda: pipeline.batches(phase, 0, 0, np.zeros(steps))


def policy_only(images: np.ndarray, batch: int):
    policy = policies_.cifar()

    @tf.function(jit_compile=True, autograph=False)
    def compiled(raw, numbers):
        steps = policy.steps(numbers, SIZE)
        pixels = image_ops.pack(raw)
        pixels = policies_.perform(pixels, steps, policy.style)
        values = image_ops.unpack(pixels, 3)
        opaque = image_ops.opaque(pixels)[..., tf.newaxis]
        return tf.cast(tf.where(opaque, values, 128), tf.uint8)

    def function(raw, number):
        seed = tf.stack([tf.cast(number, tf.int32), 0])
        draws = Draws(seed, tf.constant(0), batch, batch)
        return compiled(raw, draws.uniform(policy.numbers))

    return mapped(images, batch, function)


def with_keras(images: np.ndarray, batch: int):
    layer = keras.layers.RandAugment(value_range=(0, 255), num_ops=2)
    return mapped(
        images,
        batch,
        lambda raw, number: layer(tf.cast(raw, tf.float32), training=True),
    )


def measured(makers: dict, batch: int, rounds: int) -> dict[str, np.ndarray]:
    """Returns median seconds, and seconds of processor time, per image.

    The start of an iteration, up to its first batch, is left out. All take
    turns, so a machine that slows down slows all of them.
    """
    spent = {name: [] for name in makers}
    for number in range(rounds + 1):
        for name, make in makers.items():
            batches = make()
            next(batches)
            clocks = time.perf_counter(), time.process_time()
            count = sum(batch for _ in batches)
            now = time.perf_counter(), time.process_time()
            if number:  # The first one compiles.
                spent[name].append(np.subtract(now, clocks) / count)
    return {name: np.median(found, axis=0) for name, found in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--examples', type=int, default=20_000)
    parser.add_argument('--batch', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    images = smooth_images(args.examples)
    # Enough for those that need more than a tenth of a millisecond each.
    few = images[: 10 * args.batch]
    makers = {
        f'ieg, `{view}`': in_pipeline(images, args.batch, view)
        for view in ('autoaug', 'randaug', 'weak')
    }
    makers |= {
        'Pillow, as `autoaug`': with_pillow(few, args.batch, strong=True),
        'Keras `RandAugment`': with_keras(few, args.batch),
        'ieg, policy': policy_only(images, args.batch),
        'Pillow, policy': with_pillow(few, args.batch, strong=False),
    }
    found = measured(makers, args.batch, args.rounds)
    print(f'batch {args.batch}; {machine()}; load {os.getloadavg()[0]:.1f}')
    # The policies by themselves are last.
    names = list(makers)
    for part in (names[:-2], names[-2:]):
        print_table({name: found[name] for name in part})


def print_table(found: dict[str, np.ndarray]) -> None:
    """Prints how much faster the first one is than each of the others."""
    (best, best_work), *_ = found.values()
    print('\n| what | images/s | ratio | processor, us/image | ratio |')
    print('| --- | --- | --- | --- | --- |')
    for name, (seconds, work) in found.items():
        print(
            f'| {name} | {1 / seconds:,.0f} | {seconds / best:.1f} '
            f'| {work * 1e6:.0f} | {work / best_work:.1f} |'
        )


if __name__ == '__main__':
    main()
