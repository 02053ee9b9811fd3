"""Damaged files in a run folder: the right result, or a line that names them.

Every file of a run, in every way, for every command.
"""

import dataclasses
import os
import pathlib
import shutil

import command
import damage
import ends
import faults
import numpy as np
import pytest
from damage import Outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reuse import Reused

from ieg import experiment
from ieg.training import trainer

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--method=supervised',
    '--network_name=tiny',
    '--batch_size=16',
    '--train_examples=64',
    '--valid_ratio=0.1',
    '--max_epoch=2',
    '--track_memorization',
)
FOLDER = 'fake_uniform_0.4/supervised_tiny_s1'


@dataclasses.dataclass
class Runs:
    """A finished run, the same one interrupted, and another one."""

    place: pathlib.Path
    reused: Reused
    finished: pathlib.Path
    interrupted: pathlib.Path
    other: pathlib.Path
    # Too long to be shown.
    expected: dict = dataclasses.field(repr=False)


def ieg(*arguments):
    try:
        return Outcome(*command.ieg(*arguments))
    except Exception as error:
        return Outcome(1, '', f'Traceback {error!r}')


def train(runs, path):
    outcome = ieg(*SMALL, f'--checkpoint_path={path}')
    if not outcome.code:
        outcome.result = ends.end(path / FOLDER)
    return outcome


def evaluate(runs, path):
    outcome = ieg(*SMALL, '--mode=evaluation', f'--checkpoint_path={path}')
    outcome.result = {'figures': outcome.out}
    return outcome


def report(runs, path):
    outcome = ieg('report', str(path / FOLDER))
    page = path / FOLDER / 'report.html'
    if not outcome.code:
        text = page.read_text().replace(str(path), '')
        outcome.result = {'page': text}
    return outcome


def compare(runs, path):
    folders = (path / FOLDER, runs.other)
    outcome = ieg('compare', *map(str, folders), '--out=', '--force')
    outcome.result = {'text': outcome.out.replace(str(path), '')}
    return outcome


def predict(runs, path):
    images = str(runs.place / 'images.npy')
    outcome = ieg('predict', str(path / FOLDER), images)
    outcome.result = {'table': outcome.out}
    return outcome


COMMANDS = {
    'train': train,
    'resume': train,
    'evaluate': evaluate,
    'report': report,
    'compare': compare,
    'predict': predict,
}


@pytest.fixture(scope='module')
def runs(tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp('runs')
    rng = np.random.default_rng(0)
    np.save(
        place / 'images.npy', rng.integers(0, 256, (9, 32, 32, 3), np.uint8)
    )
    reused = Reused()
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, reused)
        whole = ieg(*SMALL, f'--checkpoint_path={place / "finished"}')
        assert whole.code == 0, whole.err
        # In the second epoch.
        path = place / 'interrupted'
        end = faults.Fault('end', str(path), 6, 'step')
        with faults.injected(end), pytest.raises(faults.Ended):
            command.ieg(*SMALL, f'--checkpoint_path={path}')
        # The last --seed counts.
        other = ieg(*SMALL, '--seed=2', f'--checkpoint_path={place / "other"}')
        assert other.code == 0, other.err
        runs = Runs(
            place,
            reused,
            place / 'finished',
            place / 'interrupted',
            place / 'other' / FOLDER.replace('_s1', '_s2'),
            {},
        )
        evaluate(runs, runs.finished)
        for name, run in COMMANDS.items():
            path = copy(runs, name, place / 'copy')
            outcome = run(runs, path)
            assert outcome.code == 0, outcome.err
            runs.expected[name] = outcome.result
    return runs


def prepare(patch, reused):
    patch.setattr(trainer, 'SECONDS_PER_CALL', 0)
    patch.setattr(experiment, 'build', reused.build)


def copy(runs, name, path):
    """Copies the folder that a command needs; returns the copy."""
    shutil.rmtree(path, ignore_errors=True)
    state = runs.interrupted if name == 'resume' else runs.finished
    shutil.copytree(state, path)
    return path


# Text has no checksum: a change that leaves it well-formed goes unnoticed.
TEXT = ('.json', '.jsonl', '.csv')


def is_unnoticed(name, way, fault):
    return name.endswith(TEXT) and callable(way) and 'silently' in fault


def check(runs, command_name, names, way, path):
    """Damages one file after the other; returns what went wrong."""
    wrong = []
    for name in names:
        copied = copy(runs, command_name, path)
        if not damage.apply(way, copied / FOLDER, name, runs.other):
            continue
        outcome = COMMANDS[command_name](runs, copied)
        fault = damage.fault(name, outcome, runs.expected[command_name])
        if fault and not is_unnoticed(name, way, fault):
            wrong.append(f'{command_name}, {name} {way}: {fault}')
    return wrong


def names_of(runs, command_name):
    path = runs.interrupted if command_name == 'resume' else runs.finished
    return damage.files(path / FOLDER)


@pytest.mark.slow
@pytest.mark.parametrize('way', damage.WAYS)
@pytest.mark.parametrize('command_name', COMMANDS)
def test_every_file_in_every_way(
    command_name, way, runs, tmp_path, monkeypatch
):
    prepare(monkeypatch, runs.reused)
    names = names_of(runs, command_name)
    wrong = check(runs, command_name, names, way, tmp_path / 'copy')
    assert not wrong, '\n'.join(wrong)


@st.composite
def injuries(draw):
    """Draws a command, which of the files, and how to damage it."""
    place, bit = draw(st.floats(0, 1)), draw(st.integers(0, 7))

    def flip(path, other):
        damage.flip(path, place, bit)

    def cut(path, other):
        os.truncate(path, int(place * path.stat().st_size))

    command_name = draw(st.sampled_from(sorted(COMMANDS)))
    way = draw(st.sampled_from([flip, flip, cut]))
    return command_name, draw(st.integers(0, 30)), way, (place, bit)


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(injury=injuries())
def test_any_bit_and_any_length(injury, runs):
    command_name, number, way, where = injury
    names = names_of(runs, command_name)
    name = names[number % len(names)]
    path = runs.place / 'injured'
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, runs.reused)
        wrong = check(runs, command_name, [name], way, path)
    assert not wrong, f'{wrong[0]} at {where}'
