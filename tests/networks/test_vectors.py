"""Networks for vectors."""

import keras
import numpy as np
import pytest

from ieg.errors import UsageError
from ieg.networks import create_network
from ieg.networks.vectors import NAMES
from ieg.registry import NETWORKS

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


@pytest.mark.parametrize(
    'name, parameters',
    [('linear', 5 * 3 + 3), ('mlp', 512 * (5 + 1 + 2 + 3) + 3)],
)
def test_size_and_output(name, parameters):
    network = create_network(name, 3, (5,))
    trained = sum(np.prod(v.shape) for v in network.trainable_variables)
    assert trained == parameters
    assert network(X).shape == (6, 3)


def test_dropout_is_for_training_only():
    network = create_network('mlp', 3, (5,))
    one, other = (network(X, training=True) for _ in range(2))
    assert np.abs(one - other).max() > 0
    one, other = (network(X, training=False) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('name', NAMES)
def test_width_of_one(name):
    assert create_network(name, 2, (1,))(X[:, :1]).shape == (6, 2)


@pytest.mark.parametrize(
    'name', sorted(set(NETWORKS.names()) - {*NAMES, 'tiny'})
)
def test_networks_for_images_refuse_vectors(name):
    with pytest.raises(UsageError, match=f'{name}.*vectors.*linear'):
        create_network(name, 3, (5,))


@pytest.mark.parametrize('name', NAMES)
def test_networks_for_vectors_refuse_images(name):
    with pytest.raises(UsageError, match=f'{name}.*images'):
        create_network(name, 3, (8, 8, 1))


def test_a_network_of_a_plugin_may_take_vectors(monkeypatch):
    def build(num_classes, shape):
        x = keras.Input(shape)
        return keras.Model(x, keras.layers.Dense(num_classes)(x))

    monkeypatch.setitem(NETWORKS._entries, 'theirs', build)
    assert create_network('theirs', 3, (5,))(X).shape == (6, 3)
