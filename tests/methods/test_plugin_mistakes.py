"""What the author of a plugin reads about a mistake in it."""

import contextlib
import dataclasses
import json
import os
import sys

import contract_runs
import keras
import numpy as np
import pipelines
import pytest
import tensorflow as tf
from command import assert_mistake, ieg

from ieg import config as ieg_config
from ieg import experiment, results
from ieg.commandline import catalog
from ieg.data import load
from ieg.data.augment.views import VIEWS
from ieg.data.dataset import Arrays
from ieg.errors import RunError, UsageError
from ieg.methods import checks
from ieg.methods.base import (
    GRADIENT,
    LOSS,
    Info,
    Method,
    Phase,
    Stream,
)
from ieg.methods.supervised import Supervised, SupervisedConfig
from ieg.ops import optim
from ieg.options import DataConfig, RunConfig
from ieg.registry import DATASETS, METHODS, option
from ieg.training.devices import restoring
from ieg.utils import plugins

SHOWN = os.path.relpath(__file__)


class Mine(Supervised):
    """A plugin whose mistakes are put in by the tests."""


def broken(weight):
    """Returns 0, whose gradient is infinite."""
    return tf.reduce_sum(tf.sqrt(weight - tf.stop_gradient(weight)))


@pytest.fixture(scope='module')
def built(tiny, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, restoring():
        patch.setitem(METHODS._entries, 'mine', Mine)
        strategy = tf.distribute.get_strategy()
        path = tmp_path_factory.mktemp('runs')
        config = contract_runs.settings('mine', strategy, path, max_epoch=2)
        yield experiment.build(config, trial_folder=str(path))


@pytest.fixture
def method(built):
    return built.trainer.method


@contextlib.contextmanager
def mistake(*words):
    with pytest.raises(UsageError) as caught:
        yield
    for word in words:
        assert str(word) in str(caught.value)


@pytest.fixture
def says(monkeypatch):
    """Returns a function that replaces one of Mine's and checks its mistake."""

    def check(name, function, call, *words):
        monkeypatch.setattr(Mine, name, function)
        with mistake(f'Mine.{name} ({SHOWN}, line', *words):
            call()

    return check


# Epochs.


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'examples': {'train': np.ones(9, bool)}}, ['train', 'flatnonzero']),
        ({'examples': {'train': np.arange(9.0)}}, ['float64']),
        ({'examples': {'train': [0, 10**6]}}, ['train', 10**6]),
        ({'examples': {'train': [-1]}}, ['-1']),
        ({'examples': {'train': []}}, ['train', 'empty']),
        ({'examples': {'trian': [1]}}, ['trian', 'train']),
        ({'examples': [1]}, ['list']),
        ({'num_steps': 0}, ['num_steps', '0']),
        ({'num_steps': 2.0}, ['num_steps', '2.0']),
        ({'args': [1]}, ['args', '[1]']),
        ({'args': (('a', 1),)}, ['args', "(('a', 1),)"]),
        ({'step': 'trian_step'}, ['trian_step']),
        ({'step': None}, ['None']),
        ({'per_step': {'share': np.ones(3)}}, ['share', '2', '(3,)']),
        ({'per_step': {'share': 1.0}}, ['share', '()']),
        ({'per_step': {'seed': np.ones(2)}}, ['seed']),
        ({'per_step': None}, ['None']),
    ],
    ids=str,
)
def test_a_phase_that_cannot_be_run(built, says, change, words):
    phase = dataclasses.replace(Phase('train_step', {}, 2), **change)
    says('begin_epoch', lambda *_: [phase], built.trainer.train, *words)


def test_a_phase_may_have_numbers_of_numpy(built, method):
    phase = Phase('train_step', {'train': [0, 1]}, np.int64(2), (np.int64(3),))
    (found,) = checks.check_phases(method, [phase], 0, built.data)
    assert type(found.num_steps) is int and type(found.args[0]) is int
    assert found.num_steps == 2 and found.args == (3,)


@pytest.mark.parametrize('answer', [None, Phase('train_step', {}, 1), [3]])
def test_begin_epoch_returns_phases(built, says, answer):
    says('begin_epoch', lambda *_: answer, built.trainer.train)


