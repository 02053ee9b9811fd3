"""An epoch that is being trained, and what a checkpoint holds of it."""

import time

import numpy as np
import pytest

from ieg.methods.base import Phase
from ieg.training import checkpoint
from ieg.training.running import Running


def test_an_epoch_is_the_same_after_it_was_saved(tmp_path):
    first = Phase('one', {'train': np.arange(3)}, 2)
    last = Phase(
        'other',
        {'train': np.arange(4), 'probe': np.array([7])},
        3,
        (1, None, 'a', 0.1, True),
        {'share': np.ones(3)},
        0.1,
    )
    running = Running(
        5,
        [first, last],
        time.monotonic() - 100,
        number=1,
        done=2,
        logs={'loss': [np.float32(0.1), np.float32('nan')]},
        seconds=0.3,
        figures={'rate': 0.1, 'counts': [1, 2]},
        remarks=['near'],
        measured={'Tracker': {'drops': {}, 'predictions': np.arange(2)}},
    )
    path = str(tmp_path / 'file.npz')
    checkpoint.write(path, {'epoch': running.record()})
    found = Running.resumed(checkpoint.read(path)['epoch'])
    assert (found.steps_done, found.total) == (4, 5)
    assert found.started == pytest.approx(running.started, abs=5)
    assert found.phases[1].args == last.args
    assert found.logs['loss'][0].dtype == np.float32
    running.started = found.started
    # Arrays cannot be compared by ==.
    assert repr(found) == repr(running)
