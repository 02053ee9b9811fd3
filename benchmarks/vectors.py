"""A run on vectors against logistic regression and cleanlab on the same ones.

    python benchmarks/vectors.py --dataset=cifar10n_worse --backbone=lite0 \
        --data_dir=DIR --train_examples=10000 --method=auto --seeds=5

Any option of a run can be given; without a data set, it is scikit-learn's
digits as vectors, 20 % of them labeled wrongly. The run is that of the command,
with model and report. The other side is scikit-learn's logistic regression of
standardized vectors, with the best of ten C by the given labels in three folds
(`LogisticRegressionCV`, which starts each fit from the one before):
`cross_val_predict` of it with five folds, whose probabilities cleanlab
(`pip install cleanlab`) gets, and all training vectors for the accuracy. With
--once the C of all training vectors serves the five folds, too, which is faster
and lets them see what they are to predict. Neither side is given a clean label.
Prints, for each seed, the accuracy on the clean test labels, the area under the
ROC curve of finding wrong labels, and the seconds of each side; features are
computed before.
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import argparse
import tempfile
import time
import warnings

import numpy as np
from common import machine
from label_issues import options
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ieg import experiment
from ieg.data.dataset import Data
from ieg.label_issues import detection

CONVERGED = {'max_iter': 100_000, 'n_jobs': 2}


def digits(folder: str) -> list[str]:
    """Writes the digits; returns the options for them."""
    images, labels = load_digits(return_X_y=True)
    path = os.path.join(folder, 'digits.npz')
    np.savez(path, x_train=images, y_train=labels)
    return ['--dataset=npz_symmetric_0.2', f'--data_dir={path}']


def ours(config, data: Data) -> tuple[float, float, float]:
    """Returns accuracy, area under the ROC curve, and seconds."""
    started = time.monotonic()
    summary = experiment.train(config, data=data, progress=False)
    figures = summary['label_issues']
    seconds = time.monotonic() - started
    return summary['test_accuracy_last'], figures['roc_auc'], seconds


def theirs(data: Data, seed: int, once: bool) -> tuple[float, float, float]:
    """The same of logistic regression, and cleanlab on five folds."""
    from cleanlab.rank import get_label_quality_scores

    started = time.monotonic()
    vectors, labels = data.train.vectors.array, data.train.labels

    def folds(count: int) -> StratifiedKFold:
        return StratifiedKFold(count, shuffle=True, random_state=seed)

    search = make_pipeline(
        StandardScaler(), LogisticRegressionCV(cv=folds(3), **CONVERGED)
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        # A regression that has not converged would be no fair one.
        warnings.simplefilter('error', ConvergenceWarning)
        search.fit(vectors, labels)
        judge = search
        if once:
            best = LogisticRegression(C=search[-1].C_[0], **CONVERGED)
            judge = make_pipeline(StandardScaler(), best)
        held_out = cross_val_predict(
            judge,
            vectors,
            labels,
            cv=folds(5),
            method='predict_proba',
            n_jobs=2,
        )
    score = get_label_quality_scores(labels, held_out)
    seconds = time.monotonic() - started
    right = search.predict(data.test.vectors.array) == data.test.labels
    known = detection(data.train.clean_labels == labels, score)
    return right.mean(), known['roc_auc'], seconds


def main() -> None:
    """Prints a line for each seed and side, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--once', action='store_true', help='one C')
    asked, rest = parser.parse_known_args()
    print(machine())
    rows: dict[str, list] = {'ours': [], 'cleanlab': []}
    data: Data | None = None
    with tempfile.TemporaryDirectory() as place:
        if not any(text.startswith('--dataset') for text in rest):
            rest += digits(place)
        print('| seed | | accuracy | AUC | seconds |')
        print('| --- | --- | --- | --- | --- |')
        for seed in range(1, asked.seeds + 1):
            given = options(rest) | {'seed': seed, 'checkpoint_path': place}
            config, opened = experiment.configure(given)
            # The same examples for all seeds.
            data = data or experiment.load_data(config, opened)
            rows['ours'].append(ours(config, data))
            rows['cleanlab'].append(theirs(data, seed, asked.once))
            for name, row in rows.items():
                show(str(seed), name, row[-1])
    for name, row in rows.items():
        show('mean', name, np.mean(row, axis=0))


def show(seed: str, name: str, figures) -> None:
    """Prints a row."""
    accuracy, area, seconds = figures
    print(
        f'| {seed} | {name} | {accuracy:.2%} | {area:.4f} | {seconds:.1f} |',
        flush=True,
    )


if __name__ == '__main__':
    main()
