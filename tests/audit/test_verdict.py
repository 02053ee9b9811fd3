"""The lines that an audit ends with, of figures that are made up."""

import types

import numpy as np
import pytest

from ieg.audit import verdict
from ieg.data.spec import DatasetSpec
from ieg.label_issues import Issues, ranking

# Without values for them, lines are about nothing.
FIGURES = {
    'count': 3,
    'noise_rate': 0.16,
    'noise_rate_interval': [0.04, 0.34],
    'never_predicted': [],
}


def issues(train=20, held_out=0, marked=(0, 1, 2), suggested=None):
    """Returns rows of the classes a and b; the marked ones look otherwise."""
    count = train + held_out
    given = np.array(['a', 'b'] * count, object)[:count]
    is_issue = np.isin(np.arange(count), marked)
    other = np.where(given == 'a', 'b', 'a')
    numbers = np.arange(count, dtype=float)
    texts = np.full(count, '', object)
    return Issues(
        rank=np.arange(1, count + 1),
        index=np.arange(count),
        path=texts,
        split=np.array(['train'] * train + ['test'] * held_out, object),
        given=given,
        suggested=np.where(is_issue, other, given)
        if suggested is None
        else np.full(count, suggested, object),
        score=numbers,
        margin=numbers,
        agreement=numbers,
        in_selection=numbers,
        is_issue=is_issue,
        is_hard=np.zeros(count, bool),
        corrected=texts,
    )


def data(test=40, clean=False, is_vectors=True, backbone='', base='npz'):
    """Returns what the lines need to know of the data of a run."""
    return types.SimpleNamespace(
        test=None if test is None else range(test),
        train=types.SimpleNamespace(
            clean_labels=[0] if clean else None, texts=None, vectors=None
        ),
        is_vectors=is_vectors,
        spec=DatasetSpec(base),
        backbone=backbone,
    )


def lines(figures=FIGURES, rows='usual', of=None, folder='runs/a b', **more):
    """Returns the text of each line by its title, in order."""
    summary = {'folder': folder, 'label_issues': figures, **more}
    rows = issues() if rows == 'usual' else rows
    found = verdict.lines(summary, rows, of or data())
    assert len(dict(found)) == len(found)
    return dict(found)


def test_what_matters_comes_first_and_what_to_do_last():
    assert list(lines()) == [
        'labels to check',
        'wrong labels',
        'held-out accuracy',
        'report and list',
        'next',
    ]
    every = list(lines(FIGURES | {'outliers': 2}, issues()))
    assert every[-3:] == ['also found', 'report and list', 'next']


def test_labels_to_check_are_those_of_training_and_those_held_out():
    title = 'labels to check'
    alone = lines()[title]
    assert '3 of 20' in alone and 'held out' not in alone
    both = lines(rows=issues(1500, 30, range(1490, 1510)))[title]
    assert '10 of 1,500' in both and '10 of 30' in both
    assert both.index('1,500') < both.index('of 30')
    assert 'unknown' in lines(rows=None)[title]


@pytest.mark.parametrize(
    'changed',
    [
        {},
        {'noise_rate': None, 'count': 0},
        {'noise_rate': 0.0, 'count': 0},
        {'never_predicted': ['b']},
        {'noise_rate_interval': None},
    ],
)
def test_how_many_are_wrong_is_said_as_everywhere(changed):
    figures = FIGURES | changed
    text = lines(figures, issues())['wrong labels']
    sentences = ranking.statement(figures)
    assert sentences and all(sentence in text for sentence in sentences)


def test_what_cannot_be_known_is_not_said():
    earlier = {'noise_rate': 0.1, 'noise_rate_interval': [0.1, 0.2], 'count': 3}
    assert lines(earlier, issues())['wrong labels'] == 'unknown'


def test_near_duplicates_and_outliers_are_counted():
    assert 'also found' not in lines(FIGURES | {'outliers': 0})
    copies = {'groups': 4, 'examples': 9, 'of_different_labels': 2}
    figures = FIGURES | {'near_duplicates': copies, 'outliers': 7}
    text = lines(figures)['also found']
    for fact in ('9 examples', '4 groups', '2 with different', '7 examples'):
        assert fact in text


@pytest.mark.parametrize('clean', [False, True])
def test_the_accuracy_says_by_which_labels(clean):
    title, of = 'held-out accuracy', data(test=1200, clean=clean)
    text = lines(of=of, test_accuracy_last=0.875)[title]
    assert '87.5% of 1,200' in text
    assert ('true' in text) == clean and ('approximate' in text) != clean


@pytest.mark.parametrize(('test', 'accuracy'), [(None, None), (9, None)])
def test_without_a_test_part_the_accuracy_is_unknown(test, accuracy):
    text = lines(of=data(test), test_accuracy_last=accuracy)
    assert 'unknown' in text['held-out accuracy']
    assert 'unknown' in lines(of=data(None))['held-out accuracy']


def test_files_and_commands_are_lines_of_their_own():
    found = lines()
    assert found['report and list'].split('\n') == [
        'runs/a b/report.html',
        'runs/a b/label_issues.csv',
    ]
    _, corrections, predictions = found['next'].split('\n')
    assert corrections == "ieg report 'runs/a b' --apply=corrected.csv"
    assert predictions.startswith("ieg predict 'runs/a b' ")


@pytest.mark.parametrize(
    ('of', 'takes'),
    [
        (data(), 'NEW_VECTORS.npy'),
        (data(base='csv'), 'NEW_VECTORS.csv'),
        (data(backbone='lite0'), 'NEW_IMAGES'),
        (data(is_vectors=False), 'NEW_IMAGES'),
    ],
)
def test_the_model_predicts_what_it_was_trained_on(of, takes):
    assert lines(of=of)['next'].endswith(f' {takes}')


def test_the_most_suspicious_texts_are_shortened():
    of, rows = data(), issues()
    texts = np.array([f'text {n} ' + 'and so on ' * 9 for n in range(20)])
    of.train.texts, of.train.indices = texts, np.arange(20)
    found = lines(of=of)
    assert list(found)[1] == 'most suspicious'
    marked = np.flatnonzero(rows.is_issue)
    first = rows.index[marked[np.argsort(rows.rank[marked])]]
    written = found['most suspicious'].split('\n')
    assert len(written) == 3
    for place, line in zip(first, written, strict=True):
        assert line.startswith(f"'text {place} and") and '…' in line
        assert rows.given[rows.index == place][0] in line
