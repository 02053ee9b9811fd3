"""Labels judged by predictions, by features, and by both."""

import numpy as np
import pytest

from ieg import find_label_issues
from ieg.label_issues import floor, neighbours

CLASSES, ROWS = 4, 240


@pytest.fixture(scope='module')
def data():
    """Labels of which 15 % are wrong, probabilities, features, and which."""
    rng = np.random.default_rng(0)
    truth = rng.integers(CLASSES, size=ROWS)
    wrong = rng.random(ROWS) < 0.15
    labels = np.where(wrong, (truth + 1) % CLASSES, truth)
    features = np.eye(CLASSES)[truth] + rng.normal(
        scale=0.35, size=(ROWS, CLASSES)
    )
    logits = 6 * features
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities, features, wrong


@pytest.mark.parametrize('given', ['probabilities', 'features', 'both'])
def test_wrong_labels_come_first(data, given):
    labels, probabilities, features, wrong = data
    arguments = {
        'probabilities': {'probabilities': probabilities},
        'features': {'features': features},
        'both': {'probabilities': probabilities, 'features': features},
    }[given]
    table = find_label_issues(labels, **arguments)
    assert sorted(table['index']) == [*range(ROWS)]
    assert table.score.is_monotonic_increasing
    assert wrong[table['index'][: wrong.sum()]].mean() > 0.8
    low, high = table.attrs['summary']['noise_rate_interval']
    assert low <= wrong.mean() <= high
    marked = wrong[table['index'][table.is_issue]]
    assert len(marked) and marked.mean() > 0.8
    assert table.neighbour_agreement.isna().all() == (given == 'probabilities')


def test_both_are_the_evidence_of_held_out_rows(data):
    labels, probabilities, features, _ = data
    table = find_label_issues(labels, probabilities, features)
    shot = floor.snapshot(0, np.log(probabilities), labels)
    ids = neighbours.nearest(features, features, 20, same=True).ids
    near = neighbours.shares(ids, labels, CLASSES)
    both = (shot.probabilities + near) / 2
    result = floor.estimate([(both, labels)]).figures()
    assert result.items() <= table.attrs['summary'].items()
    others = np.where(np.eye(CLASSES)[labels] == 1, -1, both).max(axis=1)
    score = both[np.arange(ROWS), labels] - others
    ordered = table.sort_values('index')
    np.testing.assert_allclose(2 * ordered.score - 1, score)
    assert ordered.suggested_label.tolist() == both.argmax(axis=1).tolist()


def test_names_and_seeds(data):
    labels, _, features, _ = data
    names = np.array(['d', 'c', 'b', 'a'])
    table = find_label_issues(names[labels], features=features, seed=3)
    again = find_label_issues(names[labels], features=features, seed=3)
    assert table.equals(again)
    assert set(table.suggested_label) <= {*names}
    assert not table.equals(find_label_issues(names[labels], features=features))


def test_probabilities_of_zero_and_rare_classes(data):
    labels, _, features, _ = data
    table = find_label_issues(labels, np.eye(CLASSES)[labels])
    assert table.score.notna().all() and not table.is_issue.any()
    rare = labels.copy()
    rare[rare == 3] = 0
    rare[0] = 3
    table = find_label_issues(rare, features=features)
    assert table.score.notna().all()


@pytest.mark.parametrize(
    'change, message',
    [
        ({'probabilities': None}, 'probabilities, features'),
        ({'labels': [0, 1, 2, 3]}, 'at least 10'),
        ({'probabilities': np.full((ROWS, 5), 0.2)}, None),
        ({'probabilities': np.full((ROWS, 2), 0.5)}, 'labels'),
        ({'probabilities': np.full((ROWS, CLASSES), 0.5)}, 'sum'),
        ({'probabilities': np.full(ROWS, 0.5)}, 'probabilities|labels'),
        ({'probabilities': np.full((9, CLASSES), 0.25)}, '9'),
        ({'features': np.ones((ROWS, 2))}, 'same'),
        ({'features': np.ones((9, 2))}, '9'),
        ({'classes': ['a', 'b']}, 'class'),
        (
            {
                'labels': [0] * (ROWS - 1) + [1],
                'probabilities': None,
                'features': np.arange(ROWS)[:, None],
            },
            '2 classes',
        ),
    ],
)
def test_bad_arguments(data, change, message):
    labels, probabilities, _, _ = data
    arguments = {'labels': labels, 'probabilities': probabilities} | change
    if message is None:
        find_label_issues(**arguments)
        return
    with pytest.raises(ValueError, match=message):
        find_label_issues(**arguments)
