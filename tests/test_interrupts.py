"""Signals that end a command, and the same command after them."""

import os
import shutil
import signal
import time

import command
import numpy as np
import pytest
import tensorflow as tf
from contract_runs import assert_same, settings, train

from ieg import experiment, results
from ieg.config import folder_of
from ieg.methods.coteaching import CoTeaching
from ieg.training.steps import StepRunner
from ieg.training.trainer import Trainer
from ieg.utils import cli, interrupt
from ieg.utils.interrupt import Interrupt, Interrupted

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--network_name=cnn',
    '--method=supervised',
    '--batch_size=2',
    '--precision=float32',
)
RUN = 'fake_uniform_0.4/supervised_cnn_s1'
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
every_signal = pytest.mark.parametrize('number', CODES)


def assert_resumes(config, whole):
    """The same command ends like a run that was not interrupted."""
    resumed = train(config, ONE)
    assert resumed.log_without_times() == whole.log_without_times()
    assert_same(resumed.arrays(), whole.arrays())


@every_signal
def test_a_signal_ends_the_block_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, Interrupt():
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert caught.value.code == CODES[number]
    assert signal.getsignal(number) is before


@every_signal
def test_a_signal_waits_where_it_is_postponed(number, capsys):
    def wait():
        with Interrupt() as interrupt, interrupt.postponed():
            assert interrupt.number == 0
            os.kill(os.getpid(), number)
            interrupt.kept = 'in epoch 3'
            raise interrupt.error()

    assert cli.run(wait) == CODES[number]
    (line,) = capsys.readouterr().err.splitlines()
    assert 'resume in epoch 3' in line


def test_only_a_later_signal_is_a_second_request(monkeypatch):
    codes = []
    monkeypatch.setattr(os, '_exit', codes.append)
    with Interrupt() as interrupted, interrupted.postponed():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert not codes
        monkeypatch.setattr(interrupt, 'SECONDS_OF_ONE_REQUEST', 0)
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_nothing_is_promised_before_the_first_step():
    text = str(Interrupt().error(signal.SIGINT))
    assert 'resume' not in text


# Of trainings.

ONE = tf.distribute.get_strategy()


@pytest.fixture(scope='module')
def whole(tiny, tmp_path_factory):
    config = settings('supervised', ONE, tmp_path_factory.mktemp('whole'))
    return train(config, ONE)


def stop_at(monkeypatch, owner, name, epochs):
    """Sends SIGTERM where a function is called after some epochs."""
    function = getattr(owner, name)
    trainers = []
    restart = Trainer.restart

    def remember(self, *args):
        trainers.append(self)
        restart(self, *args)

    def call(*args, **more):
        if len(trainers[-1].log.entries) == epochs:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*args, **more)

    monkeypatch.setattr(Trainer, 'restart', remember)
    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(
    ('owner', 'name', 'epochs', 'place'),
    [
        pytest.param(
            StepRunner, 'train', 1, 'in epoch 2', marks=pytest.mark.slow
        ),
        pytest.param(
            Trainer, '_report', 2, 'after epoch 2', marks=pytest.mark.slow
        ),
        (Trainer, 'evaluate', 1, 'in epoch 2'),
        (results, 'conclude', 3, 'after epoch 3'),
    ],
)
def test_a_training_resumes_where_it_says(
    owner, name, epochs, place, whole, tmp_path, monkeypatch
):
    config = settings('supervised', ONE, tmp_path)
    with monkeypatch.context() as patch, Interrupt() as interrupt:
        stop_at(patch, owner, name, epochs)
        with pytest.raises(Interrupted, match=f'resume {place} ') as caught:
            experiment.train(config, (), ONE, False, interrupt=interrupt)
    assert caught.value.code == 143
    unfinished = list(tmp_path.rglob('unfinished.npz'))
    assert len(unfinished) == (place == 'in epoch 2')
    assert_resumes(config, whole)


@pytest.mark.slow
def test_the_start_of_an_epoch_is_repeated(tiny, tmp_path, monkeypatch):
    more = {'noise_rate': 'auto'}
    whole = train(settings('coteaching', ONE, tmp_path / 'whole', **more), ONE)
    config = settings('coteaching', ONE, tmp_path / 'stopped', **more)
    with monkeypatch.context() as patch, Interrupt() as interrupt:
        stop_at(patch, CoTeaching, 'begin_epoch', 2)
        with pytest.raises(Interrupted, match='resume after epoch 2 '):
            experiment.train(config, (), ONE, False, interrupt=interrupt)
    assert_resumes(config, whole)


@pytest.mark.slow
def test_another_course_resumes_without_its_first_step(
    whole, tmp_path, monkeypatch
):
    config = settings('supervised', ONE, tmp_path)
    shutil.copytree(whole.folder, folder_of(config))
    first = whole.log()[0]['step']
    again = settings('supervised', ONE, tmp_path, restore_step=first)
    with monkeypatch.context() as patch, Interrupt() as interrupt:
        stop_at(patch, StepRunner, 'train', 1)
        with pytest.raises(Interrupted, match='epoch 2 .*--restore_step'):
            experiment.train(again, (), ONE, False, interrupt=interrupt)
    assert_resumes(config, whole)


# Of commands.


def wait_for(process, path, content):
    """Waits until a file has some content."""
    while process.poll() is None:
        if path.exists() and content in path.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.slow
@every_signal
def test_a_training_goes_on_in_the_middle_of_an_epoch(number, tmp_path):
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    options = (*SMALL, '--max_epoch=4', '--batch_size=2')
    process = command.start(*options, f'--checkpoint_path={whole}')
    code, _, err = command.finish(process)
    assert code == 0, err
    again = (*options, f'--checkpoint_path={stopped}')
    process = command.start(*again)
    wait_for(process, stopped / RUN / 'log.jsonl', '"epoch": 1')
    process.send_signal(number)
    code, _, err = command.finish(process)
    assert code == CODES[number]
    last = err.splitlines()[-1]
    assert 'resume in epoch 3 (step ' in last or 'after epoch 2' in last
    assert (stopped / RUN / 'checkpoints' / 'unfinished.npz').exists() == (
        'epoch 3' in last
    )
    code, _, err = command.finish(command.start(*again))
    assert code == 0, err
    assert command.log(stopped / RUN) == command.log(whole / RUN)
    found = command.weights(stopped / RUN)
    for name, values in command.weights(whole / RUN).items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.slow
def test_a_signal_before_the_first_step_keeps_and_promises_nothing(tmp_path):
    process = command.start(*SMALL, cwd=tmp_path)
    # It prints its options, then loads data and builds.
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = command.finish(process)
    assert code == 130
    assert 'resume' not in err and 'Traceback' not in err
