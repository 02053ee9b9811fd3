"""How long an audit takes, and what fits into a budget."""

import pytest

from ieg.audit import plan
from ieg.errors import UsageError


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0.2, 'less than a second'),
        (1, '1 second'),
        (59.6, '60 seconds'),
        (150, '2 minutes'),
        (3 * 3600, '3 hours'),
        (5 * 86400, '5 days'),
    ],
)
def test_times_are_for_people(seconds, text):
    assert plan.duration(seconds) == text


def test_features_that_are_kept_have_no_pace():
    assert '(33 images per second)' in str(
        plan.Plan(3, 1.0, features=9.0, pace=33.0)
    )
    text = str(plan.Plan(3, 1.0, pace=33.0))
    assert 'features are kept' in text and 'per second' not in text


def test_epochs_are_what_a_budget_leaves():
    whole = plan.Plan(epochs=100, epoch=60.0, rest=60.0)
    assert '2 hours' in str(whole) and '100 epochs' in str(whole)
    assert plan.epochs_within(101, whole, is_fixed=False) == 100
    assert plan.epochs_within(31.5, whole, is_fixed=False) == 30
    for minutes, fixed, words in (
        (10, False, '--time_budget=10 .*10 epochs need 11 minutes'),
        (50, True, '--time_budget=50 .*100 epochs need 101 minutes'),
    ):
        with pytest.raises(UsageError, match=words):
            plan.epochs_within(minutes, whole, fixed)


def test_a_budget_below_a_minute_is_told_in_seconds():
    short = plan.Plan(epochs=20, epoch=0.5, rest=17.0)
    with pytest.raises(UsageError, match='10 epochs need 22 seconds'):
        plan.epochs_within(0.3, short, is_fixed=False)
