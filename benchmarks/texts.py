"""Texts and tables: a run against cleanlab and logistic regression.

    python benchmarks/texts.py [--sets texts files wine cancer digits] \
        [--rates 0 0.1 0.2] [--seeds=2] [--most=1000]

The texts are docstrings of installed packages, one class for each package, at
most --most of each. `files` is a table with numbers, missing ones and
categories: the files of these packages. The others are scikit-learn's. A share
of the labels is moved to one of the other classes; a fifth of the rows, with
true labels, is the test part.

The run is that of `ieg train` on a CSV file, with model and report. The other
side gets the same vectors: probabilities of scikit-learn's `LogisticRegression`
(tables are standardized before, texts are not, which is better for it) from
five folds, and cleanlab's `find_label_issues` and quality scores (`pip install
cleanlab`). Prints for each set and rate, as means over seeds, the area under
the ROC curve of the list, how many labels are marked, which share of these is
wrong, the interval of the share of wrong labels, accuracy on the test part, and
seconds; ours include what it takes to make the vectors, which is given next to
the others.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import ast
import importlib.util
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from common import machine
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ieg import experiment, label_issues, run_folder
from ieg.data.sets import columns
from ieg.ops import metrics

PACKAGES = ('keras', 'numpy', 'pandas', 'scipy', 'sklearn', 'tensorflow')
# Characters of a docstring, at least and at most.
SHORTEST, LONGEST = 80, 3000
TEST_SHARE = 5


def folder_of(package: str) -> pathlib.Path:
    """Returns where an installed package is."""
    places = importlib.util.find_spec(package).submodule_search_locations
    return pathlib.Path(places[0])


def docstrings(package: str) -> list[str]:
    """Returns the different docstrings of a package, in order."""
    texts = []
    for path in sorted(folder_of(package).rglob('*.py')):
        try:
            nodes = ast.walk(ast.parse(path.read_text('utf-8')))
        # Some are written for other versions.
        except (SyntaxError, ValueError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        texts += [ast.get_docstring(n) or '' for n in nodes if type(n) in kinds]
    return [text for text in dict.fromkeys(texts) if len(text) >= SHORTEST]


def texts(most: int) -> pd.DataFrame:
    """Returns docstrings (`text`) and their packages (`label`), mixed."""
    rng, rows = np.random.default_rng(0), []
    for package in PACKAGES:
        every = docstrings(package)
        chosen = rng.permutation(len(every))[:most]
        rows += [(every[place][:LONGEST], package) for place in chosen]
    table = pd.DataFrame(rows, columns=['text', 'label'])
    # Packages share some.
    table = table.drop_duplicates('text', keep=False)
    return table.iloc[rng.permutation(len(table))]


def files(most: int) -> pd.DataFrame:
    """Returns files of packages: size, lines, folders and kind."""
    rng, rows = np.random.default_rng(0), []
    for package in PACKAGES:
        root = folder_of(package)
        paths = [p for p in sorted(root.rglob('*')) if p.suffix and p.is_file()]
        paths = [path for path in paths if path.suffix != '.pyc']
        for place in rng.permutation(len(paths))[:most]:
            path = paths[place]
            inner = path.relative_to(root)
            content = path.read_bytes()
            is_text = b'\0' not in content[:1024]
            rows.append(
                {
                    'bytes': np.log1p(len(content)),
                    'lines': content.count(b'\n') if is_text else None,
                    'depth': len(inner.parts),
                    'kind': path.suffix,
                    'folder': inner.parts[-2] if len(inner.parts) > 1 else '',
                    'label': package,
                }
            )
    table = pd.DataFrame(rows)
    return table.iloc[rng.permutation(len(table))]


def of_sklearn(load: Callable) -> pd.DataFrame:
    """Returns a table of scikit-learn, mixed."""
    table = load(as_frame=True).frame.rename(columns={'target': 'label'})
    table['label'] = 'class ' + table['label'].astype(str)
    order = np.random.default_rng(0).permutation(len(table))
    return table.iloc[order]


SETS: dict[str, Callable[[int], pd.DataFrame]] = {
    'texts': texts,
    'files': files,
    'wine': lambda _: of_sklearn(load_wine),
    'cancer': lambda _: of_sklearn(load_breast_cancer),
    'digits': lambda _: of_sklearn(load_digits),
}


def noisy(table: pd.DataFrame, rate: float, seed: int) -> pd.DataFrame:
    """Returns a table with moved training labels, and a test part."""
    rng, count = np.random.default_rng(seed), len(table)
    names = np.unique(table['label'])
    true = np.searchsorted(names, table['label'])
    is_test = np.arange(count) % TEST_SHARE == 0
    moved = ~is_test & (rng.random(count) < rate)
    given = (true + moved * rng.integers(1, len(names), count)) % len(names)
    return table.assign(
        label=names[given],
        clean_label=names[true],
        split=np.where(is_test, 'test', 'train'),
    )


def figures(
    wrong: np.ndarray, score: np.ndarray, marked: np.ndarray
) -> dict[str, float]:
    """Returns how good a list is; all [n] by training row."""
    area = metrics.auc(~wrong, score)
    return {
        'AUC': np.nan if area is None else area,
        'marked': marked.sum(),
        'precision': wrong[marked].mean() if marked.any() else np.nan,
    }


def ours(path: str, wrong: np.ndarray, seed: int) -> dict[str, float]:
    """Returns the figures of a run."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        given = {'dataset': 'csv', 'data_dir': path, 'method': 'auto'}
        given |= {'seed': seed, 'checkpoint_path': folder}
        config, opened = experiment.configure(given)
        summary = experiment.train(config, progress=False, opened=opened)
        seconds = time.monotonic() - started
        place = os.path.join(summary['folder'], run_folder.ISSUES)
        rows = label_issues.read(place)
    score, marked = np.full(len(wrong), np.nan), np.zeros(len(wrong), bool)
    train = rows.split == 'train'
    score[rows.index[train]] = rows.score[train]
    marked[rows.index[train]] = rows.is_issue[train]
    low, high = summary['label_issues']['noise_rate_interval']
    return figures(wrong, score, marked) | {
        'low': low,
        'high': high,
        'accuracy': summary['test_accuracy_last'],
        'seconds': seconds,
    }


