"""What `LabelTracker` finds and costs with models of other libraries.

    python benchmarks/ways_in.py [--parts cost memory quality]
        [--sets digits mnist cifar10n] [--models logistic keras pytorch xgboost]

All times are processor seconds, because machines are shared. `cost` is an epoch
(of trees: a training) with each way in against one without; images are noise.
`quality` compares one training that is tracked with the five folds of the same
model that cleanlab needs, on the rows that are trained on. Models whose
library is not installed are left out.
"""

import argparse
import importlib.util
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # As the package does.

import cleanlab.count
import cleanlab.filter
import cleanlab.rank
import evidence_sets
import keras
import numpy as np
from common import machine
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from ieg import LabelTracker
from ieg.integrations import sklearn
from ieg.integrations.keras import LabelAudit, Seen

EPOCHS, TREES, BATCH, FOLDS = 10, 20, 32, 5
HAS = {
    name: importlib.util.find_spec(name) is not None
    for name in ('torch', 'xgboost')
}
Predict = Callable[[np.ndarray], np.ndarray]
Part = tuple[np.ndarray, np.ndarray]


class Network(Seen, keras.Model):
    """Remembers what its steps predict."""


class Logistic:
    """Logistic regression of scikit-learn by `partial_fit`."""

    def model(self) -> SGDClassifier:
        return SGDClassifier(loss='log_loss', alpha=0.01, random_state=0)

    def tracked(self, x: np.ndarray, y: np.ndarray, held: Part) -> LabelTracker:
        return sklearn.partial_fit(
            self.model(), x, y, held_out=held, epochs=EPOCHS
        )

    def fitted(self, x: np.ndarray, y: np.ndarray) -> Predict:
        model, rng = self.model(), np.random.default_rng(0)
        for _ in range(EPOCHS):
            order = rng.permutation(len(y))
            for rows in np.split(order, np.arange(BATCH, len(y), BATCH)):
                model.partial_fit(x[rows], y[rows], np.unique(y))
        return model.predict_proba


class Keras:
    """A perceptron by `fit` of Keras; predictions of its training steps."""

    def model(self, kind: type, x: np.ndarray, classes: int) -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = keras.Input(x.shape[1:])
        hidden = keras.layers.Dense(64, activation='relu')(inputs)
        outputs = keras.layers.Dense(classes, activation='softmax')(hidden)
        model = kind(inputs, outputs)
        model.compile('adam', 'sparse_categorical_crossentropy')
        return model

    def tracked(self, x: np.ndarray, y: np.ndarray, held: Part) -> LabelTracker:
        audit = LabelAudit(None, y, held_out=held)
        self.model(Network, x, int(y.max()) + 1).fit(
            x,
            (np.arange(len(y)), y),
            batch_size=BATCH,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[audit],
        )
        return audit.tracker

    def fitted(self, x: np.ndarray, y: np.ndarray) -> Predict:
        model = self.model(keras.Model, x, int(y.max()) + 1)
        model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        return lambda rows: model.predict(rows, 256, verbose=0)


