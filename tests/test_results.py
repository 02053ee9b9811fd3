"""What a finished run leaves behind."""

import json
import os

import numpy as np
import pytest
from scipy.special import softmax

from ieg import config as ieg_config
from ieg import experiment, label_issues, results
from ieg.ops import visits

pytestmark = pytest.mark.usefixtures('tiny')


def train(path, **more):
    """Trains on little; returns the summary."""
    given = {
        'dataset': 'fake_uniform_0.4',
        'network_name': 'tiny',
        'method': 'supervised',
        'max_epoch': 2,
        'batch_size': 32,
        'checkpoint_path': str(path),
    }
    return experiment.train(ieg_config.resolve(given | more))


def test_predictions_are_those_of_the_evaluation(tmp_path):
    summary = train(tmp_path, method='coteaching', learning_rate=0.01)
    found = np.load(os.path.join(summary['folder'], 'predictions.npz'))
    log = os.path.join(summary['folder'], 'log.jsonl')
    with open(log, encoding='utf-8') as file:
        last = json.loads(file.readlines()[-1])
    rows = np.arange(len(found['test_labels']))
    said = softmax(found['test_logits'].astype(float), axis=-1)
    # Of both networks together.
    loss = -np.log(said[rows, found['test_labels']]).mean()
    assert loss == pytest.approx(last['test_loss'], rel=1e-5)
    hits = said.argmax(axis=1) == found['test_labels']
    assert hits.mean() == pytest.approx(last['test_accuracy'])


def test_a_report_that_fails_costs_nothing_else(tmp_path, monkeypatch):
    def fail(folder, data):
        raise ZeroDivisionError('a picture of nothing')

    monkeypatch.setattr(results.report, 'write', fail)
    summary = train(tmp_path)
    (said,) = summary['not_written']
    assert 'report.html cannot be written (a picture of nothing)' in said
    assert {'summary.json', 'label_issues.csv', 'model.keras'} <= set(
        os.listdir(summary['folder'])
    )


def test_what_is_too_large_to_be_remembered_is_told(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(visits, 'MOST_SUMS', 10)
    summary = train(tmp_path)
    said = ' '.join(capsys.readouterr().out.split())
    assert '256 training examples' in said
    assert summary['label_issues'] == {}
    files = os.listdir(summary['folder'])
    assert 'label_issues.csv' not in files and 'report.html' in files


def test_what_no_step_has_shown_is_judged_at_the_end(tmp_path, capsys):
    summary = train(tmp_path, steps_per_epoch=2, max_epoch=1)
    found = np.load(os.path.join(summary['folder'], 'predictions.npz'))
    count = len(found['train_labels'])
    assert summary['label_issues']['judged_at_end'] == count
    assert not found['train_visits'].any()
    np.testing.assert_allclose(
        found['train_probabilities'].sum(axis=1), 1, rtol=1e-5
    )
    assert f'{count} of {count} training examples' in capsys.readouterr().out
    path = os.path.join(summary['folder'], 'label_issues.csv')
    assert (label_issues.read(path).split == 'train').sum() == count


def test_of_many_classes_the_largest_sums_give_nearly_the_same_list(
    tmp_path, monkeypatch
):
    rng = np.random.default_rng(0)
    classes, count = 30, 600
    labels = np.arange(count) % classes
    patterns = rng.integers(0, 256, (classes, 8, 8, 3))
    noise = rng.integers(0, 256, (count, 8, 8, 3))
    images = (3 * patterns[labels] + noise) // 4
    path = tmp_path / 'many.npz'
    np.savez(path, x_train=images.astype(np.uint8), y_train=labels)
    found = []
    for name in ('all', 'some'):
        summary = train(
            tmp_path / name,
            dataset='npz_symmetric_0.2',
            data_dir=str(path),
            valid_ratio=0.2,
            crop_padding=0,
            flip='off',
            learning_rate=0.1,
            max_epoch=8,
        )
        found.append(summary['label_issues'])
        # 384 examples are trained on: the next time, not with all classes.
        monkeypatch.setattr(visits, 'MOST_SUMS', 384 * 25)
    files = np.load(os.path.join(summary['folder'], 'predictions.npz'))
    assert 'train_evidence' not in files
    whole, kept = found
    assert whole['roc_auc'] > 0.6
    assert kept['roc_auc'] == pytest.approx(whole['roc_auc'], abs=0.01)
    assert kept['noise_rate_interval'] == whole['noise_rate_interval']


@pytest.mark.parametrize(
    ('known', 'noise', 'judged'),
    [
        (False, '', {'train', 'valid', 'test'}),
        (True, '', {'train', 'valid'}),
        (False, '_uniform_0.5', {'train', 'valid'}),
    ],
    ids=['unknown', 'given', 'noise'],
)
def test_own_test_labels_are_judged_where_the_truth_is_unknown(
    known, noise, judged, tmp_path
):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8, 3), np.uint8)
    labels = np.arange(60) % 3
    arrays = {'x_train': images[:40], 'y_train': labels[:40]}
    arrays |= {'x_test': images[40:], 'y_test': labels[40:]}
    if known:
        arrays['clean_train'] = np.roll(labels[:40], 1)
    np.savez(tmp_path / 'my.npz', **arrays)
    summary = train(
        tmp_path,
        dataset=f'npz{noise}',
        data_dir=str(tmp_path / 'my.npz'),
        valid_ratio=0.25,
        max_epoch=1,
        batch_size=16,
    )
    path = os.path.join(summary['folder'], 'label_issues.csv')
    rows = label_issues.read(path)
    assert set(rows.split) == judged
    assert (rows.split == 'test').sum() == (20 if 'test' in judged else 0)
