"""What a run learns from examples that it is not trained on."""

import types

import numpy as np
import pytest

from ieg import held_out
from ieg.data import own
from ieg.label_issues import floor


class Trainer:
    """A trainer whose logits are given, and whose passes can be interrupted."""

    def __init__(self, logits):
        self.given, self.fails = logits, ''
        self.method = types.SimpleNamespace(host_state={})

    def logits(self, split):
        if split == self.fails:
            raise KeyboardInterrupt
        return self.given[split]


@pytest.fixture
def run():
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(3, size=40) for name in ('valid', 'test')}
    logits = {
        name: (3 * np.eye(3)[y] + rng.normal(size=(40, 3)))[:, np.newaxis]
        for name, y in labels.items()
    }
    splits = {n: types.SimpleNamespace(labels=y) for n, y in labels.items()}

    class Data(dict):
        spec = types.SimpleNamespace(base='npz')
        train = types.SimpleNamespace(clean_labels=None)
        split = dict.get

    return Trainer(logits), Data(splits)


def test_the_epoch_that_explains_the_labels_best_is_kept(run):
    trainer, data = run
    state, good = trainer.method.host_state, dict(trainer.given)
    trainer.given = {name: z / 9 for name, z in good.items()}
    trainer.given['valid'] = good['valid'][::-1]
    assert held_out.look(trainer, data, 'valid', 0)
    trainer.given = good
    assert held_out.look(trainer, data, 'valid', 1)
    kept = {name: value.copy() for name, value in state.items()}
    trainer.given = {name: z[::-1] for name, z in good.items()}
    assert not held_out.look(trainer, data, 'valid', 2)
    assert state['best_epoch'] == 1
    for name, value in state.items():
        np.testing.assert_array_equal(value, kept[name])
    said = state['best_valid']
    shot = floor.snapshot(1, good['valid'][:, 0], data['valid'].labels)
    np.testing.assert_allclose(said, shot.probabilities, atol=1e-6)


def test_a_look_that_is_interrupted_can_be_repeated(run):
    trainer, data = run
    trainer.fails = 'test'
    with pytest.raises(KeyboardInterrupt):
        held_out.look(trainer, data, 'valid', 0)
    assert not trainer.method.host_state
    trainer.fails = ''
    assert held_out.look(trainer, data, 'valid', 0)
    kept = {'best_valid', 'best_test', 'best_loss', 'best_epoch'}
    assert trainer.method.host_state.keys() == kept


@pytest.mark.parametrize('has_test', [True, False])
@pytest.mark.parametrize('count', [40, 249, 250, 312, 313, 499, 500, 625, 5000])
def test_as_many_are_held_out_as_say_something(count, has_test):
    left = count if has_test else count - round(count / 5)
    ratio = own.share_held_out(count, has_test).get('valid_ratio', 0)
    held = int(left * ratio + 1e-9)
    assert not held or held >= floor.LEAST
    assert bool(held) == (left >= 250)
