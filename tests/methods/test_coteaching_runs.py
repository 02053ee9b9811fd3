"""Whole runs of Co-teaching: keep rates, noise rates, beginning again."""

import re
import threading

import numpy as np
import pytest
import tensorflow as tf

from ieg import config as ieg_config
from ieg import experiment
from ieg.errors import UsageError
from ieg.methods.coteaching import CoTeaching
from ieg.training.checkpoint import Rewind
from ieg.training.devices import restoring

SMALL = {
    'method': 'coteaching',
    'dataset': 'fake_symmetric_0.4',
    'network_name': 'tiny',
    'batch_size': 32,
    'max_epoch': 3,
    'learning_rate': 0.01,
    'val_batch_size': 64,
}
PROBE = {'probe_dataset_hold_ratio': 0.1}

pytestmark = pytest.mark.usefixtures('tiny', 'restored')


def resolve(**options):
    return ieg_config.resolve(SMALL | options)


def build(folder, strategy=None, **options):
    """Builds what trains without an evaluation, with a folder of its own."""
    folder.mkdir()
    config = resolve(**options)
    return experiment.build(config, strategy=strategy, trial_folder=str(folder))


def trained(built):
    built.trainer.train(built.trainer.restore())
    return built.trainer.log.entries


# The log of two replicas is the harder one.
@pytest.mark.parametrize(
    'strategy',
    [pytest.param(1, marks=pytest.mark.slow), 2],
    indirect=True,
    ids=['1 replica', '2 replicas'],
)
def test_the_keep_rate_reaches_the_steps_without_a_new_trace(
    strategy, tmp_path, monkeypatch
):
    """Every step chooses k, in whatever epoch."""
    choose, pair_step = CoTeaching.choose, CoTeaching.pair_step
    # Replicas are traced by threads that take turns.
    seen = threading.local()

    def seen_choose(self, *args):
        seen.chosen, count = choose(self, *args)
        return seen.chosen, count

    def counting_step(self, *args):
        logs = pair_step(self, *args)
        count = tf.reduce_sum(tf.cast(seen.chosen, tf.float32), axis=0)
        return logs | {'chosen_first': count[0], 'chosen_second': count[1]}

    monkeypatch.setattr(CoTeaching, 'choose', seen_choose)
    monkeypatch.setattr(CoTeaching, 'pair_step', counting_step)
    replicas = strategy.num_replicas_in_sync
    built = build(
        tmp_path / 'run',
        strategy,
        batch_size=32 // replicas,
        num_gradual=3,
        noise_rate='0.45',
    )
    entries = trained(built)
    rates = [1, 1 - 0.225, 0.55]
    for entry, rate, k in zip(entries, rates, [32, 24, 17], strict=True):
        assert entry['keep_rate'] == pytest.approx(rate)
        assert 'noise_rate_estimate' not in entry
        # The log is a mean over replicas.
        assert entry['chosen_first'] * replicas == k
        assert entry['chosen_second'] * replicas == k
        assert entry['chosen'] == k / 32
    counts = built.trainer.steps.trace_counts()
    assert counts['pair_step(False,)'] == 1


@pytest.fixture(scope='module')
@restoring()
def automatic(tiny, tmp_path_factory):
    """A run that estimates the noise rate, and its log."""
    built = build(
        tmp_path_factory.mktemp('automatic') / 'run',
        max_epoch=6,
        noise_rate='auto',
        num_gradual=1,
        tau_multiplier=1.25,
    )
    assert np.isnan(built.trainer.method.host_state['noise_rate'])
    return built, trained(built)


def test_a_run_tells_right_labels_from_wrong_ones(automatic):
    last = automatic[1][-1]
    assert last['label_precision'] > 0.9 and last['label_auc'] > 0.9
    assert last['label_precision'] == pytest.approx(
        (last['label_precision_network0'] + last['label_precision_network1'])
        / 2
    )


