"""A search from the command line: its course, mistakes, going on."""

import json
import re

import command
import numpy as np
import pytest
from command import assert_mistake, ieg
from searching import (
    RUN,
    S2E,
    flags_of,
    outcome,
    records,
    resolve,
    results_of,
    search,
)

from ieg import config as ieg_config
from ieg.search import driver, runner
from ieg.search.store import Store
from ieg.training import trainer
from ieg.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures('tiny')


class Killed(BaseException):
    """Stands for the end of a process."""


# The course of a search.


@pytest.fixture(scope='module')
def whole(tiny, tmp_path_factory):
    """A search that nothing interrupts, and the training that it leads to."""
    path = tmp_path_factory.mktemp('whole')
    return path, *ieg(*flags_of(S2E), f'--checkpoint_path={path}')


def test_the_search_goes_through_its_stages(whole):
    path, code, _, err = whole
    assert code == 0, err
    trials = [line['trial'] for line in records(path / RUN)]
    stages = [trial['stage'] for trial in trials]
    assert stages[:8] == ['warm'] * 2 + ['search'] * 6
    assert set(stages[8:]) == {'again'} and 2 <= len(stages[8:]) <= 3
    assert [t['name'] for t in trials[:8]] == [str(n) for n in range(8)]
    assert trials[0]['options'] == {}
    assert trials[1]['options'] == {'tau_multiplier': 1.25}
    for trial in trials[2:8]:
        assert list(trial['options']) == ['keep_schedule']
        assert len(trial['point']) == 12
    seeds = [trial['seed'] for trial in trials]
    assert set(seeds[:8]) == {1} and len(set(seeds[8:]) - {1}) == 1


def test_the_best_are_repeated_and_the_best_of_those_is_chosen(whole):
    path = whole[0]
    results = results_of(path)
    done = [
        name
        for name, result in results.items()
        if result['status'] == 'done' and '_again' not in name
    ]
    ranked = sorted(done, key=lambda name: -results[name]['score'])
    again = [name for name in results if name.endswith('_again')]
    repeated = list(dict.fromkeys([*ranked[:2], '0']))
    assert again == [f'{name}_again' for name in repeated]
    pairs = {
        name: [results[name]['score'], results[f'{name}_again']['score']]
        for name in repeated
    }
    best = max(pairs, key=lambda name: np.mean(pairs[name]))
    found = outcome(path / RUN)
    assert found['trial'] == best and found['scores'] == pairs[best]
    assert found['score'] == pytest.approx(np.mean(pairs[best]))
    assert found['score_as_configured'] == pytest.approx(np.mean(pairs['0']))
    assert found['score'] >= found['score_as_configured']


def test_a_schedule_is_trained_once(whole):
    path = whole[0]
    results = results_of(path)
    same = {n: r for n, r in results.items() if r['status'] == 'same'}
    assert same, 'another seed is needed'
    for name, result in same.items():
        assert result['score'] == results[result['remark']]['score']
        assert result['epochs'] == 0
        assert not (path / RUN / 'search' / f'trial_{name}').exists()


def test_a_trial_sees_no_test_split(whole):
    path = whole[0]
    logs = list((path / RUN / 'search').glob('trial_*/log.jsonl'))
    assert len(logs) >= 5
    for log in logs:
        for line in log.read_text().splitlines():
            entry = json.loads(line)
            assert 'valid_accuracy' in entry
            assert not [name for name in entry if name.startswith('test')]
    assert 'test_accuracy' in command.log(path / RUN)[-1]


def test_only_logs_of_trials_stay(whole):
    path = whole[0]
    folders = (path / RUN / 'search').glob('trial_*')
    for folder in folders:
        assert [p.name for p in folder.iterdir()] == ['log.jsonl']
    names = {p.name for p in (path / RUN / 'search').iterdir()}
    names = {name for name in names if not name.startswith('trial_')}
    assert names == {'search.json', 'trials.jsonl', 'best.json'}


def test_the_training_has_what_was_found(whole):
    path = whole[0]
    config = json.loads((path / RUN / 'config.json').read_text())
    chosen = outcome(path / RUN)['options']
    assert config['search'] == '' and config['method'] == 's2e'
    assert config['max_epoch'] == 2 and config['seed'] == 1
    for name, usual in (
        ('keep_schedule', 'reference_code'),
        ('tau_multiplier', 1.0),
    ):
        assert config[name] == chosen.get(name, usual)


def test_the_search_tells_what_it_does(whole):
    path, _, out, err = whole
    assert re.search(
        'Search: about 10 trials of 2 epochs, 0 done; about .* min', err
    )
    assert err.count('\ntrial ') == len(records(path / RUN))
    assert '<- chosen' in out
    assert f'{len(records(path / RUN))} trials: ' in out
    assert 'test accuracy, last' in out
    picture = (path / RUN / 'search.png').read_bytes()
    assert picture.startswith(b'\x89PNG') and len(picture) > 5000


