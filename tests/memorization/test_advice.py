"""Which epoch the memorization tracker recommends, and when it stops a run."""

import os

import numpy as np
import pytest
import tensorflow as tf
from contract_runs import tracked_settings, train

from ieg import memorization
from ieg.errors import UsageError
from ieg.memorization import recommend

ONE = tf.distribute.get_strategy()


def course(changes, fits, drops):
    means = np.cumsum(drops) / np.arange(1, len(drops) + 1)
    rows = zip([None, *changes[1:]], fits, drops, means, strict=True)
    found = []
    for epoch, (changed, fit, drop, mean) in enumerate(rows):
        entry = {'epoch': epoch, 'step': 10 * epoch + 10, 'fit_accuracy': fit}
        entry |= {'susceptibility_drop': drop, 'susceptibility': mean}
        if changed is not None:
            entry['prediction_changes'] = changed
        found.append(entry)
    return found


TIMELINE = np.arange(20)
RISING = list(TIMELINE / 20)
GROWING = list(TIMELINE + 1.0)


def test_the_first_minimum_of_changes_is_recommended():
    found = recommend(course(list(abs(TIMELINE - 9.0)), RISING, GROWING))
    assert found['recommended_epoch'] == found['label_wave_epoch'] == 9
    assert found['recommended_step'] == 100 and found['quiet_epoch'] is None


def test_both_signals_must_have_passed():
    drops = [*np.ones(15), 0.5, *np.full(4, 3.0)]
    found = recommend(course(list(abs(TIMELINE - 9.0)), RISING, drops))
    assert found['quiet_epoch'] == found['recommended_epoch'] == 15


def test_without_a_sign_it_is_the_last_epoch():
    found = recommend(course(list(20.0 - TIMELINE), RISING, GROWING))
    assert found['label_wave_epoch'] is None
    assert found['recommended_epoch'] == 19
    assert recommend([{'epoch': 0}])['recommended_epoch'] is None


def early(entries):
    return {'recommended_epoch': 0, 'recommended_step': 8, 'reason': ''}


@pytest.mark.parametrize('mode', ['mark', 'stop'])
def test_a_run_is_marked_or_stopped(mode, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(memorization, 'recommend', early)
    monkeypatch.setattr(memorization, 'PATIENCE', 1)
    config = tracked_settings(
        'supervised',
        ONE,
        tmp_path,
        max_epoch=3,
        keep_checkpoints=1,
        stop_on_memorization=mode,
    )
    run = train(config, ONE)
    log = run.log()
    assert len(log) == (2 if mode == 'stop' else 3)
    told = [e['epoch'] for e in log if 'remarks' in e]
    assert told == [1]
    assert '--restore_step=8' in log[1]['remarks'][0]
    if mode == 'stop':
        assert os.path.exists(run.folder / 'checkpoints' / 'ckpt-8.npz')
        assert train(config, ONE).log() == log


def test_to_stop_one_must_track(tiny, tmp_path):
    with pytest.raises(UsageError, match='--track_memorization'):
        tracked_settings(
            'supervised',
            ONE,
            tmp_path,
            track_memorization=False,
            stop_on_memorization='stop',
        )
