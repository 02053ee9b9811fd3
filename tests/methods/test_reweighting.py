"""Supervised, L2R and IEG steps against the recorded reference."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from reweighting_recordings import Repeated, close

from ieg.errors import UsageError
from ieg.methods.ieg import IEG
from ieg.methods.l2r import L2R
from ieg.methods.supervised import Supervised
from ieg.ops import meta

TOLERANCE = {'float64': 1e-9, 'float32': 1e-4}
NETWORKS = ('tiny', 'resnet11w2')


@pytest.fixture(params=TOLERANCE)
def tolerance(request, precision):
    """Sets a precision and returns what may differ in it."""
    precision(request.param, request.param)
    return TOLERANCE[request.param]


@pytest.fixture
def seen(monkeypatch):
    """Returns what the steps compute on their way, filled by each step."""
    found = {}

    def keep(module, name, *keys):
        function = getattr(module, name)

        def wrapped(*args, **kwargs):
            result = function(*args, **kwargs)
            parts = result if isinstance(result, tuple) else [result]
            found.update(zip(keys, parts, strict=False))
            return result

        monkeypatch.setattr(module, name, wrapped)

    keep(meta, 'probe_pass', 'meta_grad', 'meta_loss', 'meta_logits')
    keep(meta, 'alignments', 'alignments')
    keep(meta, 'normalised', 'weights')
    return found


def check_meta(seen, recorded, tolerance):
    """Compares the probe pass and the weights."""
    if 'meta_grad' in recorded:
        gradient = np.concatenate([np.ravel(g) for g in seen['meta_grad']])
        close(gradient, recorded['meta_grad'], tolerance, 'meta_grad')
    for name in ('meta_loss', 'meta_logits', 'weights'):
        close(seen[name], recorded[name], tolerance, name)
    close(-0.1 * seen['alignments'][0], recorded['grad_w'], tolerance, 'grad_w')


def check_end(repeated, tolerance):
    for name, ours, recorded in repeated.end():
        close(ours, recorded, tolerance, name)


@pytest.mark.parametrize('network', NETWORKS)
def test_supervised_steps_are_those_of_the_reference(network, tolerance):
    repeated = Repeated(Supervised, f'supervised_{network}')
    for step in range(3):
        logs, recorded = repeated.step(
            step, {'train': (['weak_images'], 'labels')}
        )
        close(logs['total_loss'], recorded['total_loss'], tolerance)
        if 'gradient' in logs:
            close(logs['gradient'], recorded['grad'], tolerance, 'grad')
    check_end(repeated, tolerance)


STREAMS = {
    'train': (['weak_images'], 'labels'),
    'probe': (['probe_images'], 'probe_labels'),
}


@pytest.mark.parametrize('network', NETWORKS)
def test_l2r_steps_are_those_of_the_reference(network, tolerance, seen):
    if network != 'tiny' and tolerance > 1e-5:
        pytest.skip('a ReLU at zero, and the number of threads, decide it')
    repeated = Repeated(L2R, f'l2r_{network}')
    for step in range(3):
        logs, recorded = repeated.step(step, STREAMS)
        check_meta(seen, recorded, tolerance)
        close(logs['total_loss'], recorded['total_loss'], tolerance)
        if 'gradient' in logs:
            close(logs['gradient'], recorded['grad'], tolerance, 'grad')
    check_end(repeated, tolerance)


def test_without_any_agreement_only_the_penalty_moves_the_weights(tolerance):
    repeated = Repeated(L2R, 'l2r_allzero_tiny')
    logs, recorded = repeated.step(0, STREAMS)
    assert logs['zero_weights'] == 1 and logs['loss'] == 0
    close(logs['total_loss'], recorded['total_loss'], tolerance)
    check_end(repeated, tolerance)


class RecordedIEG(IEG):
    """IEG with the recorded random numbers."""

    recorded = None

    def drawn_probe(self, batch):
        return tf.constant(self.recorded['probe_idx'])

    def mixing(self, batch, count):
        return (
            tf.constant(self.recorded['mixup_q']),
            tf.constant(self.recorded['mixup_perm']),
        )

    def targets(self, *args):
        self.found, logs = super().targets(*args)
        return self.found, logs


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('leak', [False, True])
def test_ieg_steps_are_those_of_the_reference(network, leak, tolerance, seen):
    if network != 'tiny' and tolerance > 1e-5:
        pytest.skip('a ReLU at zero makes float32 differ in the recording too')
    name = f'ieg_{network}' if leak else f'ieg_stopped_{network}'
    repeated = Repeated(RecordedIEG, name, pseudo_label_grad=leak)
    streams = STREAMS | {'train': (['weak_images', 'strong_images'], 'labels')}
    for step in range(3):
        repeated.method.recorded = {
            key.removeprefix(f'step{step}/in/'): array
            for key, array in repeated.golden.items()
        }
        logs, recorded = repeated.step(step, streams)
        check_meta(seen, recorded, tolerance)
        close(-0.1 / 8 * seen['alignments'][1], recorded['grad_eps'], tolerance)
        found = repeated.method.found
        np.testing.assert_array_equal(found.keeps, recorded['eps_star'])
        close(found.guess, recorded['pseudo_labels'], tolerance)
        terms = {
            'loss_uniform': recorded['loss_uniform'] / 2,
            'loss_weighted': recorded['loss_weighted'] / 2,
            'loss_labelled': recorded['loss_xe_labelled'],
            'loss_unlabelled': 5 * recorded['loss_xe_unlabelled'],
            'loss_consistency': recorded['loss_consistency'],
            'total_loss': recorded['total_loss'],
        }
        for term, expected in terms.items():
            close(logs[term], expected, tolerance, term)
        if 'gradient' in logs:
            close(logs['gradient'], recorded['grad'], tolerance, 'grad')
    check_end(repeated, tolerance)


def one_step(method_class, streams, labels=None, **options):
    """Returns a method and the logs of one step on the recorded images."""
    repeated = Repeated(method_class, 'ieg_tiny', **options)
    repeated.method.optimizers[0].learning_rate.assign(0.1)
    batch = {n: repeated.part(0, *args) for n, args in streams.items()}
    if labels is not None:
        batch['train']['label'] = tf.constant(labels, tf.int32)
    batch['step'] = {'seed': tf.constant([1, 2])}
    return repeated.method, batch


VIEWS = {
    L2R: STREAMS,
    IEG: STREAMS | {'train': (['weak_images', 'strong_images'], 'labels')},
}


def cases():
    """Yields methods, kinds and cases, of which XLA takes seconds to compile.

    L2R shows that each kind can be compiled; finite differences are two passes
    more.
    """
    every = itertools.product(
        ('one class', 'other probe size', 'compiled'), meta.KINDS, VIEWS
    )
    for case, kind, method_class in every:
        kinds = ('jvp',) if method_class is IEG else set(meta.KINDS) - {'fd'}
        costly = case == 'compiled' and kind not in kinds
        yield pytest.param(
            method_class,
            kind,
            case,
            id=f'{case}-{kind}-{method_class.__name__}',
            marks=pytest.mark.slow if costly else (),
        )


@pytest.mark.parametrize(('method_class', 'kind', 'case'), [*cases()])
def test_a_step_is_sound_in_unusual_cases(method_class, kind, case):
    labels = [3] * 8 if case == 'one class' else None
    method, batch = one_step(
        method_class, VIEWS[method_class], labels, meta_grad=kind
    )
    if case == 'other probe size':
        batch['probe'] = {
            'images': (batch['probe']['images'][0][:5],),
            'label': batch['probe']['label'][:5],
        }
    step = method.train_step
    if case == 'compiled':
        expected = {k: v.numpy() for k, v in step(batch).items()}
        method, batch = one_step(
            method_class, VIEWS[method_class], labels, meta_grad=kind
        )
        step = tf.function(method.train_step, jit_compile=True, autograph=False)
    logs = {k: v.numpy() for k, v in step(batch).items()}
    assert all(np.isfinite(list(logs.values())))
    assert 0 <= logs['zero_weights'] <= 1
    if case == 'compiled':
        for name, value in expected.items():
            np.testing.assert_allclose(logs[name], value, rtol=2e-3, atol=2e-3)


def test_ieg_without_any_agreement_learns_from_equal_weights(monkeypatch):
    method, batch = one_step(IEG, VIEWS[IEG])
    monkeypatch.setattr(
        meta,
        'normalised',
        lambda scores, scope: tf.zeros_like(scores),
    )
    logs = method.train_step(batch)
    assert logs['loss_weighted'] == 0 < logs['loss_uniform']
    assert logs['zero_weights'] == 1
    assert all(np.isfinite(v.numpy()).all() for v in method.variables)


def test_a_visit_counts_half_as_much_an_epoch_later():
    method, _ = one_step(L2R, VIEWS[L2R])
    for relative in (4.0, 0.0, 1.0):
        method.begin_epoch(0, None)
        method.record(tf.constant([0, 1]), tf.constant([relative, 1.0]) / 2)
    weight = method.notes()['weight']
    assert weight[0] == pytest.approx((4 / 4 + 1) / (1 / 4 + 1 / 2 + 1))
    assert weight[1] == pytest.approx(1)


def test_finite_differences_are_refused_in_half_precision(precision):
    precision('mixed_bfloat16')
    with pytest.raises(UsageError, match='--precision=float32'):
        Repeated(L2R, 'l2r_tiny', meta_grad='fd')


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(UsageError, match='--pseudo_label_grad'):
        IEG.Config(pseudo_label_grad=True, meta_grad='last_layer')
    with pytest.raises(UsageError, match='--meta_weight_decay=-0.5'):
        L2R.Config(meta_weight_decay=-0.5)
