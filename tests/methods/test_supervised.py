"""Supervised training by either loss."""

import pytest
import tensorflow as tf
from contract_runs import CHANCE, settings, train

from ieg.ops import losses

pytestmark = pytest.mark.usefixtures('tiny')


@pytest.mark.parametrize('mixup', [0.0, 1.0])
def test_gce_is_what_is_minimized(mixup, tmp_path, monkeypatch):
    """It takes the place of the cross-entropy, also of mixed images."""
    exponents = []
    gce = losses.generalized_cross_entropy

    def watched(labels, logits, q):
        exponents.append(q)
        return gce(labels, logits, q)

    monkeypatch.setattr(losses, 'generalized_cross_entropy', watched)
    strategy = tf.distribute.get_strategy()
    config = settings(
        'supervised',
        strategy,
        tmp_path,
        loss='gce',
        gce_q=0.5,
        mixup=mixup,
        learning_rate=0.1,
    )
    run = train(config, strategy)
    assert set(exponents) == {0.5}
    for entry in run.log():
        assert 0 < entry['loss'] < 1 / 0.5
    assert run.log()[-1]['test_accuracy'] > 2 * CHANCE
