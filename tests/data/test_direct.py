"""Batches that steps gather themselves: those of the input pipeline."""

import loading
import numpy as np
import pytest
import tensorflow as tf
import vector_files
from pipelines import STREAMS, assert_same, collect, joined

from ieg import folds
from ieg.data.pipeline import Pipeline
from ieg.methods.base import Phase

PHASE = Phase(
    'step',
    {'train': np.arange(5, 40), 'pair': np.arange(50, 60)},
    4,
    per_step={'share': np.linspace(0, 1, 4)},
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    path = vector_files.make_npz(
        tmp_path_factory.mktemp('vectors') / 'some.npz', views=2
    )
    return loading.load('npz', data_dir=path)


def make(data, strategy, direct=True):
    streams = {name: STREAMS[name] for name in PHASE.examples}
    return Pipeline(data, streams, strategy, seed=3, direct=direct)


@pytest.mark.parametrize('start', [0, 3])
def test_the_batches_of_a_phase(data, strategy, start):
    host, direct = (
        collect(make(data, strategy, direct), strategy, PHASE, start=start)
        for direct in (False, True)
    )
    for one, other in zip(host, direct, strict=True):
        steps = other.pop('step')
        for name, values in one.pop('step').items():
            # What is the same on all replicas is there once.
            same = values[: len(steps[name])]
            np.testing.assert_array_equal(steps[name], same)
    assert_same(host, direct)


def swept(pipeline, strategy, split, ids=None):
    batches = pipeline.sweep(split, 16, ids)
    return [
        joined(strategy.run(pipeline.materialise, args=(batch, split)))
        for batch in batches
    ]


@pytest.mark.parametrize('ids', [None, np.arange(3, 30)])
def test_the_batches_of_a_sweep(data, strategy, ids):
    assert_same(
        *(
            swept(make(data, strategy, direct), strategy, 'test', ids)
            for direct in (False, True)
        )
    )


def test_other_examples_need_no_other_graph(data):
    pipeline = make(data, tf.distribute.get_strategy())

    @tf.function(autograph=False)
    def step(steps):
        return pipeline.materialise(steps.get_next())

    def batch(pipeline):
        return step(pipeline.batches(PHASE, 0, 0, np.ones(PHASE.num_steps)))

    batch(pipeline)
    some = folds.data_of(data, np.arange(24))
    pipeline.exchange(some)
    fresh = make(some, tf.distribute.get_strategy(), direct=False)
    expected = next(fresh.batches(PHASE, 0, 0, np.ones(PHASE.num_steps)))
    assert_same(batch(pipeline), expected)
    assert step.experimental_get_tracing_count() == 1
