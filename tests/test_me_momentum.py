"""Me-Momentum against numbers recorded from the authors' code."""

import pathlib

import numpy as np
import pytest

from ieg.methods import me_momentum
from ieg.methods.me_momentum import EARLY, REFINE, Course

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'me_momentum.npz'
TRACES = ('flat_second_round', 'hysteresis', 'long', 'short', 'twenty_stale')


def golden(prefix):
    with np.load(GOLDEN) as content:
        return {
            name.removeprefix(f'{prefix}/'): content[name]
            for name in content.files
            if name.startswith(f'{prefix}/')
        }


@pytest.mark.parametrize('name', TRACES)
def test_a_course_is_that_of_the_reference(name):
    trace = golden(name)
    config = me_momentum.Config(
        outer_rounds=int(trace['max_outer_loop']),
        inner_rounds=int(trace['max_inner_loop']) - 1,
        early_epochs=int(trace['n_epoch']),
        round_epochs=int(trace['n_epoch']),
    )
    course, version, loaded, chosen = Course(), 0, [], -1
    latest = None
    for event, score in enumerate(trace['scores']):
        action = course.advance(config) if event else 'go on'
        if action == 'refine':
            version += 1
            loaded.append([event, latest, course.outer, course.inner])
        assert course.stage == trace['phase'][event]
        assert course.outer == trace['outer'][event]
        if course.stage == REFINE:
            assert course.inner == trace['inner'][event]
        assert course.epoch == trace['epoch'][event]
        assert course.best == trace['inner_best_before'][event]
        if course.stage == EARLY:
            assert course.margin == trace['n_add_before'][event]
        assert version == trace['data_version'][event]
        better, record = course.take(score)
        assert better == trace['saved_latest'][event]
        assert record == trace['saved_global'][event]
        latest = event if better else latest
        chosen = event if record else chosen
    assert course.advance(config) == 'finish'
    assert chosen == trace['final_model_event']
    assert loaded == trace['reloads'][:, :4].tolist()
