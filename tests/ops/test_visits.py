"""What a run remembers of the visits of its training examples."""

import numpy as np
import pytest
import tensorflow as tf

from ieg.label_issues import compact
from ieg.ops import visits

MANY = 30


def seen(num_classes, columns, count=5, visits_of_each=6, seed=0):
    """Returns columns after visits, labels, and what each visit predicted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=count)
    said = rng.dirichlet(np.full(num_classes, 0.3), (visits_of_each, count))
    said = said.astype(np.float32)
    state = np.zeros((count, columns), np.float32)
    for each in said:
        old, new = visits.visited(
            tf.constant(state), tf.constant(labels), tf.constant(each)
        )
        state = state - old.numpy() + new.numpy()
    return state, labels, said


def test_sums_of_few_classes_are_exact():
    state, labels, said = seen(5, visits.width(5, 5))
    found = visits.Visits.of_columns(state, 5)
    # The first visit is only counted. The order is that of checkpoints.
    np.testing.assert_array_equal(state[:, 0], 6)
    np.testing.assert_array_equal(found.counted, 5)
    np.testing.assert_allclose(found.sums, said[1:].sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(state[:, 3:], found.sums)
    agreed = (said[1:].argmax(axis=2) == labels).sum(axis=0)
    np.testing.assert_array_equal(found.agreed, agreed)


def test_of_many_classes_the_largest_sums_are_kept(monkeypatch):
    monkeypatch.setattr(visits, 'MOST_SUMS', 150)
    columns = visits.width(5, MANY)
    assert visits.is_compact(columns, MANY) and columns < 3 + MANY
    state, labels, said = seen(MANY, columns)
    found = visits.Visits.of_columns(state, MANY)
    np.testing.assert_array_equal(found.counted, 5)
    # The same as the Python interface keeps.
    monkeypatch.setattr(compact, 'MOST_SUMS', 100)
    other = compact.empty(labels, MANY)
    assert isinstance(other, compact.Compact)
    for each in said[1:]:
        other.add(np.arange(5), each, 1)
    np.testing.assert_allclose(found.own, other.own, rtol=1e-5)
    for name, sums in (('ours', found), ('theirs', other)):
        classes = sums.classes
        kept = found.sums if name == 'ours' else other.kept
        spread = np.zeros((5, MANY))
        np.put_along_axis(spread, classes, kept, axis=1)
        if name == 'ours':
            ours = spread
    np.testing.assert_allclose(ours, spread, rtol=1e-5)


@pytest.mark.parametrize(('most', 'expected'), [(99, None), (100, 20)])
def test_what_is_too_much_is_not_kept(most, expected, monkeypatch):
    monkeypatch.setattr(visits, 'MOST_SUMS', most)
    assert visits.width(5, MANY) == expected


def test_the_first_visit_does_not_count():
    state, *_ = seen(5, 8, visits_of_each=1)
    found = visits.Visits.of_columns(state, 5)
    assert not found.counted.any() and not found.sums.any()
