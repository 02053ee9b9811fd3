"""Prediction passes, and what models of other libraries hand over."""

import sys
import types

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.svm import LinearSVC

from ieg import LabelTracker
from ieg.integrations import lightning, sklearn, transformers
from ieg.integrations.passes import Passes

RNG = np.random.default_rng(0)
NAMES = np.array(['cat', 'dog', 'owl'])
Y = np.arange(60) % 3
X = np.eye(3)[Y] + RNG.normal(scale=0.3, size=(60, 3))
TRAIN, HELD = slice(50), slice(50, 60)


def test_logits_and_probabilities_of_a_pass_are_the_same():
    trackers = []
    for predict in (lambda x: 3 * x, lambda x: softmax(3 * x, axis=1)):
        passes = Passes(X[TRAIN], Y[TRAIN], (X[HELD], Y[HELD]))
        for epoch in range(2):
            passes.record(epoch, predict)
        trackers.append(passes.tracker)
    one, two = (tracker.issues() for tracker in trackers)
    np.testing.assert_allclose(one.score, two.score, atol=1e-6)
    assert one.split.value_counts().to_dict() == {'train': 50, 'held_out': 10}
    assert trackers[0].summary()['predictions'] == 'pass'


@pytest.mark.parametrize('shape', [(4,), (4, 1)])
def test_one_output_of_two_classes(shape):
    logits = np.array([-3.0, 2, 1, -1])
    passes = Passes(None, [[0], [1], [1], [0]])
    given = passes.outputs(expit(logits).reshape(shape))
    two = passes.outputs(logits.reshape(shape))
    assert {*given} == {'probabilities'} and {*two} == {'logits'}
    np.testing.assert_allclose(
        given['probabilities'], softmax(two['logits'], axis=1)
    )


def test_outputs_of_another_kind():
    passes = Passes(None, Y)
    with pytest.raises(ValueError, match=r'\(60, 3\).*\(60, 2\)'):
        passes.record(0, lambda _: np.ones((60, 2)))
    with pytest.raises(ValueError, match='row 0.*NaN'):
        passes.record(0, lambda _: np.full((60, 3), np.nan))
    with pytest.raises(ValueError, match='held_out'):
        Passes(X, Y, X)
    with pytest.raises(ValueError, match='every.*0'):
        sklearn.staged(
            GradientBoostingClassifier(n_estimators=1).fit(X, Y), X, Y, every=0
        )
    model = SGDClassifier(loss='log_loss')
    with pytest.raises(ValueError, match=r'\[60, 50\]'):
        sklearn.partial_fit(model, X, Y[TRAIN])


@pytest.mark.parametrize('labels', [Y, Y + 5, NAMES[Y]])
def test_partial_fit_of_scikit_learn(labels):
    model = SGDClassifier(loss='log_loss', random_state=0)
    tracker = sklearn.partial_fit(
        model,
        X[TRAIN].tolist(),
        labels[TRAIN],
        held_out=(X[HELD], labels[HELD]),
        epochs=5,
        every=2,
    )
    assert tracker.summary()['trained'] == 50
    assert tracker.classes == sorted({*labels.tolist()})
    assert tracker._epochs.last == 4
    assert (tracker.issues().margin > 0).mean() > 0.9


def test_stages_of_scikit_learn():
    model = GradientBoostingClassifier(n_estimators=4).fit(X[TRAIN], Y[TRAIN])
    held_out = X[HELD], Y[HELD]
    tracker = sklearn.staged(model, X[TRAIN], Y[TRAIN], held_out=held_out)
    stages = [*model.staged_predict_proba(X[TRAIN])]
    np.testing.assert_allclose(
        tracker._epochs.mean(np.arange(50)), np.mean(stages, axis=0)
    )
    assert tracker.summary()['held_out'] == 10


@pytest.mark.parametrize(
    'model, word',
    [
        (LogisticRegression(), 'LogisticRegression has no partial_fit'),
        (SGDClassifier(), 'SGDClassifier has no predict_proba'),
    ],
)
def test_classifiers_that_cannot_be_used(model, word):
    with pytest.raises(ValueError, match=word):
        sklearn.partial_fit(model, X, Y)
    with pytest.raises(ValueError, match='LinearSVC has no staged'):
        sklearn.staged(LinearSVC(), X, Y)


def test_steps_of_lightning_that_return_too_little():
    module = lightning.LabelAudit()
    module.tracker, module.current_epoch = LabelTracker(Y), 0
    for outputs in (None, {'loss': 1.0, 'logits': X}):
        with pytest.raises(ValueError, match=r"training_step.*'index'"):
            module.on_train_batch_end(outputs, None, 0)
    module.on_train_batch_end({'index': [0], 'logits': X[:1]}, None, 0)
    assert module.tracker.summary()['trained'] == 1


def test_batches_of_hugging_face_without_index():
    class Trainer:
        state = types.SimpleNamespace(epoch=None)

        def compute_loss(self, model, inputs, return_outputs):
            return 1.0, {'logits': inputs['x']}

    class Own(transformers.LabelAudit, Trainer):
        tracker = LabelTracker(Y)

    model = types.SimpleNamespace(training=True)
    with pytest.raises(ValueError, match='remove_unused_columns=False'):
        Own().compute_loss(model, {'x': X})
    index = np.arange(60)
    assert Own().compute_loss(model, {'x': X, 'index': index}) == 1.0
    assert Own.tracker.summary()['trained'] == 60


def test_other_libraries_are_not_imported():
    others = {'torch', 'lightning', 'pytorch_lightning', 'transformers'}
    assert not others & {*sys.modules}
