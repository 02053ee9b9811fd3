"""Near duplicates and outliers that are planted among images, and found.

    python benchmarks/lookalikes.py [--sets cifar10 scaled mosaic] \
        [--images=3000] [--copies=200] [--odd=100] [--seeds=2] \
        [--data_dir=TFDS] [--view=FOLDER]

Images are those of CIFAR-10 (the TFDS data set `cifar10`, 32 pixels); the same
scaled up to 180 to 450 pixels, with texture of their own; mosaics of four of
one class, with texture; or random colors (`colors`, which need no data). Copies
are compressed (JPEG, quality 50 to 90), scaled by 0.8, cut to 80 to 95 % of
their sides, or mirrored, a quarter each. Odd ones are noise, text, drawings and
handwritten digits. Features are those of EfficientNet-Lite0. Recall is of the
copies whose group has their original, false ones are pairs of a group that are
no planted copies (CIFAR-10 has some; --view shows them) and ordinary images
that are called outliers.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import io
import itertools
import time
from collections.abc import Callable

import numpy as np
from common import machine
from PIL import Image, ImageDraw

from ieg.data.images import thumbnails
from ieg.features import backbones
from ieg.label_issues import similar
from ieg.label_issues.duplicates import SIDE

COPIES = ('compressed', 'scaled', 'cut', 'mirrored')
ODD = ('noise', 'text', 'drawing', 'digit')
BATCH = 16

Make = Callable[[np.random.Generator], tuple[np.ndarray, int]]


def resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns a uint8 image in another size."""
    picture = Image.fromarray(image).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.asarray(picture)


def textured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an image with noise of a random spectrum."""
    height, width = image.shape[:2]
    down = np.fft.fftfreq(height)[:, np.newaxis]
    frequency = np.hypot(down, np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    spectrum *= frequency ** -rng.uniform(0.8, 1.6)
    noise = np.fft.irfft2(spectrum, (height, width))[..., np.newaxis]
    noise = noise / noise.std() * rng.uniform(4, 14) * rng.uniform(0.5, 1, 3)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def colors(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Returns random colors with texture, 32 pixels."""
    cells = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return textured(resized(cells, 32, 32), rng), int(rng.integers(10))


