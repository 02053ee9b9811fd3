"""The search: its space, its folder, its course, and what survives a kill."""

import contextlib
import io
import json
import os
import re
import signal
import sys
import time

import command
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from ieg import config as ieg_config
from ieg import experiment, main
from ieg.errors import RunError, UsageError
from ieg.methods.coteaching import CoTeaching
from ieg.search import driver, runner, space, store
from ieg.search.store import Result, Store, Trial
from ieg.training import keep
from ieg.training.checkpoint import Checkpoints
from ieg.training.distribution import make_strategy
from ieg.training.trainer import Trainer

DATA = {
    'dataset': 'fake_uniform_0.4',
    'network_name': 'cnn',
    'batch_size': 16,
    'valid_ratio': 0.2,
}
# With two epochs and a batch of 16 there are 16 keep schedules at most.
S2E = DATA | {
    'method': 's2e',
    'max_epoch': 2,
    'learning_rate': 0.003,
    'search_iterations': 2,
    'search_population': 3,
    'search_again': 2,
}
RUN = 'fake_uniform_0.4/s2e_cnn_s1'


class Killed(BaseException):
    """Stands for the end of a process."""


def flags_of(options):
    return [f'--{name}={value}' for name, value in options.items()]


def resolve(path, **options):
    return ieg_config.resolve(options | {'checkpoint_path': str(path)})


def ieg(*arguments):
    """Runs the command in this process; returns code, output and errors."""
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as caught,
    ):
        patch.setattr(sys, 'argv', ['ieg', *arguments])
        main.main()
    return caught.value.code or 0, out.getvalue(), err.getvalue()