def count_steps(monkeypatch):
    made, real = [], trainer.Trainer._epoch

    def epoch(self, *arguments):
        made.append(arguments[0])
        return real(self, *arguments)

    monkeypatch.setattr(Trainer, '_epoch', epoch)
    monkeypatch.setattr(
        Trainer, 'seconds_per_epoch', lambda self: made.append('measured')
    )
    return made


def test_the_same_command_trains_nothing_again(whole, monkeypatch):
    path, _, out, _ = whole
    made = count_steps(monkeypatch)
    before = records(path / RUN)
    code, again, err = ieg(*flags_of(S2E), f'--checkpoint_path={path}')
    (line,) = set(again.splitlines()) - set(out.splitlines())
    assert code == 0 and 'was complete' in line
    assert 'no trials left' in err
    assert made == [] and records(path / RUN) == before


def test_evaluation_is_of_what_was_found(whole, tmp_path):
    path = whole[0]
    arguments = (*flags_of(S2E), '--mode=evaluation')
    code, out, _ = ieg(*arguments, f'--checkpoint_path={path}')
    accuracy = command.log(path / RUN)[-1]['test_accuracy']
    assert code == 0 and f'{accuracy:.4f}' in out
    result = ieg(*arguments, f'--checkpoint_path={tmp_path}')
    assert_mistake(result, 'has not finished', '--mode=train')


def test_the_configuration_of_the_run_trains_without_a_search(whole):
    path, _, out, _ = whole
    code, again, _ = ieg(f'--config={path / RUN / "config.json"}')
    assert code == 0
    assert again.splitlines()[-3:] == out.splitlines()[-3:]


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'search': 'lambda_u:150..0'}, ['reversed']),
        ({'search_population': 4}, ['search_population was 3', 'now 4']),
        ({'searcher': 'random'}, ["searcher was 'betanes'", "'random'"]),
        ({'searcher': 'betane'}, ["mean 'betanes'"]),
        ({'learning_rate': 0.1}, ['search', 'learning_rate']),
        ({'valid_ratio': 0}, ['--valid_ratio']),
        ({'search_epochs': 3}, ['--search_epochs=3', 'the 2 epochs']),
        ({'max_epoch': 0, 'max_iteration': 9, 'search_epochs': 1}, ['--max_e']),
        ({'search_iterations': 3}, ['--search_iterations=2', 'checkpoints']),
        ({'search': ''}, ['--search_', 'needs --search']),
        ({'searcher': 'betaness'}, ['searcher', "mean 'betanes'"]),
        (
            {'distribution_strategy': 'mirrored', 'parallel_trials': 2},
            ['--parallel_trials', 'mirrored'],
        ),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence(given, words, whole):
    path = whole[0]
    before = records(path / RUN)
    options = S2E | {'checkpoint_path': path} | given
    options = {k: v for k, v in options.items() if k != 'max_epoch' or v}
    assert_mistake(ieg(*flags_of(options)), *words)
    assert records(path / RUN) == before


def test_a_run_that_no_search_led_to_is_a_mistake(tmp_path):
    (tmp_path / RUN / 'checkpoints').mkdir(parents=True)
    result = ieg(*flags_of(S2E), f'--checkpoint_path={tmp_path}')
    assert_mistake(result, 'without a search', '--run_name')


def test_several_machines_are_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv('TF_CONFIG', '{}')
    result = ieg(*flags_of(S2E), f'--checkpoint_path={tmp_path}')
    assert_mistake(result, 'TF_CONFIG', '--parallel_trials')


# What an interrupted search comes to.


def test_a_search_goes_on_where_it_was(whole, tmp_path, monkeypatch):
    config = resolve(tmp_path, **S2E)
    real_epoch, real_append = Trainer._epoch, Store.append
    made, kills = [], ['between trials', 'in a trial']

    def epoch(self, *arguments):
        found = real_epoch(self, *arguments)
        made.append(arguments[0])
        if kills == ['in a trial'] and arguments[0] == 0:
            raise Killed(kills.pop())
        return found

    def append(self, trial, result):
        if len(kills) == 2 and trial.name == '2':
            raise Killed(kills.pop(0))
        real_append(self, trial, result)

    monkeypatch.setattr(Trainer, '_epoch', epoch)
    monkeypatch.setattr(Store, 'append', append)
    # One runner for all, which saves tracing; it must stand being stopped.
    one = runner.Runner(ieg_config.resolve(driver.trial_options(config)))
    monkeypatch.setattr(one, 'close', lambda: None)
    monkeypatch.setattr(driver, 'Runner', lambda *arguments: one)
    for moment in list(kills):
        with pytest.raises(Killed, match=moment):
            search(config)
        assert list((tmp_path / RUN).rglob('ckpt-*.npz'))
        assert not (tmp_path / RUN / 'search' / 'best.json').exists()
    final = search(config)
    assert records(tmp_path / RUN) == records(whole[0] / RUN)
    assert outcome(tmp_path / RUN) == outcome(whole[0] / RUN)
    assert final.method == driver.found(resolve(whole[0], **S2E)).method
    # Nothing is trained twice.
    epochs = sum(r['epochs'] for r in results_of(tmp_path).values())
    assert len(made) == epochs
    assert not list((tmp_path / RUN).rglob('ckpt-*'))