def test_only_a_method_with_a_longest_run_ends_it(
    built, method, says, monkeypatch
):
    def forgotten():
        checks.check_phases(method, None, 3, built.data)

    says('begin_epoch', lambda *_: None, forgotten, 'epoch 3', 'most_epochs')
    monkeypatch.setattr(Mine, 'most_epochs', lambda config: 9)
    assert checks.check_phases(method, None, 3, built.data) is None


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'views': ('waek',)}, ['waek', 'weak']),
        ({'views': 'weak'}, ['tuple']),
        ({'split': 'tests'}, ['tests', 'probe']),
        ({'split': 'test'}, ['test', 'probe']),
        ({'batch_size': 7}, ['7', '2 replicas']),
        ({'batch_size': 0}, ['0']),
    ],
)
def test_streams(method, says, changes, words):
    streams = {'train': Stream(**{'batch_size': 8} | changes)}

    def check():
        checks.check_streams(method, replicas=2)

    says('streams', lambda _: streams, check, *words)
    for other in (None, [8], {'train': 8}):
        says('streams', lambda _, other=other: other, check)


# State.


def everything(method):
    optimizers = [v for o in method.optimizers for v in o.variables]
    return [*method.variables, *optimizers]


@pytest.mark.parametrize(
    'make',
    [
        lambda: tf.Variable(0.0),
        lambda: [tf.Variable(0.0)],
        lambda: {'a': [tf.Variable(0.0)]},
        optim.SGD,
    ],
)
def test_what_a_checkpoint_would_lack_is_named(method, monkeypatch, make):
    monkeypatch.setattr(method, 'best', make(), raising=False)
    with mistake('Mine.best'):
        checks.check_state(method, everything(method))


def test_a_variable_of_a_later_epoch_is_named(method):
    before = [v for v in everything(method) if v is not method.visits]
    with mistake('Mine.visits'):
        checks.check_state(method, before)


@pytest.mark.parametrize(
    'value', [None, {'a': 1}, [1], 'a', np.array([None, 'a'], object)], ids=str
)
def test_the_state_of_the_host_is_arrays(method, monkeypatch, value):
    monkeypatch.setitem(method.host_state, 'best', value)
    with mistake("Mine.host_state['best']"):
        checks.check_state(method, everything(method))


def test_an_edited_variable_is_named_when_a_run_resumes(method):
    variables = method.variables
    shapes = [tuple(v.shape) for v in variables]
    checks.check_saved('ckpt', shapes, method, variables)
    place = next(n for n, v in enumerate(variables) if v is method.visits)
    before, (shape, *after) = shapes[:place], shapes[place:]
    for saved in ([*before, (3, 3), *after], before):
        with mistake('ckpt', 'Mine', f'visits {shape}'):
            checks.check_saved('ckpt', saved, method, variables)
    with mistake('ckpt', 'Mine', '(1,)'):
        checks.check_saved('ckpt', [*shapes, (1,)], method, variables)


# Figures.


@pytest.mark.parametrize(
    'figures',
    [
        {'step': 1},
        {'remarks': 1},
        {'test_accuracy': 1.0},
        {'label_auc': 1.0},
        {'mine': np.ones((2, 2))},
        {'mine': 'a'},
        {'mine': None},
    ],
    ids=str,
)
def test_report_names_the_line(method, figures):
    with mistake(f'Mine.report ({SHOWN}, line', *figures):
        method.report(**figures)
    with mistake(f'Mine.remark ({SHOWN}, line', '3'):
        method.remark(3)
    assert method.take_reports() == ({}, [])


def test_figures_of_numpy_are_numbers(method):
    method.report(one=np.float64(0.1), several=np.arange(2), two=[1, 2])
    figures, _ = method.take_reports()
    assert (
        json.dumps(figures) == '{"one": 0.1, "several": [0, 1], "two": [1, 2]}'
    )


@pytest.mark.parametrize(
    'logs',
    [
        None,
        {'epoch': 1.0},
        {'valid_loss': 1.0},
        {'x': tf.ones(3)},
        {'x': 'good'},
        {'x': None},
        {1: 1.0},
    ],
    ids=str,
)
def test_what_a_step_returns(method, says, logs):
    def check():
        checks.checked_logs(method, 'train_step', logs)

    says('train_step', lambda *_: logs, check, *(logs or ()))


