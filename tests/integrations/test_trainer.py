"""The trainer of the package and a tracker find the same."""

import numpy as np
import tensorflow as tf

from ieg import LabelTracker, experiment, held_out, results
from ieg import config as ieg_config
from ieg.methods.base import Method


class Recorder:
    """Feeds a tracker with what steps and looks at held-out rows predict."""

    def __init__(self):
        self.calls, self.held, self.outcome = [], [], None

    def observe(self, method, part, logits):
        tf.py_function(self._note, [part['index'], logits], [])
        return OBSERVE(method, part, logits)

    def _note(self, index, logits):
        self.calls.append((len(self.held), index.numpy(), logits.numpy()))

    def look(self, trainer, data, split, epoch):
        self.held.append(trainer.logits(split))
        return LOOK(trainer, data, split, epoch)

    def conclude(self, trainer, data, *others):
        self.outcome = CONCLUDE(trainer, data, *others)
        self.data = data
        self.features = [held_out.features(trainer, s) for s in SPLITS]
        return self.outcome

    def tracker(self):
        train, valid = (self.data[split] for split in SPLITS)
        count, seen = len(train), set()
        tracker = LabelTracker(np.concatenate([train.labels, valid.labels]), 10)
        for epoch, index, logits in self.calls:
            # The trainer leaves out the first visit of an example.
            later = np.isin(index, [*seen])
            seen |= {*index.tolist()}
            tracker.update(index[later], logits=logits[later], epoch=epoch)
        for epoch, logits in enumerate(self.held):
            rows = count + np.arange(len(valid))
            tracker.held_out(rows, logits, epoch)
        raw = np.concatenate([train.images, valid.images])
        tracker.set_features(
            np.concatenate(self.features), raw.reshape(len(raw), -1)
        )
        return tracker


OBSERVE, LOOK = Method.observe, held_out.look
CONCLUDE, SPLITS = results.conclude, ('train', 'valid')


def test_a_tracker_of_the_same_training_has_the_same_list(
    tmp_path, monkeypatch
):
    recorder = Recorder()
    monkeypatch.setattr(
        Method, 'observe', lambda *given: recorder.observe(*given)
    )
    monkeypatch.setattr(held_out, 'look', recorder.look)
    monkeypatch.setattr(results, 'conclude', recorder.conclude)
    monkeypatch.setattr(results, 'present', lambda *_: [])
    options = {
        'dataset': 'digits_symmetric_0.2',
        'method': 'supervised',
        'network_name': 'cnn',
        'valid_ratio': 0.1,
        'max_epoch': 3,
        'precision': 'float32',
        'checkpoint_path': str(tmp_path),
    }
    config = ieg_config.resolve(options)
    summary = experiment.train(config, progress=False)
    tracker = recorder.tracker()
    data, rows = recorder.data, recorder.outcome.rows
    # Positions in the tracker of the rows of the file.
    place = {('train', n): i for i, n in enumerate(data.train.indices)}
    place |= {
        ('valid', n): len(data.train) + i
        for i, n in enumerate(data.valid.indices)
    }
    order = [place[key] for key in zip(rows.split, rows.index, strict=True)]
    table = tracker.issues().set_index('index').loc[order]
    np.testing.assert_allclose(table.score, rows.score, rtol=0, atol=1e-6)
    np.testing.assert_allclose(table.agreement, rows.agreement, atol=1e-6)
    for name, own in (('suggested_label', rows.suggested), ('mark', rows.mark)):
        np.testing.assert_array_equal(table[name].astype(str), own.astype(str))
    figures = tracker.summary()
    for name in ('count', 'marks', 'noise_rate', 'noise_rate_interval'):
        assert figures[name] == summary['label_issues'][name]
    assert figures['count'] > 100 and figures['best_epoch'] > 0
