"""Sections of near duplicates and outliers, which only some reports have."""

import numpy as np
from report_pages import (
    make_fresh,  # noqa: F401
    make_run,  # noqa: F401
    page_of,
)

from ieg.report import duplicates, outliers


def groups_of(run, *groups):
    """Returns columns in which rows (places in the list) are groups."""
    count = len(run.issues)
    numbers = np.full(count, np.nan)
    for number, rows in enumerate(groups, 1):
        numbers[rows] = number
    return {
        'neighbour_agreement': np.linspace(0, 1, count),
        'duplicate_group': numbers,
        'outlier_score': np.linspace(-1, 4, count),
        'is_outlier': np.zeros(count, bool),
    }


def rows_of(run, **wanted):
    """Returns the places in the list of rows with some values."""
    fits = np.ones(len(run.issues), bool)
    for name, value in wanted.items():
        fits &= getattr(run.issues, name) == value
    return np.flatnonzero(fits)


def sections(page):
    return [one['id'] for one in page.all('section')]


def test_different_labels_come_first_then_different_splits(fresh):
    one, other = fresh.names[:2]
    same = rows_of(fresh, given=one, split='train')[:3]
    across = [
        rows_of(fresh, given=one, split=split)[-1]
        for split in ('train', 'valid')
    ]
    differ = [rows_of(fresh, given=name)[4] for name in (one, other)]
    fresh.write_issues(**groups_of(fresh, same, across, differ))
    page = page_of(fresh, fresh.data)
    assert not page.wrong
    assert sections(page)[-2:] == ['suspects', 'duplicates']
    section = page.one('section', id='duplicates')
    text = ' '.join(section['text'].split())
    assert '7 examples' in text and '3 groups' in text
    (listed,) = [o for o in section['inside'] if o['tag'] == 'ol']
    titles = [
        item['inside'][0]['text']
        for item in listed['inside']
        # Items within begin with a picture.
        if item['tag'] == 'li' and item['inside'][0]['tag'] == 'p'
    ]
    assert [one in title for title in titles] == [True] * 3
    assert [other in title for title in titles] == [True, False, False]
    assert ['train and valid' in title for title in titles][1:] == [True, False]
    images = [o for o in section['inside'] if o['tag'] == 'img']
    assert len(images) == 7
    assert images[0]['src'].startswith('data:image/png')


def test_large_and_many_groups_are_cut(fresh):
    count = len(fresh.issues)
    pairs = np.arange(count // 2 * 2).reshape(-1, 2)
    fresh.write_issues(**groups_of(fresh, np.arange(20)))
    section = page_of(fresh).one('section', id='duplicates')
    looks = [o for o in section['inside'] if o['text'].count('rank') == 1]
    assert 'and no more' not in section['text'] and '14 more' in section['text']
    assert len([o for o in looks if o['tag'] == 'li']) == duplicates.EACH
    fresh.write_issues(**groups_of(fresh, *pairs))
    section = page_of(fresh).one('section', id='duplicates')
    assert f'{len(pairs)} groups' in section['text']


def test_outliers_are_shown_farthest_first(fresh):
    columns = groups_of(fresh)
    columns['is_outlier'][[3, 50, 20]] = True
    fresh.write_issues(**columns)
    page = page_of(fresh, fresh.data)
    assert not page.wrong and sections(page)[-1] == 'outliers'
    section = page.one('section', id='outliers')
    alts = [o['alt'] for o in section['inside'] if o['tag'] == 'img']
    wanted = [fresh.issues.index[row] for row in (50, 20, 3)]
    assert [int(alt.split()[1].strip(',')) for alt in alts] == wanted


def test_many_outliers_are_cut(fresh):
    columns = groups_of(fresh)
    columns['is_outlier'][:] = True
    fresh.write_issues(**columns)
    section = page_of(fresh).one('section', id='outliers')
    assert f'{len(fresh.issues)} examples' in section['text']
    looks = [o for o in section['inside'] if o['tag'] == 'li']
    assert len(looks) == min(outliers.MOST, len(fresh.issues))


def test_nothing_is_said_where_nothing_was_found(fresh):
    plain = sections(page_of(fresh))
    fresh.write_issues(**groups_of(fresh))
    assert sections(page_of(fresh)) == plain
    assert 'duplicates' not in plain and 'outliers' not in plain


def test_names_are_text(fresh):
    path = np.full(len(fresh.issues), '<script>alert(1)</script>.png', object)
    columns = groups_of(fresh, [0, 1]) | {'path': path}
    columns['is_outlier'][2] = True
    fresh.write_issues(**columns)
    page = page_of(fresh)
    assert not page.wrong and '<script>alert' not in page.source
    for name in ('duplicates', 'outliers'):
        assert '<script>alert(1)' in page.one('section', id=name)['text']
