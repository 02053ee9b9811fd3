"""Checkpoint files: what they hold, which one counts, what damage does."""

import os

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from ieg.errors import UsageError
from ieg.methods.base import Info, Method
from ieg.options import TrainConfig
from ieg.training import checkpoint
from ieg.training.checkpoint import Checkpoints, Unreadable

FACTS = {'steps': 0, 'entries': []}
METHOD = {'method': 'none', 'dataset': 'none'}
CONTENT = {
    'epoch': 3,
    'nothing': None,
    'not a number': float('nan'),
    'entries': [{'loss': 0.1, 'remarks': ['näher']}, {}],
    'arrays': {
        'half': np.arange(3, dtype=ml_dtypes.bfloat16),
        'many/dimensions': np.arange(6.0).reshape(1, 2, 3),
        'one': np.array(7, np.int64),
        'none': np.zeros((0, 2), bool),
        'names': np.array(['a', 'bc']),
    },
}


class Nothing(Method):
    Config = TrainConfig


def made(strategy, value=0.0, count=20):
    """Returns a method with one variable of `count` numbers and a state."""
    info = Info(3, (8, 8, 1), np.zeros(count, np.int32), 0, 8, 1, 0)
    with strategy.scope():
        method = Nothing(None, info, None, None, num_networks=0)
        method.memory = method.example_variable('memory', initial=value)
    method.host_state['mark'] = np.array(value)
    return method


def value_of(method):
    """Returns the value of a method that `made` made, the same everywhere."""
    (value,) = {*method.memory.numpy(), float(method.host_state['mark'])}
    return value


@pytest.fixture
def one():
    return tf.distribute.get_strategy()


def saved(folder, strategy, steps, keep=3):
    """Saves one checkpoint for each number, which is also what it holds."""
    for step in steps:
        method = made(strategy, value=step)
        Checkpoints(method, str(folder), METHOD, keep).save(
            step, FACTS | {'epoch': step}
        )
    return folder


def restored(folder, strategy, step=0):
    """Returns what the method holds after restoring, and the remarks."""
    method = made(strategy, value=-1)
    checkpoints = Checkpoints(method, str(folder), METHOD)
    facts = checkpoints.restore(step)
    assert facts is None or facts['epoch'] == value_of(method)
    return value_of(method), checkpoints.remarks


