"""Whatever ends a run, the same command then ends like an uninterrupted one."""

import shutil
import signal

import command
import damage
import ends
import faults
import forking
import pytest
from faults import ENDS, FILES
from reuse import Reused

from ieg import experiment
from ieg.training import trainer

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--network_name=tiny',
    '--batch_size=16',
    '--train_examples=64',
    '--valid_ratio=0.1',
    # After every call.
    '--checkpoint_minutes=1e-9',
    '--max_epoch=2',
)
METHODS = {
    'supervised': (),
    'dividemix': ('--warm_up=1',),
    'coteaching': ('--noise_rate=0.4',),
    'l2r': ('--probe_dataset_hold_ratio=0.1',),
    'me_momentum': (
        '--outer_rounds=1',
        '--inner_rounds=1',
        '--early_epochs=1',
        '--round_epochs=1',
        # 27 of 58 examples are confident: a refinement of two steps.
        '--learning_rate=0.2',
        '--max_epoch=3',
    ),
}
MOMENTS = tuple(dict.fromkeys([*faults.CALLS, *FILES]))
ERRORS = ('ENOSPC', 'EIO', 'EACCES')
CODES = {'SIGKILL': -signal.SIGKILL, 'SIGTERM': 128 + signal.SIGTERM}


def arguments(method, path):
    return (
        *SMALL,
        f'--method={method}',
        *METHODS[method],
        f'--checkpoint_path={path}',
    )


def run_folder(method):
    return f'fake_uniform_0.4/{method}_tiny_s1'


def assert_said(err, path):
    """Checks that one line says what failed, and names a file of the run."""
    (line,) = [line for line in err.splitlines() if line.startswith('ieg: ')]
    assert 'Traceback' not in err
    assert str(path) in line


# In this process: each moment and each fault.


class Whole:
    """The uninterrupted run of a method, and its operations on files."""

    def __init__(self, method, path):
        self.path = path
        with pytest.MonkeyPatch.context() as patch:
            self.reused = Reused()
            self.prepare(patch)
            with faults.injected(faults.nothing(path)) as layer:
                code, _, err = command.ieg(*arguments(method, path))
        assert code == 0, err
        self.operations = layer.operations
        self.end = ends.end(path / run_folder(method))

    def prepare(self, patch):
        # One step per call.
        patch.setattr(trainer, 'SECONDS_PER_CALL', 0)
        patch.setattr(experiment, 'build', self.reused.build)


@pytest.fixture(scope='module')
def wholes(tiny, tmp_path_factory):
    known = {}

    def get(method):
        if method not in known:
            known[method] = Whole(method, tmp_path_factory.mktemp('whole'))
        return known[method]

    return get


IN_PROCESS = [
    ('supervised', 'first second', 'end'),
    ('supervised', 'first second', 'EACCES'),
    ('supervised', 'warm-up', 'end'),
    ('supervised', 'warm-up', 'ENOSPC'),
    ('dividemix', 'in a phase', 'end'),
    ('supervised', 'in a phase', 'EIO'),
    ('supervised', 'in a phase', 'SIGTERM'),
    ('dividemix', 'evaluation', 'end'),
    ('supervised', 'checkpoint', 'end'),
    ('dividemix', 'checkpoint', 'ENOSPC'),
    ('supervised', 'checkpoint', 'EIO'),
    ('supervised', 'log', 'EACCES'),
    ('supervised', 'predictions', 'EIO'),
    ('supervised', 'issues', 'end'),
    ('supervised', 'report', 'EACCES'),
    # Keras varies its number of writes under load; `test_main.py` has a
    # model that cannot be written.
    pytest.param('supervised', 'model', 'ENOSPC', marks=pytest.mark.slow),
]


@pytest.mark.parametrize(('method', 'moment', 'kind'), IN_PROCESS)
def test_a_fault_in_this_process(
    method, moment, kind, wholes, tmp_path, monkeypatch
):
    whole = wholes(method)
    whole.prepare(monkeypatch)
    folder = run_folder(method)
    fault = faults.plan(whole.operations, moment, kind, tmp_path, folder)
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    with faults.injected(fault) as layer:
        if kind == 'end':
            with pytest.raises(faults.Ended):
                command.ieg(*arguments(method, tmp_path))
        else:
            code, _, err = command.ieg(*arguments(method, tmp_path))
            assert layer.struck
            assert code in ((143,) if kind in ENDS else (1, 2)), err
            assert_said(err, tmp_path if kind in ERRORS else '')
    assert layer.struck
    now = [signal.getsignal(number) for number in signal.valid_signals()]
    assert now == handlers
    code, _, err = command.ieg(*arguments(method, tmp_path))
    assert code == 0, err
    ends.assert_same_end(tmp_path / folder, whole.end)


# What is damaged afterwards; `test_damaged_runs.py` has every file.


@pytest.mark.parametrize(
    ('name', 'way'),
    [
        ('checkpoints/ckpt-8.npz', 'truncated'),
        ('checkpoints/ckpt-8.npz', 'flipped'),
        ('checkpoints/ckpt-8.npz', 'a folder'),
        ('config.json', 'zeroed'),
        ('log.jsonl', 'truncated'),
        ('noise.npz', 'empty'),
    ],
)
def test_a_damaged_file(name, way, wholes, tmp_path, monkeypatch):
    whole = wholes('supervised')
    whole.prepare(monkeypatch)
    folder = tmp_path / run_folder('supervised')
    shutil.copytree(whole.path, tmp_path, dirs_exist_ok=True)
    assert damage.apply(way, folder, name, folder)
    outcome = damage.Outcome(*command.ieg(*arguments('supervised', tmp_path)))
    if not outcome.code:
        outcome.result = ends.end(folder)
    assert not damage.fault(name, outcome, whole.end)
    if name.startswith('checkpoints'):
        assert outcome.code or name in outcome.out + outcome.err


# In real processes: all of them.


@pytest.fixture(scope='module')
def nursery(tmp_path_factory):
    nursery = forking.Nursery(tmp_path_factory.mktemp('nursery'), 0)
    yield nursery
    nursery.close()


@pytest.fixture(scope='module')
def recorded(nursery, tmp_path_factory):
    """Returns a function: method -> operations and end of a whole run."""
    known = {}

    def get(method):
        if method not in known:
            path = tmp_path_factory.mktemp(method)
            code, _, err = nursery.run(
                *arguments(method, path), fault=faults.nothing(path)
            )
            assert code == 0, err
            known[method] = (
                nursery.operations(),
                ends.end(path / run_folder(method)),
            )
        return known[method]

    return get


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['SIGKILL', 'SIGTERM', *ERRORS])
@pytest.mark.parametrize('moment', MOMENTS)
@pytest.mark.parametrize('method', METHODS)
def test_a_fault_in_a_process(
    method, moment, kind, nursery, recorded, tmp_path
):
    operations, whole = recorded(method)
    folder = run_folder(method)
    fault = faults.plan(operations, moment, kind, tmp_path, folder)
    if fault is None:
        # Nothing is written during an evaluation.
        assert moment == 'evaluation' and kind in ERRORS
        return
    code, _, err = nursery.run(*arguments(method, tmp_path), fault=fault)
    assert code in (CODES.get(kind, 1), CODES.get(kind, 2)), err
    if kind != 'SIGKILL':
        assert_said(err, tmp_path if kind in ERRORS else '')
    code, _, err = nursery.run(*arguments(method, tmp_path))
    assert code == 0, err
    ends.assert_same_end(tmp_path / folder, whole)
