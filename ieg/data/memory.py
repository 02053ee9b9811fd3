"""Images that are an array."""

from collections.abc import Callable
from typing import Any

import numpy as np


class InMemory:
    """Images of an array; see `parts.Images`."""

    def __init__(self, array: np.ndarray):
        self.array = array
        self.shape = array.shape[1:]
        self.fetch = _gather(array)

    def __len__(self) -> int:
        return len(self.array)

    def take(self, indices: np.ndarray) -> 'InMemory':
        """Returns some of them; all of them cost no second copy."""
        count = len(self.array)
        if len(indices) == count and np.array_equal(indices, np.arange(count)):
            return self
        return InMemory(self.array[indices])


def _gather(images: np.ndarray) -> Callable[[Any, Any], Any]:
    """Returns the `fetch` of images that are in memory.

    The tensor is made when it is first needed, so a split whose images are
    only ever held by the accelerator costs no second copy.
    """
    held = []

    def fetch(ids: Any, seeds: Any) -> Any:
        import tensorflow as tf

        del seeds
        if not held:
            # Outside of any graph: inside, it would become part of it.
            with tf.init_scope(), tf.device('CPU:0'):
                held.append(tf.constant(images))
        return tf.gather(held[0], ids)

    return fetch