def of_cifar10(name: str, data_dir: str) -> Make:
    """Returns what makes the images of a set and their classes."""
    import tensorflow_datasets as tfds

    builder = tfds.builder('cifar10', data_dir=data_dir or None)
    train = tfds.as_numpy(builder.as_dataset('train', batch_size=-1))
    images, labels = train['image'], train['label']
    order = itertools.cycle(range(len(labels)))

    def plain(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        place = next(order)
        return images[place], int(labels[place])

    def scaled(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        image, label = plain(rng)
        short, ratio = int(rng.integers(180, 300)), rng.uniform(1, 1.5)
        sides = [short, int(short * ratio)]
        return textured(resized(image, *rng.permutation(sides)), rng), label

    def mosaic(rng: np.random.Generator) -> tuple[np.ndarray, int]:
        image, label = plain(rng)
        others = rng.choice(np.flatnonzero(labels == label), 3, replace=False)
        tiles = [resized(i, 128, 128) for i in (image, *images[others])]
        whole = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
        height, width = rng.integers(200, 257, 2)
        top, left = rng.integers(0, 257 - height), rng.integers(0, 257 - width)
        part = textured(whole, rng)[top : top + height, left : left + width]
        return part, label

    return {'cifar10': plain, 'scaled': scaled, 'mosaic': mosaic}[name]


def copy(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Returns a near duplicate of an image."""
    height, width = image.shape[:2]
    if kind == 'compressed':
        buffer, quality = io.BytesIO(), int(rng.integers(50, 91))
        Image.fromarray(image).save(buffer, 'JPEG', quality=quality)
        return np.asarray(Image.open(buffer))
    if kind == 'scaled':
        return resized(image, round(0.8 * width), round(0.8 * height))
    if kind == 'cut':
        share = rng.uniform(0.8, 0.95)
        high, wide = round(share * height), round(share * width)
        top = rng.integers(height - high + 1)
        left = rng.integers(width - wide + 1)
        return image[top : top + high, left : left + wide]
    return image[:, ::-1]


def odd(kind: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """Returns another kind of picture, uint8 [side, side, 3]."""
    if kind == 'noise':
        cells = side if rng.random() < 0.5 else max(2, side // 4)
        noise = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        picture = Image.fromarray(noise).resize((side, side), 0)
        return np.asarray(picture)
    if kind == 'digit':
        from sklearn.datasets import load_digits

        images = load_digits().images
        digit = (15.9 * images[rng.integers(len(images))]).astype(np.uint8)
        return np.repeat(resized(digit, side, side)[..., np.newaxis], 3, 2)
    picture = Image.new('RGB', (side, side), 'white')
    draw = ImageDraw.Draw(picture)
    if kind == 'text':
        size = 7 if side <= 64 else int(side * rng.uniform(0.06, 0.14))
        for top in range(1, side, size + 1):
            words = ''.join(rng.choice(list('abcdefghijklmnop     ,.'), 60))
            draw.text((1, top), words, fill='black', font_size=size)
    else:
        shapes = (draw.line, draw.ellipse, draw.rectangle)
        for _ in range(rng.integers(3, 8)):
            box = np.sort(rng.uniform(0, side, (2, 2)), axis=0).ravel().tolist()
            color = tuple(map(int, rng.integers(0, 200, 3)))
            number = int(rng.integers(3))
            key = 'outline' if number else 'fill'
            shapes[number](box, **{key: color}, width=max(1, side // 32))
    return np.asarray(picture)


def features(images: list[np.ndarray]) -> np.ndarray:
    """Returns features of the centre squares of images, as runs have them."""
    backbone = backbones.load('lite0')

    def square(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        box = (left, top, left + side, top + side)
        size = (backbone.side, backbone.side)
        picture = Image.fromarray(image)
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box))

    batches = [
        backbone.compute(
            np.stack([square(image) for image in images[n : n + BATCH]])
        ).numpy()
        for n in range(0, len(images), BATCH)
    ]
    return np.concatenate(batches).astype(np.float16)


def measure(name: str, make: Make, seed: int, asked: argparse.Namespace) -> str:
    """Returns a row of the table."""
    rng = np.random.default_rng(seed)
    count = asked.images - asked.copies - asked.odd
    images, labels = map(
        list, zip(*(make(rng) for _ in range(count)), strict=True)
    )
    is_test = rng.random(asked.images) < 0.2
    origin = np.arange(asked.images)
    for number, source in enumerate(rng.choice(count, asked.copies, False)):
        origin[len(images)] = source
        # Half of them are in the other part, half of them in another class.
        is_test[len(images)] = is_test[source] ^ (number // 4 % 2)
        images.append(copy(images[source], COPIES[number % 4], rng))
        labels.append((labels[source] + number // 8 % 2) % 10)
    for number in range(asked.odd):
        side = 32 if len(images[0]) == 32 else int(rng.integers(180, 320))
        images.append(odd(ODD[number % 4], side, rng))
        labels.append(int(rng.integers(10)))
    vectors, given = features(images), np.array(labels)
    order = np.argsort(is_test, kind='stable')
    shown = np.concatenate(
        [
            thumbnails.of_images(lambda ids, one=one: one[np.newaxis], 1, SIDE)
            for one in (images[place] for place in order)
        ]
    )
    parts = [
        similar.Part(split, rows, given[rows], vectors[rows])
        for split, rows in (
            ('train', order[: (~is_test).sum()]),
            ('test', order[(~is_test).sum() :]),
        )
    ]
    started = time.perf_counter()
    pictures = similar.Pictures(shown, np.ones(len(shown), bool))
    found = similar.examine(parts, pictures)
    seconds = time.perf_counter() - started
    group, is_outlier = np.empty(len(order), int), np.empty(len(order), bool)
    group[order], is_outlier[order] = found.group, found.is_outlier
    copies = np.arange(count, count + asked.copies)
    again = (group[copies] > 0) & (group[copies] == group[origin[copies]])
    others = [
        rows
        for number in range(1, group.max() + 1)
        for rows in (np.flatnonzero(group == number),)
        if len({*origin[rows].tolist()}) > 1
    ]
    wrong = sum(len({*origin[rows].tolist()}) - 1 for rows in others)
    if asked.view:
        view(images, others, os.path.join(asked.view, f'{name}-{seed}.png'))
    right = is_outlier[count + asked.copies :]
    precise = again.sum() / max(again.sum() + wrong, 1)
    ordinary = is_outlier[: count + asked.copies]
    exact = right.sum() / max(is_outlier.sum(), 1)
    return (
        f'| {name}, {seed} | {again.mean():.3f} | {precise:.3f} | {wrong} '
        f'| {right.mean():.3f} | {exact:.3f} | {ordinary.mean():.2%} '
        f'| {seconds:.1f} |'
    )


def view(images: list[np.ndarray], groups: list[np.ndarray], path: str) -> None:
    """Writes a picture of groups, one in each row."""
    rows = [
        np.hstack([resized(images[place], 96, 96) for place in group[:6]])
        for group in groups
    ]
    width = max((row.shape[1] for row in rows), default=96)
    padded = [
        np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows
    ]
    if padded:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(np.vstack(padded)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        '--sets', nargs='+', default=['cifar10', 'scaled', 'mosaic']
    )
    parser.add_argument('--images', type=int, default=3000)
    parser.add_argument('--copies', type=int, default=200)
    parser.add_argument('--odd', type=int, default=100)
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--data_dir', default='')
    parser.add_argument('--view', default='', metavar='FOLDER')
    asked = parser.parse_args()
    print(machine())
    print(
        '| images, seed | recall of copies | precision | other pairs '
        '| recall of outliers | precision | ordinary images | seconds |'
    )
    print('| --- ' * 8 + '|')
    for name in asked.sets:
        make = colors if name == 'colors' else of_cifar10(name, asked.data_dir)
        for seed in range(asked.seeds):
            print(measure(name, make, seed, asked), flush=True)


if __name__ == '__main__':
    main()