@pytest.mark.parametrize(
    ('name', 'make'),
    [
        ('selection', lambda ones: (ones,)),
        ('selection', lambda ones: (ones, ones)),
        ('selection', lambda ones: (ones[1:], ones > 0)),
        ('selection', lambda ones: (ones, ones[1:] > 0)),
        ('selection', lambda ones: (ones, 1.0)),
        ('selection', lambda ones: 1.0),
        ('notes', lambda ones: [1]),
        ('notes', lambda ones: {'weight': ones[1:]}),
        ('notes', lambda ones: {'kept': ones}),
    ],
)
def test_selection_and_notes(method, says, name, make):
    wrong = make(np.ones(method.info.num_examples))
    check = getattr(checks, f'checked_{name}')
    says(name, lambda _: wrong, lambda: check(method))


def test_labels_are_read_only(built, method):
    with pytest.raises(ValueError, match='read-only'):
        method.info.labels[:] = 0
    assert built.data.train.labels.flags.writeable


# Gradients.


def test_a_gradient_that_is_not_finite_counts_on_all_replicas(strategy):
    """Where only one replica has it, and the loss is finite."""
    replicas = strategy.num_replicas_in_sync
    info = Info(3, (8, 8, 1), np.zeros(20, np.int32), 0, 8, 1, 0)
    with strategy.scope():
        method = Method(
            None,
            info,
            lambda _: keras.Sequential(
                [keras.Input([2]), keras.layers.Dense(1, use_bias=False)]
            ),
            optim.SGD,
            num_networks=2,
        )

    @tf.function(autograph=False)
    def step():
        def one():
            context = tf.distribute.get_replica_context()
            last = context.replica_id_in_sync_group == replicas - 1
            logs = {}
            for number, net in enumerate(method.nets):
                kernel = net.trainable_variables[0]
                with tf.GradientTape() as tape:
                    bad = tf.cast(last, tf.float32) * float(number)
                    loss = tf.reduce_sum(kernel.value)
                    loss += tf.cond(
                        bad > 0, lambda k=kernel: broken(k.value), lambda: 0.0
                    )
                logs |= method.minimize(tape, loss, number)
            return logs

        return strategy.run(one)

    before = [net.trainable_variables[0].numpy() for net in method.nets]
    logs = {
        name: [x.numpy() for x in strategy.experimental_local_results(value)]
        for name, value in step().items()
    }
    assert logs[f'{GRADIENT}0'] == logs[f'{LOSS}0'] == [0] * replicas
    assert logs[f'{GRADIENT}1'] == [0] * (replicas - 1) + [1]
    assert logs[f'{LOSS}1'] == [0] * replicas
    seen = {n: [0, np.mean(v)] for n, v in logs.items() if n != 'loss'}
    assert checks.means(method, 0, seen) == {}
    (remark,) = method.take_reports()[1]
    assert '50.00%' in remark and 'network 1' in remark
    after = [net.trainable_variables[0].numpy() for net in method.nets]
    assert (after[0] != before[0]).all()
    np.testing.assert_array_equal(after[1], before[1])


def test_a_loss_that_leaves_a_variable_out_is_named(method):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(method.nets[0].trainable_variables[0].value)
    with mistake(f'Mine.minimize ({SHOWN}, line', 'bn/gamma'):
        method.minimize(tape, loss)


def test_what_is_not_finite_is_said_for_each_network(method, monkeypatch):
    monkeypatch.setattr(method, 'nets', [None, None])
    seen = {f'{LOSS}0': [0, 1], f'{GRADIENT}1': [1, 0, 0, 0], 'loss': [1, 2]}
    assert checks.means(method, 4, seen) == {'loss': 1.5}
    _, (loss, gradient) = method.take_reports()
    assert '50.00%' in loss and 'network 0' in loss
    assert '25.00%' in gradient and 'network 1' in gradient
    for seen in (
        {f'{GRADIENT}1': [1, 0.5]},
        {f'{LOSS}1': [0, 0.5], f'{GRADIENT}1': [0.5, 0.5]},
    ):
        with pytest.raises(RunError, match='gradient .*network 1 .*epoch 4'):
            checks.means(method, 4, seen)


