"""A run on vectors against logistic regression and cleanlab on the same ones.

    python benchmarks/vectors.py --dataset=cifar10n_worse --backbone=lite0 \
        --data_dir=DIR --train_examples=10000 --seeds=5

Any option of a run can be given. The run is that of the command, to its list of
labels, without model and report. The other side is scikit-learn's logistic
regression of standardized vectors: the best C of four by the given labels in
three folds, then five folds, whose probabilities cleanlab (`pip install
cleanlab`) gets, and all training vectors for the accuracy. The run is given no
clean label. Prints, for each seed, the accuracy on the clean test labels, the
area under the ROC curve of finding wrong labels, and the seconds of each side;
computing features comes before.
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
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ieg import experiment
from ieg.data.dataset import Data
from ieg.label_issues import detection

GRID = (1e-5, 1e-4, 1e-3, 1e-2)


def ours(config, data: Data) -> tuple[float, float, float]:
    """Returns accuracy, area under the ROC curve, and seconds."""
    started = time.monotonic()
    summary = experiment.train(config, data=data, progress=False)
    figures = summary['label_issues']
    print(
        f'  ours says {figures["noise_rate_interval"]} ({figures["count"]} to '
        'check)'
    )
    seconds = time.monotonic() - started
    return summary['test_accuracy_last'], figures['roc_auc'], seconds


def theirs(data: Data, seed: int) -> tuple[float, float, float]:
    """The same of logistic regression, and cleanlab on five folds."""
    from cleanlab.rank import get_label_quality_scores

    started = time.monotonic()
    vectors, labels = data.train.vectors.array, data.train.labels

    def folds(count: int) -> StratifiedKFold:
        return StratifiedKFold(count, shuffle=True, random_state=seed)

    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)),
        {'logisticregression__C': GRID},
        cv=folds(3),
        n_jobs=2,
    )
    with warnings.catch_warnings():
        # A regression that has not converged would be no fair one.
        warnings.simplefilter('error', ConvergenceWarning)
        search.fit(vectors, labels)
        best = search.best_estimator_
        held_out = cross_val_predict(
            best, vectors, labels, cv=folds(5), method='predict_proba', n_jobs=2
        )
    score = get_label_quality_scores(labels, held_out)
    seconds = time.monotonic() - started
    right = best.predict(data.test.vectors.array) == data.test.labels
    known = detection(data.train.clean_labels == labels, score)
    print(f'  C = {search.best_params_["logisticregression__C"]}')
    return right.mean(), known['roc_auc'], seconds


def main() -> None:
    """Prints a line for each seed and side, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=5)
    asked, rest = parser.parse_known_args()
    print(machine())
    rows: dict[str, list] = {'ours': [], 'cleanlab': []}
    data: Data | None = None
    for seed in range(1, asked.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            given = options(rest) | {'seed': seed, 'checkpoint_path': folder}
            config, opened = experiment.configure(given)
            # The same examples for all seeds.
            data = data or experiment.load_data(config, opened)
            rows['ours'].append(ours(config, data))
            rows['cleanlab'].append(theirs(data, seed))
        for name, row in rows.items():
            accuracy, area, seconds = row[-1]
            print(
                f'seed {seed}  {name:<8}  accuracy {accuracy:.2%}  AUC '
                f'{area:.4f}  {seconds:.1f} s',
                flush=True,
            )
    for name, row in rows.items():
        accuracy, area, seconds = np.mean(row, axis=0)
        print(
            f'mean    {name:<8}  accuracy {accuracy:.2%}  AUC {area:.4f}  '
            f'{seconds:.1f} s'
        )


if __name__ == '__main__':
    main()
