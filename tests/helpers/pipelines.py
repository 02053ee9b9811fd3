"""Pipelines of batches, and all that they give."""

import numpy as np
import pytest
import tensorflow as tf

from ieg.data.pipeline import Pipeline
from ieg.methods.base import Stream

STREAMS = {
    'train': Stream(8),
    'pair': Stream(4, ('weak', 'weak')),
    'probe': Stream(4, ('plain',), 'probe'),
}


def make(fake, strategy, seed=3, on_device=False, streams=STREAMS):
    with strategy.scope():
        return Pipeline(fake, streams, strategy, seed, on_device)


def joined(values):
    """Puts the parts of all replicas together."""
    if isinstance(values, dict):
        return {name: joined(value) for name, value in values.items()}
    if isinstance(values, tuple | list):
        return [joined(value) for value in values]
    parts = getattr(values, 'values', [values])
    return np.concatenate([np.atleast_1d(part.numpy()) for part in parts])


def collect(pipeline, strategy, phase, epoch=0, number=0, start=0):
    """Returns the batches of a phase as a step would see them."""
    rates = np.linspace(1, 2, phase.num_steps)
    iterator = pipeline.batches(phase, epoch, number, rates, start)

    @tf.function(autograph=False)
    def step():
        batch = iterator.get_next()
        return strategy.run(pipeline.materialise, args=(batch,))

    batches = []
    for _ in range(phase.num_steps - start):
        batches.append(joined(step()))
    with pytest.raises(tf.errors.OpError):
        step()
    return batches


def assert_same(one, two):
    tf.nest.map_structure(np.testing.assert_array_equal, one, two)