def damage(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_file_holds_what_was_written(tmp_path):
    path = str(tmp_path / 'file.npz')
    checkpoint.write(path, CONTENT)
    found = checkpoint.read(path)
    for name, array in CONTENT['arrays'].items():
        assert found['arrays'][name].dtype == array.dtype
        np.testing.assert_array_equal(found['arrays'][name], array)
    assert found['entries'] == CONTENT['entries']
    assert list(found) == list(CONTENT)
    # It is an ordinary archive of NumPy.
    with np.load(path) as archive:
        assert archive['arrays/one'] == 7


def test_python_objects_are_never_written(tmp_path):
    with pytest.raises(ValueError):
        checkpoint.write(str(tmp_path / 'file'), {'a': np.array([object()])})
    assert not os.listdir(tmp_path)


def test_any_damage_is_found(tmp_path):
    path = tmp_path / 'file.npz'
    checkpoint.write(str(path), CONTENT)
    whole = path.read_bytes()
    expected = repr(checkpoint.read(str(path)))

    def is_found(content):
        path.write_bytes(content)
        try:
            assert repr(checkpoint.read(str(path))) == expected
        except Unreadable:
            return True
        return False

    def flipped(place):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        return changed

    rng = np.random.default_rng(0)
    found = [is_found(flipped(place)) for place in range(0, len(whole), 3)]
    # Nobody reads times and the like.
    assert np.mean(found) > 0.75
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        assert is_found(whole[:cut])
    assert is_found(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    assert is_found(bytes(len(whole)))


@pytest.mark.parametrize(
    'name', ['runs [1]', 'a*', '**', '[!a]?', '{x}', 'ü\n']
)
def test_a_path_is_never_a_pattern(name, one, tmp_path):
    near = saved(tmp_path / 'runs 1', one, [1, 2, 3])
    folder = saved(tmp_path / name, one, [1, 2, 3, 10], keep=2)
    assert restored(folder, one) == (10, [])
    assert sorted(os.listdir(folder)) == ['ckpt-10.npz', 'ckpt-3.npz']
    assert len(os.listdir(near)) == 3


def test_only_own_older_files_are_deleted(one, tmp_path):
    others = ('ckpt-1.npz.bak', 'ckpt-x.npz', 'best.npz', 'checkpoint.txt')
    for name in others:
        (tmp_path / name).write_text('mine')
    saved(tmp_path, one, [8, 9, 10, 11], keep=2)
    assert set(os.listdir(tmp_path)) == {*others, 'ckpt-10.npz', 'ckpt-11.npz'}


def test_a_course_that_was_given_up_does_not_count(one, tmp_path):
    saved(tmp_path, one, [1, 2, 3])
    method = made(one, value=5)
    Checkpoints(method, str(tmp_path), METHOD).save(2, FACTS | {'epoch': 5})
    assert restored(tmp_path, one) == (5, [])


def test_a_damaged_one_is_passed_over_and_named(one, tmp_path):
    saved(tmp_path, one, [1, 2, 3])
    for steps, expected in ((3, 2), (2, 1)):
        damage(tmp_path / f'ckpt-{steps}.npz')
        value, remarks = restored(tmp_path, one)
        assert value == expected
        assert f'ckpt-{steps}.npz' in remarks[-1 if steps == 2 else 0]
        assert f'ckpt-{expected}.npz' in remarks[0]
    with pytest.raises(UsageError, match=r'ckpt-3\.npz.*--restore_step \(1\)'):
        restored(tmp_path, one, step=3)
    with pytest.raises(UsageError, match='--restore_step=7.*1, 2, 3'):
        restored(tmp_path, one, step=7)
    assert restored(tmp_path, one, step=1) == (1, [])
    damage(tmp_path / 'ckpt-1.npz')
    with pytest.raises(UsageError, match=r'ckpt-3\.npz.*2 others'):
        restored(tmp_path, one)


def test_other_variables_are_refused_before_any_is_assigned(one, tmp_path):
    saved(tmp_path, one, [1])
    method = made(one, value=-1, count=21)
    checkpoints = Checkpoints(method, str(tmp_path), METHOD)
    with pytest.raises(UsageError, match=r'ckpt-1\.npz'):
        checkpoints.restore()
    assert value_of(method) == -1


def test_replicas_save_and_restore(strategy, tmp_path):
    saved(tmp_path, strategy, [1, 2])
    assert restored(tmp_path, strategy) == (2, [])


def test_only_the_chief_writes(one, tmp_path):
    worker = Checkpoints(made(one), str(tmp_path / 'a'), METHOD, chief=False)
    worker.save(1, FACTS)
    worker.clear_leftovers()
    assert not os.listdir(tmp_path)


def test_leftovers_of_killed_runs_are_cleared(one, tmp_path):
    folder = tmp_path / 'checkpoints'
    for name in ('ckpt-8_temp', f'.{"0" * 32}.tmp'):
        (folder / name).mkdir(parents=True)
        (folder / name / 'part').write_text('')
    for name in ('checkpoint.tmpab12', 'checkpoint', 'mine.tmp'):
        (folder / name).write_text('')
    for name in (f'.{"a" * 32}.tmp.png', 'noise.npz.123.tmp', '.mine.tmp'):
        (tmp_path / name).write_text('')
    Checkpoints(made(one), str(folder), METHOD).clear_leftovers()
    assert sorted(os.listdir(folder)) == ['checkpoint', 'mine.tmp']
    assert sorted(os.listdir(tmp_path)) == ['.mine.tmp', 'checkpoints']


# In the middle of an epoch.


def test_another_run_is_refused_in_the_middle_of_an_epoch(one, tmp_path):
    saved(tmp_path, one, [8])
    save_unfinished(tmp_path, one, 8)
    other = Checkpoints(made(one), str(tmp_path), METHOD | {'dataset': 'x'})
    with pytest.raises(UsageError, match=r'dataset'):
        other.restore(unfinished=True)


def save_unfinished(folder, strategy, steps, value=0.5):
    method = made(strategy, value=value)
    Checkpoints(method, str(folder), METHOD).save_unfinished(
        FACTS | {'steps': steps, 'epoch': value}
    )
    return folder / 'unfinished.npz'


def resumed(folder, strategy, **how):
    method = made(strategy, value=-1)
    checkpoints = Checkpoints(method, str(folder), METHOD)
    checkpoints.restore(**{'unfinished': True} | how)
    return value_of(method), checkpoints.remarks


def test_a_training_resumes_from_the_middle_of_an_epoch(one, tmp_path):
    save_unfinished(tmp_path, one, 0)
    assert resumed(tmp_path, one) == (0.5, [])
    saved(tmp_path, one, [8, 16])
    assert not (tmp_path / 'unfinished.npz').exists()
    save_unfinished(tmp_path, one, 16)
    assert resumed(tmp_path, one) == (0.5, [])
    # An evaluation does not, nor does --restore_step.
    assert resumed(tmp_path, one, unfinished=False) == (16, [])
    assert resumed(tmp_path, one, step=8, unfinished=False) == (8, [])
    # It does not need the checkpoint before it.
    damage(tmp_path / 'ckpt-16.npz')
    assert resumed(tmp_path, one) == (0.5, [])


def test_the_middle_of_an_epoch_ends_a_course_that_was_given_up(one, tmp_path):
    saved(tmp_path, one, [8, 16, 24])
    save_unfinished(tmp_path, one, 8)
    assert sorted(os.listdir(tmp_path)) == ['ckpt-8.npz', 'unfinished.npz']
    assert resumed(tmp_path, one) == (0.5, [])


def test_the_middle_of_an_older_epoch_does_not_count(one, tmp_path):
    save_unfinished(tmp_path, one, 8)
    (tmp_path / 'unfinished.npz').rename(tmp_path / 'kept')
    saved(tmp_path, one, [8, 16])
    # The run was killed before it removed the file.
    (tmp_path / 'kept').rename(tmp_path / 'unfinished.npz')
    assert resumed(tmp_path, one) == (16, [])
    damage(tmp_path / 'ckpt-16.npz')
    value, (remark,) = resumed(tmp_path, one)
    assert value == 0.5
    assert 'ckpt-16.npz' in remark and 'unfinished.npz' in remark


def test_a_damaged_middle_of_an_epoch_is_passed_over(one, tmp_path):
    saved(tmp_path, one, [8])
    damage(save_unfinished(tmp_path, one, 8))
    value, (remark,) = resumed(tmp_path, one)
    assert value == 8
    assert 'unfinished.npz' in remark and 'ckpt-8.npz' in remark
    (tmp_path / 'ckpt-8.npz').unlink()
    with pytest.raises(UsageError, match=r'unfinished\.npz'):
        resumed(tmp_path, one)
