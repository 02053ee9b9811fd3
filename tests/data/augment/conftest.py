"""Images for operations and policies."""

import numpy as np
import pytest
from paths import GOLDEN
from sklearn.datasets import load_digits


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN / 'image_ops.npz') as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def images(golden):
    """Photographs, digits, noise, little contrast and one colour."""
    rng = np.random.default_rng(0)
    digits = np.kron(load_digits().images[:2], np.ones((4, 4)))
    return np.concatenate(
        [
            golden['images'][:4],
            np.repeat(15.9 * digits[..., None], 3, -1).astype(np.uint8),
            rng.integers(0, 256, (2, 32, 32, 3), np.uint8),
            rng.integers(100, 130, (2, 32, 32, 3), np.uint8),
            np.full((1, 32, 32, 3), (7, 0, 255), np.uint8),
        ]
    )
