"""Which labels are wrong: the score and the marks."""

import dataclasses

import numpy as np
import pytest
from paths import GOLDEN
from scipy.special import softmax

from ieg.label_issues import floor
from ieg.label_issues.score import evidence, margin, mark


def marks_of(given, shares, statement):
    suggested = shares.argmax(axis=1)
    unseen = np.setdiff1d(given, suggested)
    return mark(given, suggested, margin(given, shares), statement, unseen)


def test_a_recorded_run_has_its_scores_and_marks():
    with np.load(GOLDEN / 'evidence' / 'digits-sym20-mlp-ce-1.npz') as file:
        golden = dict(file)
    held_out = golden['held_out_given']
    shot = floor.best(golden['held_out_logits'], held_out)
    shares = (shot.probabilities + golden['held_out_neighbours']) / 2
    result = floor.estimate([(shares, held_out)])
    visits = softmax(golden['train_logits'].astype(float), axis=-1)
    mean, early = visits.mean(axis=0), visits[: shot.epoch + 1].mean(axis=0)
    near, raw = golden['neighbours'], golden['neighbours_raw']
    given, shares = golden['train_given'], evidence(mean, early, near, raw)
    np.testing.assert_allclose(
        margin(given, shares), golden['score'], atol=1e-12
    )
    np.testing.assert_array_equal(shares.argmax(axis=1), golden['suggested'])
    marks = marks_of(given, shares, result)
    likely = np.isin(marks, ['certain', 'likely'])
    np.testing.assert_array_equal(likely, golden['likely'])
    wrong = golden['train_true'] != golden['train_given']
    assert wrong[likely].mean() > 0.85


def test_without_vectors_the_evidence_is_predictions_and_neighbours():
    mean, early, near = np.array([[[0.8, 0.2]], [[0.6, 0.4]], [[0.1, 0.9]]])
    np.testing.assert_allclose(evidence(mean, early, near), [[0.4, 0.6]])


@pytest.fixture
def labels():
    """Ten examples; all but the first two look like class 1."""
    own = np.array([0.9, 0.8, 0.49, 0.45, 0.4, 0.35, 0.3, 0.2, 0.1, 0.0])
    return np.zeros(10, int), np.stack([own, 1 - own], axis=1)


@pytest.fixture
def statement():
    shares = np.array([[0.9, 0.1]] * 60)
    result = floor.estimate([(shares, np.zeros(60, int))])
    return dataclasses.replace(result, point=0.4, lower=0.2)


def test_marks_go_by_the_statement(labels, statement):
    marks = marks_of(*labels, statement).tolist()
    assert marks == [
        *['', ''],
        *['possible'] * 4,
        *['likely'] * 2,
        *['certain'] * 2,
    ]
    # What looks like its label is never marked.
    high = dataclasses.replace(statement, point=0.9, lower=0.0)
    assert marks_of(*labels, high).tolist() == ['', ''] + ['likely'] * 8


@pytest.mark.parametrize('change', [{'refused': True}, {'point': 0.0}])
def test_nothing_is_marked_without_a_point(labels, statement, change):
    marks = marks_of(*labels, dataclasses.replace(statement, **change))
    assert not marks.astype(bool).any()


def test_nothing_is_marked_in_a_class_that_is_never_predicted(statement):
    shares = np.array([[0.9, 0.1, 0.0]] * 6 + [[0.2, 0.8, 0.0]] * 4)
    marks = marks_of(np.array([0] * 5 + [2] + [0] * 4), shares, statement)
    assert marks[5] == '' and np.all(marks[6:] != '')
