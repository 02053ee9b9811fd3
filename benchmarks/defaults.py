"""Whether what `ieg` chooses for your own data is a good choice.

    python benchmarks/defaults.py \
        [--sets digits cancer mnist cifar10 digits_few] \
        [--noises none sym20 pair20 inst20 aggre] [--seeds 0 1 2 3 4] \
        [--data_dir=TFDS] [--human=cifar10n.npz] [--cache=DIR] \
        [--results=FILE]

Each cell is a run on one of the sets of `evidence_sets.py`, with labels of
which up to a fifth are wrong: with `--method=auto` and nothing else, and with
each method and network for vectors (or method for images) that could be the
default. Vectors are trained on once, without the folds that judge labels, and
images with nothing held out; so the ranking is by the training and neighbours.

It prints test accuracy after the last epoch and the AUC of the list for each
set and noise: means over the seeds, then the paired differences of the default
to plain training and to the best of all, with their standard error. What does
not hold of `failures` is printed last; the exit code is 1 then. --results keeps
finished cells, which are not run again.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from unittest import mock

import pandas as pd
from common import machine
from evidence import METHODS, row, run
from evidence_sets import MADE, SETS, arrays_of, labels

from ieg import folds, results
from ieg.ops import metrics

AUTO = 'auto'
NETWORKS = ('linear', 'mlp')
SEEDS = range(5)
NOISES = ('none', 'sym20', 'pair20', 'inst20', 'aggre')
# Less accurate than plain training by more than this many points and standard
# errors is worse; further from the best than this many points is far.
WORSE, ERRORS, FAR = 0.005, 2.0, 0.02


def candidates(name: str) -> list[str]:
    """Returns network and method of all choices; plain training first."""
    networks = NETWORKS if SETS[name].networks[-1] in NETWORKS else ('',)
    pairs = itertools.product(METHODS, networks)
    return [' '.join(filter(None, (n, m))) for m, n in pairs]


def options_of(name: str, choice: str, seed: int) -> dict:
    """Returns the options of a run."""
    options: dict = {'seed': seed, 'valid_ratio': 0.0}
    *network, method = choice.split()
    if method != AUTO:
        options |= METHODS[method]
    if network or SETS[name].networks[-1] not in NETWORKS:
        options['network_name'] = (*network, SETS[name].networks[-1])[0]
    return options


def cell_of(asked: argparse.Namespace, cell: tuple) -> dict[str, float]:
    """Returns accuracy and AUC of a set, a noise, a choice and a seed."""
    name, noise, choice, seed = cell
    arrays = arrays_of(name, asked.data_dir, asked.human, asked.cache)
    content = {k: arrays[k] for k in ('x_train', 'x_test', 'y_test')}
    content['clean_train'] = arrays['y_train']
    content['y_train'] = labels(arrays, noise, seed)
    started = time.monotonic()
    with (
        mock.patch.object(folds, 'suit', lambda *_: False),
        mock.patch.object(results, 'present', lambda *_: []),
    ):
        summary, said, rows = run(content, options_of(name, choice, seed))
    wrong = said['train_labels'] != said['train_clean']
    rows = rows[rows.split == 'train']
    wrong = pd.Series(wrong, said['train_indices'])[rows['index']].to_numpy()
    auc = metrics.auc(~wrong, rows['score'].to_numpy())
    return {
        'test': summary['test_accuracy_last'],
        'auc': float('nan') if auc is None else auc,
        'seconds': time.monotonic() - started,
    }


def failures(cells: pd.DataFrame) -> list[str]:
    """Prints the tables; returns what does not hold.

    Args:
        cells: columns set, noise, choice, seed, test, auc.
    """
    missed = []
    for name, of_set in cells.groupby('set', sort=False):
        choices = [AUTO, *candidates(str(name))]
        print('\n' + row([name, *choices, '- plain', '+-', '- best']))
        print(row(['---'] * (len(choices) + 4)))
        for noise, column in itertools.product(
            of_set['noise'].unique(), ('test', 'auc')
        ):
            table = of_set[of_set['noise'] == noise].pivot_table(
                index='seed', columns='choice', values=column
            )
            if AUTO not in table:
                continue
            table = table.reindex(columns=choices)
            plain = table[AUTO] - table[choices[1]]
            loss = table[AUTO].mean() - table[choices[1:]].mean().max()
            error = float(plain.sem())
            figures = [*table.mean(), plain.mean(), error, loss]
            print(row([f'{noise} {column}', *map(float, figures)]))
            where = f'{name} with {noise}: {column}'
            if plain.mean() < -max(WORSE, ERRORS * error):
                missed.append(f'{where} is {-plain.mean():.3f} below plain')
            if loss < -FAR:
                missed.append(f'{where} is {-loss:.3f} below the best')
    return missed


def parsed() -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    usual = ['digits', 'cancer', 'mnist', 'cifar10', 'digits_few']
    parser.add_argument('--sets', nargs='+', default=usual)
    parser.add_argument('--noises', nargs='+', default=NOISES)
    parser.add_argument('--choices', nargs='+', help='only these')
    parser.add_argument('--seeds', nargs='+', type=int, default=SEEDS)
    parser.add_argument('--data_dir')
    parser.add_argument('--human', default='')
    parser.add_argument('--cache', default=tempfile.gettempdir())
    parser.add_argument('--results', default='')
    return parser.parse_args()


def planned(asked: argparse.Namespace) -> Iterator[tuple]:
    """Yields set, noise, choice and seed of each cell, seed by seed."""
    for seed, name, noise in itertools.product(
        asked.seeds, asked.sets, asked.noises
    ):
        if noise not in (*MADE, *SETS[name].noises):
            continue
        for choice in (AUTO, *candidates(name)):
            if not asked.choices or choice in asked.choices:
                yield name, noise, choice, seed


def main() -> None:
    """Prints a line for each cell, the tables, and what does not hold."""
    asked, done = parsed(), {}
    print(machine())
    if asked.results and os.path.exists(asked.results):
        with open(asked.results, encoding='utf-8') as file:
            lines = list(map(json.loads, file))
        done = {tuple(line['cell']): line for line in lines}
    for cell in planned(asked):
        if cell not in done:
            done[cell] = {'cell': cell, **cell_of(asked, cell)}
            if asked.results:
                with open(asked.results, 'a', encoding='utf-8') as file:
                    file.write(json.dumps(done[cell]) + '\n')
            figures = [done[cell][k] for k in ('test', 'auc', 'seconds')]
            print(row([' '.join(map(str, cell)), *figures]), flush=True)
    keys = ('set', 'noise', 'choice', 'seed')
    rows = [dict(zip(keys, cell, strict=True)) | done[cell] for cell in done]
    if missed := failures(pd.DataFrame(rows)):
        sys.exit('\n'.join(missed))


if __name__ == '__main__':
    main()
