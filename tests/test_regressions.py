"""Mistakes that were made once."""

import dataclasses

import loading
import numpy as np
import pytest
import tensorflow as tf

from ieg import config as ieg_config
from ieg import experiment
from ieg.errors import UsageError
from ieg.ops import losses, optim
from ieg.training.callbacks import Progress
from ieg.utils.randomness import generator


def options(tmp_path, **given):
    return ieg_config.resolve(
        {
            'dataset': 'fake_uniform_0.4',
            'batch_size': 64,
            'checkpoint_path': str(tmp_path),
        }
        | given
    )


def test_no_two_purposes_share_random_numbers():
    draws = [
        generator(*key).integers(2**62)
        for key in (
            (1, 'order'),
            (1, 'order', 0),
            (1, 'order', 0, 0),
            (1, 'order', 1),
            (1, 'noise'),
            (2, 'order'),
        )
    ]
    assert len(set(draws)) == len(draws)
    assert draws[0] == generator(1, 'order').integers(2**62)


def test_sharpening_with_a_small_temperature_is_finite():
    uniform = tf.fill([2, 10], 0.1)
    assert np.allclose(losses.sharpen(uniform, 0.01), 0.1)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    weights = tf.keras.Variable([1.0, 2.0])
    sgd = optim.SGD(0.1, 0.9, l2=0.1)
    sgd.apply_gradients([(tf.constant([0.5, 0.5]), weights)])
    before = weights.numpy()
    velocity = sgd.velocities[0].numpy()
    sgd.apply_gradients([(tf.constant([0.5, bad]), weights)])
    assert np.array_equal(weights, before)
    assert np.array_equal(sgd.velocities[0], velocity)


def test_a_drop_by_flag_replaces_the_preset_drop():
    given = {'dataset': 'cifar10_uniform_0.2', 'decay_steps': '7'}
    train = ieg_config.resolve(given).train
    assert (train.decay_steps, train.decay_epochs) == ('7', '')


def test_one_cycle_length_is_enough():
    with pytest.raises(UsageError, match='takes one number'):
        ieg_config.resolve(
            {'dataset': 'fake', 'lr_schedule': 'cosine', 'decay_epochs': '1,2'}
        )


def test_a_run_within_the_warm_up_is_refused(tmp_path, restored):
    config = options(tmp_path, method='dividemix', warm_up=3, max_epoch=3)
    with pytest.raises(UsageError, match='--warm_up=3 leaves none'):
        experiment.build(config)


def test_a_run_that_ended_inside_an_epoch_is_not_made_longer(tiny, tmp_path):
    def run(max_iteration):
        config = options(
            tmp_path,
            method='supervised',
            network_name=tiny,
            max_iteration=max_iteration,
        )
        return experiment.train(config, progress=False)['steps']

    # Four steps per epoch.
    assert run(6) == 6
    assert run(6) == 6
    with pytest.raises(UsageError, match='after 6 steps'):
        run(12)
    with pytest.raises(UsageError, match='already has 6 steps'):
        run(5)


def test_labels_drawn_earlier_are_used_again():
    drawn = loading.load('fake_uniform_0.4', seed=1).noise
    other = dataclasses.replace(drawn, noisy=np.roll(drawn.noisy, 1))
    used = loading.load('fake_uniform_0.4', seed=1, frozen=other)
    assert np.array_equal(used.train.labels, other.noisy)
    unused = loading.load('fake_uniform_0.4', seed=2, frozen=other)
    assert not np.array_equal(unused.train.labels, other.noisy)


class Terminal:
    """A stream that keeps what is written and says it is a terminal."""

    def __init__(self):
        self.text = ''

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_the_bar_weighs_epochs_by_their_cost():
    terminal = Terminal()
    bar = Progress(np.array([1.0, 1.0, 3.0, 3.0]), stream=terminal)
    bar.on_train_begin()
    bar.on_epoch_end(1, {'loss': 0.5})
    bar.on_train_end()
    # The line of the epoch stays above the bar.
    assert 'epoch 2/4: loss 0.5000' in terminal.text
    last = terminal.text.split('\r')[-1]
    assert last.startswith(' 25%') and '2.0/4 epochs' in last
