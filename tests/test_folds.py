"""Folds: labels of vectors judged by networks that were not trained on them."""

import json

import numpy as np
import pytest
from command import ieg
from ends import differences, end
from vector_files import blobs

from ieg import folds, label_issues
from ieg.data.dataset import Split
from ieg.data.vectors import Vectors
from ieg.utils.interrupt import Interrupt


def command(path, folder, *options):
    return ieg(
        *('--dataset=npz', f'--data_dir={path}', f'--checkpoint_path={folder}'),
        *('--method=supervised', '--network_name=mlp', '--max_epoch=3'),
        *('--precision=float32', '--run_name=it', *options),
    )


@pytest.fixture(scope='module')
def npz(tmp_path_factory):
    """Vectors without clean labels, 121 of them: 5 does not divide that."""
    x, given, true = blobs(181)
    path = tmp_path_factory.mktemp('vectors') / 'blobs.npz'
    test = dict(x_test=x[121:], y_test=given[121:])
    np.savez(path, x_train=x[:121], y_train=given[:121], **test)
    return path


@pytest.fixture(scope='module')
def run(npz, tmp_path_factory):
    """Returns the folder of a finished run, and what it printed."""
    place = tmp_path_factory.mktemp('runs')
    code, out, err = command(npz, place, '--valid_ratio=0.1')
    assert code == 0, err
    return place / 'npz-blobs' / 'it', out


def test_folds_are_as_large_and_have_all_classes():
    labels = np.random.default_rng(0).integers(4, size=203)
    numbers = folds.assign(labels, seed=1)
    sizes = np.bincount(numbers)
    assert len(sizes) == 5 and sizes.max() - sizes.min() <= 1
    for label in range(4):
        each = np.bincount(numbers[labels == label], minlength=5)
        assert each.max() - each.min() <= 1
    assert (folds.assign(labels, seed=1) == numbers).all()
    assert (folds.assign(labels, seed=2) != numbers).any()


def test_the_list_and_the_summary(run):
    folder, out = run
    figures = json.loads((folder / 'summary.json').read_text())['label_issues']
    low, high = figures['noise_rate_interval']
    assert 0 <= low <= 0.2 <= high < 1
    assert 'transition_matrix' not in figures
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    marks, wrong = rows.mark, rows.is_issue
    assert set(marks) <= {'certain', 'likely', 'possible', ''}
    np.testing.assert_array_equal(wrong, np.isin(marks, ['certain', 'likely']))
    assert figures['count'] == wrong.sum()
    # The training examples come first, and each kind is in its order.
    held_out = rows.split != 'train'
    assert len(rows) == 181 and (np.diff(held_out.astype(int)) >= 0).all()
    for part in (held_out, ~held_out):
        assert (np.diff(rows.score[part]) >= 0).all()
    assert f'{high:.1%}' in out
    assert not low or f'{low:.1%}' in out
    assert 'noise rate, estimated' not in out
    page = (folder / 'report.html').read_text('utf-8')
    assert f'{high:.1%}' in page and 'transition' not in page


def test_every_label_is_judged_by_a_fold_that_has_not_seen_it(run):
    folder, _ = run
    with np.load(folder / 'predictions.npz') as file:
        arrays = dict(file)
    numbers, labels = arrays['train_fold'], arrays['train_labels']
    rows = []
    for number in range(5):
        with np.load(folder / 'folds' / f'{number + 1}.npz') as file:
            own = file['rows']
            np.testing.assert_array_equal(numbers[own] == number, True)
            said = file['held_out']
            np.testing.assert_array_equal(arrays['train_held_out'][own], said)
            rows.append(own)
    assert sorted(np.concatenate(rows)) == list(range(len(labels)))
    # Wrong labels are not learned where they are not seen.
    assert (arrays['train_held_out'].argmax(axis=1) == labels).mean() < 0.95
    for name in ('valid', 'test'):
        shares = arrays[f'{name}_evidence']
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_an_interrupted_fold_is_resumed(npz, run, tmp_path, monkeypatch):
    calls, figures = [], folds.Best.figures

    def interrupted(self, entry):
        calls.append(entry['epoch'])
        if len(calls) == 8:  # The second epoch of the third fold.
            raise OSError(28, 'No space left on device', 'checkpoint')
        return figures(self, entry)

    monkeypatch.setattr(folds.Best, 'figures', interrupted)
    # Its epochs last milliseconds.
    monkeypatch.setattr('ieg.experiment._SELDOM', 0.0)
    code, _, err = command(npz, tmp_path, '--valid_ratio=0.1')
    assert code == 1 and 'disk is full' in err
    folder = tmp_path / 'npz-blobs' / 'it'
    assert len(list((folder / 'folds').glob('*.npz'))) == 2
    # The folds belong to these options.
    code, _, err = command(
        npz, tmp_path, '--valid_ratio=0.1', '--learning_rate=0.3'
    )
    assert code == 2 and 'learning_rate' in err
    monkeypatch.undo()
    code, _, err = command(npz, tmp_path, '--valid_ratio=0.1')
    assert code == 0, err
    assert differences(end(folder), end(run[0])) == []


def test_a_finished_run_does_not_train_its_folds_again(npz, run, monkeypatch):
    folder, _ = run
    before = end(folder)
    # What is damaged is made again, by a network that is built for it.
    path = folder / 'folds' / '4.npz'
    path.write_bytes(path.read_bytes()[:100])
    code, out, err = command(npz, folder.parents[1], '--valid_ratio=0.1')
    assert code == 0, err
    assert 'fold 4/5' in out and out.count('fold ') == 1
    assert differences(end(folder), before) == []


def test_a_fold_leaves_out_one_more_example_where_needed():
    x, labels, _ = blobs(22)
    vectors = Vectors(x)
    split = Split(vectors.fetch, labels, None, np.arange(22), vectors=vectors)
    from ieg.data.dataset import Data

    class Spec:
        base = 'npz'

    data = Data(
        Spec(), 3, (6,), ('a', 'b', 'c'), split, None, None, None, None, None
    )
    numbers = folds.assign(labels, 0)
    for number in range(5):
        rows = np.flatnonzero(numbers == number)
        part = folds.data_of(data, rows)
        assert len(part.train) == 17
        held = part[folds.HELD_OUT]
        np.testing.assert_array_equal(held.vectors.array, x[rows])
        assert not set(held.indices) & set(part.train.indices)


def test_an_interrupted_command_says_in_which_fold():
    interrupt = Interrupt()
    interrupt.part, interrupt.kept = 'in fold 2, ', 'after epoch 3 (step 45)'
    assert 'in fold 2, after epoch 3' in str(interrupt.error(2))
