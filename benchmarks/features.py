"""Features of photographs by all cores, against decoding and network alone.

    python benchmarks/features.py [--images=256] [--megapixels 1 1.5 2]
        [--backbone=lite0] [--rounds=3]

The photographs are generated JPEGs (quality 90, about 350 KB per megapixel).
Decoding alone and the network alone run in one process of one thread, the whole
(reading, hashing, decoding, network, writing the cache) in one of all cores, as
an audit does it; they take turns. The ratio is that of the whole to cores /
(t_decode + t_network): 1 means that nothing waits and nothing is done twice. By
CPU time, which counts on a machine that does other work, it leaves out waiting.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from common import machine
from PIL import Image

HEAD = (
    '| megapixels | decode, ms | network, ms | whole, images/s | ratio |'
    ' ratio by CPU time | memory, MB | of TensorFlow |'
)


def write(folder: pathlib.Path, count: int, megapixels: float) -> None:
    """Writes JPEGs of coarse colours with some grain, 4 : 3."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for number in range(count):
        coarse = (height // 16 + 1, width // 16 + 1, 3)
        image = Image.fromarray(rng.integers(0, 256, coarse, np.uint8))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.array(image) + rng.normal(0, 8, (height, width, 3))
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.save(folder / f'{number}.jpg', quality=90)


class Watch:
    """Seconds of wall and CPU time since it was made."""

    def __init__(self):
        self._start = time.perf_counter(), time.process_time()

    def seconds(self) -> tuple[float, float]:
        now = time.perf_counter(), time.process_time()
        return now[0] - self._start[0], now[1] - self._start[1]


def memory() -> float:
    """Returns the most memory that this process had so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: str, name: str, part: str) -> dict[str, object]:
    """Returns figures of this process: seconds per image, or memory."""
    from ieg.utils.cli import import_tensorflow

    import_tensorflow()
    from ieg.data.images.files import Framing
    from ieg.data.images.squares import SquareImages
    from ieg.features import backbones, cache, extract
    from ieg.training import devices

    # As an audit does.
    devices.use_one_thread()
    backbone = backbones.load(name)
    paths = sorted(map(str, pathlib.Path(folder).glob('*.jpg')))
    framing = Framing(backbone.side, fraction=1.0, squares=True)
    files = extract.Files(SquareImages(paths, framing))
    batches = [
        range(len(paths))[n : n + extract.BATCH]
        for n in range(0, len(paths), extract.BATCH)
    ]
    # Traces.
    pixels = files.decode(batches[0]).pixels[:, 0]
    backbone.compute(pixels).numpy()
    before = memory()
    if part == 'whole':
        with tempfile.TemporaryDirectory() as place:
            key = cache.Key(backbone.sha256, backbone.side, files.framing)
            held = cache.Cache(place, key, (1, backbone.width))
            watch = Watch()
            extract.features(
                files, backbone.compute, backbone.width, held, name
            )
            seconds = watch.seconds()
        return {
            'whole': [each / len(paths) for each in seconds],
            'memory': memory(),
            'before': before,
        }
    watch = Watch()
    for numbers in batches:
        files.decode(numbers)
    decode = [each / len(paths) for each in watch.seconds()]
    watch = Watch()
    for numbers in batches:
        backbone.compute(pixels[: len(numbers)]).numpy()
    network = [each / len(paths) for each in watch.seconds()]
    return {'decode': decode, 'network': network}


def run(folder: pathlib.Path, args: argparse.Namespace) -> dict[str, object]:
    """Returns the figures of both processes."""
    figures: dict[str, object] = {}
    for part in ('alone', 'whole'):
        environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
        if part == 'alone':
            environment |= {
                'TF_NUM_INTRAOP_THREADS': '1',
                'TF_NUM_INTEROP_THREADS': '1',
            }
        command = [sys.executable, __file__, f'--part={part}']
        command += [f'--folder={folder}', f'--backbone={args.backbone}']
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE
        )
        figures |= json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--images', type=int, default=256)
    parser.add_argument(
        '--megapixels', type=float, nargs='+', default=[1, 1.5, 2]
    )
    parser.add_argument('--backbone', default='lite0')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--part', default='', help='of one process')
    parser.add_argument('--folder', default='')
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.folder, args.backbone, args.part)))
        return
    cores = len(os.sched_getaffinity(0))
    print(f'{machine()}; {args.backbone}, {args.images} images, {cores} cores')
    print(HEAD)
    print('|' + ' --- |' * (HEAD.count('|') - 1), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            place = pathlib.Path(folder, str(megapixels))
            write(place, args.images, megapixels)
            rounds = [run(place, args) for _ in range(args.rounds)]
            middle = {
                name: np.median([figures[name] for figures in rounds], axis=0)
                for name in rounds[0]
            }
            alone = [
                np.add(figures['decode'], figures['network'])
                for figures in rounds
            ]
            ratios = [
                parts / figures['whole'] / [cores, 1]
                for parts, figures in zip(alone, rounds, strict=True)
            ]
            wall, cpu = np.median(ratios, axis=0)
            print(
                f'| {megapixels:g} | {1e3 * middle["decode"][0]:.1f} | '
                f'{1e3 * middle["network"][0]:.1f} | '
                f'{1 / middle["whole"][0]:.1f} | {wall:.2f} | {cpu:.2f} | '
                f'{middle["memory"]:.0f} | {middle["before"]:.0f} |',
                flush=True,
            )


if __name__ == '__main__':
    main()
