"""Views of vectors."""

import numpy as np
import pytest
import tensorflow as tf

from ieg.data.augment.vector_views import VECTOR_VIEWS
from ieg.data.augment.views import VIEWS, Draws
from ieg.data.dataset import Preprocessing
from ieg.data.vectors import Vectors

COUNT, WIDTH = 64, 100
X = np.random.default_rng(0).normal(5, 3, (COUNT, WIDTH)).astype(np.float32)
X[:, 0] = 7
RECIPE = Preprocessing.of_vectors(Vectors(X))


def shown_tensor(name, offset=0, count=COUNT, seed=(1, 2)):
    draws = Draws(tf.constant(seed), tf.constant(offset), count, COUNT)
    own = tf.constant(X[offset : offset + count])
    return VECTOR_VIEWS[name](own, draws, RECIPE)


def shown(name, **where):
    return shown_tensor(name, **where).numpy()


def test_all_views_have_one_for_vectors():
    assert VECTOR_VIEWS.keys() == VIEWS.keys()


def test_plain():
    plain = shown('plain')
    np.testing.assert_allclose(plain[:, 1:].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(plain[:, 1:].std(0), 1, atol=1e-5)
    np.testing.assert_array_equal(plain[:, 0], 0)


# What is kept is divided by its exact probability.
WEAK, STRONG = 1 - 26 / 256, 1 - 77 / 256


def test_weak_drops_a_tenth():
    plain, weak = shown('plain')[:, 1:], shown('weak')[:, 1:]
    dropped = weak == 0
    assert 0.08 < dropped.mean() < 0.12
    np.testing.assert_allclose(
        weak[~dropped], plain[~dropped] / WEAK, rtol=1e-6
    )


def test_strong_drops_more_and_jitters():
    plain, strong = shown('plain')[:, 1:], shown('autoaug')[:, 1:]
    dropped = strong == 0
    assert 0.27 < dropped.mean() < 0.33
    noise = (strong * STRONG - plain)[~dropped]
    assert abs(noise.mean()) < 0.01
    assert 0.09 < noise.std() < 0.11


@pytest.mark.parametrize('name', ['weak', 'randaug'])
def test_independent_of_the_number_of_replicas(name):
    halves = [shown(name, offset=n, count=32) for n in (0, 32)]
    np.testing.assert_array_equal(np.concatenate(halves), shown(name))


@pytest.mark.parametrize('name', ['weak', 'randaug'])
def test_another_seed_gives_another_view(name):
    assert (shown(name) != shown(name, seed=(3, 4))).any()


@pytest.mark.parametrize('name', ['weak', 'randaug'])
def test_the_same_with_xla(name):
    compiled = tf.function(lambda: shown_tensor(name), jit_compile=True)
    once = compiled()
    np.testing.assert_allclose(once, shown(name), atol=1e-6)
