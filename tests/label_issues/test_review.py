"""What labels that a person reviewed say about all of them."""

import dataclasses

import numpy as np
import pytest
from looks import looked
from scipy.stats import beta

from ieg.label_issues import floor, review
from ieg.label_issues.floor import EVIDENCE, INTERVAL, RATE
from ieg.label_issues.ranking import Judged, counts, rank, statement

# No example looks like the last one.
CLASSES = ('cat', 'dog', 'emu', 'fox')


def judged(split, count, seed):
    """Returns examples of which a quarter is labeled wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=count)
    shares = rng.dirichlet(np.ones(3), count) / 2 + np.eye(3)[truth] / 2
    given = np.where(rng.random(count) < 0.25, (truth + 1) % 4, truth)
    indices = rng.permutation(1000)[:count]
    shares = np.pad(shares, ((0, 0), (0, 1)))
    return Judged(looked(split, indices, given, shares)), shares


@pytest.fixture(scope='module')
def parts(made):
    return [part for part, _ in made]


@pytest.fixture(scope='module')
def made():
    return [judged('train', 300, 1), judged('valid', 60, 2)]


@pytest.fixture(scope='module')
def held(made):
    return floor.estimate([(s, part.looked.given) for part, s in made])


def figures(rate, low, high):
    own = {RATE: rate, INTERVAL: [low, high]}
    return own | {EVIDENCE: own, 'never_predicted': [], 'count': 3}


def test_the_range_is_what_both_intervals_have_in_common():
    exact = beta.ppf([0.025, 0.975], [9, 10], [42, 41])
    wide = review.narrowed(figures(0.2, 0.0, 0.5), 50, 9)
    assert wide[INTERVAL] == pytest.approx(exact, abs=1e-9)
    assert wide[RATE] == 0.2
    one = review.narrowed(figures(0.16, 0.12, 0.5), 50, 9)
    assert one[INTERVAL] == pytest.approx([0.12, exact[1]])
    clipped = review.narrowed(figures(0.4, 0.0, 0.5), 50, 9)
    assert clipped[RATE] == clipped[INTERVAL][1] == pytest.approx(exact[1])


@pytest.mark.parametrize(
    'own',
    [
        figures(0.5, 0.4, 0.6),
        figures(0.01, 0.0, 0.05),
        figures(None, 0, 0) | {EVIDENCE: None},
    ],
    ids=['higher', 'lower', 'unknown'],
)
def test_without_anything_in_common_the_review_counts(own):
    exact = beta.ppf([0.025, 0.975], [9, 10], [42, 41])
    alone = review.narrowed(own, 50, 9)
    assert alone[INTERVAL] == pytest.approx(exact, abs=1e-9)
    assert alone[RATE] == 9 / 50


def test_the_upper_limit_of_a_refused_rate_stays():
    exact = beta.ppf(0.025, 9, 42)
    result = review.narrowed(figures(None, 0.0, 0.2), 50, 9)
    assert result[INTERVAL] == pytest.approx([exact, 0.2])
    assert result[RATE] == 9 / 50


def test_a_small_lower_limit_is_nothing():
    one = review.narrowed(figures(0.1, 0.0, 0.5), 50, 1)
    assert one[INTERVAL][0] == 0
    none = review.narrowed(figures(None, 0.0, 0.5), 50, 0)
    assert none[RATE] == none[INTERVAL][0] == 0 < none[INTERVAL][1] < 0.1
    every = review.narrowed(figures(None, 0.0, 0.5), 50, 50)
    assert every[RATE] == every[INTERVAL][1] == 1


def test_another_review_starts_from_what_the_run_found():
    own = figures(0.2, 0.1, 0.5)
    first = review.narrowed(own, 50, 9)
    assert review.narrowed(first, 50, 9) == first
    other = review.narrowed(own, 20, 10)
    assert review.narrowed(first, 20, 10) == other != first
    assert first[EVIDENCE] == own[EVIDENCE]


def test_sentences_name_the_review():
    own = figures(0.4, 0.0, 0.5)
    rate, reviewed, _ = statement(review.narrowed(own, 50, 9))
    assert 'most 31.4%' in rate and 'hard' not in rate
    assert '50 labels' in reviewed and '9 are' in reviewed
    _, reviewed, marks = statement(review.narrowed(own, 1, 1))
    assert '1 label ' in reviewed
    # What share of these is wrong was measured for other marks.
    assert 'of 100' in statement(own)[-1] and 'of 100' not in marks


@pytest.mark.parametrize('point, lower', [(0.2, 0.1), (0.9, 0.0), (0.0, 0.0)])
def test_marks_are_those_of_a_run_with_these_rates(parts, held, point, lower):
    rows, _ = rank(parts, CLASSES, held)
    rows.corrected[5] = 'dog'
    changed = dataclasses.replace(held, point=point, lower=lower, refused=False)
    wanted, its_figures = rank(parts, CLASSES, changed)
    # As a person has sorted them.
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = type(rows)(
        **{k: v if v is None else v[order] for k, v in vars(rows).items()}
    )
    again = review.marked_again(shuffled, point, lower)
    for name in ('mark', 'is_issue', 'is_hard'):
        expected = getattr(wanted, name)[order]
        np.testing.assert_array_equal(getattr(again, name), expected)
    assert counts(again.mark).items() <= its_figures.items()
    assert again.corrected[order == 5] == ['dog']
    assert not again.mark[again.given == 'fox'].any()


def test_labels_are_drawn_the_same_however_they_are_ranked(parts, held):
    rows, _ = rank(parts, CLASSES, held)
    order = np.random.default_rng(3).permutation(len(rows))
    other = type(rows)(
        **{k: v if v is None else v[order] for k, v in vars(rows).items()}
    )
    first = rows.index[review.drawn(rows, 7)]
    assert first.tolist() == other.index[review.drawn(other, 7)].tolist()
    assert sorted(first) == sorted(parts[0].looked.rows)
    assert first.tolist() != rows.index[review.drawn(rows, 8)].tolist()
    # Not only those at the top of the list.
    ranks = rows.rank[review.drawn(rows, 7)[:50]]
    assert 100 < ranks.mean() < 200
