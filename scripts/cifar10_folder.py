"""Makes a folder of class folders from CIFAR-10, with some labels wrong.

    python scripts/cifar10_folder.py photos --data_dir=$TFDS_DATA_DIR

Takes the first test images of each class, writes them as PNG files, and puts a
share of them into the folder of another class. Their names do not tell which;
`photos-truth.csv`, next to the folder, does.
"""

import argparse
import csv
import os

import numpy as np
from PIL import Image

from ieg.data.sets import tfds


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('folder', help='Where to write; must not exist.')
    parser.add_argument('--data_dir', help='Folder of TensorFlow Datasets.')
    parser.add_argument('--count', type=int, default=3000)
    parser.add_argument('--wrong', type=float, default=0.15)
    parser.add_argument('--seed', type=int, default=1)
    asked = parser.parse_args()
    source = tfds.cifar10(asked.data_dir).source()
    images, labels = source.test.images.array, source.test.labels
    names = source.class_names
    each = asked.count // len(names)
    rng = np.random.default_rng(asked.seed)
    chosen = np.concatenate(
        [np.flatnonzero(labels == c)[:each] for c in range(len(names))]
    )
    moved = rng.permutation(len(chosen)) < round(asked.wrong * len(chosen))
    given = labels[chosen].copy()
    given[moved] += rng.integers(1, len(names), moved.sum()).astype(given.dtype)
    given %= len(names)
    os.makedirs(asked.folder)
    rows = [('path', 'given', 'true')]
    for number, place in enumerate(rng.permutation(len(chosen))):
        row, name = chosen[place], names[given[place]]
        os.makedirs(os.path.join(asked.folder, name), exist_ok=True)
        path = os.path.join(name, f'{number:05d}.png')
        Image.fromarray(images[row]).save(os.path.join(asked.folder, path))
        rows.append((path, name, names[labels[row]]))
    with open(f'{asked.folder.rstrip("/")}-truth.csv', 'w') as file:
        csv.writer(file).writerows(rows)


if __name__ == '__main__':
    main()
