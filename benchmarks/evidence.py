"""The guard of the noise estimate and the marks, on vectors with known truth.

    python benchmarks/evidence.py [--sets digits hopeless cifar10] \
        [--networks linear mlp] [--losses cross_entropy gce coteaching] \
        [--seeds=2] [--data_dir=TFDS] [--human=cifar10n.npz] [--cache=DIR]

Each cell is one run of the package with its defaults: a data set as vectors, a
kind of noise, a network, a loss or method, a seed. `digits` are scikit-learn's;
`hopeless` are the same with so much pixel noise that a network can tell next to
nothing; `cifar10` is 5,000 images of CIFAR-10 as features of EfficientNet-Lite0
with clean and human labels (the TFDS data set `cifar10` and the human labels
must be there; the features are kept in --cache). It ends with what must hold:
on clean data at least 0 and at most 1% are marked; the truth is within the
interval in 95% of all cells; what is hopeless is refused; and of the marked
labels at least 65% are wrong in each noisy cell.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import itertools
import sys
import tempfile
import time

import numpy as np
from common import machine

from ieg import experiment, label_issues
from ieg.ops import metrics

KINDS = {
    'digits': (
        *('', 'symmetric_0.2', 'symmetric_0.4'),
        *('pairflip_0.2', 'instance_0.2'),
    ),
    'hopeless': ('', 'symmetric_0.2'),
    'cifar10': ('clean', 'aggre', 'worse'),
}
# Standard deviation of the pixel noise; pixels are in [0, 1].
HOPELESS = 2.0
CIFAR, CIFAR_TEST = 5000, 1000
LOSSES = {
    'cross_entropy': {'method': 'supervised'},
    'gce': {'method': 'supervised', 'loss': 'gce'},
    'coteaching': {'method': 'coteaching', 'noise_rate': 'auto'},
}


def digits(deviation: float = 0.0) -> dict[str, np.ndarray]:
    """Returns the arrays of scikit-learn's digits, with pixel noise."""
    from sklearn.datasets import load_digits

    content, rng = load_digits(), np.random.default_rng(0)
    order = rng.permutation(len(content.target))
    x = content.data[order] / 16
    x = (x + deviation * rng.normal(size=x.shape)).astype(np.float32)
    y = content.target[order]
    return {
        'x_train': x[:1500],
        'y_train': y[:1500],
        'x_test': x[1500:],
        'y_test': y[1500:],
    }


def cifar10(asked: argparse.Namespace) -> dict[str, np.ndarray]:
    """Returns features of CIFAR-10, `x_train`, and labels by kind of noise."""
    path = os.path.join(asked.cache, 'cifar10_lite0.npz')
    if not os.path.exists(path):
        os.makedirs(asked.cache, exist_ok=True)
        np.savez(path, **features(asked))
    with np.load(path) as file:
        return dict(file)


def features(asked: argparse.Namespace) -> dict[str, np.ndarray]:
    """Computes what `cifar10` returns."""
    import tensorflow as tf

    from ieg.features import backbones

    arrays, network = {}, backbones.load('lite0')

    def shown(images: np.ndarray) -> np.ndarray:
        large = tf.image.resize(images, network.image_shape[:2], 'bicubic')
        return network.compute(
            tf.cast(tf.clip_by_value(tf.round(large), 0, 255), tf.uint8)
        ).numpy()

    for kind in ('aggre', 'worse'):
        given = {'dataset': f'cifar10n_{kind}', 'human_labels': asked.human}
        given |= {'data_dir': asked.data_dir, 'method': 'supervised'}
        data = experiment.load_data(experiment.configure(given)[0])
        rows = np.random.default_rng(0).permutation(len(data.train))[:CIFAR]
        arrays[kind] = data.train.labels[rows]
    arrays['clean'] = data.train.clean_labels[rows]
    parts = {
        'x_train': data.train.images[rows],
        'x_test': data.test.images[:CIFAR_TEST],
    }
    for name, images in parts.items():
        blocks = np.split(images, np.arange(16, len(images), 16))
        arrays[name] = np.concatenate([shown(block) for block in blocks])
    return arrays | {'y_test': data.test.labels[:CIFAR_TEST]}


