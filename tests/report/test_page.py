"""The page of a report: its text as text, its form, and its figures."""

import json
import re
import subprocess
import sys

import jinja2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT
from report_files import EVIL, NAMES, Run
from report_pages import (
    Page,
    make_fresh,  # noqa: F401
    make_run,  # noqa: F401
    make_whole,  # noqa: F401
    page_of,
)

from ieg.data.noise import labels as noise_labels
from ieg.report import html


def filled(source, **values):
    return html.ENVIRONMENT.from_string(source).render(values)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_text_stays_text(text):
    found = Page(filled('<p title="{{ text }}">{{ text }}</p>', text=text)).one(
        'p'
    )
    # Browsers read NUL as the sign for what is unknown.
    expected = text.replace('\0', '\ufffd')
    expected = expected.encode('utf-8', 'backslashreplace').decode()
    assert found['text'] == expected
    assert found['title'] == expected


def test_an_installed_report_has_its_templates(tmp_path):
    command = f"""
        {sys.executable} setup.py -q egg_info --egg-base {tmp_path}
        build_py --build-lib {tmp_path}/lib
    """
    subprocess.run(command.split(), cwd=ROOT, check=True, capture_output=True)
    folder = tmp_path / 'lib' / html.TEMPLATES.relative_to(ROOT)
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in html.TEMPLATES.iterdir()}
    assert {'page.html', 'report.css', 'report.js'} <= names


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        filled('{{ text }}')


@pytest.mark.parametrize('text', ['</script>', '<!--', ']]>&amp;', '\u2028'])
def test_data_in_a_script_cannot_end_it(text):
    made = filled('{{ text|tojson }}', text=[text])
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
    policy = whole.one('meta', **{'http-equiv': 'Content-Security-Policy'})
    assert policy['content'].split('; ') == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "script-src 'unsafe-inline'",
        'img-src data:',
        "base-uri 'none'",
        "form-action 'none'",
    ]
    # What stands before the policy would be free of it.
    before = whole.elements[: whole.elements.index(policy)]
    assert [one['tag'] for one in before] == ['html', 'head', 'meta']
    assert not re.search(r'https?://|@import|url\(', whole.source)
    for one in whole.elements:
        assert one.get('src', 'data:').startswith('data:')
        assert one.get('href', '#').startswith('#')


def test_the_head_says_what_matters(whole, run):
    text = whole.text
    verdict = ' '.join(whole.one('p', class_='verdict')['text'].split())
    assert verdict.startswith('24 of 72 labels')
    subtitle = whole.one('p', class_='subtitle')['text']
    for fact in ('coteaching', 'cnn', '60 training', '12 validation',
                 '30 test', '3 classes'):  # fmt: skip
        assert fact in subtitle
    # The estimate and its interval, the truth and the nominal rate.
    for fact in ('35.0 %', '31.0 %', '39.0 %', '33.3 %', '33.0 %'):
        assert text.count(fact) >= 2
    assert 'ROC-AUC 0.9876' in text and '10.0 % of the wrong' in text
    tiles = whole.one('ul', class_='tiles')['inside']
    tiles = [one for one in tiles if one['tag'] == 'li']
    (oracle,) = [one for one in tiles if one.get('class') == 'oracle']
    assert 'oracle' in oracle['text'] and '91.23' in oracle['text']
    assert sum('test accuracy' in one['text'] for one in tiles) == 3
    assert '1 min 15 s' in text and 'ieg 1.2.3' in text


@pytest.mark.parametrize('low', [0, 0.04])
def test_a_tile_has_the_limits_of_the_noise_rate(fresh, low):
    summary = fresh.summary()
    summary['label_issues'] |= {
        'noise_rate_interval': [low, 0.28],
        'never_predicted': [],
    }
    fresh.write_json('summary.json', summary)
    tiles = page_of(fresh).one('ul', class_='tiles')['inside']
    (text,) = (
        one['text']
        for one in tiles
        if one['tag'] == 'li' and 'at most' in one['text']
    )
    assert '28.0\xa0%' in text and ('least' in text) == bool(low)
    assert ('4.0\xa0%' in text) == bool(low) and ' 0.0' not in text


def test_a_folder_of_images_is_known_by_its_name(fresh):
    options = fresh.options() | {'dataset': 'folder', 'data_dir': 'a/pets/'}
    fresh.write_json('config.json', options)
    assert page_of(fresh).one('h1')['text'] == 'pets (folder)'


def test_a_run_without_any_suspicion(fresh):
    fresh.write_issues(is_issue=np.zeros(72, bool))
    seen = page_of(fresh)
    verdict = seen.one('p', class_='verdict')['text']
    assert 'None' in verdict and '72' in verdict
    rows = seen.rows('Labels and predictions by class')
    assert [row[2:4] for row in rows] == [['0', '–']] * 3
    assert 'not counted as wrong' in seen.cards[0]['text']


def test_the_noise_matrix(whole, run):
    rows = whole.rows('Noise matrix')
    assert [row[0] for row in rows] == list(NAMES)
    shares = run.noise().transition
    shown = [[c if c != '·' else '0' for c in row[1:]] for row in rows]
    assert np.abs(np.array(shown, float) - 100 * shares).max() <= 0.5


def test_of_many_classes_only_the_largest_confusions_are_listed(tmp_path):
    names = [f'class {n}' for n in range(25)]
    run = Run(tmp_path / 'run', names, train=250, valid=0)
    run.given = run.clean.astype(np.int32)
    run.given[np.flatnonzero(run.clean == 7)[:4]] = 3
    run.given[np.flatnonzero(run.clean == 9)[:1]] = 2
    noise_labels.save(str(run.folder / 'noise.npz'), run.noise())
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
        (suggested,) = np.unique(run.clean[issues])
        assert row[1:] == [
            str((run.given == place).sum()),
            str(issues.sum()),
            f'{NAMES[suggested]} ({issues.sum()})',
            html.percent((mine & called).sum() / mine.sum()),
            html.percent((mine & called).sum() / called.sum()),
        ]
    cells = [one for one in whole.all('td') if 'data-value' in one]
    assert float(cells[0]['data-value']) == (run.given == 0).sum()