def test_an_epoch_has_what_is_said_at_its_end(built, method, monkeypatch):
    def train_step(self, batch):
        part = batch['train']
        odd = batch['step']['number'] % 2 > 0
        weight = self.nets[0].trainable_variables[0]
        with tf.GradientTape() as tape:
            logits = self.nets[0](part['images'][0], training=True)
            loss = tf.reduce_mean(self._loss(part['label'], logits))
            loss += tf.cond(odd, lambda: broken(weight.value), lambda: 0.0)
        return self.minimize(tape, loss)

    def end_epoch(self, epoch, logs):
        with pytest.raises(TypeError):
            logs['step'] = 0
        self.report(mine=epoch)
        self.remark(f'the end of {epoch}')

    def begin_epoch(self, epoch, score):
        phase = self.whole_epoch()
        return [dataclasses.replace(phase, num_steps=4)]

    for function in (train_step, end_epoch, begin_epoch):
        monkeypatch.setattr(Mine, function.__name__, function)
    built.trainer.train()
    for epoch, entry in enumerate(built.trainer.log.entries):
        assert entry['mine'] == entry['epoch'] == epoch
        gradient, end = entry['remarks']
        assert '50.00%' in gradient and 'gradient' in gradient
        assert end == f'the end of {epoch}'


# Data sets and views.


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'train_images': -np.ones((4, 8, 8, 3))}, ['train', 'uint8', 'float']),
        ({'test_images': np.full((4, 8, 8, 3), 1.5)}, ['test', 'uint8']),
        ({'test_images': np.zeros((4, 8, 8), np.uint8)}, ['test', '[4, 8, 8]']),
        ({'train_labels': np.arange(4.0)}, ['train', 'float64']),
        ({'train_labels': np.arange(5)}, ['train', '[5]']),
        ({'test_labels': np.arange(1, 5)}, ['test', '0..3', '4']),
    ],
)
def test_a_data_set(monkeypatch, changes, words):
    made = arrays(**changes)
    monkeypatch.setitem(DATASETS._entries, 'owned', lambda _: made)
    with mistake('owned', *words):
        load.open_set(DataConfig(dataset='owned'), RunConfig())
    monkeypatch.setitem(DATASETS._entries, 'owned', lambda _: None)
    with mistake('owned', 'NoneType'):
        load.open_set(DataConfig(dataset='owned'), RunConfig())


@pytest.mark.parametrize('white', [1.0, 255.0])
def test_float_images_are_scaled_once(white):
    pixels = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8, 1)
    floats = (pixels * (white / 255)).astype(np.float32)
    source = arrays(train_images=floats, test_images=floats[:1]).source()
    np.testing.assert_array_equal(source.train.images.array, pixels)
    np.testing.assert_array_equal(source.test.images.array, pixels[:1])
    assert source.train.images.array.dtype == np.uint8