def write(folder: str, name: str, kind: str, asked: argparse.Namespace) -> dict:
    """Writes a data set; returns the options that name it."""
    if name == 'cifar10':
        arrays = cifar10(asked)
        labels = {'y_train': arrays[kind], 'clean_train': arrays['clean']}
        kind = ''
        arrays = {k: v for k, v in arrays.items() if k[1] == '_'} | labels
    else:
        arrays = digits(HOPELESS if name == 'hopeless' else 0.0)
    path = os.path.join(folder, f'{name}.npz')
    np.savez(path, **arrays)
    dataset = f'npz_{kind}' if kind else 'npz'
    return {'dataset': dataset, 'data_dir': path}


def measure(options: dict) -> dict[str, float]:
    """Returns the figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        given = options | {'checkpoint_path': folder}
        config, opened = experiment.configure(given)
        summary = experiment.train(config, progress=False, opened=opened)
        path = os.path.join(summary['folder'], 'label_issues.csv')
        rows = label_issues.read(path)
        with np.load(path.replace('label_issues.csv', 'predictions.npz')) as f:
            labels, clean = f['train_labels'], f.get('train_clean')
            indices = f['train_indices']
    wrong = np.zeros(len(labels), bool) if clean is None else labels != clean
    places = np.searchsorted(indices, rows.index[rows.split == 'train'])
    wrong, marked = wrong[places], rows.is_issue[rows.split == 'train']
    figures = summary['label_issues']
    low, high = figures['noise_rate_interval']
    point = figures['noise_rate']
    score = rows.score[rows.split == 'train']
    return {
        'test': summary['test_accuracy_last'],
        'truth': wrong.mean(),
        'lower': low,
        'point': np.nan if point is None else point,
        'upper': high,
        'marked': marked.mean(),
        'precision': wrong[marked].mean() if marked.any() else np.nan,
        'recall': marked[wrong].mean() if wrong.any() else np.nan,
        'auc': metrics.auc(~wrong, score) or np.nan,
    }


def row(values: list) -> str:
    """Returns a row of a table; NaN is a dash."""
    texts = [
        value if not isinstance(value, float)
        else '-' if np.isnan(value) else f'{value:.3f}'
        for value in values
    ]  # fmt: skip
    return f'| {" | ".join(map(str, texts))} |'


def failures(cells: dict[str, dict[str, float]]) -> list[str]:
    """Returns what does not hold."""
    missed = []
    inside = [c['lower'] <= c['truth'] <= c['upper'] for c in cells.values()]
    if np.mean(inside) < 0.95:
        missed.append(f'the truth is inside in {np.mean(inside):.1%} of cells')
    for name, cell in cells.items():
        refused = np.isnan(cell['point'])
        if name.startswith('hopeless') and not refused:
            missed.append(f'{name} is not refused')
        if not cell['truth'] and (cell['lower'] or cell['marked'] > 0.01):
            missed.append(f'{name} is clean, but is said to be noisy')
        if cell['truth'] and cell['precision'] < 0.65:
            missed.append(f'{name} marks too many right labels')
    return missed


def main() -> None:
    """Prints a line for each cell, the means, and what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--sets', nargs='+', default=[*KINDS], choices=KINDS)
    parser.add_argument('--noises', nargs='+', help='instead of all of a set')
    parser.add_argument('--networks', nargs='+', default=['linear', 'mlp'])
    parser.add_argument('--losses', nargs='+', default=[*LOSSES])
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--epochs', type=int)
    parser.add_argument('--data_dir')
    parser.add_argument('--human', default='')
    parser.add_argument('--cache', default=tempfile.gettempdir())
    asked, cells = parser.parse_args(), {}
    print(machine())
    runs = [
        run
        for name in asked.sets
        for run in itertools.product(
            [name], asked.noises or KINDS[name], asked.networks, asked.losses,
            range(asked.seeds),
        )
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, network, loss, seed in runs:
            options = write(folder, name, kind, asked) | LOSSES[loss]
            options |= {'network_name': network, 'seed': seed}
            if asked.epochs:
                options['max_epoch'] = asked.epochs
            started = time.monotonic()
            cell = f'{name} {kind or "clean"} {network} {loss} {seed}'
            figures = measure(options)
            if not cells:
                print(row(['cell', *figures, 'seconds']))
                print(row(['---'] * (2 + len(figures))))
            cells[cell] = figures
            seconds = time.monotonic() - started
            print(row([cell, *figures.values(), round(seconds)]), flush=True)
    means = [
        np.nanmean([*values]) if np.isfinite([*values]).any() else np.nan
        for values in zip(*(c.values() for c in cells.values()), strict=True)
    ]
    print(row(['mean', *means, '']))
    if missed := failures(cells):
        sys.exit('\n'.join(missed))


if __name__ == '__main__':
    main()
