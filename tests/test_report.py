"""The page of a report: its text as text, its form, and its figures."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_files import EVIL, NAMES, Run
from report_pages import (
    Page,
    make_fresh,  # noqa: F401
    make_run,  # noqa: F401
    make_whole,  # noqa: F401
    page_of,
)

from ieg.report import markup, page


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_text_stays_text(text):
    made = markup.tag('p', text, title=text)
    found = Page(str(made)).one('p')
    # Browsers read NUL as the sign for what is unknown.
    expected = text.replace('\0', '\ufffd')
    expected = expected.encode('utf-8', 'backslashreplace').decode()
    assert found['text'] == expected
    assert found['title'] == expected


def test_markup_in_an_attribute_does_not_end_it():
    made = markup.tag('p', title=markup.tag('b', class_='x'))
    assert Page(made).one('p')['title'] == '<b class="x"></b>'


@pytest.mark.parametrize('text', ['</script>', '<!--', ']]>&amp;', '\u2028'])
def test_data_in_a_script_cannot_end_it(text):
    made = markup.script_data([text])
    assert json.loads(made) == [text]
    assert not re.search('[<>&\u2028]', made)


def test_names_are_text(whole, run):
    assert not [o for o in whole.all('img') if o['src'] == 'x']
    assert not any('onerror' in one for one in whole.elements)
    assert len(whole.all('bdi', class_='name')) > len(run.names)
    assert EVIL in whole.text
    assert '</script><b>' in whole.text
    assert 'One file <b>was</b> no image.' in whole.text
    names = json.loads(whole.one('script', id='names')['text'])
    assert sorted(names) == sorted(NAMES)


def test_the_page_is_well_formed(whole):
    assert not whole.wrong
    ids = [one['id'] for one in whole.elements if 'id' in one]
    assert len(ids) == len(set(ids))
    for link in whole.all('a'):
        assert link['href'][1:] in ids
    for one in whole.elements:
        for other in ('aria-labelledby', 'for'):
            assert one.get(other) is None or one[other] in ids


def test_the_page_can_be_heard(whole):
    levels = [int(o['tag'][1]) for o in whole.elements if o['tag'] in
              ('h1', 'h2', 'h3')]  # fmt: skip
    assert levels[0] == 1 and levels.count(1) == 1
    assert np.diff(levels).max() <= 1
    assert whole.one('html')['lang'] == 'en'
    assert all(one['alt'] for one in whole.all('img'))
    assert all(one['aria-label'] for one in whole.all('svg', role='img'))
    for table in whole.all('table'):
        assert table['inside'][0]['tag'] == 'caption'
        heads = [o for o in table['inside'] if o['tag'] == 'th']
        assert all(one['scope'] in ('col', 'row') for one in heads)
    for field in [*whole.all('select'), *whole.all('input')]:
        assert 'label' in field['within']


def test_the_page_asks_nothing_of_a_network(whole):
    metas = [one for one in whole.all('meta') if 'http-equiv' in one]
    assert [one['content'] for one in metas] == [page.POLICY]
    assert page.POLICY.startswith("default-src 'none'; ")
    assert not re.search(r'https?://|@import|url\(', whole.source)
    for one in whole.elements:
        assert one.get('src', 'data:').startswith('data:')
        assert one.get('href', '#').startswith('#')


def test_the_head_tells_what_matters(whole, run):
    text = whole.text
    assert '24 of 72 labels look wrong; check them.' in text
    assert 'coteaching with the network cnn, 60 training, 12 validation' in text
    assert (
        'About 35.0\xa0% of the labels are wrong'.replace('\xa0', ' ') in text
    )
    assert '(between 31.0 % and 39.0 %)' in text
    assert 'In truth, 33.3 % are; the data set asks for 33.0 %.' in text
    assert 'ROC-AUC 0.9876' in text and 'so 10.0 % of the wrong' in text
    tiles = whole.one('ul', class_='tiles')['inside']
    tiles = [one for one in tiles if one['tag'] == 'li']
    (oracle,) = [one for one in tiles if one.get('class') == 'oracle']
    assert 'oracle' in oracle['text'] and '91.23' in oracle['text']
    assert sum('test accuracy' in one['text'] for one in tiles) == 3
    assert '1 min 15 s' in text and 'ieg 1.2.3' in text


def test_a_folder_of_images_is_known_by_its_name(fresh):
    options = fresh.options() | {'dataset': 'folder', 'data_dir': 'a/pets/'}
    fresh.write_json('config.json', options)
    assert page_of(fresh).one('h1')['text'] == 'pets (folder)'


def test_a_run_without_any_suspicion(fresh):
    fresh.write_issues(is_issue=np.zeros(72, bool))
    seen = page_of(fresh)
    assert 'None of 72 labels looks wrong.' in seen.text
    rows = seen.rows('Labels and predictions by class')
    assert [row[2:5] for row in rows] == [['0', '0.0\xa0%', '–']] * 3
    assert 'not counted as wrong' in seen.cards[0]['text']


def test_the_noise_matrix(whole, run):
    for what in ('Estimated', 'Realised'):
        rows = whole.rows(f'{what} noise matrix')
        assert [row[0] for row in rows] == list(NAMES)
        shares = run.noise().transition
        shown = [[c if c != '·' else '0' for c in row[1:]] for row in rows]
        assert np.abs(np.array(shown, float) - 100 * shares).max() <= 0.5
    assert 'differ from the realised ones by 0.0 points' in whole.text


def test_of_many_classes_only_the_largest_confusions_are_listed(tmp_path):
    names = [f'class {n}' for n in range(25)]
    run = Run(tmp_path / 'run', names, train=100, valid=0)
    summary = run.summary()
    matrix = np.eye(25)
    matrix[7, [7, 3]] = 0.6, 0.4
    matrix[9, [9, 2]] = 0.9, 0.1
    summary['label_issues']['transition_matrix'] = matrix.tolist()
    run.write_json('summary.json', summary)
    rows = page_of(run).rows('The 20 most frequent confusions of 25 classes')
    assert [row[:3] for row in rows] == [
        ['class 7', 'class 3', '40.0\xa0%'],
        ['class 9', 'class 2', '10.0\xa0%'],
    ]


def test_the_table_of_classes(whole, run):
    rows = whole.rows('Labels and predictions by class')
    assert [row[0] for row in rows] == list(NAMES)
    with np.load(run.folder / 'predictions.npz') as found:
        labels = found['test_labels']
        predicted = found['test_logits'].argmax(-1)
    for place, row in enumerate(rows):
        mine, called = labels == place, predicted == place
        issues = run.wrong & (run.given == place)
        share = issues.sum() / (run.given == place).sum()
        (suggested,) = np.unique(run.clean[issues])
        assert row[1:] == [
            str((run.given == place).sum()),
            str(issues.sum()),
            markup.percent(share),
            f'{NAMES[suggested]} (100%)',
            markup.percent((mine & called).sum() / mine.sum()),
            markup.percent((mine & called).sum() / called.sum()),
        ]
    cells = [one for one in whole.all('td') if 'data-value' in one]
    assert float(cells[0]['data-value']) == (run.given == 0).sum()
