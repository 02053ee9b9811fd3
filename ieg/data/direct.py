"""Batches without an input pipeline: steps gather vectors from memory.

An iterator costs more than a step of a small network, and a new data set of
`tf.data` more than an epoch. So the plan of a phase is held in variables, from
which a compiled step reads its row; whatever the plan or the examples are, it
is compiled once.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ieg.data import vectors
from ieg.data.dataset import Split


def _variable(values: np.ndarray) -> tf.Variable:
    """Returns a variable that may take another number of rows."""
    shape = (None, *values.shape[1:])
    return tf.Variable(values, trainable=False, shape=shape)


class Steps:
    """The steps of a phase, one after the other; an iterator for steps.

    Args:
        plan: by name what all steps share, or has a row for each step: `start`
            and `seed`, and all others.
    """

    def __init__(self, plan: Mapping[str, np.ndarray]):
        with tf.device('CPU:0'):
            self._number = tf.Variable(0, trainable=False, dtype=tf.int32)
            self._seed = tf.Variable(plan['seed'], trainable=False)
            self._rows = {
                name: _variable(values)
                for name, values in plan.items()
                if '/' in name
            }
        self.begin(plan)

    def begin(self, plan: Mapping[str, np.ndarray]) -> None:
        """Begins another phase, with a plan of the same names."""
        self._number.assign(plan['start'].astype(np.int32))
        self._seed.assign(plan['seed'])
        for name, variable in self._rows.items():
            variable.assign(plan[name])

    def get_next(self) -> dict[str, tf.Tensor]:
        """Returns the row of the next step, and its `number` and `seed`."""
        number = tf.identity(self._number)
        rows = {n: tf.gather(v, number) for n, v in self._rows.items()}
        self._number.assign_add(1)
        return rows | {'number': number, 'seed': tf.identity(self._seed)}


class Examples:
    """Vectors and labels of a split, which another one can replace.

    Args:
        split: of vectors.
    """

    def __init__(self, split: Split):
        assert split.vectors is not None
        self._tensors = split.vectors.tensors()
        with tf.device('CPU:0'):
            self._places = _variable(split.vectors.places())
            self._labels = _variable(split.labels)

    def replace(self, split: Split) -> None:
        """Takes other examples of the same part of the data."""
        assert split.vectors is not None
        rows, _ = split.vectors.tensors()
        assert rows is self._tensors[0], 'the rows are compiled into steps'
        self._places.assign(split.vectors.places())
        self._labels.assign(split.labels)

    def labels(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the given labels of some examples [b]."""
        return tf.gather(self._labels, ids)

    def fetch(self, ids: tf.Tensor, seeds: tf.Tensor | None) -> tf.Tensor:
        """Returns vectors of some examples; see `vectors.pick`."""
        return vectors.pick(*self._tensors, tf.gather(self._places, ids), seeds)
