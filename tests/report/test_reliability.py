"""Calibration in a report: its numbers, and what the page says of it."""

import numpy as np
import pytest
from report_pages import (
    make_fresh,  # noqa: F401
    make_run,  # noqa: F401
    make_whole,  # noqa: F401
    page_of,
)

from ieg.report import html
from ieg.report.reliability import (
    BINS,
    calibration,
    reliability,
)


def two_classes(confidence):
    p = np.asarray(confidence, float)
    return np.log(np.stack([p, 1 - p], axis=-1))


def test_the_calibration_error_of_an_example_by_hand():
    # Four at 90 %, of which three are right; six at 62 %, three right.
    logits = two_classes([0.9] * 4 + [0.62] * 6)
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 1, 1, 1])
    found = reliability(logits, labels)
    assert found.ece == pytest.approx(0.4 * 0.15 + 0.6 * 0.12)
    filled = np.flatnonzero(found.shares)
    assert filled.tolist() == [9, 13]
    assert found.accuracy[filled] == pytest.approx([0.5, 0.75])
    assert found.confidence[filled] == pytest.approx([0.62, 0.9])
    right = np.where(labels == 0, logits[:, 0], logits[:, 1])
    assert found.nll == pytest.approx(-right.mean())


def test_bins_are_of_equal_width_and_closed_above():
    found = reliability(two_classes([0.51, 0.999999999]), np.array([0, 0]))
    assert len(found.shares) == BINS == 15
    assert np.flatnonzero(found.shares).tolist() == [7, 14]


def drawn(logits, rng):
    """Returns labels that are as likely as the logits say."""
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return (rng.random((len(logits), 1)) > chances.cumsum(-1)).sum(-1)


@pytest.mark.parametrize('planted', [0.5, 3.0])
def test_a_planted_temperature_is_found(planted):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 5)) * 2
    found = calibration(logits * planted, drawn(logits, rng))
    assert found.temperature == pytest.approx(planted, rel=0.03)
    assert found.after.nll < found.before.nll
    assert found.after.ece < 0.015 < 0.1 < found.before.ece


def test_a_temperature_that_is_given_is_used():
    logits, labels = two_classes([0.9, 0.8]), np.array([0, 1])
    found = calibration(logits, labels, 2.0)
    assert found.temperature == 2
    assert found.after.nll == pytest.approx(reliability(logits / 2, labels).nll)


def test_where_everything_is_right_the_temperature_stays_finite():
    found = calibration(two_classes([0.9] * 5), np.zeros(5, int))
    assert 0.02 <= found.temperature < 0.2
    assert found.after.ece < found.before.ece


def test_a_temperature_that_does_not_help_is_not_proposed(fresh):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 30)
    right = np.eye(3)[labels] * 4
    # Validation asks for less confidence, and test labels for more.
    fresh.write_predictions(
        valid_logits=rng.permuted(right, axis=1)[:20].astype(np.float32),
        valid_labels=labels[:20],
        valid_clean=labels[:20],
        test_logits=right.astype(np.float32),
        test_labels=labels,
    )
    text = section_of(page_of(fresh))
    assert 'Use the logits as they are' in text
    assert 'after all logits are divided' not in text


def section_of(page):
    return ' '.join(page.one('section', id='reliability')['text'].split())


def test_the_calibration_says_what_it_was_fitted_to(whole, fresh, run):
    text = section_of(whole)
    assert 'fitted to the validation examples with their given' in text
    wrong = np.mean(run.wrong[run.is_valid])
    assert f'{100 * wrong:.1f} % of which are wrong' in text
    assert 'diagrams show the test examples' in text
    with np.load(run.folder / 'predictions.npz') as found:
        before = reliability(found['test_logits'], found['test_labels'])
    rows = whole.rows('Calibration in 15 bins')
    assert rows[1][1:3] == ['30', html.percent(before.ece, 2)]
    with np.load(fresh.folder / 'predictions.npz') as found:
        labels = found['valid_labels']
    fresh.write_predictions(valid_clean=labels)
    right = section_of(page_of(fresh))
    assert 'are wrong' not in right and 'may be wrong' not in right
    assert 'noise matrix' not in right
    fresh.write_predictions(valid_clean=None)
    unknown = section_of(page_of(fresh))
    assert 'may be wrong' in unknown and 'noise matrix' not in unknown
    fresh.write_predictions(valid_logits=None)
    alone = page_of(fresh)
    assert 'on the same examples' in section_of(alone)
    assert 'diagrams show' not in section_of(alone)
    assert len(alone.rows('Calibration in 15 bins')) == 1


def test_predictions_that_are_not_finite_are_no_ground_for_figures(fresh):
    logits = np.full((30, 3), np.nan, np.float32)
    fresh.write_predictions(test_logits=logits, valid_logits=None)
    assert 'no finite predictions' in page_of(fresh).text
