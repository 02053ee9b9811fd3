"""The list with marks, and the sentences about it."""

import numpy as np
import pytest
from looks import looked

from ieg.label_issues import floor
from ieg.label_issues.ranking import Judged, rank, statement

CLASSES = ('cat', 'dog', 'emu')


def examples(count, wrong, rng):
    """Returns labels, of which the first ones are wrong, and shares."""
    truth = np.arange(count) % 3
    shares = rng.dirichlet(np.ones(3), count) / 2 + np.eye(3)[truth] / 2
    return np.where(np.arange(count) < wrong, (truth + 1) % 3, truth), shares


def judged(split, count, wrong, seed):
    """Returns such examples of a split."""
    given, shares = examples(count, wrong, np.random.default_rng(seed))
    return Judged(looked(split, np.arange(count), given, shares))


@pytest.fixture(scope='module')
def estimate():
    rng = np.random.default_rng(1)
    given, shares = examples(400, 80, rng)
    return floor.estimate([(shares, given)])


def test_training_examples_come_first(estimate):
    parts = [
        judged('train', 200, 40, 2),
        judged('valid', 30, 30, 3),
        judged('test', 30, 0, 4),
    ]
    rows, figures = rank(parts, CLASSES, estimate)
    assert set(rows.split[:200]) == {'train'}
    assert set(rows.split[200:230]) == {'valid'}
    assert rows.rank.tolist() == list(range(1, 261))
    assert (np.diff(rows.score[:200]) >= 0).all()
    assert 0 <= rows.score.min() and rows.score.max() <= 1
    assert (rows.index[rows.is_issue & (rows.split == 'train')] < 40).all()
    assert not rows.is_issue[rows.split == 'test'].any()
    marks = figures['marks']
    assert figures['count'] == marks['certain'] + marks['likely']
    assert figures['hard'] == marks['possible'] == rows.is_hard.sum()
    assert figures['never_predicted'] == []


def test_sentences_say_at_least_and_at_most():
    figures = {
        'noise_rate': 0.16,
        'noise_rate_interval': [0.04, 0.34],
        'count': 1470,
        'never_predicted': ['emu'],
    }
    rate, count, missing = statement(figures)
    for fact in ('least 4.0%', 'most 34.0%', 'about 16.0%'):
        assert fact in rate
    for fact in ('1,470', 'about 85 of 100', '74 or more'):
        assert fact in count
    assert 'emu' in missing
    weak = figures | {'noise_rate': None, 'count': 0, 'never_predicted': []}
    (rate,) = statement(weak | {'noise_rate_interval': [0, 0.34]})
    assert 'least' not in rate and 'too weak' in rate
    clean = weak | {'noise_rate': 0.0, 'noise_rate_interval': [0, 0.05]}
    (rate,) = statement(clean)
    assert 'most 5.0%' in rate and 'none' in rate
    (rate,) = statement(clean | {'noise_rate_interval': [0, 4e-4]})
    assert 'most 0.04%' in rate


def test_nothing_is_marked_where_nothing_was_held_out():
    rows, figures = rank([judged('train', 200, 40, 2)], CLASSES, None)
    assert not rows.is_issue.any() and not rows.mark.astype(bool).any()
    assert figures['noise_rate'] is figures['noise_rate_interval'] is None
    # The ranking is as good.
    assert (rows.index[:40] < 40).mean() > 0.9
    (sentence,) = statement(figures)
    assert 'unknown' in sentence and '--valid_ratio' in sentence


def test_runs_of_earlier_versions_have_no_sentences():
    older = {'noise_rate': 0.2, 'noise_rate_interval': [0.1, 0.3], 'count': 9}
    assert statement(older) == statement({}) == []
