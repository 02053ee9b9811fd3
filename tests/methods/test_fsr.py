"""FSR: recorded steps of the authors' code."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reweighting_recordings import Repeated, close

from ieg.methods.fsr import FSR
from ieg.ops import meta

TOLERANCE = {'float64': 1e-9, 'float32': 1e-4}
SMALL = dict(queue_bs=20, queue_capacity=20)
LONGTAIL = SMALL | dict(
    use_mixup=False,
    label_smoothing=0.1,
    clip_meta_weight=False,
    use_pseudo_loss='',
)
OPTIONS = {
    'fsr_tiny': SMALL,
    'fsr_resnet11w2': SMALL,
    'fsr_longtail_tiny': LONGTAIL,
    'fsr_longtail_resnet11w2': LONGTAIL,
    'fsr_before_start_tiny': SMALL,
}


class RecordedFSR(FSR):
    """FSR with the recorded random numbers, which tells what it computes.

    Its logits of earlier visits have the precision of the recording.
    """

    active = True
    recorded = None

    def example_variable(self, name, shape=(), initial=0.0):
        if name != 'table':
            return super().example_variable(name, shape, initial)
        return self.add_weight(
            shape=(self.info.num_examples, *shape),
            initializer='zeros',
            trainable=False,
            dtype=keras.config.floatx(),
            name=name,
        )

    def train_step(self, batch):
        self.found = {}
        step = {'active': tf.constant(float(self.active))}
        logs = super().train_step(batch | {'step': batch['step'] | step})
        return logs | self.found

    def mixing(self, batch, count):
        return (
            tf.constant(self.recorded['mixup_q']),
            tf.constant(self.recorded['mixup_perm']),
        )

    def proxy_pass(self, batch, point):
        found = super().proxy_pass(batch, point)
        self.found |= {
            'meta_grad': tf.concat(
                [tf.reshape(g, [-1]) for g in found.direction], axis=0
            ),
            'meta_loss': found.loss,
            'meta_logits': found.proxy_logits,
            'meta_train_logits': found.logits,
        }
        return found

    def example_weights(self, batch, ahead, targets, logits, features):
        weights = super().example_weights(
            batch, ahead, targets, logits, features
        )
        self.found |= {'weights': weights, 'logits': logits}
        return weights

    def earlier_logits(self, index, dtype):
        found = super().earlier_logits(index, dtype)
        # First of the loss, then of the update.
        self.found.setdefault('pseudo_labels', tf.nn.softmax(found))
        return found

    def remember(self, part, loss, logits, ahead):
        logs = super().remember(part, loss, logits, ahead)
        self.found |= {'example_loss': loss}
        return logs


@pytest.fixture(params=TOLERANCE)
def tolerance(request, precision):
    """Sets a precision and returns what may differ in it."""
    precision(request.param, request.param)
    return TOLERANCE[request.param]


@pytest.fixture
def alignments(monkeypatch):
    """Returns a list of the alignments of each step."""
    found = []
    function = meta.alignments

    def kept(*args, **kwargs):
        found.append(function(*args, **kwargs)[0])
        return [found[-1]]

    monkeypatch.setattr(meta, 'alignments', kept)
    return found


@pytest.mark.parametrize('name', OPTIONS)
def test_steps_are_those_of_the_reference(name, tolerance, alignments):
    if name.endswith('resnet11w2') and tolerance > 1e-5:
        pytest.skip('float32 on the tiny network is enough')
    repeated = Repeated(RecordedFSR, name, **OPTIONS[name])
    method, golden = repeated.method, repeated.golden
    method.active = 'before' not in name
    method.scores.assign(golden['start/scores'])
    if method.pseudo:
        method.table.assign(golden['start/queue_ema_logits'])
    for step in range(3):
        prefix = f'step{step}/in/'
        method.recorded = {
            key.removeprefix(prefix): array for key, array in golden.items()
        }
        logs, recorded = repeated.step(
            step,
            {
                'train': (['weak_images'], 'labels', golden[f'{prefix}ids']),
                'proxy': (['queue_images'], 'queue_labels'),
            },
        )
        logs['grad_w'] = -0.1 * alignments[-1]
        check_step(logs, recorded, tolerance)
    for name, ours, expected in repeated.end():
        close(ours, expected, tolerance, name)
    close(method.scores, golden['end/scores'], max(tolerance, 1e-6), 'scores')
    if method.pseudo:
        close(method.table, golden['end/queue_ema_logits'], tolerance, 'table')


def check_step(logs, recorded, tolerance):
    same = (
        'logits meta_logits meta_train_logits meta_loss meta_grad grad_w '
        'weights example_loss loss_pseudo pseudo_labels total_loss'
    ).split()
    expected = {n: recorded[n] for n in same if n in recorded}
    if 'loss_pseudo' in recorded and not recorded['loss_pseudo']:
        assert logs['loss_pseudo'] == 0
    expected['loss_weighted'] = np.sum(
        recorded['weights'] * recorded['example_loss']
    )
    expected['margin'] = recorded['loss_margin'].mean()
    if 'grad' in recorded:
        expected['gradient'] = recorded['grad']
    for name, values in expected.items():
        close(logs[name], values, tolerance, name)