def arrays(**changes):
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)
    values = dict(
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        class_names=tuple('abcd'),
        padding=1,
        flip=True,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    return Arrays(**values | changes)


@pytest.mark.parametrize(
    'view',
    [lambda images, *_: images, lambda x, *_: tf.cast(x, tf.float32)[:, 1:]],
)
def test_a_view(built, monkeypatch, view):
    monkeypatch.setitem(VIEWS, 'owned', view)
    streams = {'train': Stream(8, ('owned',))}
    made = pipelines.make(
        built.data, tf.distribute.get_strategy(), streams=streams
    )
    phase = Phase('train_step', {'train': np.arange(8)}, 1)
    with mistake("'owned'", SHOWN, 'float32'):
        made.batches(phase, 0, 0, np.ones(1))


# Options.


def options(name, kind, default):
    return dataclasses.make_dataclass(
        'Config',
        [(name, kind, default)],
        bases=(SupervisedConfig,),
        frozen=True,
    )


@pytest.mark.parametrize(
    ('config', 'words'),
    [
        (options('power', float, option(3.0, 'x', maximum=1)), ['at most 1']),
        (options('power', int, option(3.5, 'x')), ['integer', '3.5']),
        (options('power', str, option('z', 'x', choices=('a',))), ["'z'"]),
        (options('power', tuple, option((), 'x')), ['int, float']),
        (options('power', int, 3), ['option()']),
        (options('help', str, option('', 'x')), ['help', 'flag']),
        (options('v', int, option(1, 'x')), ['Config.v', 'flag']),
        (options('verbosity', int, option(1, 'x')), ['verbosity', 'flag']),
        (options('plugin', str, option('', 'x')), ['plugin', 'flag']),
        (options('seed', int, option(1, 'x')), ['seed', 'mine']),
        (options('mixup', int, option(1, 'x')), ['mixup']),
        (SupervisedConfig(), ['dataclass']),
    ],
)
def test_options(monkeypatch, config, words):
    monkeypatch.setattr(Mine, 'Config', config)
    monkeypatch.setitem(METHODS._entries, 'mine', Mine)
    with mistake(*words):
        catalog.current().options()


@pytest.mark.parametrize(
    ('presets', 'words'),
    [
        (None, ['dictionary']),
        ({'learnig_rate': 1.0}, ['learnig_rate', 'learning_rate']),
        ({'learning_rate': 'fast'}, ['--learning_rate', 'fast']),
        ({'method': 'ieg'}, ['method']),
        ({'warm_up': 1}, ['warm_up']),
    ],
)
def test_presets(built, says, monkeypatch, presets, words):
    monkeypatch.setitem(METHODS._entries, 'mine', Mine)

    def resolve():
        ieg_config.resolve({'dataset': 'fake', 'method': 'mine'})

    says('presets', classmethod(lambda *_: presets), resolve, *words)


# The command.

MODULE = """
import dataclasses
import helper_of_owned
from ieg.methods.supervised import Supervised
from ieg.registry import METHODS

@METHODS.register('owned')
class Owned(Supervised):
    def begin_epoch(self, epoch, score):
        helper_of_owned.work()
        return []
"""
HELPER = 'def work():\n    '


@pytest.fixture
def owned(tiny, tmp_path, monkeypatch):
    """Returns a function that writes the helper of a plugin and runs it."""
    monkeypatch.setattr(METHODS, '_entries', dict(METHODS._entries))
    monkeypatch.setattr(METHODS, '_announced', set(METHODS._announced))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'owned.py').write_text(MODULE)

    def run(code, *arguments):
        METHODS._entries.pop('owned', None)
        (tmp_path / 'helper_of_owned.py').write_text(HELPER + code)
        for name in ('owned', 'helper_of_owned'):
            sys.modules.pop(name, None)
        return ieg(*arguments)

    yield run
    for name in ('owned', 'helper_of_owned'):
        sys.modules.pop(name, None)
    plugins.names.clear()


PLUGIN = (
    '--plugin=owned',
    '--method=owned',
    '--dataset=fake',
    '--network_name=tiny',
    '--max_epoch=1',
    '--train_examples=64',
    '--batch_size=32',
    '--precision=float32',
)


def test_an_exception_of_a_plugin_names_its_line(owned, tmp_path, monkeypatch):
    options = (*PLUGIN, f'--checkpoint_path={tmp_path}')
    code, _, err = owned("raise KeyError('no\\nwork')", *options)
    line = err.splitlines()[-1]
    assert code == 1 and 'Traceback' not in err
    for word in ('helper_of_owned.py, line 2', 'KeyError', plugins.TRACEBACK):
        assert word in line
    monkeypatch.setenv(plugins.TRACEBACK, '1')
    with pytest.raises(KeyError):
        owned('raise KeyError', *options)


def test_a_run_records_its_plugin_and_its_edits(owned, tmp_path, monkeypatch):
    monkeypatch.setattr(results, 'present', lambda *_: [])
    code, _, err = owned('pass', *PLUGIN, f'--checkpoint_path={tmp_path}')
    assert code == 0, err
    folder = tmp_path / 'fake' / 'owned_tiny_s1'
    path = folder / 'config.json'
    recorded = json.loads(path.read_text())
    assert recorded['plugin'] == 'owned'
    assert recorded['plugin_sha256'].keys() == {'owned', 'helper_of_owned'}
    code, _, err = owned('pass  # Edited.', f'--config={path}', '--max_epoch=2')
    assert code == 0, err
    lines = (folder / 'log.jsonl').read_text().splitlines()
    first, second = map(json.loads, lines)
    assert 'remarks' not in first
    assert 'helper_of_owned' in second['remarks'][0]
    code, _, err = owned('pass', 'report', str(folder))
    assert (code, err) == (0, '')
    path.write_text(json.dumps(recorded | {'plugin': 'gone'}))
    assert_mistake(owned('pass', f'--config={path}'), '--plugin=gone')
