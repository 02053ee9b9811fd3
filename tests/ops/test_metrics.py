"""The noise rate: estimated from predictions, or known by its name."""

import numpy as np
import pytest

from ieg import config as ieg_config
from ieg.data import spec
from ieg.ops import metrics
from ieg.registry import NOISES


def confused(matrix, count, sharpness=1.0, seed=0):
    """Returns logits `[N, C]` and labels that were drawn from a matrix.

    The logits are of a network that knows the classes and the noise.
    """
    rng = np.random.default_rng(seed)
    num_classes = len(matrix)
    true = rng.integers(num_classes, size=count)
    draws = rng.random((count, 1))
    labels = (draws > np.cumsum(matrix[true], axis=1)).sum(axis=1)
    logits = sharpness * np.log(matrix[true] + 1e-3)
    return logits + rng.normal(0, 0.3, logits.shape), labels


@pytest.mark.parametrize(
    ('kind', 'rate'),
    [
        ('symmetric', 0.2),
        ('symmetric', 0.5),
        ('pairflip', 0.2),
        ('pairflip', 0.4),
        ('asymmetric', 0.4),
    ],
)
def test_the_noise_rate_is_estimated(kind, rate):
    matrix = NOISES.get(kind)(rate, 10, 'cifar10')
    logits, labels = confused(matrix, 5000)
    wrong = 1 - np.trace(matrix) / 10
    found = metrics.estimate_noise_rate(logits, labels)
    assert found == pytest.approx(wrong, abs=0.04)


def test_labels_that_are_right_have_no_noise():
    labels = np.arange(500) % 5
    logits = np.random.default_rng(0).normal(0, 0.5, (500, 5))
    logits[np.arange(500), labels] += 8
    assert metrics.estimate_noise_rate(logits, labels) < 0.005


def test_the_joint_counts_by_confident_class():
    # Of class 1 there is no example, so nothing is confidently in it.
    logits = np.log(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.0, 0.9]]
        + 1e-9 * np.ones((3, 3))
    )
    labels = np.array([0, 2, 2])
    expected = [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(
        metrics.confident_joint(logits, labels), expected
    )


def test_classes_without_examples_change_nothing():
    matrix = NOISES.get('symmetric')(0.3, 4, 'fake')
    logits, labels = confused(matrix, 4000)
    alone = metrics.estimate_noise_rate(logits, labels)
    more = np.concatenate([logits, np.full((4000, 2), -9.0)], axis=1)
    found = metrics.estimate_noise_rate(more, labels)
    assert found == pytest.approx(alone, abs=1e-3)
    assert alone == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize(
    'kind', ['uniform', 'symmetric', 'asymmetric', 'pairflip']
)
@pytest.mark.parametrize(
    ('base', 'num_classes'),
    [
        ('cifar10', 10),
        ('cifar100', 100),
        ('mnist', 10),
        ('fashion_mnist', 10),
        ('digits', 10),
        ('fake', 4),
    ],
)
def test_the_noise_rate_of_a_data_set_is_that_of_its_matrix(
    kind, base, num_classes
):
    matrix = NOISES.get(kind)(0.4, num_classes, base)
    dataset = spec.parse(f'{base}_{kind}_0.4')
    found = dataset.expected_noise_rate
    assert found == pytest.approx(1 - np.trace(matrix) / num_classes)
    config = ieg_config.resolve(
        {
            'method': 'coteaching',
            'dataset': str(dataset),
            'network_name': 'cnn',
        }
    )
    assert float(config.method.noise_rate) == pytest.approx(found)


def test_labels_as_they_are_have_no_known_noise_rate():
    config = ieg_config.resolve({'method': 'coteaching', 'dataset': 'cifar10'})
    assert config.method.noise_rate == 'auto'
    assert config.train.network_name == 'cnn9'
