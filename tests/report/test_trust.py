"""The section on how far to trust the number of wrong labels."""

import re

import pytest
from command import assert_mistake
from report_pages import page_of
from reviewed_runs import REVIEWED, evidence, reviewable

from ieg.report import __main__ as report_main


def section(run):
    """Returns the page, and the section or None."""
    seen = page_of(run)
    assert not seen.wrong
    return seen, next(iter(seen.all('section', id='trust')), None)


def shapes(part, tag, class_):
    return [
        one
        for one in part['inside']
        if one['tag'] == tag and one.get('class') == class_
    ]


@pytest.mark.parametrize('folds', [1, 5])
def test_it_says_what_was_compared_and_shows_it(tmp_path, folds):
    found = evidence(folds=folds)
    seen, part = section(reviewable(tmp_path / 'run', found))
    assert '#trust' in [one['href'] for one in seen.all('a')]
    text = ' '.join(part['text'].split())
    assert f'{400 * folds:,} labels' in text
    assert f'{found.disagreeing.sum():,}' in text
    assert ('5 networks' in text) == (folds == 5)
    for value in (found.lower, found.upper, found.point):
        assert f'{100 * value:.1f}' in text
    for words in ('--sample=50', '--reviewed=', 'sample.csv', '85 of 100'):
        assert words in text
    assert len(shapes(part, 'rect', 'bar')) == 20
    assert len(shapes(part, 'rect', 'band')) == 1
    (curve,) = shapes(part, 'polyline', 'curve c1')
    heights = [float(y) for y in re.findall(r',([0-9.]+)', curve['points'])]
    assert heights == sorted(heights, reverse=True)
    # The floor is where the curve begins, or below it.
    (level,) = [one for one in shapes(part, 'line', 'level') if 'y2' in one][:1]
    assert float(level['y1']) >= heights[0]


def test_a_refused_rate_has_no_curve_and_says_what_to_do(tmp_path):
    found = evidence(weak=True)
    assert found.refused
    _, part = section(reviewable(tmp_path / 'run', found, count=0))
    text = ' '.join(part['text'].split())
    # The limits of the curve are not explained, with the figure of the study.
    assert 'too weak' in text and '--sample' in text and '26 %' not in text
    assert '85 of 100' not in text
    assert len(shapes(part, 'rect', 'bar')) == 20
    assert not shapes(part, 'polyline', 'curve c1')


def test_where_nothing_was_held_out_it_says_what_to_do(tmp_path):
    _, part = section(reviewable(tmp_path / 'run', count=0))
    text = ' '.join(part['text'].split())
    assert 'unknown' in text and '--valid_ratio' in text and '--sample' in text
    assert not [one for one in part['inside'] if one['tag'] == 'svg']


def test_runs_without_the_evidence_have_no_section(tmp_path):
    run = reviewable(tmp_path / 'run', evidence())
    summary = run.summary()
    run.write_json('summary.json', summary)
    assert section(run)[1] is None
    summary['label_issues'] |= {'never_predicted': []}
    run.write_json('summary.json', summary)
    assert section(run)[1] is None


def test_a_review_is_named_with_its_own_range(tmp_path):
    review = {'examples': 50, 'wrong': 9}
    changes = {REVIEWED: review, 'noise_rate_interval': [0.12, 0.3]}
    run = reviewable(tmp_path / 'run', evidence(), **changes)
    text = ' '.join(section(run)[1]['text'].split())
    for words in ('At least 12.0%', '9 of 50', '8.6', '31.4'):
        assert words in text


EVIDENCE = evidence().figures()['evidence']
DAMAGE = [
    {'evidence': 3},
    {'evidence': {}},
    {'never_predicted': 'cat'},
    {REVIEWED: [9, 50]},
    {REVIEWED: {'examples': 0, 'wrong': 0}},
    {REVIEWED: {'examples': 9, 'wrong': 10}},
    {REVIEWED: {'examples': 9}},
    *(
        {'evidence': EVIDENCE | change}
        for change in (
            {'examples': [1] * 19},
            {'examples': 20},
            {'examples': [0] * 20, 'disagreeing': [0] * 20},
            {'examples': [1] * 19 + [10**400]},
            {'disagreeing': EVIDENCE['examples'][:19] + [1.5]},
            {'disagreeing': [21] * 20},
            {'height': None},
            {'power': 'two'},
            {'folds': True},
            {'noise_rate': 'high'},
            {'noise_rate_interval': None},
        )
    ),
]


@pytest.mark.parametrize('change', DAMAGE)
def test_damaged_figures_are_one_sentence(tmp_path, capsys, change):
    run = reviewable(tmp_path / 'run', evidence(), **change)
    code = report_main.main([str(run.folder)])
    (name,) = change
    assert_mistake((code, *capsys.readouterr()), 'summary.json', name)
