"""The guard of the noise estimate and the marks, on data with known truth.

    python benchmarks/evidence.py [--sets digits hopeless mnist cifar10 ...] \
        [--noises none sym20 ...] [--networks linear mlp] \
        [--methods ce gce coteaching dividemix] [--seeds=2] [--folds] \
        [--data_dir=TFDS] [--human=cifar10n.npz] [--cache=DIR] \
        [--results=FILE]

Each cell is one run of the package with its defaults: a data set, a kind of
noise, a network, a method, a seed (of everything). `evidence_sets.py` has the
data sets; those that need TFDS take --data_dir, and keep what they read and
compute in --cache. --sets=unseen names the sets by which no constant of the
package was chosen. --results keeps finished cells, which are not run again; all
of them count in what is printed at the end.

Next to what the run says are, of the same run, the estimate and the ranking of
0.1.0 (old), and cleanlab's `estimate_joint`, `num_label_issues` and
self-confidence: of the last networks' predictions for what they were trained on
(cl), and of predictions by five folds (cl5). These are the run's own folds for
vectors, so their epoch and temperature are chosen, and neighbours count; for
images they are five more trainings, with --folds.

It ends with means by kind of noise and with what does not hold of the list in
`failures`; the exit code is 1 then. The labels of `bound20` follow a rule that
networks learn, and then no disagreement shows them: its intervals are printed,
and all else is asserted of it.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pandas as pd
from common import machine
from evidence_rivals import Former, cleanlab
from evidence_sets import SETS, UNSEEN, Arrays, arrays_of, labels
from scipy.special import softmax

from ieg import experiment, held_out, label_issues, results
from ieg.ops import metrics

METHODS = {
    'ce': {'method': 'supervised'},
    'gce': {'method': 'supervised', 'loss': 'gce'},
    'coteaching': {'method': 'coteaching', 'noise_rate': 'auto'},
    'dividemix': {'method': 'dividemix'},
}
FOLDS = 5
# Test accuracy of a network that is good enough for a narrow interval.
GOOD = 0.9
# Noise that networks repeat, so that its rate cannot be seen.
REPEATED = ('bound20',)
# What must hold.
LEAST_INSIDE, MOST_ABOVE = 0.95, 0.025
MOST_CLEAN_POINT, MOST_CLEAN_MARKED = 0.02, 0.01
LEAST_PRECISION, LEAST_MEAN_PRECISION = 0.65, 0.85
MOST_AUC_LOSS, MOST_WIDTH = 0.02, 0.30
SHOWN = (
    *('test', 'truth', 'lower', 'point', 'upper', 'inside', 'marked'),
    *('precision', 'certain', 'recall', 'auc'),
    *('old_point', 'old_inside', 'old_auc'),
    *('cl_joint', 'cl_issues', 'cl_auc', 'cl5_joint', 'cl5_issues', 'cl5_auc'),
)
Cell = dict[str, float]


@contextlib.contextmanager
def watched() -> Iterator[Former]:
    """Gives what judges runs of the package within; they write no report."""
    build = experiment.build
    former = Former(lambda t: np.exp(held_out.log_probabilities(t, 'train')))

    def building(*args, **options):
        built = build(*args, **options)
        if not options.get('trial_folder'):
            former.trainer = built.trainer
            built.trainer.add_callback(former)
        return built

    quiet = mock.patch.object(results, 'present', lambda *_: [])
    with mock.patch.object(experiment, 'build', building), quiet:
        yield former
        former.trainer = None


def saved(arrays: Arrays, folder: str) -> dict[str, str]:
    """Writes a data set to a folder; returns the options that read it."""
    if arrays['x_train'].dtype != object:
        path = os.path.join(folder, 'data.npz')
        np.savez(path, **arrays)
        return {'dataset': 'npz', 'data_dir': path}
    path = os.path.join(folder, 'data.csv')
    parts = [
        pd.DataFrame(
            {
                'text': arrays[f'x_{part}'],
                'label': arrays[f'y_{part}'],
                'clean_label': arrays.get(f'clean_{part}', arrays[f'y_{part}']),
                'split': part,
            }
        )
        for part in ('train', 'test')
    ]
    pd.concat(parts).to_csv(path, index=False)
    return {'dataset': 'csv', 'data_dir': path}


def run(arrays: Arrays, options: dict) -> tuple[dict, dict, pd.DataFrame]:
    """Returns summary, predictions and list of a run on some arrays."""
    with tempfile.TemporaryDirectory() as folder:
        given = {**saved(arrays, folder), **options}
        given['checkpoint_path'] = os.path.join(folder, 'run')
        config, opened = experiment.configure(given)
        summary = experiment.train(config, progress=False, opened=opened)
        rows = label_issues.read(
            os.path.join(summary['folder'], 'label_issues.csv')
        )
        path = os.path.join(summary['folder'], 'predictions.npz')
        with np.load(path) as file:
            arrays = dict(file)
    columns = {name: vars(rows)[name] for name in ('split', 'index', 'mark')}
    columns |= {'is_issue': rows.is_issue, 'score': rows.score}
    return summary, arrays, pd.DataFrame(columns)


def measure(arrays: Arrays, options: dict, folds: bool) -> Cell:
    """Returns the figures of a cell.

    Args:
        arrays: a data set with `clean_train`; see `saved`.
        options: of the run.
        folds: whether to train five folds of images for cleanlab.
    """
    with watched() as former:
        summary, said, rows = run(arrays, options)
    given = said['train_labels']
    right = given == said['train_clean']
    parts = said.get('train_held_out')
    if parts is None and folds:
        parts = apart(arrays, options, said['train_indices'])
    rows = rows[rows.split == 'train']
    wrong = ~pd.Series(right, said['train_indices'])[rows['index']].to_numpy()
    return (
        {'test': summary['test_accuracy_last'], 'truth': wrong.mean()}
        | ours(summary['label_issues'], rows, wrong)
        | former.compared(right)
        | cleanlab('cl', given, former.in_sample, right)
        | cleanlab('cl5', given, parts, right)
    )


def ours(figures: dict, rows: pd.DataFrame, wrong: np.ndarray) -> Cell:
    """Returns the figures of the package; `wrong`: bool, of the rows."""
    low, high = figures['noise_rate_interval']
    point, marked = figures['noise_rate'], rows['is_issue'].to_numpy()
    certain = (rows['mark'] == 'certain').to_numpy()
    auc = metrics.auc(~wrong, rows['score'].to_numpy())

    def precision(chosen: np.ndarray) -> float:
        known = chosen.any() and wrong.any()
        return wrong[chosen].mean() if known else np.nan

    return {
        'lower': low,
        'point': np.nan if point is None else point,
        'upper': high,
        'inside': float(low <= wrong.mean() <= high),
        'marked': marked.mean(),
        'precision': precision(marked),
        'certain': precision(certain),
        'recall': marked[wrong].mean() if wrong.any() else np.nan,
        'auc': np.nan if auc is None else auc,
    }


def apart(arrays: Arrays, options: dict, rows: np.ndarray) -> np.ndarray:
    """Returns predictions of images by networks not trained on them [n, C].

    Args:
        arrays: an npz data set.
        options: of the run.
        rows: the training images that it was trained on, int [n].
    """
    x, y = arrays['x_train'][rows], arrays['y_train'][rows]
    folds = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    said = np.zeros((len(rows), len(np.unique(y))))
    for fold in range(FOLDS):
        held = folds == fold
        part = {'x_train': x[~held], 'y_train': y[~held]}
        part |= {'x_test': x[held], 'y_test': y[held]}
        with mock.patch.object(results, 'present', lambda *_: []):
            _, found, _ = run(part, {'valid_ratio': 0.0, **options})
        said[held] = softmax(found['test_logits'].astype(float), axis=1)
    return said


def row(values: list) -> str:
    """Returns a row of a table; NaN is a dash."""
    texts = [
        value if not isinstance(value, float)
        else '-' if np.isnan(value) else f'{value:.3f}'
        for value in values
    ]  # fmt: skip
    return f'| {" | ".join(map(str, texts))} |'


def failures(cells: pd.DataFrame) -> list[str]:
    """Returns what does not hold; rows are cells."""
    hopeless = cells['set'] == 'hopeless'
    missed = [
        f'{name} is not refused'
        for name in cells.index[hopeless & cells['point'].notna()]
    ]
    rest = cells[~hopeless]
    clean, noisy = rest[rest['truth'] == 0], rest[rest['truth'] > 0]
    missed += [
        f'{name} is clean: lower {cell.lower:.3f}, point {cell.point:.3f}, '
        f'{cell.marked:.1%} marked'
        for name, cell in clean.iterrows()
        if cell.lower
        or cell.point > MOST_CLEAN_POINT
        or cell.marked > MOST_CLEAN_MARKED
    ]
    missed += [
        f'{name} marks right labels: precision {precision:.2f}'
        for name, precision in noisy['precision'].items()
        if precision < LEAST_PRECISION
    ]
    loss = noisy['old_auc'] - noisy['auc']
    missed += [
        f'{name} ranks worse than 0.1.0: AUC less by {value:.3f}'
        for name, value in loss.items()
        if value > MOST_AUC_LOSS
    ]
    width = (noisy['upper'] - noisy['lower'])[
        (noisy['noise'] == 'sym20') & (noisy['test'] >= GOOD)
    ]
    if width.mean() > MOST_WIDTH:
        missed.append(f'the mean interval at sym20 is {width.mean():.3f} wide')
    return missed + failed_means(rest, noisy['precision'].mean(), loss.mean())


def failed_means(rest: pd.DataFrame, precision: float, loss: float) -> list:
    """Returns what does not hold of all cells together.

    Args:
        rest: the cells that are not hopeless.
        precision: the mean of noisy cells.
        loss: mean of what the AUC of 0.1.0 is above ours.
    """
    above = rest['lower'] > rest['truth']
    inside = rest.loc[~rest['noise'].isin(REPEATED), 'inside']
    checks = {
        f'the truth is inside in {inside.mean():.1%} of the cells; outside in '
        + ', '.join(inside.index[inside == 0]): inside.mean() < LEAST_INSIDE,
        f'lower is above the truth in {above.mean():.1%} of the cells: '
        + ', '.join(above.index[above]): above.mean() > MOST_ABOVE,
        f'the mean precision is {precision:.3f}': precision
        < LEAST_MEAN_PRECISION,
        f'0.1.0 ranks better in the mean, by {loss:.4f}': loss > 0,
    }
    return [text for text, fails in checks.items() if fails]


def show_means(cells: pd.DataFrame) -> None:
    """Prints means by kind of noise, and quantiles of the precision."""
    numbers = list(SHOWN)
    print('\n' + row(['noise', 'cells', *numbers]))
    print(row(['---'] * (2 + len(numbers))))
    order = {noise: place for place, noise in enumerate(cells['noise'])}
    rest = cells[cells['set'] != 'hopeless']
    groups = dict(list(rest.groupby('noise')))
    hopeless = cells[cells['set'] == 'hopeless']
    named = [(noise, groups[noise]) for noise in order if noise in groups]
    for noise, group in (*named, ('all', rest), ('hopeless', hopeless)):
        if len(group):
            print(row([noise, len(group), *group[numbers].mean().tolist()]))
    for kind in ('precision', 'certain'):
        values = rest.loc[rest['truth'] > 0, kind].dropna()
        if len(values):
            print(
                f'{kind}: mean {values.mean():.3f}, 5% quantile '
                f'{values.quantile(0.05):.3f} of {len(values)} cells'
            )


def parsed() -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    usual = [name for name in SETS if name not in UNSEEN]
    parser.add_argument('--sets', nargs='+', default=usual)
    parser.add_argument('--noises', nargs='+', help='only these')
    parser.add_argument('--networks', nargs='+', help='only these')
    parser.add_argument('--methods', nargs='+', help='only these')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1])
    parser.add_argument('--epochs', type=int)
    parser.add_argument('--folds', action='store_true')
    parser.add_argument('--data_dir')
    parser.add_argument('--human', default='')
    parser.add_argument('--cache', default=tempfile.gettempdir())
    parser.add_argument('--results', default='')
    asked = parser.parse_args()
    if asked.sets == ['unseen']:
        asked.sets = list(UNSEEN)
    return asked


def planned(asked: argparse.Namespace) -> Iterator[tuple]:
    """Yields set, noise, network, method and seed of each cell."""
    for name in asked.sets:
        chosen = [
            [value for value in values if not only or value in only]
            for values, only in (
                (SETS[name].noises, asked.noises),
                (SETS[name].networks, asked.networks),
                (SETS[name].methods, asked.methods),
            )
        ]
        yield from itertools.product([name], *chosen, asked.seeds)


def cell_of(asked: argparse.Namespace, cell: tuple) -> Cell:
    """Returns the figures of one of the planned cells."""
    name, noise, network, method, seed = cell
    arrays = arrays_of(name, asked.data_dir, asked.human, asked.cache)
    content = {k: arrays[k] for k in ('x_train', 'x_test', 'y_test')}
    content['clean_train'] = arrays['y_train']
    content['y_train'] = labels(arrays, noise, seed)
    options = METHODS[method] | {'network_name': network, 'seed': seed}
    if epochs := asked.epochs or SETS[name].epochs:
        options['max_epoch'] = epochs
    started = time.monotonic()
    figures = measure(content, options, asked.folds)
    return figures | {'seconds': time.monotonic() - started}


def main() -> None:
    """Prints a line for each cell, the means, and what does not hold."""
    asked, done = parsed(), {}
    print(machine())
    print(row(['cell', *SHOWN, 'seconds']))
    print(row(['---'] * (2 + len(SHOWN))))
    if asked.results and os.path.exists(asked.results):
        with open(asked.results, encoding='utf-8') as file:
            done = {line['cell']: line for line in map(json.loads, file)}
    for cell in planned(asked):
        name = ' '.join(map(str, cell))
        if name not in done:
            figures = {k: float(v) for k, v in cell_of(asked, cell).items()}
            line = {'cell': name, 'set': cell[0], 'noise': cell[1], **figures}
            done[name] = line
            if asked.results:
                with open(asked.results, 'a', encoding='utf-8') as file:
                    file.write(json.dumps(line) + '\n')
        shown = [done[name][column] for column in SHOWN]
        seconds = round(done[name]['seconds'])
        print(row([name, *shown, seconds]), flush=True)
    cells = pd.DataFrame(done.values()).set_index('cell')
    show_means(cells)
    if missed := failures(cells):
        sys.exit('\n'.join(missed))


if __name__ == '__main__':
    main()
