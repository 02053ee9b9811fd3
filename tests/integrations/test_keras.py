"""Labels judged while Keras' `fit` trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import ieg
from ieg.integrations.keras import LabelAudit, Seen

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (np.eye(3)[Y] + RNG.normal(scale=0.3, size=(60, 3))).astype(np.float32)
TRAIN, HELD = slice(50), slice(50, 60)

pytestmark = pytest.mark.usefixtures('restored')


class Model(Seen, keras.Model):
    """Remembers what its steps predict."""


def compiled(kind, activation=None, **options):
    inputs = keras.Input((3,))
    model = kind(inputs, keras.layers.Dense(3, activation=activation)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=activation is None
    )
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


def fit(model, audit, y, **options):
    model.fit(
        X[TRAIN], y, batch_size=8, verbose=0, callbacks=[audit], **options
    )


@pytest.mark.parametrize('activation', [None, 'softmax'])
def test_a_pass_records_predictions_after_epochs(activation):
    held_out = X[HELD], Y[HELD]
    audit = LabelAudit(X[TRAIN], Y[TRAIN], held_out=held_out, every=2)
    model, said = compiled(keras.Model, activation), []

    class Spy(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            values = self.model.predict(X[TRAIN], verbose=0)
            said.append(values if activation else tf.nn.softmax(values))

    model.fit(X[TRAIN], Y[TRAIN], epochs=3, verbose=0, callbacks=[audit, Spy()])
    np.testing.assert_allclose(
        audit.tracker._epochs.mean(np.arange(50)),
        np.mean([said[0], said[2]], axis=0),
        atol=1e-6,
    )
    summary = audit.tracker.summary()
    assert summary['predictions'] == 'pass' and summary['held_out'] == 10
    assert ieg.keras.LabelAudit is LabelAudit


@pytest.mark.parametrize('options', [{}, {'steps_per_execution': 3}])
def test_seen_are_the_outputs_of_training_steps(options):
    model, plain = compiled(Model, **options), compiled(keras.Model)
    plain.set_weights(model.get_weights())
    audit = LabelAudit(None, Y[TRAIN], held_out=(X[HELD], Y[HELD]))
    fit(model, audit, (np.arange(50), Y[TRAIN]), epochs=2, shuffle=False)
    said = np.zeros((2, 50, 3))
    for epoch in range(2):
        for start in range(0, 50, 8):
            rows = slice(start, min(start + 8, 50))
            said[epoch, rows] = tf.nn.softmax(plain(X[rows]))
            plain.train_on_batch(X[rows], Y[rows])
    np.testing.assert_allclose(
        audit.tracker._epochs.mean(np.arange(50)), said.mean(0), atol=1e-6
    )
    assert audit.tracker.summary()['predictions'] == 'seen'
    np.testing.assert_allclose(
        model.get_weights()[0], plain.get_weights()[0], atol=1e-6
    )
    # It evaluates as before, and may be fitted to other rows.
    audit = LabelAudit(None, Y[:20])
    model.fit(X[:20], (np.arange(20), Y[:20]), verbose=0, callbacks=[audit])
    assert audit.tracker.summary()['trained'] == 20
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_seen_of_a_part_of_the_rows():
    rows = np.array([3, 1, 3, 49])
    model, audit = compiled(Model), LabelAudit(None, Y[TRAIN])
    data = tf.data.Dataset.from_tensors((X[rows], (rows, Y[rows])))
    model.fit(data, shuffle=False, verbose=0, callbacks=[audit])
    table = audit.tracker.issues()
    assert {*table['index'][table.split == 'train']} == {1, 3, 49}


def test_fits_that_cannot_be_judged():
    with pytest.raises(ValueError, match='every.*0'):
        LabelAudit(X, Y, every=0)
    seen, passed = LabelAudit(None, Y[TRAIN]), LabelAudit(X[TRAIN], Y[TRAIN])
    for model, audit in ((keras.Model, seen), (Model, passed)):
        with pytest.raises(ValueError, match='Seen'):
            fit(compiled(model), audit, Y[TRAIN])
    with pytest.raises(ValueError, match=r'\(index, y\)'):
        fit(compiled(Model), seen, Y[TRAIN])
    with pytest.raises(ValueError, match='index.*0 to 49'):
        fit(compiled(Model), seen, (np.arange(50) + 5, Y[TRAIN]))
    with pytest.raises(ValueError, match='4 outputs.*3'):
        fit(
            compiled(Model),
            LabelAudit(None, np.arange(50) % 4),
            (Y[TRAIN], Y[TRAIN]),
        )