def search(config):
    """Searches without showing anything."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return driver.search(config)


def records(path):
    """Returns the lines of trials.jsonl without times."""
    text = (path / 'search' / 'trials.jsonl').read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        del line['result']['seconds']
    return lines


def outcome(path):
    return json.loads((path / 'search' / 'best.json').read_text())


def assert_mistake(result, *words):
    code, _, err = result
    assert code == 2, err
    (line,) = err.splitlines()
    assert line.startswith('ieg: ') and 'Traceback' not in err
    for word in words:
        assert word in line


# What is searched.


def options_space(text, tmp_path, **more):
    given = {'dataset': 'fake_uniform_0.4', 'method': 'dividemix'} | more
    return space.make_space(text, resolve(tmp_path, **given))


def test_an_axis_reaches_both_ends_and_goes_back(tmp_path):
    text = 'lambda_u:0..150,batch_size:1..4,learning_rate:0.001..0.1:log'
    found = options_space(text, tmp_path)
    assert found.dimension == 3
    assert found.decode([0, 0, 0]) == {
        'lambda_u': '0.0',
        'batch_size': 1,
        'learning_rate': 0.001,
    }
    assert found.decode([1, 1, 1]) == {
        'lambda_u': '150.0',
        'batch_size': 4,
        'learning_rate': 0.1,
    }
    middle = found.decode([0.5, 0.5, 0.5])
    assert middle['lambda_u'] == '75.0' and middle['batch_size'] == 3
    assert middle['learning_rate'] == pytest.approx(0.01)


@pytest.mark.parametrize('log', [False, True])
def test_whole_numbers_are_as_likely_as_they_should_be(log):
    axis = space.Axis('batch_size', 1, 4, log, int)
    places = np.linspace(0, 1, 10001)
    values = np.array([axis.value(place) for place in places])
    assert set(values) == {1, 2, 3, 4}
    shares = [np.mean(values == n) for n in (1, 2, 3, 4)]
    expected = np.log([2, 3 / 2, 4 / 3, 5 / 4]) / np.log(5)
    np.testing.assert_allclose(
        shares, expected if log else np.full(4, 0.25), atol=1e-3
    )


@pytest.mark.parametrize('kind', [int, float, str])
@pytest.mark.parametrize('log', [False, True])
def test_the_place_of_a_value_leads_back_to_it(kind, log):
    axis = space.Axis('some', 2, 9, log, kind)
    for value in (2, 3, 7, 9):
        found = axis.value(axis.place(kind(value)))
        assert type(found) is kind
        assert float(found) == pytest.approx(value)
    assert axis.place(kind(10)) is None and axis.place(kind(1)) is None
    assert space.Axis('some', 2, 9, log, str).place('auto') is None


def test_a_search_starts_around_the_configuration(tmp_path):
    text = 'temperature:0.1..0.9,lambda_u:0..50'
    (warm,) = options_space(text, tmp_path, lambda_u='25').warm(9)
    assert warm.options == {}
    np.testing.assert_allclose(warm.point, 0.5)
    (warm,) = options_space(text, tmp_path, lambda_u='auto').warm(9)
    assert warm.point is None
    (warm,) = options_space(text, tmp_path, lambda_u='60').warm(9)
    assert warm.point is None


def test_equal_options_have_one_key(tmp_path):
    found = options_space('rampup_length:1..40', tmp_path, rampup_length=16)
    keys = [found.key(o, 9, 9) for o in ({}, {'rampup_length': 16})]
    assert keys[0] == keys[1] != found.key({'rampup_length': 15}, 9, 9)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('lambda_u:150..0', ['lambda_u:150..0', 'reversed', '150 is not less']),
        ('lambda_u:3..3', ['reversed or empty']),
        ('lamda_u:0..1', ["'lamda_u'", "mean 'lambda_u'"]),
        ('network_name:0..1', ["'network_name'", 'no numeric option']),
        ('lr_schedule:0..1', ["'lr_schedule'", 'no numeric option']),
        ('use_ema:0..1', ["'use_ema'", '--method=dividemix']),
        ('meta_start_epoch:1..9', ["'meta_start_epoch'", 'no numeric']),
        ('seed:1..9', ["'seed'"]),
        ('lambda_u:0..1,lambda_u:2..3', ["'--search names lambda_u twice"]),
        ('learning_rate:0..1:log', ['by ratios from 0', 'begin above 0']),
        ('learning_rate:0.1..1:lin', ['not understood', 'name:low..high:log']),
        ('learning_rate', ['not understood', 'keep_schedule']),
        ('learning_rate:0.1', ['not understood']),
        ('learning_rate:a..b', ['not understood']),
        ('learning_rate:0..inf', ['not understood']),
        ('learning_rate:0..1,', ['not understood']),
        ('batch_size:1.5..3', ['whole numbers', '--batch_size']),
        ('batch_size:0..8', ['--batch_size=0', 'at least 1']),
        ('momentum:0..2', ['--momentum=2.0', 'at most 0.9999']),
        ('lambda_u:-1..1', ['--lambda_u=-1.0', '0 or more']),
        ('decay_rate:0..1', ['--decay_rate', '--lr_schedule=constant']),
        ('keep_schedule', ['--method=dividemix', 'no keep schedule', 's2e']),
    ],
)
def test_a_space_that_makes_no_sense_is_one_sentence(text, words, tmp_path):
    with pytest.raises(UsageError) as caught:
        options_space(text, tmp_path)
    message = str(caught.value)
    assert '\n' not in message
    for word in words:
        assert word.strip("'") in message


@pytest.mark.parametrize('epochs', [200, 30])
@pytest.mark.parametrize('tau', [0.2, 0.45, 0.625])
def test_the_nearest_point_meets_the_ramps_of_co_teaching(tau, epochs):
    ramp = keep.KeepSchedule('reference_code', tau, gradual=epochs // 20)
    point = space.nearest_point(ramp.rates(epochs))
    assert point.shape == (12,) and (point > 0).all() and (point < 1).all()
    numbers = keep.KeepSchedule('s2e', 0, numbers=tuple(point))
    gap = numbers.raw(epochs) - ramp.rates(epochs)
    assert np.sqrt(np.mean(gap**2)) < 0.012


def schedules(tmp_path, **options):
    config = resolve(tmp_path, **S2E | {'max_epoch': 8} | options)
    return space.make_space('keep_schedule', config)


def test_the_warm_starts_are_co_teaching_and_more(tmp_path):
    first, second = schedules(tmp_path).warm(8)
    assert first.options == {}
    assert second.options == {'tau_multiplier': 1.25}
    rates = [
        keep.KeepSchedule('s2e', 0, numbers=tuple(w.point)).rates(8)[-1]
        for w in (first, second)
    ]
    assert rates == pytest.approx([0.7, 1 - 1.25 * 0.3], abs=0.03)
    # Nothing to be near to while the noise rate is not known.
    points = [w.point for w in schedules(tmp_path, noise_rate='auto').warm(8)]
    assert points == [None, None]
    (only,) = schedules(tmp_path, noise_rate='0.9').warm(8)
    assert only.options == {}
    numbers = tuple(np.arange(12) / 12)
    text = 's2e:' + ','.join(map(str, numbers))
    first, _ = schedules(tmp_path, keep_schedule=text).warm(8)
    np.testing.assert_array_equal(first.point, numbers)


def test_equal_tables_have_one_key(tmp_path):
    found = schedules(tmp_path)
    point = np.full(12, 0.5)
    near = point + 1e-9
    other = point.copy()
    other[4] = 0.9
    keys = [found.key(found.decode(p), 8, 16) for p in (point, near, other)]
    assert keys[0] == keys[1] != keys[2]
    # However the table is described.
    more = {'tau_multiplier': 2.0}
    keys = [found.key(o, 8, 16) for o in ({}, more)]
    assert keys[0] != keys[1]
    double = schedules(tmp_path, tau_multiplier=2.0)
    assert double.key({}, 8, 16) == keys[1]
    unknown = schedules(tmp_path, noise_rate='auto')
    assert unknown.key({}, 8, 16) != unknown.key(more, 8, 16)
    assert unknown.key(found.decode(point), 8, 16) == found.key(
        found.decode(point), 8, 16
    )


def test_coteaching_plus_keeps_parts_of_batches(tmp_path):
    """Rates that keep as many of 16 may keep different numbers of 15."""
    own = [{'tau_multiplier': m / 0.3} for m in (0.45, 0.49)]
    for selection, same in (('coteaching', True), ('coteaching_plus', False)):
        found = schedules(tmp_path, selection=selection, num_gradual=1)
        keys = [found.key(options, 8, 16) for options in own]
        assert (keys[0] == keys[1]) is same


def test_a_decoded_point_is_its_schedule(tmp_path):
    point = np.random.default_rng(0).random(12)
    text = schedules(tmp_path).decode(point)['keep_schedule']
    assert keep.parse(text, 0.0, 1, 1.0).numbers == tuple(point)


def test_what_counts_epochs_shrinks_with_a_trial(tmp_path):
    config = resolve(
        tmp_path,
        **S2E
        | {
            'max_epoch': 200,
            'num_gradual': 10,
            'decay_epochs': '100',
            'warmup_epochs': 1,
        },
    )
    found = space.shorten(config, 50)
    assert found['max_epoch'] == 50 and found['num_gradual'] == 2
    assert found['decay_epochs'] == '25' and found['decay_steps'] == ''
    assert found['warmup_epochs'] == 1  # Not 0, which is off.
    assert 'beta1_epoch' not in found  # 0, which is by itself.


# The folder.

HEAD = {'search': 'keep_schedule', 'length': [2, 0]}
TRIALS = [
    Trial(str(number), 'search', {'learning_rate': 0.1 * number}, 1, [0.5])
    for number in range(3)
]


def filled(folder):
    made = Store(str(folder), HEAD)
    for number, trial in enumerate(TRIALS):
        made.append(trial, Result('done', 0.1 * number, 2, 1.5, 'so'))
    return made


def test_a_store_remembers(tmp_path):
    made = filled(tmp_path)
    again = Store(str(tmp_path), HEAD)
    assert again.results == made.results and again.trials == made.trials
    assert list(again.trials) == ['0', '1', '2']
    assert again.known(TRIALS[1]) == Result('done', 0.1, 2, 1.5, 'so')
    assert again.known(Trial('7', 'search', {}, 1)) is None
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'search.json', 'trials.jsonl'}


@pytest.mark.parametrize('cut', [1, 2, 40])
def test_a_line_that_was_cut_is_dropped(cut, tmp_path):
    filled(tmp_path)
    path = tmp_path / 'trials.jsonl'
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    again = Store(str(tmp_path), HEAD)
    # A line that lacks its end of line only is whole.
    assert len(again.trials) == (3 if cut == 1 else 2)
    text = path.read_text()
    assert text.endswith('\n') and content.decode().startswith(text)
    assert len(text.splitlines()) == len(again.trials)
    if cut > 1:
        again.append(TRIALS[2], Result('done', 0.2, 2, 1.5, 'so'))
    assert path.read_bytes() == content


def test_lines_that_are_no_text_are_dropped(tmp_path):
    filled(tmp_path)
    with open(tmp_path / 'trials.jsonl', 'ab') as file:
        file.write(b'\xff\xfe\x00')
    assert len(Store(str(tmp_path), HEAD).trials) == 3


@pytest.mark.parametrize('text', ['', '{"search": ', '7', '[1]', '\0'])
def test_a_damaged_head_is_a_mistake(text, tmp_path):
    filled(tmp_path)
    (tmp_path / 'search.json').write_text(text)
    with pytest.raises(UsageError, match='search.json cannot be read; delete'):
        Store(str(tmp_path), HEAD)


def test_another_search_is_a_mistake(tmp_path):
    filled(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r'length is \[2, 0\] there and \[3'):
        Store(str(tmp_path), HEAD | {'length': [3, 0]})
    with pytest.raises(UsageError, match='method is None there'):
        Store(str(tmp_path), HEAD | {'method': 's2e'})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_trial_of_other_options_is_a_mistake(tmp_path):
    filled(tmp_path)
    other = Trial('1', 'search', {'learning_rate': 0.3}, 1, [0.5])
    with pytest.raises(UsageError, match='another trial 1'):
        Store(str(tmp_path), HEAD).known(other)


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path):
    (tmp_path / 'search').write_text('')
    with pytest.raises(UsageError, match='cannot be made'):
        Store(str(tmp_path / 'search'), HEAD)


def test_what_was_not_written_is_not_known(tmp_path):
    made = filled(tmp_path / 'search')
    os.remove(tmp_path / 'search' / 'trials.jsonl')
    os.mkdir(tmp_path / 'search' / 'trials.jsonl')
    late = Trial('9', 'search', {}, 1)
    with pytest.raises(OSError):
        made.append(late, Result('done', 1.0))
    assert '9' not in made.results


def test_checkpoints_of_a_recorded_trial_go(tmp_path):
    made = filled(tmp_path)
    folder = tmp_path / 'trial_1'
    (folder / 'checkpoints').mkdir(parents=True)
    (folder / 'log.jsonl').write_text('')
    made.tidy(TRIALS[1])
    made.tidy(TRIALS[2])
    assert [path.name for path in folder.iterdir()] == ['log.jsonl']


# The course of a search.


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
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


def results_of(path):
    return {x['trial']['name']: x['result'] for x in records(path / RUN)}


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
        'Search: about 10 trials of 2 epochs, 0 of them done; about .* min', err
    )
    assert err.count('\ntrial ') == len(records(path / RUN))
    assert '<- chosen' in out
    assert f'{len(records(path / RUN))} trials: ' in out
    assert 'test accuracy, last' in out
    picture = (path / RUN / 'search.png').read_bytes()
    assert picture.startswith(b'\x89PNG') and len(picture) > 5000


def count_steps(monkeypatch):
    made, real = [], experiment.Trainer._epoch

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
    assert code == 0 and again == out
    assert 'none is left' in err
    assert made == [] and records(path / RUN) == before


def test_evaluation_is_of_what_was_found(whole, tmp_path):
    path = whole[0]
    arguments = (*flags_of(S2E), '--mode=evaluation')
    code, out, _ = ieg(*arguments, f'--checkpoint_path={path}')
    accuracy = command.log(path / RUN)[-1]['test_accuracy']
    assert code == 0 and f'{accuracy:.4f}' in out
    result = ieg(*arguments, f'--checkpoint_path={tmp_path}')
    assert_mistake(result, 'has not come to its end', '--mode=train')


def test_the_configuration_of_the_run_trains_without_a_search(whole):
    path, _, out, _ = whole
    code, again, _ = ieg(f'--config={path / RUN / "config.json"}')
    assert code == 0
    assert again.splitlines()[-3:] == out.splitlines()[-3:]


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'search': 'lambda_u:150..0'}, ['reversed']),
        ({'search_population': 4}, ['search_population is 3 there and 4 here']),
        ({'searcher': 'random'}, ["searcher is 'betanes' there"]),
        ({'searcher': 'betane'}, ["mean 'betanes'"]),
        ({'learning_rate': 0.1}, ['holds another search', 'learning_rate']),
        ({'valid_ratio': 0}, ['--valid_ratio']),
        ({'search_epochs': 3}, ['--search_epochs=3', 'the 2 epochs']),
        ({'max_epoch': 0, 'max_iteration': 9, 'search_epochs': 1}, ['--max_e']),
        ({'search_iterations': 3}, ['--search_iterations=2', 'checkpoints']),
        ({'search': ''}, ['--search_', 'needs --search']),
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
    assert_mistake(result, 'no search led to', '--checkpoint_path')


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
    monkeypatch.setattr(driver, 'Runner', lambda config: one)
    for moment in list(kills):
        with pytest.raises(Killed, match=moment):
            search(config)
        assert list((tmp_path / RUN).rglob('ckpt-*.index'))
        assert not (tmp_path / RUN / 'search' / 'best.json').exists()
    final = search(config)
    assert records(tmp_path / RUN) == records(whole[0] / RUN)
    assert outcome(tmp_path / RUN) == outcome(whole[0] / RUN)
    assert final.method == driver.found(resolve(whole[0], **S2E)).method
    # Nothing is trained twice.
    epochs = sum(r['epochs'] for r in results_of(tmp_path).values())
    assert len(made) == epochs
    assert not list((tmp_path / RUN).rglob('ckpt-*'))


# The driver with made-up trials.


@pytest.fixture
def made_up(monkeypatch):
    """Returns a dictionary to fill: name of a trial -> its result."""
    results = {}

    class Runner:
        def __init__(self, config):
            pass

        def facts(self):
            return runner.Facts(2, 16, 13)

        def seconds(self):
            return 4000

        def run(self, trials):
            for trial, _ in trials:
                yield trial, results.get(trial.name, Result('done', 0.5))

        def close(self):
            pass

    monkeypatch.setattr(driver, 'Runner', Runner)
    return results


OPTIONS = S2E | {'search': 'tau_multiplier:0..3', 'searcher': 'random'}


def test_trials_without_an_end_rank_below_all_others(made_up, tmp_path):
    made_up['0'] = Result('failed', store.LOWEST, remark='why')
    made_up['1'] = Result('stopped', 0.9 - 1)
    made_up['2'] = Result('refused', store.LOWEST)
    made_up['3'] = Result('done', 0.0)
    made_up['4'] = Result('done', 0.7)
    made_up['6'] = Result('done', 0.6)
    # The best one was lucky.
    made_up['4_again'] = Result('done', 0.1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        driver.search(resolve(tmp_path, **OPTIONS))
    found = outcome(tmp_path / RUN)
    assert found['trial'] == '6' and found['scores'] == [0.6, 0.5]
    rows = [line.split()[0] for line in out.getvalue().splitlines()[1:-1]]
    assert rows == ['4', '6', '5', '3']
    last = out.getvalue().splitlines()[-1]
    assert last == '9 trials: 1 failed, 1 stopped, 1 refused, 6 done'


def test_a_search_without_an_end_is_one_sentence(made_up, tmp_path):
    for number in range(7):
        made_up[str(number)] = Result('failed', store.LOWEST, remark='why')
    code, _, err = ieg(*flags_of(OPTIONS), f'--checkpoint_path={tmp_path}')
    assert code == 1
    assert err.splitlines()[-1] == (
        'ieg: No trial came to an end; the first one: why'
    )
    assert 'about 22.2 h with the final training' in err


def test_a_full_disk_is_one_sentence(made_up, tmp_path, monkeypatch):
    def write(*arguments):
        raise OSError(28, 'No space left on device', 'some file')

    with monkeypatch.context() as patch:
        patch.setattr(Store, 'append', write)
        with pytest.raises(RunError, match='No space left.*goes on from here'):
            search(resolve(tmp_path, **OPTIONS))
    assert records(tmp_path / RUN) == []
    search(resolve(tmp_path, **OPTIONS))


def test_a_search_can_become_longer(made_up, tmp_path):
    search(resolve(tmp_path, **OPTIONS))
    longer = OPTIONS | {'search_iterations': 3}
    search(resolve(tmp_path, **longer))
    names = [x['trial']['name'] for x in records(tmp_path / RUN)]
    assert names[-3:] == ['7', '8', '9'] and len(names) == 12
    # But not once its outcome is trained.
    (tmp_path / RUN / 'checkpoints').mkdir()
    with pytest.raises(UsageError, match='--search_iterations=3; use that, or'):
        search(resolve(tmp_path, **OPTIONS))
    search(resolve(tmp_path, **longer))


@pytest.mark.parametrize('searcher', ['betanes', 'reference', 'random'])
def test_all_searchers_go_on_from_the_record(searcher, made_up, tmp_path):
    for number in range(9):
        made_up[str(number)] = Result('done', (number * 7 % 5) / 5)
    options = S2E | {'searcher': searcher, 'search_iterations': 2}
    for path in (tmp_path / 'whole', tmp_path / 'cut'):
        search(resolve(path, **options))
    record = tmp_path / 'cut' / RUN / 'search' / 'trials.jsonl'
    text = record.read_text()
    for cut in (len(text) // 4, len(text) // 2, len(text) - 3):
        record.write_text(text[:cut])
        search(resolve(tmp_path / 'cut', **options))
        assert record.read_text() == text
    whole = tmp_path / 'whole' / RUN / 'search' / 'trials.jsonl'
    assert text == whole.read_text()


# Runners.

ALONE = {k: v for k, v in S2E.items() if not k.startswith('search')} | {
    'search': ''
}


@pytest.fixture(scope='module')
def one(tmp_path_factory):
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
    with pytest.raises(UsageError, match='tau_multiplier is 1.0 there and 1.5'):
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
        with pytest.raises(RunError, match='full.*goes on from here'):
            one.train(trial, str(tmp_path))
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


# In processes of their own.

slow = pytest.mark.slow
PROCESSES = S2E | {'search_again': 1, 'search_iterations': 1}


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


@slow
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


@slow
def test_the_number_of_processes_changes_nothing(alone, tmp_path):
    finish(start(tmp_path, '--parallel_trials=2'))
    assert records(tmp_path / RUN) == records(alone / RUN)
    assert outcome(tmp_path / RUN) == outcome(alone / RUN)
    assert command.log(tmp_path / RUN) == command.log(alone / RUN)


@slow
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


@slow
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
    plugins = command.ROOT / 'tests' / 'plugins'
    finish(command.start(*flags_of(options), cwd=plugins, DEATHS=str(deaths)))
    lines = records(tmp_path / 'fake_uniform_0.4/dying_cnn_s1')
    failed = [x for x in lines if x['result']['status'] == 'failed']
    for line in lines:
        fatal = line['trial']['options'].get('fatal', 0) >= 0.5
        assert (line in failed) is fatal
        assert line['result']['status'] in ('done', 'failed')
    assert failed and all('died' in x['result']['remark'] for x in failed)
    # Each was tried twice.
    assert deaths.read_text().count('died') == 2 * len(failed)


@slow
def test_a_search_on_two_replicas(tmp_path):
    more = ('--num_replicas=2', '--batch_size=8')
    finish(start(tmp_path, *more))
    lines = records(tmp_path / RUN)
    assert {x['result']['status'] for x in lines} <= {'done', 'same'}
    assert len(command.log(tmp_path / RUN)) == 2


@slow
def test_two_options_of_another_method(tmp_path):
    options = DATA | {
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
    assert final.search == ieg_config.SearchConfig()


@slow
def test_an_option_that_is_a_text(tmp_path):
    options = DATA | {
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
