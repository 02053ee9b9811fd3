"""Our list of wrong labels against cleanlab's, and the time of each.

    python benchmarks/label_issues.py --dataset=mnist_symmetric_0.4 \
        --data_dir=DIR --network_name=lenet --max_epoch=10

Any option of a run can be given. One training of the method gives our list.
cleanlab (`pip install cleanlab`) gets the probabilities of five trainings of
the same configuration, each on four fifths of the same images, for the fifth
that it has not seen; its ranking is `find_label_issues` with
`return_indices_ranked_by='self_confidence'` for the budget, and
`get_label_quality_scores` for the areas. All trainings are evaluated once, at
their end. What is measured: the area under the ROC curve of finding wrong
labels, and the share of them that is not among as many as there are (the
false-negative rate at a budget equal to the noise).
"""

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import dataclasses
import json
import sys
import tempfile
import time

import numpy as np
from common import machine
from scipy.special import softmax

from ieg import config as ieg_config
from ieg import experiment, results
from ieg.commandline import arguments
from ieg.data.dataset import Data, InMemory, Split
from ieg.label_issues import detection

FOLDS = 5


def options(texts: list[str]) -> dict:
    """Returns the options of a run from --name=value arguments."""
    from absl import flags

    values = flags.FlagValues()
    arguments.define_flags(values)
    values([sys.argv[0], *texts])
    names = [n for n in values if values[n].present and values[n].value]
    return {n: values[n].value for n in names if n != 'config'}


def part(split: Split, rows: np.ndarray) -> Split:
    """Returns some examples of a split that is in memory."""
    images = InMemory(split.images[rows])
    return Split(
        images.fetch,
        split.labels[rows],
        split.clean_labels[rows],
        split.indices[rows],
        images.array,
    )


def trained(config: ieg_config.Config, data: Data) -> experiment.Experiment:
    """Trains on some data; returns what was built."""
    built = experiment.build(config, data=data)
    os.makedirs(built.folder, exist_ok=True)
    built.trainer.train()
    return built


def ours(given: dict, data: Data) -> tuple[dict, float]:
    """Returns how good our list is, and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        config = ieg_config.resolve(given | {'checkpoint_path': folder})
        started = time.monotonic()
        built = trained(config, data)
        found = results.conclude(built.trainer, data).figures
        return found, time.monotonic() - started


def theirs(given: dict, data: Data) -> tuple[dict, float]:
    """Returns how good cleanlab's list is, and the seconds it took."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels = data.train.labels
    said = np.zeros((len(labels), data.num_classes))
    started = time.monotonic()
    folds = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    for fold in range(FOLDS):
        rest, held = (
            np.flatnonzero(folds != fold),
            np.flatnonzero(folds == fold),
        )
        one = dataclasses.replace(
            data, train=part(data.train, rest), valid=part(data.train, held)
        )
        with tempfile.TemporaryDirectory() as folder:
            config = ieg_config.resolve(given | {'checkpoint_path': folder})
            trainer = trained(config, one).trainer
            logits = trainer.score('logits_step', split='valid')['logits']
        said[held] = softmax(logits.mean(axis=1).astype(float), axis=-1)
    score = get_label_quality_scores(labels, said)
    listed = find_label_issues(
        labels, said, return_indices_ranked_by='self_confidence'
    )
    seconds = time.monotonic() - started
    right = data.train.clean_labels == labels
    found = detection(right, score)
    wrong = set(np.flatnonzero(~right))
    hits = len(wrong & set(listed[: found['budget']].tolist()))
    found |= {
        'count': len(listed),
        'noise_rate': len(listed) / len(labels),
        # Of the list as it is returned, which may be shorter than the budget.
        'listed_false_negative_rate': 1 - hits / found['budget'],
    }
    return found, seconds


def main() -> None:
    """Prints both, one line of JSON each, then the ratio of the times."""
    given = options(sys.argv[1:])
    config = ieg_config.resolve(given)
    given['eval_every'] = config.train.max_epoch
    given.setdefault('valid_ratio', 0.0)
    data = experiment.load_data(ieg_config.resolve(given))
    print(machine())
    print(config.data.dataset, config.train.method, config.train.network_name)
    seconds = {}
    for name, way in (('ours', ours), ('cleanlab', theirs)):
        found, seconds[name] = way(given, data)
        found.pop('transition_matrix', None)
        print(name, json.dumps(found | {'seconds': seconds[name]}), flush=True)
    print(f'time: {seconds["cleanlab"] / seconds["ours"]:.1f} times ours')


if __name__ == '__main__':
    main()
