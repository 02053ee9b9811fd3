"""Run folders that 0.1.0 left are resumed, evaluated, reported, used."""

import csv
import dataclasses
import json
import os
import re

import command
import keras
import numpy as np
import pytest
import recorded_runs
from recorded_runs import COMMANDS, unpack

from ieg import config as ieg_config
from ieg.commandline import catalog
from ieg.predict import __main__ as predict_main
from ieg.registry import DATASETS, METHODS, option
from ieg.report import __main__ as report_main

pytestmark = pytest.mark.usefixtures('tiny')
every_run = pytest.mark.parametrize('method', COMMANDS)
# Of 128 test images; another processor adds up in another order.
ONE_IMAGE = 1 / 128 + 1e-6


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ieg(method, *more):
    return command.ieg(*recorded_runs.command(method), *more)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_close(found, expected):
    """Compares evaluations of one checkpoint."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        close = dict(abs=ONE_IMAGE) if 'accuracy' in name else dict(rel=1e-3)
        assert found[name] == pytest.approx(value, **close), name


@every_run
def test_an_old_run_is_evaluated(method):
    unpack(method, 'interrupted')
    # To TensorFlow's own functions, a pattern.
    os.rename('runs', 'runs [1]*')
    folder = 'runs [1]*' / recorded_runs.folder(method).relative_to('runs')
    (expected,) = lines(folder / 'evaluation.jsonl')
    path = '--checkpoint_path=runs [1]*'
    code, _, err = ieg(method, '--mode=evaluation', path)
    assert code == 0, err
    before, found = lines(folder / 'evaluation.jsonl')
    assert before == expected
    assert_close(found, expected)


@every_run
def test_an_old_run_is_resumed_and_ends_as_it_did(method):
    expected = lines(unpack(method, 'finished') / 'log.jsonl')
    folder = unpack(method, 'interrupted')
    noise = (folder / 'noise.npz').read_bytes()
    code, _, err = ieg(method)
    assert code == 0, err
    found = lines(folder / 'log.jsonl')
    done = recorded_runs.INTERRUPTED_AFTER
    # Not trained again.
    assert found[:done] == expected[:done]
    assert [e['step'] for e in found] == [e['step'] for e in expected]
    assert [e['learning_rate'] for e in found] == [
        e['learning_rate'] for e in expected
    ]
    for before, now in zip(expected[done:], found[done:], strict=True):
        assert now.keys() == before.keys()
        assert now['test_accuracy'] == pytest.approx(
            before['test_accuracy'], abs=0.05
        )
        assert now['loss'] == pytest.approx(before['loss'], rel=0.1)
    assert (folder / 'noise.npz').read_bytes() == noise
    # Those of the old form are gone with --keep_checkpoints=1.
    assert os.listdir(folder / 'checkpoints') == [
        f'ckpt-{expected[-1]["step"]}.npz'
    ]
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['epochs'] == 4
    assert (folder / 'report.html').is_file()


@pytest.mark.parametrize(
    'part', ['ckpt-30.data-00000-of-00001', 'ckpt-30.index']
)
def test_a_damaged_checkpoint_of_an_old_run_is_named(part):
    folder = unpack('coteaching', 'interrupted')
    path = folder / 'checkpoints' / part
    path.write_bytes(path.read_bytes()[:100])
    command.assert_mistake(ieg('coteaching'), 'ckpt-30.index')


def test_the_list_of_checkpoints_of_an_old_run_is_not_trusted():
    folder = unpack('coteaching', 'interrupted')
    (folder / 'checkpoints' / 'checkpoint').write_bytes(b'\xff')
    code, out, err = ieg('coteaching', '--mode=evaluation')
    assert code == 0 and '30' in out, err


@every_run
def test_an_old_run_is_reported(method, capsys):
    folder = unpack(method, 'finished')
    assert report_main.main([str(folder)]) == 0, capsys.readouterr().err
    page = (folder / 'report.html').read_text()
    summary = json.loads((folder / 'summary.json').read_text())
    for name in ('test_accuracy_last', 'test_accuracy_last10'):
        assert re.search(rf'\b{100 * summary[name]:.2f}\s*%', page)
    # The pictures of suspects, from data that the options describe.
    assert page.count('data:image/png;base64') > 10


@every_run
def test_the_model_of_an_old_run_predicts_as_it_did(method, tmp_path, capsys):
    folder = unpack(method, 'finished')
    images = DATASETS.get('fake')(None).test_images
    np.save(tmp_path / 'images.npy', images)
    arguments = [str(folder / 'model.keras'), 'images.npy', '--output=out.csv']
    assert predict_main.main(arguments) == 0, capsys.readouterr().err
    with open('out.csv') as file:
        rows = list(csv.DictReader(file))
    with np.load(folder / 'predictions.npz') as recorded:
        logits, names = recorded['test_logits'], recorded['class_names']
    odds = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(
        [float(row['probability']) for row in rows], odds.max(1), atol=1e-4
    )
    same = [row['label'] for row in rows] == names[odds.argmax(1)]
    assert same.mean() >= 1 - ONE_IMAGE


# Options that the recorded checkpoints do not know.


def add_option(monkeypatch, method, **how):
    """Gives a method the option --later."""
    kind = METHODS.get(method)
    later = option(help='Something new.', **how)
    extended = dataclasses.make_dataclass(
        'Config', [('later', float, later)], bases=(kind.Config,), frozen=True
    )
    monkeypatch.setattr(kind, 'Config', extended)
    # As if this were the package's own option.
    monkeypatch.setattr(catalog, 'shipped', catalog.current)


def test_a_new_option_at_its_default_resumes_old_runs(monkeypatch):
    add_option(monkeypatch, 'coteaching', default=1.0)
    folder = unpack('coteaching', 'interrupted')
    code, _, err = ieg('coteaching')
    assert code == 0, err
    assert len(lines(folder / 'log.jsonl')) == 4
    assert json.loads((folder / 'config.json').read_text())['later'] == 1.0


@pytest.mark.parametrize('mode', ['train', 'evaluation'])
def test_a_new_option_of_another_value_is_another_run(mode, monkeypatch):
    add_option(monkeypatch, 'coteaching', default=1.0)
    unpack('coteaching', 'interrupted')
    result = ieg('coteaching', f'--mode={mode}', '--later=2')
    command.assert_mistake(result, 'later', '1.0', '2.0')


def test_a_default_that_changed_later_is_not_that_of_old_runs(monkeypatch):
    add_option(monkeypatch, 'coteaching', default=2.0, introduced=1.0)
    unpack('coteaching', 'interrupted')
    command.assert_mistake(ieg('coteaching'), 'later', '1.0', '2.0')
    code, _, err = ieg('coteaching', '--mode=evaluation', '--later=1')
    assert code == 0, err


def test_the_same_holds_for_options_of_every_method(monkeypatch):
    # As if the option had come after this run was begun.
    known = ieg_config.Config.identity

    def older(*args):
        identity = known(*args)
        del identity['kernels_only_decay']
        return identity

    small = ('--dataset=fake', '--network_name=tiny', '--method=supervised')
    small += ('--precision=float32',)
    with monkeypatch.context() as patch:
        patch.setattr(ieg_config.Config, 'identity', older)
        assert command.ieg(*small, '--max_epoch=1')[0] == 0
    result = command.ieg(*small, '--max_epoch=2', '--kernels_only_decay')
    command.assert_mistake(result, 'kernels_only_decay', 'False', 'True')
    code, _, err = command.ieg(*small, '--max_epoch=2')
    assert code == 0, err
