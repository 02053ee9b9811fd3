"""Run folders as a run leaves them, without a training."""

import dataclasses
import json
import types

import numpy as np

from ieg import label_issues
from ieg.data.noise import labels as noise_labels

EVIL = '<img src=x onerror=alert(1)>'
NAMES = ('cat', 'dog', EVIL)


@dataclasses.dataclass
class Split:
    """What a report asks of a split of the data."""

    labels: np.ndarray
    indices: np.ndarray
    images: np.ndarray | None
    fetch: object = None
    vectors: object = None
    names: np.ndarray | None = None
    texts: np.ndarray | None = None
    places: np.ndarray | None = None


def entries(epochs, tracked=True):
    """Returns a log in which accuracies rise."""
    found = []
    for epoch in range(epochs):
        share = (epoch + 1) / epochs
        entry = {
            'epoch': epoch,
            'step': 10 * (epoch + 1),
            'loss': 2.5 - share,
            'train_accuracy': 0.4 + 0.4 * share,
            'valid_accuracy': 0.4 + 0.2 * share,
            'valid_loss': 2 - share,
            'test_accuracy': 0.5 + 0.4 * share,
            'test_loss': 1.5 - share,
            'label_auc': 0.5 + 0.45 * share,
            'label_precision': 0.6 + 0.3 * share,
            'label_recall': 0.9,
            'chosen': 0.7,
            'seconds': 1.5,
            'images_per_second': 1000.0,
        }
        if tracked:
            entry |= {
                'susceptibility': 0.1 * (epoch + 1),
                'fit_accuracy': 0.5 + 0.2 * share,
                'fit_right': 0.5 + 0.4 * share,
                'fit_wrong': 0.2 * share,
                'prediction_changes': 0.1,
            }
        found.append(entry)
    return found


class Run:
    """A run folder and the data that the run learnt from.

    Args:
        folder: is made.
        names: of the classes.
        train: number of training examples, of which a third is labelled
            wrongly.
        valid: of validation examples; 0 for none.
        shape: of the images.
        seed: of everything.
        path: of the file of an example, with a place for its index.
    """

    def __init__(
        self,
        folder,
        names=NAMES,
        train=60,
        valid=12,
        shape=(8, 8, 1),
        seed=0,
        path='',
    ):
        self.folder, self.names = folder, np.array(names)
        folder.mkdir(parents=True)
        rng = np.random.default_rng(seed)
        self.rng, classes, count = rng, len(names), train + valid
        self.clean = np.arange(count) % classes
        self.wrong = np.arange(count) // classes % 3 == 2
        self.given = np.where(
            self.wrong, (self.clean + 1) % classes, self.clean
        ).astype(np.int32)
        self.is_valid = np.isin(
            np.arange(count), rng.choice(count, valid, replace=False)
        )
        images = rng.integers(0, 256, (count, *shape), np.uint8)
        splits = {
            name: Split(
                self.given[chosen], np.flatnonzero(chosen), images[chosen]
            )
            for name, chosen in (
                ('train', ~self.is_valid),
                ('valid', self.is_valid),
            )
            if chosen.any()
        }
        self.splits = splits
        self.data = types.SimpleNamespace(
            class_names=tuple(names), split=splits.get
        )
        self.write_json('config.json', self.options())
        self.write_log(entries(8))
        self.write_json('summary.json', self.summary())
        self.write_json(
            'memorization.json',
            {
                'recommended_epoch': 4,
                'recommended_step': 50,
                'reason': 'A heuristic: the predictions still settle.',
            },
        )
        noise_labels.save(str(folder / 'noise.npz'), self.noise())
        self.write_predictions()
        self.issues = self.make_issues(path)
        self.write_issues()

    def options(self):
        return {
            'method': 'coteaching',
            'dataset': 'digits_pairflip_0.33',
            'network_name': 'cnn',
            'seed': 1,
            'data_dir': '</script><b>',
        }

    def noise(self):
        return noise_labels.NoisyLabels(
            noisy=self.given,
            clean=self.clean.astype(np.int32),
            kind='pairflip',
            rate=0.33,
            realised_rate=float(self.wrong.mean()),
            transition=noise_labels.realised_transition(
                self.clean, self.given, len(self.names)
            ),
            seed=1,
            sampler='numpy',
            sha256=noise_labels._digest(self.given),
        )

    def summary(self):
        return {
            'method': 'coteaching',
            'epochs': 8,
            'steps': 80,
            'test_accuracy_last': 0.9,
            'test_accuracy_last10': 0.725,
            'test_accuracy_at_best_valid': 0.85,
            'test_accuracy_oracle': 0.9123,
            'noise_rate_nominal': 0.33,
            'noise_rate_realised': float(self.wrong.mean()),
            'images_per_second': 1000.0,
            'seconds': 75.0,
            'data_remarks': ['One file <b>was</b> no image.'],
            'versions': {'ieg': '1.2.3'},
            'label_issues': {
                'count': int(self.wrong.sum()),
                'hard': 4,
                'noise_rate': 0.35,
                'noise_rate_interval': [0.31, 0.39],
                'roc_auc': 0.9876,
                'average_precision': 0.95,
                'budget': int(self.wrong.sum()),
                'precision_at_budget': 0.9,
                'recall_at_budget': 0.9,
                'false_negative_rate_at_budget': 0.1,
            },
        }

    def logits(self, count, labels, sure=1.5):
        found = self.rng.normal(size=(count, len(self.names)))
        found[np.arange(count), labels] += sure
        return found.astype(np.float32)

    def write_predictions(self, **changes):
        found = {'class_names': self.names}
        for name, split in self.splits.items():
            found |= {
                f'{name}_labels': split.labels,
                f'{name}_indices': split.indices,
                f'{name}_clean': self.clean[split.indices],
            }
        if 'valid' in self.splits:
            labels = found['valid_clean']
            found['valid_logits'] = self.logits(len(labels), labels)
        labels = np.arange(30) % len(self.names)
        found |= {
            'test_labels': labels,
            'test_logits': self.logits(30, labels),
        } | changes
        found = {k: v for k, v in found.items() if v is not None}
        np.savez_compressed(self.folder / 'predictions.npz', **found)

    def make_issues(self, path=''):
        """Returns a list in which the wrong labels come first."""
        order = np.argsort(~self.wrong, kind='stable')
        count = len(order)
        suggested = np.where(
            self.wrong, self.clean, (self.given + 1) % len(self.names)
        )
        hard = np.zeros(count, bool)
        hard[-4:] = True

        def texts(values):
            return np.array(values, object)

        return label_issues.Issues(
            rank=np.arange(1, count + 1),
            index=order,
            path=texts([path.format(n) for n in order]),
            split=texts(
                ['valid' if v else 'train' for v in self.is_valid[order]]
            ),
            given=texts(self.names[self.given[order]]),
            suggested=texts(self.names[suggested[order]]),
            score=np.linspace(0, 1, count),
            margin=np.linspace(-1, 1, count),
            agreement=np.linspace(0, 1, count),
            in_selection=(~self.wrong[order]).astype(float),
            is_issue=self.wrong[order],
            is_hard=hard,
            corrected=texts([''] * count),
        )

    def write_issues(self, **changes):
        columns = vars(self.issues) | changes
        label_issues.write(
            str(self.folder / 'label_issues.csv'),
            label_issues.Issues(**columns),
        )

    def write_json(self, name, value):
        (self.folder / name).write_text(json.dumps(value))

    def write_log(self, found):
        lines = ''.join(json.dumps(entry) + '\n' for entry in found)
        (self.folder / 'log.jsonl').write_text(lines)
