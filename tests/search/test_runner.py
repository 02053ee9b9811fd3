"""The runner of a search: trials that share steps, and their ends."""

import errno
import os

import command
import numpy as np
import pytest
import tensorflow as tf
from searching import DATA, S2E, resolve

from ieg import config as ieg_config
from ieg.errors import UsageError
from ieg.methods.coteaching import CoTeaching
from ieg.search import runner, store
from ieg.search.store import Result, Trial
from ieg.training.checkpoint import Checkpoints
from ieg.training.devices import make_strategy

pytestmark = pytest.mark.usefixtures('tiny', 'restored')

ALONE = {k: v for k, v in S2E.items() if not k.startswith('search')} | {
    'search': ''
}


@pytest.fixture(scope='module')
def one(tiny, tmp_path_factory):
    """A runner of S2E's trials."""
    path = tmp_path_factory.mktemp('one')
    return runner.Runner(resolve(path, **ALONE))


def log(folder):
    return command.log(folder)


def test_trials_that_share_steps_trace_them_once(one, tmp_path):
    first = Trial('0', 'warm', {}, 1)
    other = Trial('1', 'warm', {'tau_multiplier': 1.5, 'beta1_late': 0.5}, 1)
    fresh = runner.Runner(one._config)
    fresh.train(other, str(tmp_path / 'fresh'))
    one.facts()
    built = one._built
    one.seconds()  # Leaves no trace.
    for number, trial in enumerate((other, first, other)):
        one.train(trial, str(tmp_path / str(number)))
    assert one._built is built
    counts = built.experiment.trainer.steps.trace_counts()
    assert set(counts.values()) == {1}, counts
    logs = [log(tmp_path / name) for name in ('fresh', '0', '1', '2')]
    assert logs[0] == logs[1] == logs[3] != logs[2]
    expected = command.weights(tmp_path / 'fresh')
    for name in ('0', '2'):
        found = command.weights(tmp_path / name)
        assert found.keys() == expected.keys() and len(found) > 10
        for variable, values in expected.items():
            np.testing.assert_array_equal(found[variable], values)
    assert not os.path.exists(one._nowhere)
    # Whatever steps depend on builds them anew, and the data stay.
    data, built = fresh._data, fresh._built
    for changed in ({'seed': 7}, {'learning_rate': 0.01}):
        fresh._build(ieg_config.resolve(ALONE | changed), str(tmp_path / 'new'))
        assert fresh._built is not built and fresh._data is data
        built = fresh._built


def test_checkpoints_of_another_trial_are_a_mistake(one, tmp_path):
    one.train(Trial('0', 'warm', {}, 1), str(tmp_path))
    with pytest.raises(UsageError, match='tau_multiplier .*1.0.*1.5'):
        one.train(Trial('0', 'warm', {'tau_multiplier': 1.5}, 1), str(tmp_path))


def test_impossible_options_are_refused(one, tmp_path, monkeypatch):
    trial = Trial('0', 'search', {'tau_multiplier': 4.0}, 1)
    result = one.train(trial, str(tmp_path))
    assert (result.status, result.score) == ('refused', store.LOWEST)
    assert 'tau is 1.2' in result.remark
    # Also where a method notices under way.

    def refuse(self, epoch, score):
        raise UsageError('not like this')

    monkeypatch.setattr(CoTeaching, 'begin_epoch', refuse)
    result = one.train(Trial('1', 'search', {}, 1), str(tmp_path / '1'))
    assert result == Result('refused', store.LOWEST, remark='not like this')


@pytest.mark.parametrize('full', [True, False])
def test_a_failure_is_recorded_but_a_full_disk_is_not(
    full, one, tmp_path, monkeypatch
):
    def save(*arguments):
        words = 'some file; No space left on device' if full else ''
        raise tf.errors.ResourceExhaustedError(None, None, words)

    monkeypatch.setattr(Checkpoints, 'save', save)
    trial = Trial('0', 'search', {}, 1)
    if full:
        with pytest.raises(OSError) as caught:
            one.train(trial, str(tmp_path))
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == 'some file'
        return
    result = one.train(trial, str(tmp_path))
    assert (result.status, result.score) == ('failed', store.LOWEST)
    assert result.remark


def test_only_what_is_searched_is_given_up(tmp_path):
    """Guesses that a rate of next to nothing does not improve."""
    given = DATA | {'method': 'supervised', 'learning_rate': 1e-9}
    other = runner.Runner(resolve(tmp_path, **given, max_epoch=4))
    found = [
        other.train(Trial('0', stage, {}, 1), str(tmp_path / stage))
        for stage in ('search', 'warm', 'search')
    ]
    assert [(r.status, r.epochs) for r in found] == [
        ('stopped', 3),
        ('done', 4),
        ('stopped', 3),  # From the checkpoint where it was given up.
    ]
    assert -1 <= found[0].score < 0 <= found[1].score
    assert found[0] == found[2]
    assert found[0].score + 1 == log(tmp_path / 'search')[-1]['valid_accuracy']


def test_one_strategy_serves_all_trials(two_replicas):
    assert make_strategy('auto', num_replicas=2) is two_replicas
    assert make_strategy('default', num_replicas=2) is two_replicas
