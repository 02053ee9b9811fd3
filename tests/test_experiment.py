"""From options to a run: its settings, and how often data is read."""

import errno
import os
import types

import command
import loading
import numpy as np
import pytest
import tensorflow as tf
from command import assert_mistake
from tiny_sets import make_folder

from ieg import config as ieg_config
from ieg import experiment
from ieg.data.sets import folder, npz
from ieg.errors import RunError
from ieg.search import driver

# Settings.


@pytest.fixture(scope='module')
def fake():
    return loading.load('fake_uniform_0.4')


@pytest.mark.parametrize(
    ('steps', 'epochs'), [(1, 1), (14, 1), (16, 2), (24, 2), (38, 4)]
)
def test_evaluations_by_steps_come_after_whole_epochs(fake, steps, epochs):
    given = {'batch_size': 8, 'steps_per_epoch': 10, 'eval_freq': steps}
    config = ieg_config.resolve({'dataset': 'fake_uniform_0.4'} | given)
    settings = experiment.make_settings(config, fake, 1, False)
    assert settings.steps_per_epoch == 10
    assert settings.eval_every == epochs


# Reading.


def write_npz(path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8, 3), np.uint8)
    labels = np.arange(60) % 3
    np.savez(
        path,
        x_train=images[:48],
        y_train=labels[:48],
        x_test=images[48:],
        y_test=labels[48:],
    )


SETS = {
    'npz': (npz, 'read_npz', write_npz),
    'folder': (folder, 'read_folder', make_folder),
}


@pytest.fixture(params=SETS)
def own(request, tmp_path, monkeypatch):
    """Flags of an own data set, and the paths that were read so far."""
    module, name, write = SETS[request.param]
    path = tmp_path / f'data.{request.param}'
    write(path)
    reads = []
    read, load = getattr(module, name), np.load

    def counted_read(data_dir, *more):
        reads.append((name, data_dir))
        return read(data_dir, *more)

    def counted_load(file, *args, **kwargs):
        where = getattr(file, 'name', file)
        if os.fspath(where) == str(path):
            reads.append(('load', str(path)))
        return load(file, *args, **kwargs)

    monkeypatch.setattr(module, name, counted_read)
    monkeypatch.setattr(np, 'load', counted_load)
    flags = (f'--dataset={request.param}', f'--data_dir={path}')
    once = [(name, str(path))]
    if module is npz:
        once.append(('load', str(path)))
    return flags, reads, once


RUN = ('--method=supervised', '--network_name=tiny', '--max_epoch=1')
SEARCH = (
    '--valid_ratio=0.25',
    '--search=learning_rate:0.001..0.1',
    '--searcher=random',
    '--search_iterations=1',
    '--search_population=2',
    '--search_again=1',
)


@pytest.mark.parametrize(
    ('own', 'more'),
    [
        pytest.param('npz', (), id='npz-run'),
        pytest.param('folder', (), id='folder-run'),
        pytest.param('npz', SEARCH, id='npz-search'),
        # After it is opened, a folder is no different.
        pytest.param(
            'folder', SEARCH, id='folder-search', marks=pytest.mark.slow
        ),
    ],
    indirect=['own'],
)
def test_a_run_reads_own_data_once(own, more, tmp_path, tiny):
    flags, reads, once = own
    path = tmp_path / 'runs'
    code, _, err = command.ieg(*flags, *RUN, *more, f'--checkpoint_path={path}')
    assert code == 0, err
    assert reads == once
    trials = list(path.rglob('trials.jsonl'))
    assert len(trials) == bool(more)
    for file in trials:
        # The configuration itself, two points, and the best one again.
        assert len(file.read_text().splitlines()) >= 4


def test_a_trial_may_be_as_long_as_the_advised_run(own):
    flags, *_ = own
    pairs = (flag.removeprefix('--').split('=') for flag in flags)
    given = dict(pairs) | {'method': 'supervised', 'valid_ratio': 0.25}
    given |= {'search': 'learning_rate:0.001..0.1', 'search_epochs': 50}
    config, _ = experiment.configure(given, driver.check)
    assert config.train.max_epoch == 100
    driver.check(config)


@pytest.mark.parametrize(
    ('flags', 'word'),
    [
        (('--method=dividemix', '--lambda_u=x'), 'lambda_u'),
        (('--crop_padding=-5',), '--crop_padding'),
        (('--lr_schedule=custom_step',), '--lr_schedule'),
        (('--network_name=cnn', '--dropout_mode=off'), '--dropout_mode'),
        (('--stop_on_memorization=stop',), '--stop_on_memorization'),
        ((*SEARCH[1:],), '--valid_ratio'),
        ((*SEARCH, '--search=lerning_rate:0..1'), 'lerning_rate'),
    ],
)
def test_a_mistake_is_reported_before_data_is_read(own, flags, word, tmp_path):
    data, reads, _ = own
    path = tmp_path / 'runs'
    assert_mistake(
        command.ieg(*data, *flags, f'--checkpoint_path={path}'), word
    )
    assert not reads and not path.exists()


IN_MEMORY = types.SimpleNamespace(files=())


@pytest.mark.parametrize(
    ('kind', 'message', 'words'),
    [
        (
            tf.errors.ResourceExhaustedError,
            'OOM when allocating',
            '--batch_size',
        ),
        (tf.errors.UnavailableError, 'Connection reset', 'worker a:1 does not'),
        (tf.errors.NotFoundError, 'no such', 'gone.png can no longer be read'),
    ],
)
def test_errors_of_tensorflow_are_one_sentence(
    kind, message, words, tmp_path, monkeypatch
):
    monkeypatch.setattr(experiment.devices, 'silent', lambda: ['a:1'])
    data = types.SimpleNamespace(files=[str(tmp_path / 'gone.png')])
    with pytest.raises(RunError, match=words):
        with experiment.one_sentence(data):
            raise kind(None, None, message)
    # A fault of the program is none of them.
    with pytest.raises(tf.errors.InvalidArgumentError):
        with experiment.one_sentence(IN_MEMORY):
            raise tf.errors.InvalidArgumentError(None, None, message)


def test_a_full_disk_is_no_lack_of_memory():
    message = '{{node Save}} /run/events.1; No space left on device [Op:Flush]'
    with pytest.raises(OSError) as caught:
        with experiment.one_sentence(IN_MEMORY):
            raise tf.errors.ResourceExhaustedError(None, None, message)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == '/run/events.1'
