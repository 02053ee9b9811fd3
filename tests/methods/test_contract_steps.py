"""Training steps: on any number of replicas, and where a loss is not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_runs import (
    CHANCE,
    assert_replicas_agree,
    settings,
    train,
    train_only,
)

from ieg.errors import RunError
from ieg.methods.supervised import Supervised
from ieg.registry import NETWORKS

# Methods whose step is a sum over examples. The others mix the examples of a
# replica with each other.
SAME_ON_ANY_NUMBER_OF_REPLICAS = (
    'coteaching',
    'elr',
    'fsr',
    'l2r',
    'supervised',
)
# After more epochs L2R's weights have blown rounding up to 1e-4.
EPOCHS_THAT_AGREE = {'l2r': 1}
pytestmark = pytest.mark.usefixtures('tiny')


@pytest.fixture
def without_batchnorm(monkeypatch):
    """Registers a network without BatchNorm and returns its name."""

    def build(num_classes, image_shape):
        return keras.Sequential(
            [
                keras.Input(image_shape),
                keras.layers.Conv2D(8, 3, activation='tanh'),
                keras.layers.Flatten(),
                keras.layers.Dense(num_classes),
            ]
        )

    monkeypatch.setitem(NETWORKS._entries, 'without_batchnorm', build)
    return 'without_batchnorm'


# With these options, and where a number is for each replica, with half of it.
SAME_WITH = {
    'fsr': {'use_mixup': False, 'use_pseudo_loss': ''},
    'l2r': {'probe_batch_size': 8},
}


@pytest.mark.parametrize('method', SAME_ON_ANY_NUMBER_OF_REPLICAS)
def test_two_replicas_compute_what_one_does(
    method, two_replicas, tmp_path, without_batchnorm
):
    def options(replicas):
        found = dict(SAME_WITH.get(method, {}))
        if 'probe_batch_size' in found:
            found['probe_batch_size'] //= replicas
        return found

    one, two = (
        train_only(
            settings(
                method,
                strategy,
                tmp_path / str(strategy.num_replicas_in_sync),
                network_name=without_batchnorm,
                max_epoch=EPOCHS_THAT_AGREE.get(method, 2),
                **options(strategy.num_replicas_in_sync),
            ),
            strategy,
        )
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    assert_replicas_agree(two, two_replicas)
    assert set(two.trainer.steps.trace_counts().values()) == {1}
    for a, b in zip(one.arrays(), two.arrays(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


def spoil(monkeypatch, is_spoilt):
    """Makes the loss of some steps NaN."""
    step, loss = Supervised.train_step, Supervised._loss

    def train_step(self, batch):
        self.spoilt = is_spoilt(batch['step'])
        return step(self, batch)

    def bad_loss(self, label, logits):
        return tf.where(self.spoilt, np.nan, loss(self, label, logits))

    monkeypatch.setattr(Supervised, 'train_step', train_step)
    monkeypatch.setattr(Supervised, '_loss', bad_loss)


def test_a_loss_that_is_not_finite_is_told_and_left_out(
    strategy, tmp_path, monkeypatch
):
    spoil(monkeypatch, lambda step: step['number'] == 3)
    run = train(settings('supervised', strategy, tmp_path), strategy)
    assert all(np.isfinite(array).all() for array in run.arrays())
    for entry in run.log():
        assert np.isfinite(entry['loss'])
        (remark,) = entry['remarks']
        assert '12.50%' in remark
        assert 'not finite' in remark
    assert run.log()[-1]['test_accuracy'] > 2 * CHANCE


def test_losses_that_are_never_finite_end_the_run(tmp_path, monkeypatch):
    strategy = tf.distribute.get_strategy()
    spoil(monkeypatch, lambda step: step['number'] >= 0)
    with pytest.raises(RunError, match='epoch 0.*learning_rate'):
        train(settings('supervised', strategy, tmp_path), strategy)
