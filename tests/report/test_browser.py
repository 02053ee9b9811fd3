"""The report of a run in a real browser, where one is installed."""

import csv
import re
import urllib.parse

import numpy as np
import pytest
from browser import BROWSER, NARROW, WIDE, Harness, Server
from report_files import EVIL, NAMES, Run

from ieg import report
from ieg.corrections import edits
from ieg.report import suspects

pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(
        BROWSER is None,
        reason='needs Chromium or Chrome (Debian: apt-get install chromium)',
    ),
]
PATH = 'photos, "new"/{}.png'

# The lowest contrast of any text with what is behind it.
CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
function over([r, g, b, a = 1], below) {
  return [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
}
function ground(one) {
  if (!one) return [255, 255, 255];
  const own = parse(getComputedStyle(one).backgroundColor);
  return own[3] === 0 ? ground(one.parentElement)
    : over(own, ground(one.parentElement));
}
function light(color) {
  const [r, g, b] = color.map((c) => c / 255).map((c) =>
    c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(one) {
  const style = getComputedStyle(one);
  const ink = parse(one.ownerSVGElement ? style.fill : style.color);
  const below = ground(one);
  const [a, b] = [light(over(ink, below)), light(below)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
function texts() {
  return all('body *').filter((one) => seen(one) && !one.disabled &&
    [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
}
const found = texts().map((one) => [contrast(one), one.outerHTML]);
const worst = found.reduce((a, b) => a[0] < b[0] ? a : b);
send({texts: found.length, contrast: worst[0], which: worst[1].slice(0, 200),
  ground: light(ground(document.body)),
  dark: matchMedia('(prefers-color-scheme: dark)').matches});
"""
# A person decides on four suspects, and saves.
DECIDE = """
const written = [];
window.Blob = class { constructor(parts) { written.push(parts.join('')); } };
URL.createObjectURL = () => '#';
const chosen = all('.card').slice(0, 4);
function pick(list, value) {
  list.value = value;
  list.dispatchEvent(new Event('change'));
}
chosen.forEach((card, place) => {
  const list = card.querySelector('select');
  pick(list, ['take', 'other', 'leave', 'other'][place]);
});
pick(chosen[1].querySelectorAll('select')[1], 'dog');
const before = document.getElementById('changes').textContent;
document.getElementById('save').click();
chosen.forEach((card) => pick(card.querySelector('select'), 'keep'));
send({written, before, after: document.getElementById('changes').textContent,
  off: document.getElementById('save').disabled,
  rows: chosen.map((card) => ({...card.dataset}))});
"""
SORT = """
const table = document.querySelector('#classes table');
const column = () => [...table.tBodies[0].rows].map((r) =>
  r.cells[5].textContent);
const button = table.tHead.rows[0].cells[5].querySelector('button');
const orders = [column()];
button.click(); orders.push(column());
button.click(); orders.push(column());
send({orders, sorted: button.parentElement.getAttribute('aria-sort')});
"""
MORE = """
const before = cards().length;
document.querySelector('.more').click();
send({before, after: cards().length});
"""
TYPE = """
const field = document.getElementById('path');
field.value = 'NEW"/1';
field.dispatchEvent(new Event('input'));
send({...state(), hash: location.hash});
"""
ASK = """
new Image().src = '%(url)s-image';
fetch('%(url)s-fetch').catch(() => 0);
const link = document.createElement('link');
Object.assign(link, {rel: 'stylesheet', href: '%(url)s-style'});
document.head.append(link);
send({});
"""


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    # A long name must not make a narrow page wide.
    names = (*NAMES, 'a_very_long_name_of_a_class_' * 4)
    folder = tmp_path_factory.mktemp('runs') / 'one'
    return Run(folder, names, train=170, valid=30, path=PATH)


@pytest.fixture(scope='module')
def text(run):
    with open(report.write(str(run.folder), run.data)) as file:
        return file.read()


HASHES = {
    'all': '',
    'anchor': '#curves',
    'cat': '#given=cat',
    'pair': '#given=dog&suggested=cat',
    'evil': f'#given={urllib.parse.quote(EVIL)}',
    'path': '#path=/1',
    'held': '#split=valid',
    'nobody': '#given=nobody',
}


@pytest.fixture(scope='module')
def light(tmp_path_factory, text):
    """What a light browser finds, and what was asked of a server."""
    harness = Harness(tmp_path_factory.mktemp('light'), text)
    for name, hash_ in HASHES.items():
        harness.add(name, 'send(state());', hash_=hash_)
    harness.add('narrow', 'send(state());', NARROW)
    for name, script in (
        ('contrast', CONTRAST),
        ('decide', DECIDE),
        ('sort', SORT),
        ('more', MORE),
        ('type', TYPE),
    ):
        harness.add(name, script)
    harness.add_without_scripts('plain')
    server = Server()
    try:
        ask = ASK % {'url': f'{server.url}/kept'}
        harness.add('kept', ask)
        ask = ASK % {'url': f'{server.url}/free'}
        policy = '<meta http-equiv="Content-Security-Policy"[^>]*>'
        free, count = re.subn(policy, '', text)
        assert count == 1
        harness.add('free', ask, text=free)
        found = harness.run()
    finally:
        server.close()
    return found | {'asked': server.asked}


@pytest.fixture(scope='module')
def dark(tmp_path_factory, text):
    harness = Harness(tmp_path_factory.mktemp('dark'), text)
    harness.add('contrast', CONTRAST)
    harness.add('narrow', CONTRAST, NARROW)
    return harness.run('--blink-settings=preferredColorScheme=0')


def expected(run, given=None, suggested=None, split=None, path=''):
    """Returns the indices of the suspects that a filter leaves."""
    issues = run.issues
    rows = np.concatenate(suspects.choose(issues))
    return [
        str(issues.index[row])
        for row in rows
        if given in (None, issues.given[row])
        and suggested in (None, issues.suggested[row])
        and split in (None, issues.split[row])
        and path in issues.path[row]
    ]


def test_a_narrow_page_does_not_scroll_sideways(light):
    for name, width in (('narrow', NARROW), ('all', WIDE)):
        assert light[name]['width'] == width
        assert light[name]['scrolled'] <= width


def test_the_address_filters(light, run):
    for name, wanted in (
        ('cat', {'given': 'cat'}),
        ('pair', {'given': 'dog', 'suggested': 'cat'}),
        ('evil', {'given': EVIL}),
        ('path', {'path': '/1'}),
        ('held', {'split': 'valid'}),
    ):
        shown = [card['index'] for card in light[name]['cards']]
        assert shown == expected(run, **wanted) and shown
        assert light[name]['given'] == wanted.get('given', '')
        assert not light[name]['none']
        count = f'{len(shown)} of {len(shown)} shown'
        assert light[name]['shown'].startswith(count)


def test_without_a_filter_the_first_are_shown(light, run):
    first, _ = suspects.choose(run.issues)
    for name in ('all', 'anchor'):
        shown = [card['index'] for card in light[name]['cards']]
        assert shown[:60] == [str(run.issues.index[row]) for row in first[:60]]
    assert light['more'] == {
        'before': len(light['all']['cards']),
        'after': len(light['all']['cards']) + min(60, len(first) - 60),
    }


def test_a_filter_that_fits_nothing_says_so(light):
    assert light['nobody']['cards'] == [] and light['nobody']['none']


def test_typing_filters_and_changes_the_address(light, run):
    shown = [card['index'] for card in light['type']['cards']]
    assert shown == expected(run, path='new"/1') and shown
    assert light['type']['hash'] == '#path=NEW%22%2F1'


def test_names_with_html_are_text(light):
    assert light['all']['evil'] == 0
    assert EVIL in light['all']['names']


def test_decisions_are_saved(light, run, tmp_path):
    found = light['decide']
    assert found['before'] == '3 changes'
    assert found['after'] == '0 changes' and found['off']
    (text,) = found['written']
    path = tmp_path / 'corrected.csv'
    path.write_text(text)
    with open(path, newline='') as file:
        rows = list(csv.DictReader(file))
    cards = found['rows'][:3]
    assert rows == [
        {
            'split': card['split'],
            'index': card['index'],
            'path': PATH.format(card['index']),
            'given_label': card['given'],
            'corrected_label': label,
        }
        for card, label in zip(
            cards, [cards[0]['suggested'], 'dog', '-'], strict=True
        )
    ]
    names = np.array([PATH.format(n) for n in range(len(run.given))])
    known = {
        name: edits.Known(split.indices, split.labels, names[split.indices])
        for name, split in run.splits.items()
    }
    labels = edits.corrected_labels(str(path), run.names, known)
    changed = sum((labels[n] != s.labels).sum() for n, s in run.splits.items())
    assert changed == 3


def test_a_click_sorts_the_table_of_classes(light):
    before, down, up = light['sort']['orders']
    numbers = [float(text.split('\xa0')[0]) for text in before]
    assert len(set(numbers)) > 1 and numbers != sorted(numbers)
    values = [[float(t.split('\xa0')[0]) for t in one] for one in (down, up)]
    assert values == [sorted(numbers, reverse=True), sorted(numbers)]
    assert light['sort']['sorted'] == 'ascending'


def test_nothing_is_asked_of_a_network(light):
    assert not [path for path in light['asked'] if path.startswith('/kept')]
    # Without the policy, the same page does ask.
    assert {'/free-image', '/free-fetch', '/free-style'} <= set(light['asked'])


def test_text_can_be_read(light, dark):
    for found, is_dark in ((light, False), (dark, True)):
        assert found['contrast']['dark'] == is_dark
        assert (found['contrast']['ground'] < 0.1) == is_dark
        assert found['contrast']['texts'] > 300
        assert found['contrast']['contrast'] >= 4.5, found['contrast']['which']
    assert dark['narrow']['contrast'] >= 4.5


def test_without_scripts_everything_is_there(light, run):
    cards = sum(map(len, suspects.choose(run.issues)))
    assert light['plain'] == {'cards': cards, 'controls': 0, 'told': 1}
