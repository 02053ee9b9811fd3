"""Whole searches, most of them in processes of their own."""

import contextlib
import os
import signal
import time

import command
import pytest
from paths import PLUGINS
from searching import (
    DATA,
    S2E,
    flags_of,
    outcome,
    records,
    resolve,
    search,
)

from ieg import options as options_

pytestmark = pytest.mark.slow

RUN = 'fake_uniform_0.4/s2e_cnn_s1'
PROCESSES = S2E | {
    'network_name': 'cnn',
    'search_again': 1,
    'search_iterations': 1,
}


def start(path, *more, **environment):
    return command.start(
        *flags_of(PROCESSES), f'--checkpoint_path={path}', *more, **environment
    )


def finish(process):
    code, out, err = command.finish(process, timeout=600)
    assert code == 0, err
    return out


def children(pid):
    found = []
    for path in os.listdir('/proc'):
        with contextlib.suppress(OSError, ValueError):
            with open(f'/proc/{int(path)}/stat') as file:
                if int(file.read().rpartition(')')[2].split()[1]) == pid:
                    found.append(int(path))
    return found


def assert_gone(pids):
    for _ in range(100):
        if not [pid for pid in pids if os.path.exists(f'/proc/{pid}')]:
            return
        time.sleep(0.1)
    raise AssertionError(f'{pids} are still there')


def wait_for_trials(process, path, count):
    """Waits until so many epochs of trials are logged."""
    folder = path / RUN / 'search'
    while process.poll() is None:
        logs = folder.glob('trial_*/log.jsonl')
        if sum(log.read_text().count('\n') for log in logs) >= count:
            return
        time.sleep(0.01)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp('alone')
    finish(start(path))
    return path


@pytest.mark.parametrize('parallel', [1, 2])
def test_a_signal_ends_a_search_that_then_goes_on(parallel, alone, tmp_path):
    more = f'--parallel_trials={parallel}'
    process = start(tmp_path, more)
    wait_for_trials(process, tmp_path, 1)
    pids = children(process.pid)
    process.send_signal(signal.SIGTERM)
    code, _, err = command.finish(process)
    assert code == 143
    assert 'resume the search' in err.splitlines()[-1]
    assert 'Traceback' not in err
    assert_gone(pids)
    finish(start(tmp_path, more))
    assert records(tmp_path / RUN) == records(alone / RUN)
    assert outcome(tmp_path / RUN) == outcome(alone / RUN)


def test_kills_change_nothing(alone, tmp_path):
    for count in (1, 2, 5):
        process = start(tmp_path)
        wait_for_trials(process, tmp_path, count)
        assert process.poll() is None
        process.kill()
        process.communicate()
    finish(start(tmp_path))
    assert records(tmp_path / RUN) == records(alone / RUN)
    assert outcome(tmp_path / RUN) == outcome(alone / RUN)
    assert command.log(tmp_path / RUN) == command.log(alone / RUN)


def test_the_number_of_processes_changes_nothing(alone, tmp_path):
    finish(start(tmp_path, '--parallel_trials=2'))
    assert records(tmp_path / RUN) == records(alone / RUN)
    assert outcome(tmp_path / RUN) == outcome(alone / RUN)
    assert command.log(tmp_path / RUN) == command.log(alone / RUN)


@pytest.fixture
def interruptible():
    """Lets processes take SIGINT where pytest itself is in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_search(number, alone, tmp_path):
    process = start(tmp_path, '--parallel_trials=2')
    wait_for_trials(process, tmp_path, 3)
    workers = children(process.pid)
    # Two that train, and the one by which Python tracks resources.
    assert len(workers) >= 2
    process.send_signal(number)
    code, _, err = command.finish(process, timeout=30)
    assert_gone(workers)
    assert 'Traceback' not in err
    if number == signal.SIGINT:
        assert code == 130
        assert err.splitlines()[-1].startswith('ieg: Interrupted')
    finish(start(tmp_path))
    assert records(tmp_path / RUN) == records(alone / RUN)


def test_a_process_that_dies_costs_its_trial_only(tmp_path):
    deaths = tmp_path / 'deaths'
    options = PROCESSES | {
        'method': 'dying',
        'plugin': 'dying',
        'search': 'fatal:0..1',
        'searcher': 'random',
        'search_population': 5,
        'parallel_trials': 2,
        'checkpoint_path': tmp_path,
    }
    finish(command.start(*flags_of(options), cwd=PLUGINS, DEATHS=str(deaths)))
    lines = records(tmp_path / 'fake_uniform_0.4/dying_cnn_s1')
    failed = [x for x in lines if x['result']['status'] == 'failed']
    for line in lines:
        fatal = line['trial']['options'].get('fatal', 0) >= 0.5
        assert (line in failed) is fatal
        assert line['result']['status'] in ('done', 'failed')
    assert failed and all('died' in x['result']['remark'] for x in failed)
    # Each was tried twice.
    assert deaths.read_text().count('died') == 2 * len(failed)


def test_a_search_on_two_replicas(tmp_path):
    more = ('--num_replicas=2', '--batch_size=8')
    finish(start(tmp_path, *more))
    lines = records(tmp_path / RUN)
    assert {x['result']['status'] for x in lines} <= {'done', 'same'}
    assert len(command.log(tmp_path / RUN)) == 2


def test_two_options_of_another_method(tmp_path):
    options = DATA | {
        'network_name': 'cnn',
        'method': 'supervised',
        'max_epoch': 4,
        'learning_rate': 0.01,
        'search': 'learning_rate:1e-9..0.01:log,label_smoothing:0..0.3',
        'search_iterations': 1,
        'search_population': 4,
        'search_again': 1,
    }
    final = search(resolve(tmp_path, **options))
    folder = tmp_path / 'fake_uniform_0.4/supervised_cnn_s1'
    lines = records(folder)
    assert len(lines) == 6
    assert {x['result']['status'] for x in lines} <= {'done', 'stopped'}
    chosen = outcome(folder)['options']
    assert final.train.learning_rate == chosen.get('learning_rate', 0.01)
    assert final.search == options_.SearchConfig()


def test_an_option_that_is_a_text(tmp_path):
    options = DATA | {
        'network_name': 'cnn',
        'method': 'dividemix',
        'warm_up': 1,
        'max_epoch': 2,
        'search': 'lambda_u:0..150',
        'search_iterations': 1,
        'search_population': 2,
        'search_again': 1,
    }
    final = search(resolve(tmp_path, **options))
    folder = tmp_path / 'fake_uniform_0.4/dividemix_cnn_s1'
    assert len(records(folder)) == 4
    chosen = outcome(folder)['options'].get('lambda_u', 'auto')
    assert final.method.lambda_u == chosen
