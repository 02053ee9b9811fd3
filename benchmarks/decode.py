"""Random crops of JPEGs on one core, against Pillow in one process.

    python benchmarks/decode.py [--images=256] [--size=224] [--rounds=5]

Both read a file, take torchvision's RandomResizedCrop or a shifted square of
it, and scale that bilinearly and smoothed. All pictures are generated; they
are about as large as photographs of the same sides.
"""

import argparse
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ['TF_NUM_INTRAOP_THREADS'] = '1'
os.environ['TF_NUM_INTEROP_THREADS'] = '1'

import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from common import interleaved, machine
from PIL import Image

from ieg.data.images.files import ATTEMPTS, FileImages, Framing

BATCH = 64
SIDES = ((256, 256), (375, 500))


def write(folder: str, count: int, height: int, width: int) -> list[bytes]:
    """Writes JPEGs of coarse colours with some grain; returns their names."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(count):
        coarse = (height // 16 + 1, width // 16 + 1, 3)
        image = Image.fromarray(rng.integers(0, 256, coarse, np.uint8))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.array(image) + rng.normal(0, 8, (height, width, 3))
        path = pathlib.Path(folder, f'{height}x{width}_{number}.jpg')
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(path, quality=90)
        names.append(os.fsencode(path))
    return names


def ours(names: list[bytes], framing: Framing):
    images = FileImages(names, np.zeros(len(names), bool), framing)
    seeds = np.random.default_rng(1).integers(2**31, size=(len(names), 2))
    rows = (np.arange(len(names)), seeds.astype(np.int32))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    dataset = (
        tf.data.Dataset.from_tensor_slices(rows)
        .batch(BATCH)
        .map(
            tf.autograph.experimental.do_not_convert(images.fetch),
            num_parallel_calls=1,
            deterministic=True,
        )
        .with_options(options)
    )

    def run() -> None:
        for _ in dataset:
            pass

    return run


def by_pillow(names: list[bytes], framing: Framing):
    rng = np.random.default_rng(1)

    def one(name: bytes) -> np.ndarray:
        with Image.open(name) as image:
            image = image.convert('RGB')
        left, top, width, height = window(*image.size, framing, rng)
        return np.array(
            image.resize(
                (framing.size, framing.size),
                Image.Resampling.BILINEAR,
                (left, top, left + width, top + height),
            )
        )

    def run() -> None:
        for start in range(0, len(names), BATCH):
            np.stack([one(name) for name in names[start : start + BATCH]])

    return run


def window(
    width: int, height: int, framing: Framing, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Returns left, top, width and height of a random crop."""
    wide = high = round(min(width, height) * framing.fraction)
    if framing.crop == 'area':
        for _ in range(ATTEMPTS):
            area = rng.uniform(*framing.area) * width * height
            aspect = np.exp(rng.uniform(*np.log(framing.aspect)))
            wide = round((area * aspect) ** 0.5)
            high = round((area / aspect) ** 0.5)
            if 0 < wide <= width and 0 < high <= height:
                break
        else:
            wide, high = width, height
    left = rng.integers(width - wide, endpoint=True)
    top = rng.integers(height - high, endpoint=True)
    return left, top, wide, high


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--images', type=int, default=256)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    print(f'{machine()}; TensorFlow {tf.__version__}, one thread')
    print('| files | crop | ieg, images/s | Pillow, images/s | ratio |')
    print('| --- | --- | --- | --- | --- |')
    with tempfile.TemporaryDirectory() as folder:
        for height, width in SIDES:
            names = write(folder, args.images, height, width)
            for crop in ('area', 'shift'):
                framing = Framing(args.size, crop=crop)
                seconds = interleaved(
                    {
                        'ieg': ours(names, framing),
                        'Pillow': by_pillow(names, framing),
                    },
                    args.rounds,
                )
                fast = {n: len(names) / s for n, s in seconds.items()}
                print(
                    f'| {width} x {height} | {crop} | {fast["ieg"]:.0f} | '
                    f'{fast["Pillow"]:.0f} | '
                    f'{fast["ieg"] / fast["Pillow"]:.2f} |'
                )


if __name__ == '__main__':
    main()