class PyTorch:
    """The same perceptron by a loop of PyTorch."""

    def tracked(self, x: np.ndarray, y: np.ndarray, held: Part) -> LabelTracker:
        tracker = LabelTracker(np.concatenate([y, held[1]]))
        self._train(x, y, tracker, held[0])
        return tracker

    def fitted(self, x: np.ndarray, y: np.ndarray) -> Predict:
        return self._train(x, y)

    def _train(
        self,
        x: np.ndarray,
        y: np.ndarray,
        tracker: LabelTracker | None = None,
        held: np.ndarray | None = None,
    ) -> Predict:
        import torch

        torch.manual_seed(0)
        # More are slower for so small a network.
        torch.set_num_threads(1)
        width, classes = x.shape[1], int(y.max()) + 1
        model = torch.nn.Sequential(
            torch.nn.Linear(width, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, classes),
        )
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        images, labels = torch.tensor(x), torch.tensor(y)

        def predict(rows: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return model(torch.tensor(rows)).softmax(1).numpy()

        for epoch in range(EPOCHS):
            for rows in torch.randperm(len(y)).split(BATCH):
                logits = model(images[rows])
                if tracker is not None:
                    tracker.update(rows, logits=logits, epoch=epoch)
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(
                    logits, labels[rows]
                ).backward()
                optimizer.step()
            if tracker is not None:
                rows = np.arange(len(y), len(tracker))
                tracker.held_out(rows, epoch=epoch, probabilities=predict(held))
        return predict


class XGBoost:
    """Boosted trees."""

    def model(self, *callbacks: object):
        import xgboost

        return xgboost.XGBClassifier(
            n_estimators=TREES, max_depth=3, callbacks=[*callbacks], n_jobs=2
        )

    def tracked(self, x: np.ndarray, y: np.ndarray, held: Part) -> LabelTracker:
        from ieg.integrations.xgboost import LabelAudit

        audit = LabelAudit(x, y, held_out=held)
        self.model(audit).fit(x, y)
        return audit.tracker

    def fitted(self, x: np.ndarray, y: np.ndarray) -> Predict:
        return self.model().fit(x, y).predict_proba


MODELS = {'logistic': Logistic(), 'keras': Keras()}
if HAS['torch']:
    # Not within what is measured.
    import torch  # noqa: F401

    MODELS['pytorch'] = PyTorch()
if HAS['xgboost']:
    import xgboost  # noqa: F401

    MODELS['xgboost'] = XGBoost()


# What they cost.


def seconds_of(
    functions: dict[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Returns the median processor seconds of functions, which take turns."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = time.process_time()
            function()
            taken[name].append(time.process_time() - start)
    # The first round traces and warms up.
    return {name: float(np.median(one[1:])) for name, one in taken.items()}


def epochs(model, x: np.ndarray, y: np.ndarray) -> dict[str, Callable]:
    """Returns functions that train, without and with a tracker."""
    held = x[:20], y[:20]
    return {
        'without': lambda: model.fitted(x, y),
        'with': lambda: model.tracked(x, y, held),
    }


def convolutional(kind: type) -> keras.Model:
    """Returns a small network for images of 28 x 28."""
    inputs = keras.Input((28, 28, 1))
    z = keras.layers.Conv2D(16, 3, activation='relu')(inputs)
    z = keras.layers.MaxPooling2D()(z)
    z = keras.layers.Conv2D(32, 3, activation='relu')(z)
    z = keras.layers.Flatten()(keras.layers.MaxPooling2D()(z))
    model = kind(inputs, keras.layers.Dense(10)(z))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile('adam', loss)
    return model


def keras_epochs(x: np.ndarray, y: np.ndarray) -> dict[str, Callable]:
    """Returns functions that train an epoch with Keras."""
    plain, seen = convolutional(keras.Model), convolutional(Network)
    options = {'batch_size': 128, 'verbose': 0}
    index = np.arange(len(y)), y
    steps, passes = LabelAudit(None, y), LabelAudit(x, y)
    return {
        'without': lambda: plain.fit(x, y, **options),
        'seen': lambda: seen.fit(x, index, callbacks=[steps], **options),
        'pass': lambda: plain.fit(x, y, callbacks=[passes], **options),
    }


def pytorch_epoch(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Returns seconds of an epoch of PyTorch, and of its `update`."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(y)
    tracker, own = LabelTracker(labels), 0.0
    begin = time.process_time()
    for rows in torch.randperm(len(y)).split(128):
        logits = model(images[rows])
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, labels[rows]).backward()
        optimizer.step()
        start = time.process_time()
        tracker.update(rows, logits=logits, epoch=0)
        own += time.process_time() - start
    return time.process_time() - begin - own, own


def cost(asked: argparse.Namespace) -> None:
    rng, count = np.random.default_rng(0), asked.examples
    x = rng.random((count, 28, 28, 1), np.float32)
    y = np.arange(count) % 10
    print('| way in | without | with | ratio |')
    print('| --- | --- | --- | --- |')
    seconds = seconds_of(keras_epochs(x, y), asked.rounds)
    for kind in ('seen', 'pass'):
        _row(f'Keras fit, {kind}', seconds['without'], seconds[kind])
    if HAS['torch']:
        times = [pytorch_epoch(x, y) for _ in range(asked.rounds + 1)][1:]
        rest, own = np.median(times, axis=0)
        _row('PyTorch loop, seen', rest, rest + own)
    flat = x[:, ::4, ::4].reshape(count, -1)
    for name in set(MODELS) & {'logistic', 'xgboost'}:
        taken = seconds_of(epochs(MODELS[name], flat, y), asked.rounds)
        _row(f'{name}, pass', taken['without'], taken['with'])


def _row(name: str, without: float, with_it: float) -> None:
    print(
        f'| {name} | {without:.3f} s | {with_it:.3f} s '
        f'| {with_it / without:.3f} |',
        flush=True,
    )


def memory(asked: argparse.Namespace) -> None:
    count, classes, step = asked.rows, 100, 256
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=count)
    said = rng.dirichlet(np.full(classes, 0.1), step)
    rows = rng.permutation(count)[: 100 * step].reshape(-1, step)
    tracemalloc.start()
    tracker = LabelTracker(labels, classes)
    for epoch in range(20):
        tracker.update(rows[0], said, epoch=epoch)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    start = time.process_time()
    for part in rows:
        tracker.update(part, said, epoch=19)
    seconds = (time.process_time() - start) / len(rows)
    print('| rows | classes | epochs | memory | step of 256 |')
    print('| --- | --- | --- | --- | --- |')
    print(
        f'| {count:,} | {classes} | 20 | {held / 2**20:.0f} MiB '
        f'| {1e3 * seconds:.2f} ms |'
    )


# What they find.


def data(
    name: str, asked: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns vectors, given labels and true labels of a set."""
    if name == 'digits':
        arrays, noise = evidence_sets.digits(), 'sym20'
    elif name == 'mnist':
        from ieg.data.sets import tfds

        x, y, _ = tfds.numbered(tfds.tfds_builder('mnist', asked.data_dir))
        rows = np.random.default_rng(0).permutation(len(y))[:10_000]
        flat = x[rows].reshape(len(rows), -1).astype(np.float32) / 255
        arrays, noise = {'x_train': flat, 'y_train': y[rows]}, 'sym20'
    else:
        arrays, noise = evidence_sets.features('cifar10', asked), 'worse'
    given = evidence_sets.labels(arrays, noise, seed=0)
    x = arrays['x_train'].astype(np.float32)
    return x, given.astype(np.int64), arrays['y_train']


def folds(model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns predictions of rows by models that were trained on others."""
    said = np.zeros((len(y), y.max() + 1))
    for rest, rows in StratifiedKFold(FOLDS).split(x, y):
        said[rows] = model.fitted(x[rest], y[rest])(x[rows])
    return said


def figures(
    scores: np.ndarray, marked: np.ndarray, wrong: np.ndarray
) -> list[str]:
    """Returns figures of a list: small scores are suspicious."""
    first = np.argsort(scores, kind='stable')[: wrong.sum()]
    right = wrong[marked].mean() if marked.any() else 0
    return [
        f'{roc_auc_score(wrong, -scores):.3f}',
        f'{wrong[first].mean():.3f}',
        f'{marked.sum()} ({right:.0%})',
    ]


def compared(
    model, x: np.ndarray, y: np.ndarray, truth: np.ndarray
) -> Iterator[list[str]]:
    """Yields figures of the tracker, without and with x, and of cleanlab."""
    count = round(0.9 * len(y))
    train, wrong = slice(count), (y != truth)[:count]
    start = time.process_time()
    tracker = model.tracked(x[train], y[train], (x[count:], y[count:]))
    for name in ('tracker', 'tracker, features'):
        table = tracker.issues()
        taken = time.process_time() - start
        rows = table[table.split == 'train'].sort_values('index')
        marked = rows.is_issue.to_numpy(bool)
        said = tracker.summary()['noise_rate']
        result = figures(rows.score.to_numpy(), marked, wrong)
        yield [name, *result, f'{said:.1%}', f'{taken:.0f} s']
        tracker.set_features(x)
    start = time.process_time()
    said = folds(model, x, y)
    said /= said.sum(axis=1, keepdims=True)
    scores = cleanlab.rank.get_label_quality_scores(y, said)
    marked = cleanlab.filter.find_label_issues(y, said)
    rate = cleanlab.count.num_label_issues(y, said) / len(y)
    taken = time.process_time() - start
    result = figures(scores[train], marked[train], wrong)
    yield ['cleanlab', *result, f'{rate:.1%}', f'{taken:.0f} s']


def quality(asked: argparse.Namespace) -> None:
    print(
        '| set (wrong) | model | by | AUC | at the number | marked (wrong) '
        '| said to be wrong | time |'
    )
    print('| --- | --- | --- | --- | --- | --- | --- | --- |')
    for name in asked.sets:
        x, y, truth = data(name, asked)
        shown = f'{name} ({(y != truth).mean():.1%})'
        for kind in asked.models:
            for row in compared(MODELS[kind], x, y, truth):
                print(f'| {" | ".join([shown, kind, *row])} |', flush=True)


PARTS = {'cost': cost, 'memory': memory, 'quality': quality}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    sets = ('digits', 'mnist', 'cifar10n')
    parser.add_argument('--sets', nargs='+', choices=sets, default=sets)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=MODELS)
    parser.add_argument('--data_dir', default=None)
    parser.add_argument('--human', default=None, help='folder of CIFAR-10N')
    parser.add_argument('--cache', default='/tmp/ieg_evidence')
    parser.add_argument('--examples', type=int, default=10_000)
    parser.add_argument('--rows', type=int, default=1_000_000)
    parser.add_argument('--rounds', type=int, default=5)
    asked = parser.parse_args()
    print(machine())
    for part in asked.parts:
        PARTS[part](asked)


if __name__ == '__main__':
    main()
