"""What DivideMix keeps of a class that is harder than the others.

    python benchmarks/hard_class.py [--data_dir=TFDS] [--images=3000] \
        [--rate=0.2] [--own=0.45] [--seeds=3] [--methods ...]

Images are MNIST's (the TFDS data set `mnist`), or without --data_dir those of
scikit-learn's digits. Each image, in training and test, is a mean of
two digits. The label is the one that is seen better, except in the hard class
(the digit 4), whose own digits have the smaller weight (--own): its images look
like those of other classes, as shirts like other clothes, so that its right
labels have losses as large as wrong ones. Labels are wrong by symmetric noise.
The data are an npz file: the presets of your own data apply, but for the
mixture and for flips.
Supervised training makes at least as many steps. Prints the accuracy on clean
test labels after the last epoch, the recall of the hard class, and the shares
of right labels that the last division keeps: of the hard class, of the others.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import itertools
import tempfile
import time

import numpy as np
from common import machine

from ieg import experiment, label_issues

HARD = 4
# Weight of the labeled digit in the images of other classes.
OTHERS = 0.65
METHODS = {
    'supervised': {'method': 'supervised'},
    'dividemix, global': {'method': 'dividemix', 'mixture': 'global'},
    'dividemix, per_class': {'method': 'dividemix', 'mixture': 'per_class'},
}
Part = tuple[np.ndarray, np.ndarray]


def digits(count: int) -> tuple[Part, Part]:
    """Returns training and test part of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    content = load_digits()
    images = np.round(content.images * (255 / 16))
    order = np.random.default_rng(0).permutation(len(images))
    train, test = np.split(order, [1297])
    train = train[:count]
    labels = content.target
    return (images[train], labels[train]), (images[test], labels[test])


def mnist(data_dir: str, count: int) -> tuple[Part, Part]:
    """Returns as many training images of MNIST, and its test part."""
    import tensorflow_datasets as tfds

    builder = tfds.builder('mnist', data_dir=data_dir)

    def part(split: str) -> Part:
        content = tfds.as_numpy(builder.as_dataset(split, batch_size=-1))
        return content['image'][..., 0], content['label']

    images, labels = part('train')
    chosen = np.random.default_rng(0).permutation(len(labels))[:count]
    return (images[chosen], labels[chosen]), part('test')


def exposed(part: Part, own: float, seed: int) -> Part:
    """Returns a part of uint8 images that show two digits each."""
    images, labels = part
    rng = np.random.default_rng(seed)
    partners = np.arange(len(labels))
    others = np.flatnonzero(labels != HARD)
    for label in np.unique(labels):
        rows = labels == label
        partners[rows] = rng.choice(others[labels[others] != label], rows.sum())
    weight = np.where(labels == HARD, own, OTHERS)[:, None, None]
    mixed = weight * images + (1 - weight) * images[partners]
    return np.round(mixed).astype(np.uint8), labels


def measure(options: dict) -> dict[str, float]:
    """Returns the figures of one run."""
    config, opened = experiment.configure(options)
    data = experiment.load_data(config, opened)
    summary = experiment.train(config, progress=False, data=data)
    folder = summary['folder']
    rows = label_issues.read(os.path.join(folder, 'label_issues.csv'))
    with np.load(os.path.join(folder, 'predictions.npz')) as file:
        guesses = file['test_logits'].argmax(axis=-1)
        tests, indices = file['test_labels'], file['train_indices']
        given, clean = file['train_labels'], file['train_clean']
    trained = rows.split == 'train'
    places = np.searchsorted(indices, rows.index[trained])
    given, clean = given[places], clean[places]
    kept, right = rows.in_selection[trained], given == clean
    is_hard, chosen = given == HARD, kept == 1
    return {
        'test accuracy': np.mean(guesses == tests),
        'recall of the hard class': np.mean(guesses[tests == HARD] == HARD),
        'its right labels kept': kept[right & is_hard].mean(),
        'those of others kept': kept[right & ~is_hard].mean(),
        'wrong among kept': (
            np.mean(~right[chosen]) if chosen.any() else np.nan
        ),
    }


def row(values: list) -> str:
    """Returns a row of a table; NaN is a dash."""
    texts = [
        value if isinstance(value, str)
        else '-' if np.isnan(value) else f'{value:.1%}'
        for value in values
    ]  # fmt: skip
    return f'| {" | ".join(texts)} |'


def write(path: str, asked: argparse.Namespace) -> None:
    """Writes the data set."""
    if asked.data_dir:
        parts = mnist(asked.data_dir, asked.images)
    else:
        parts = digits(asked.images)
    arrays = {}
    for seed, (name, part) in enumerate(
        zip(('train', 'test'), parts, strict=True)
    ):
        arrays[f'x_{name}'], arrays[f'y_{name}'] = exposed(
            part, asked.own, seed
        )
    np.savez(path, **arrays)


def parsed() -> argparse.Namespace:
    """Returns what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data_dir', default='')
    parser.add_argument('--images', type=int, default=3000)
    parser.add_argument('--rate', type=float, default=0.2)
    parser.add_argument('--own', type=float, default=0.45)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--warm_up', type=int, default=6)
    parser.add_argument(
        '--methods', nargs='+', default=[*METHODS], choices=METHODS
    )
    return parser.parse_args()


def main() -> None:
    """Prints a row for each method and seed, and the means."""
    asked = parsed()
    figures: dict[str, list] = {name: [] for name in asked.methods}
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'hard.npz')
        write(path, asked)
        shared = {
            'dataset': f'npz_symmetric_{asked.rate}' if asked.rate else 'npz',
            'data_dir': path,
            'backbone': 'off',
            'flip': 'off',
            'max_epoch': asked.epochs,
        }
        for seed, name in itertools.product(
            range(1, asked.seeds + 1), asked.methods
        ):
            given = shared | METHODS[name] | {'seed': seed}
            given['checkpoint_path'] = os.path.join(folder, name)
            if given['method'] == 'dividemix':
                given['warm_up'] = asked.warm_up
            started = time.monotonic()
            cell = measure(given)
            if not any(figures.values()):
                print(row(['method', 'seed', *cell, 'seconds']))
                print(row(['---'] * (3 + len(cell))))
            figures[name].append(list(cell.values()))
            seconds = f'{time.monotonic() - started:.0f}'
            print(row([name, str(seed), *cell.values(), seconds]), flush=True)
    for name, rows in figures.items():
        print(row([name, 'mean', *np.mean(rows, axis=0), '']))


if __name__ == '__main__':
    main()