def theirs(path: str, seed: int, is_text: bool) -> dict[str, float]:
    """Returns the figures of cleanlab."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    started = time.monotonic()
    parts = columns.read_vectors(path).parts
    train, test = parts['train'], parts['test']
    ready = time.monotonic()
    model = LogisticRegression(max_iter=1000)
    if not is_text:
        model = make_pipeline(StandardScaler(), model)
    vectors, labels = train.images.array, train.labels
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    shares = cross_val_predict(
        model, vectors, labels, cv=folds, method='predict_proba'
    )
    score = get_label_quality_scores(labels, shares)
    marked = find_label_issues(labels, shares)
    model.fit(vectors, labels)
    seconds = time.monotonic() - ready
    right = model.predict(test.images.array) == test.labels
    return figures(labels != train.clean, score, marked) | {
        'low': np.nan,
        'high': np.nan,
        'accuracy': right.mean(),
        'seconds': seconds,
        'vectors': ready - started,
    }


def main() -> None:
    """Prints a row for each set, rate and side."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--sets', nargs='+', default=list(SETS), choices=SETS)
    parser.add_argument('--rates', nargs='+', type=float, default=[0, 0.1, 0.2])
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--most', type=int, default=1000, help='of each class')
    asked = parser.parse_args()
    print(machine())
    names = ('AUC', 'marked', 'precision', 'low', 'high', 'accuracy')
    names += ('seconds', 'vectors')
    print(f'| set | rows | moved | | {" | ".join(names)} |')
    print('| --- ' * (4 + len(names)) + '|')
    for name in asked.sets:
        table = SETS[name](asked.most)
        for rate in asked.rates:
            rows: dict[str, list] = {'ours': [], 'cleanlab': []}
            for seed in range(asked.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, f'{name}.csv')
                    given = noisy(table, rate, seed)
                    given.to_csv(path, index=False)
                    train = given[given['split'] == 'train']
                    wrong = train['label'] != train['clean_label']
                    rows['ours'].append(ours(path, wrong.to_numpy(), seed))
                    rows['cleanlab'].append(theirs(path, seed, name == 'texts'))
            for side, cells in rows.items():
                mean = pd.DataFrame(cells).mean().reindex(names)
                shown = ['-' if v != v else f'{v:.4g}' for v in mean]
                head = [name, str(len(table)), f'{rate:g}', side]
                print(f'| {" | ".join(head + shown)} |', flush=True)


if __name__ == '__main__':
    main()