def test_an_automatic_noise_rate_is_logged_used_and_kept(automatic):
    built, entries = automatic
    told = [e for e in entries if 'noise_rate_estimate' in e]
    assert [e['epoch'] for e in told] == [1, 2, 3]
    for entry in told:
        found = f'{entry["noise_rate_estimate"]:.3f}'
        assert entry['remarks'] == [
            f'the noise rate is estimated to be {found}'
        ]
    last = told[-1]['noise_rate_estimate']
    assert last == pytest.approx(0.4, abs=0.1)
    assert entries[0]['keep_rate'] == 1
    assert entries[-1]['keep_rate'] == pytest.approx(1 - 1.25 * last)
    again = experiment.build(built.config, trial_folder=built.folder)
    assert again.trainer.restore() == 6
    assert again.trainer.method.host_state['noise_rate'] == last


# Beginning again.


def arrays(built):
    """Returns everything the method has learnt."""
    method = built.trainer.method
    variables = method.variables + [
        v for o in method.optimizers for v in o.variables
    ]
    state = [np.asarray(v) for v in method.host_state.values()]
    return [v.numpy() for v in variables] + state


def test_a_run_after_another_one_is_like_a_fresh_one(two_replicas, tmp_path):
    """On one replica the trials of a search show the same, of other steps."""
    options = dict(
        max_epoch=2,
        noise_rate='auto',
        # Begins below 1 where the noise rate is known.
        keep_schedule='paper_main',
        batch_size=16,
    )
    built = build(tmp_path / 'fresh', two_replicas, **options)
    rewind = Rewind(built.trainer.method)
    expected, fresh = trained(built), arrays(built)
    counts = built.trainer.steps.trace_counts()
    assert set(counts.values()) == {1}

    def restarted(name, **more):
        rewind.apply()
        (tmp_path / name).mkdir()
        return built.restart(resolve(**options | more), str(tmp_path / name))

    changed = restarted('other', tau_multiplier=1.5, beta1_late=0.5)
    trained(changed)
    other = arrays(changed)
    built = restarted('again')
    again = trained(built)
    assert built.trainer.steps.trace_counts() == counts
    for a, b in zip(again, expected, strict=True):
        times = ('seconds', 'images_per_second')
        assert all(a[k] == b[k] for k in b if k not in times)
    for a, b in zip(arrays(built), fresh, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(
        not np.array_equal(a, b) for a, b in zip(other, fresh, strict=True)
    )


# What cannot be.


@pytest.mark.parametrize(
    ('words', 'options'),
    [
        ('--noise_rate=1.2 is neither auto nor', {'noise_rate': '1.2'}),
        ('--noise_rate=-0.1 is neither', {'noise_rate': '-0.1'}),
        ('--noise_rate=foo is neither', {'noise_rate': 'foo'}),
        ('--noise_rate=nan is neither', {'noise_rate': 'nan'}),
        (
            'tau is 1.2 and must be',
            {'noise_rate': '0.8', 'tau_multiplier': 1.5},
        ),
        (
            'keeps nothing in epoch 10: 1.00% of a batch of 32.*--noise_rate',
            {'noise_rate': '0.99', 'max_epoch': 12, 'num_gradual': 10},
        ),
        ('twelve numbers', {'keep_schedule': 's2e:0.5'}),
        (
            '--kernels_only_decay needs --optimizer=sgd',
            {'kernels_only_decay': True},
        ),
        (
            '--dropout_mode is not used by the network lenet',
            {'network_name': 'lenet', 'dropout_mode': 'off'},
        ),
        ('--searcher needs --search', {'searcher': 'random'}),
        ('use --optimizer=sgd', {'method': 'fsr', 'optimizer': 'adam'}),
        ('use --optimizer=sgd', {'method': 'ieg', 'optimizer': 'adam'} | PROBE),
        ('use --optimizer=sgd', {'method': 'l2r', 'optimizer': 'adam'} | PROBE),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(words, options, tmp_path):
    with pytest.raises(UsageError, match=words) as caught:
        build(tmp_path / 'run', **options)
    message = str(caught.value)
    assert '\n' not in message and message.endswith('.')
    assert not re.search('[.?!] [A-Z]', message), 'more than one sentence'


def test_a_misspelt_keep_schedule_is_told_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="'paper_mian'.*'paper_main'") as error:
        build(tmp_path / 'run', keep_schedule='paper_mian')
    assert '\n' not in str(error.value)
