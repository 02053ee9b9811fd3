"""Resident memory while training on images in files, by how many there are.

    python benchmarks/streaming_memory.py [--counts=2000,20000] [--steps=150]

Generated 256-pixel JPEGs in class folders, seen at 96 pixels; a small network
and the same number of steps, each count in a process of its own.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from common import machine
from PIL import Image

CLASSES, BATCH = 10, 32


def generate(folder: pathlib.Path, count: int) -> None:
    """Writes smooth random images, as many of each class."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f'class {number % CLASSES}' / f'{number}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((256, 256), Image.BILINEAR)
        image.save(path, quality=90)


def measure(folder: str, steps: int) -> None:
    """Trains on a folder and prints what memory that took."""
    import resource

    from ieg import config as ieg_config
    from ieg import experiment

    options = {
        'dataset': 'folder',
        'data_dir': folder,
        'method': 'supervised',
        'network_name': 'cnn',
        'image_size': 96,
        'batch_size': BATCH,
        'max_iteration': steps,
        'lr_schedule': 'constant',
        'eval_every': 1000,
        'checkpoint_path': f'{folder}-runs',
    }
    experiment.train(ieg_config.resolve(options), progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open('/proc/self/status', encoding='utf-8') as file:
        now = next(line for line in file if line.startswith('VmRSS'))
    print(json.dumps({'peak': peak / 1024, 'end': int(now.split()[1]) / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--counts', default='2000,20000')
    parser.add_argument('--steps', type=int, default=150)
    parser.add_argument('--measure')
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.steps)
        return
    print(machine())
    print('| images | peak, MiB | at the end, MiB |\n| --- | --- | --- |')
    for count in map(int, given.counts.split(',')):
        with tempfile.TemporaryDirectory() as root:
            folder = pathlib.Path(root, 'images')
            generate(folder, count)
            command = [sys.executable, __file__, f'--measure={folder}']
            command += [f'--steps={given.steps}']
            done = subprocess.run(
                command, capture_output=True, text=True, check=True
            )
        found = json.loads(done.stdout.splitlines()[-1])
        print(f'| {count} | {found["peak"]:.0f} | {found["end"]:.0f} |')


if __name__ == '__main__':
    main()
