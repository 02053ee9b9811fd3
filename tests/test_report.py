"""The report of a run: its numbers, its pictures, its text as text."""

import base64
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_files import EVIL, NAMES, Page, Run, entries

from ieg import config as ieg_config
from ieg import experiment
from ieg import report as command
from ieg.analysis import issues as label_issues
from ieg.analysis import report
from ieg.analysis.report import (
    charts,
    contents,
    curves,
    markup,
    page,
    suspects,
    svg,
)
from ieg.analysis.report.calibration import (
    BINS,
    calibration,
    fit_temperature,
    reliability,
)
from ieg.errors import UsageError

MEGABYTE = 2**20


def page_of(run, data=None, reason=''):
    path = report.write(str(run.folder), data, reason)
    with open(path, encoding='utf-8') as file:
        return Page(file.read())


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp('runs') / 'one', path='photos/{}.png')


@pytest.fixture(scope='module')
def whole(run):
    return page_of(run, run.data)


@pytest.fixture
def fresh(tmp_path):
    return Run(tmp_path / 'run')


# Calibration.


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


@pytest.mark.parametrize('planted', [0.5, 3.0])
def test_a_planted_temperature_is_found(planted):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 5)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = (rng.random((20000, 1)) > chances.cumsum(-1)).sum(-1)
    found = calibration(logits * planted, labels)
    assert found.temperature == pytest.approx(planted, rel=0.03)
    assert found.after.nll < found.before.nll
    assert found.after.ece < 0.015 < 0.1 < found.before.ece


def test_a_planted_temperature_is_found_behind_noise():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 4)) * 3
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    clean = (rng.random((20000, 1)) > chances.cumsum(-1)).sum(-1)
    transition = 0.6 * np.eye(4) + 0.4 * np.roll(np.eye(4), 1, axis=1)
    noisy = np.where(rng.random(20000) < 0.4, (clean + 1) % 4, clean)
    found = fit_temperature(logits * 2, noisy, transition)
    assert found == pytest.approx(2, rel=0.05)
    assert fit_temperature(logits * 2, noisy) > 3
    assert fit_temperature(logits * 2, clean, np.eye(4)) == pytest.approx(
        fit_temperature(logits * 2, clean), rel=1e-3
    )


def test_a_temperature_that_is_given_is_used():
    logits, labels = two_classes([0.9, 0.8]), np.array([0, 1])
    found = calibration(logits, labels, 2.0)
    assert found.temperature == 2
    assert found.after.nll == pytest.approx(reliability(logits / 2, labels).nll)


def test_where_everything_is_right_the_temperature_stays_finite():
    found = calibration(two_classes([0.9] * 5), np.zeros(5, int))
    assert 0.02 <= found.temperature < 0.2
    assert found.after.ece < found.before.ece


# Drawing.


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e6))
@settings(max_examples=60, deadline=None)
def test_ticks_span_what_is_shown(low, width):
    found = svg.ticks(low, low + width)
    steps = np.diff(found)
    assert 2 <= len(found) <= 9
    assert found[0] <= low + 1e-6 * width
    assert found[-1] >= low + width * (1 - 1e-6)
    assert np.allclose(steps, steps[0]) and steps[0] > 0


@pytest.mark.parametrize('value', [0.0, 1e4, -1e-12])
def test_a_single_value_has_ticks_around_it(value):
    for width in (0.0, 1e-12 * abs(value)):
        found = svg.ticks(value, value + width)
        assert found[0] < value < found[-1]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_labels_at_the_ends_of_curves_do_not_touch(wanted):
    found = svg.spread(wanted, 15, 0, 200)
    assert np.diff(np.sort(found)).min(initial=15) >= 15 - 1e-9
    assert min(found) >= 0 and max(found) <= 200
    in_order = np.argsort(wanted, kind='stable')
    assert (np.diff(np.array(found)[in_order]) > 0).all()


def test_a_chart_tells_its_values():
    lines = [
        charts.Line('train', 'given', [(1, 0.25), (2, 0.5)]),
        charts.Line('test', 'true', [(2, 0.75)]),
    ]
    found = Page(charts.lines('Accuracy', lines, marked=(2, 'here')))
    assert not found.wrong
    tips = [one['text'] for one in found.all('title')]
    assert tips == ['epoch 1\ntrain 0.25', 'epoch 2\ntrain 0.5\ntest 0.75']
    label = found.one('svg', role='img')['aria-label']
    assert 'train from 0.25 in epoch 1 to 0.5 in epoch 2' in label
    texts = [one['text'] for one in found.all('text')]
    assert {'train', 'test', 'here'} <= set(texts)


def test_a_curve_is_where_its_values_are():
    line = charts.Line('a', '', [(1, 0.0), (2, 1.0), (3, 0.5)])
    found = Page(charts.lines('x', [line]))
    places = found.all('polyline')[0]['points'].split()
    x, y = np.array([place.split(',') for place in places], float).T
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    assert y[1] < y[2] < y[0]
    assert y[2] == pytest.approx((y[0] + y[1]) / 2)


def test_the_curves_of_a_run(whole):
    section = whole.one('section', id='curves')
    titles = [o['text'] for o in section['inside'] if o['tag'] == 'figcaption']
    assert titles == [
        'Accuracy',
        'Loss, nats',
        'Quality of the selection',
        'Susceptibility, nats',
        'What is learnt of the given labels',
    ]
    assert 'after epoch 5 of 8, where test accuracy was 75.00' in whole.text
    marks = [o['text'] for o in section['inside'] if o.get('class') == 'note']
    assert marks == ['recommended: epoch 5'] * 2
    assert 'share of right training labels, 66.7' in whole.text


def test_where_nobody_knows_the_noise_its_estimate_is_drawn(fresh):
    (fresh.folder / 'noise.npz').unlink()
    summary = fresh.summary() | {'noise_rate_realised': None}
    fresh.write_json('summary.json', summary)
    text = page_of(fresh).text
    assert 'share of right training labels, 65.0 %, estimated' in text
    assert 'In truth' not in text


def test_an_odd_log_is_drawn(fresh):
    found = entries(3, tracked=False)
    found[0]['loss'] = None
    found[1]['loss'] = float('nan')
    del found[1]['test_accuracy']
    found[1]['remarks'] = ['it <diverged>']
    fresh.write_log(found)
    (fresh.folder / 'memorization.json').unlink()
    seen = page_of(fresh)
    assert not seen.wrong
    assert 'was not tracked' in seen.text
    assert 'Epoch 2: it <diverged>' in seen.text
    rows = seen.rows('Figures by epoch')
    assert [row[0] for row in rows] == ['1', '2', '3']
    assert rows[1].count('–') == 2


def test_one_epoch_is_enough(fresh):
    fresh.write_log(entries(1))
    assert not page_of(fresh).wrong


def test_a_long_log_is_thinned():
    found = curves.thinned(list(range(1, 301)))
    assert found[0] == 1 and found[-1] == 300
    assert len(found) <= curves.ROWS + 1


# Text.


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


# The page.


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


def test_the_page_asks_nothing_of_a_network(run):
    with open(report.write(str(run.folder), run.data)) as file:
        text = file.read()
    found = Page(text)
    metas = [one for one in found.all('meta') if 'http-equiv' in one]
    assert [one['content'] for one in metas] == [page.POLICY]
    assert page.POLICY.startswith("default-src 'none'; ")
    assert not re.search(r'https?://|@import|url\(', text)
    for one in found.elements:
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
    columns = vars(fresh.issues) | {'is_issue': np.zeros(72, bool)}
    label_issues.write(
        str(fresh.folder / 'label_issues.csv'), label_issues.Issues(**columns)
    )
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


def test_the_calibration_says_what_it_was_fitted_to(whole, fresh, run):
    assert 'fitted to the validation examples with their given' in whole.text
    wrong = np.mean(run.wrong[run.is_valid])
    share = f'{100 * wrong:.1f} %'
    way = 'of which are wrong, by way of the estimated noise matrix'
    assert f'labels, {share} {way}; the diagrams are of the test' in whole.text
    assert 'Without that matrix it would be' in whole.text
    with np.load(run.folder / 'predictions.npz') as found:
        before = reliability(found['test_logits'], found['test_labels'])
    rows = whole.rows('Calibration in 15 bins')
    assert rows[1][1:3] == ['30', markup.percent(before.ece, 2)]
    with np.load(fresh.folder / 'predictions.npz') as found:
        labels = found['valid_labels']
    fresh.write_predictions(valid_clean=labels)
    right = page_of(fresh).text
    assert 'given labels; the diagrams are of the test' in right
    fresh.write_predictions(valid_clean=None)
    unknown = page_of(fresh).text
    assert 'given labels, which may be wrong; the diagrams' in unknown
    fresh.write_predictions(valid_logits=None)
    alone = page_of(fresh)
    assert (
        'the same examples, so the error after the fit flatters' in alone.text
    )
    assert len(alone.rows('Calibration in 15 bins')) == 1


def test_predictions_that_are_not_finite_are_no_ground_for_figures(fresh):
    logits = np.full((30, 3), np.nan, np.float32)
    fresh.write_predictions(test_logits=logits, valid_logits=None)
    assert 'no finite predictions' in page_of(fresh).text


# Suspects.


def list_of(given, is_issue, is_hard):
    rng = np.random.default_rng(0)
    count = len(given)
    rank = rng.permutation(count) + 1
    columns = dict.fromkeys(label_issues.Issues.__dataclass_fields__, rank)
    return label_issues.Issues(
        **columns | {'given': given, 'is_issue': is_issue, 'is_hard': is_hard}
    )


@given(st.integers(1, 400), st.integers(1, 1500), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_suspects_are_the_first_and_some_of_each_class(classes, count, share):
    rng = np.random.default_rng(count)
    labels = rng.integers(0, classes, count).astype(str).astype(object)
    is_issue, is_hard = rng.random(count) < share, rng.random(count) < 0.3
    issues = list_of(labels, is_issue, is_hard)
    first, hard = suspects.choose(issues)
    assert len({*first, *hard}) == len(first) + len(hard) <= suspects.MOST
    assert (np.diff(issues.rank[first]) > 0).all()
    assert not issues.is_issue[hard].any()
    present = len(set(labels))
    each = min(suspects.EACH_CLASS, suspects.MOST // present)
    only_hard = issues.is_hard & ~issues.is_issue
    required = set()
    for name in set(labels):
        rows = np.flatnonzero((labels == name) & ~only_hard)
        required |= set(rows[np.argsort(issues.rank[rows])][:each])
    assert required <= set(first)
    # Whatever else is there looks wrong and comes by rank.
    more = [row for row in first if row not in required]
    assert issues.is_issue[more].all()
    missed = np.setdiff1d(np.flatnonzero(issues.is_issue), first)
    if len(missed):
        assert len(first) + len(hard) == suspects.MOST
        assert issues.rank[more].max(initial=0) < issues.rank[missed].min()


def test_an_empty_list_has_no_suspects():
    none = np.zeros(0, bool)
    found = suspects.choose(list_of(np.zeros(0, object), none, none))
    assert [len(rows) for rows in found] == [0, 0]


def test_the_cards_of_suspects(whole, run):
    cards, issues = whole.cards, run.issues
    assert len({card['data-index'] for card in cards}) == len(cards)
    first = cards[0]
    assert first['data-given'] == issues.given[0]
    assert first['data-suggested'] == issues.suggested[0]
    assert first['data-path'] == f'photos/{issues.index[0]}.png'
    assert first['data-split'] == issues.split[0]
    assert 'score 0.000' in first['text']
    assert 'not selected' in first['text']
    lists = whole.all('ol')
    assert [one['aria-label'] for one in lists] == [
        'Suspects, most suspicious first',
        'Hard examples',
    ]
    hard = [o for o in lists[1]['inside'] if o.get('class') == 'card']
    assert [int(card['data-index']) for card in hard] == issues.index[
        -4:
    ].tolist()
    options = whole.one('select', id='given')['inside']
    values = [one['value'] for one in options]
    assert values == ['', *sorted(NAMES)]


def decoded(uri):
    kind, code = re.fullmatch('data:image/(.*);base64,(.*)', uri).groups()
    with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
        assert picture.format.lower() == kind
        return kind, np.asarray(picture)


def test_pictures_are_those_of_the_examples(whole, run):
    for card in whole.cards:
        (image,) = [one for one in card['inside'] if one['tag'] == 'img']
        kind, pixels = decoded(image['src'])
        split = run.splits[card['data-split']]
        place = list(split.indices).index(int(card['data-index']))
        assert kind == 'png' and image['class'] == 'small'
        assert np.array_equal(pixels, split.images[place][..., 0])


@pytest.mark.parametrize(
    'shape, kind, size',
    [
        ((48, 32, 3), 'png', (48, 32, 3)),
        ((49, 30, 3), 'jpeg', (49, 30, 3)),
        ((224, 112, 3), 'jpeg', (96, 48, 3)),
        ((100, 300, 1), 'jpeg', (32, 96)),
    ],
)
def test_pictures_are_small(shape, kind, size):
    image = np.full(shape, 200, np.uint8)
    found, pixels = decoded(suspects.data_uri(image))
    assert found == kind and pixels.shape == size
    assert np.abs(pixels.astype(int) - 200).max() <= 2


def test_images_in_files_are_fetched(fresh):
    for split in fresh.splits.values():
        held, split.images = split.images, None

        def fetch(ids, seeds, held=held):
            assert seeds is None and len(ids) <= suspects.ROWS
            return held[ids]

        split.fetch = fetch
    assert len(page_of(fresh, fresh.data).all('img')) == len(
        page_of(fresh, fresh.data).cards
    )


def gone(ids, seeds):
    raise OSError('gone')


@pytest.mark.parametrize(
    'damage, words',
    [
        (lambda s: s.labels.__iadd__(1), 'not those of the run'),
        (lambda s: s.indices.__iadd__(100), 'not those of the run'),
        (lambda s: vars(s).update(images=None, fetch=gone), '(OSError)'),
    ],
)
def test_without_images_the_gallery_says_why(fresh, damage, words):
    fresh.data.class_names += ('one more',)
    damage(fresh.splits['train'])
    seen = page_of(fresh, fresh.data)
    assert words in seen.text
    assert not seen.all('img') and len(seen.cards) > 10


def test_a_reason_is_told(fresh):
    seen = page_of(fresh, None, 'There is no <folder>.')
    assert 'There is no <folder>.' in seen.text and not seen.all('img')
    assert 'not at hand' in page_of(fresh).text


@pytest.mark.parametrize('shape', [(48, 48, 3), (120, 96, 3)])
def test_a_report_of_10000_images_is_below_5_megabytes(tmp_path, shape):
    # Noise is what compresses worst.
    run = Run(tmp_path / 'run', train=600, valid=0, shape=shape)
    issues = run.issues
    more = {
        field: np.resize(getattr(issues, field), 10000)
        for field in label_issues.Issues.__dataclass_fields__
    }
    more |= {'rank': np.arange(1, 10001), 'is_issue': np.ones(10000, bool)}
    label_issues.write(
        str(run.folder / 'label_issues.csv'), label_issues.Issues(**more)
    )
    with open(report.write(str(run.folder), run.data)) as file:
        text = file.read()
    assert text.count('<img src="data:') == suspects.MOST
    assert len(text) < 5 * MEGABYTE
    assert '>check the first 300</a>' in text


# Folders that lack something, and damaged ones.

WORDS = {
    'summary.json': 'the run has not finished',
    'log.jsonl': 'there are no curves',
    'label_issues.csv': 'there are no suspects',
    'predictions.npz': 'the calibration are missing',
    'noise.npz': 'nobody knows the true labels',
    'memorization.json': 'No epoch is recommended',
}


@pytest.mark.parametrize('name', WORDS)
def test_what_is_missing_is_said(fresh, name):
    (fresh.folder / name).unlink()
    seen = page_of(fresh, fresh.data)
    assert not seen.wrong
    assert WORDS[name] in seen.text
    assert len(seen.all('section')) == len(page.PARTS)


def test_a_run_that_has_just_begun(fresh):
    for name in WORDS:
        (fresh.folder / name).unlink()
    seen = page_of(fresh)
    assert not seen.wrong and len(seen.all('section')) == len(page.PARTS)
    assert 'tells of no single label' in seen.text


DAMAGE = {
    'config.json': ['{', '[]', '{"method": 3}', b'\xff'],
    'log.jsonl': ['{"epoch": 0}\n{', '{}', '[1]\n', b'\xff\xfe'],
    'summary.json': [
        '{',
        '[]',
        '{"seconds": "long"}',
        '{"label_issues": 3}',
        '{"label_issues": {"noise_rate": []}}',
        '{"label_issues": {"noise_rate_interval": [1]}}',
        '{"label_issues": {"transition_matrix": [[1, 0]]}}',
        '{"label_issues": {"transition_matrix": [[1]]}}',
        '{"label_issues": {"transition_matrix": [["a"]]}}',
    ],
    'memorization.json': ['{', '{"recommended_epoch": "last"}'],
    'noise.npz': ['', 'no archive'],
    'predictions.npz': ['', 'no archive'],
    'label_issues.csv': ['', 'a,b\n', b'\xff\0'],
}


@pytest.mark.parametrize(
    'name, content', [(k, v) for k, values in DAMAGE.items() for v in values]
)
def test_a_damaged_file_is_one_sentence(run, tmp_path, capsys, name, content):
    for path in run.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink()
    as_bytes = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(as_bytes)
    (tmp_path / 'report.html').unlink(missing_ok=True)
    assert command.main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('ieg: ') and name in line
    assert not (tmp_path / 'report.html').exists()


@pytest.mark.parametrize(
    'change',
    [
        {'class_names': None},
        {'test_logits': np.zeros((30, 2))},
        {'test_labels': np.full(30, 3)},
        {'train_labels': np.array([-1])},
        {'valid_labels': None},
        {'class_names': np.array(['a', 'b', 'c', 'd'])},
    ],
)
def test_predictions_that_do_not_fit_are_damaged(fresh, change):
    fresh.write_predictions(**change)
    with pytest.raises(UsageError, match='predictions.npz|summary.json'):
        contents.read(str(fresh.folder))


@pytest.mark.parametrize('made', [False, True])
def test_a_folder_that_is_none_of_a_run(tmp_path, capsys, made):
    folder = tmp_path / 'none'
    if made:
        folder.mkdir()
    assert command.main([str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'config.json' in line and str(folder) in line


def test_a_report_that_cannot_be_written(fresh):
    (fresh.folder / 'report.html.tmp').mkdir()
    with pytest.raises(UsageError, match='cannot be written'):
        report.write(str(fresh.folder))


# The command.


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """A run on digits whose data can be loaded again."""
    root = tmp_path_factory.mktemp('digits')
    config = ieg_config.resolve(
        {
            'dataset': 'digits_symmetric_0.4',
            'method': 'supervised',
            'train_examples': 100,
            'valid_ratio': 0.2,
            'checkpoint_path': str(root / 'runs'),
        }
    )
    data = experiment.load_data(config)
    run = Run(root / 'run', data.class_names, train=60, valid=20)
    for name, split in run.splits.items():
        real = data.split(name)
        run.given[split.indices] = real.labels[: len(split.labels)]
    given = [
        data.class_names[data.split(s).labels[place]]
        for s, place in zip(run.issues.split, places(run, data), strict=True)
    ]
    columns = vars(run.issues) | {
        'index': indices(run, data),
        'given': np.array(given, object),
    }
    label_issues.write(
        str(run.folder / 'label_issues.csv'), label_issues.Issues(**columns)
    )
    run.write_json('config.json', config.flat())
    return run, data


def places(run, data):
    """Returns a place in its split for each row of the list."""
    counts = {'train': 0, 'valid': 0}
    found = []
    for split in run.issues.split:
        found.append(counts[split])
        counts[split] += 1
    return found


def indices(run, data):
    return np.array(
        [
            data.split(split).indices[place]
            for split, place in zip(
                run.issues.split, places(run, data), strict=True
            )
        ]
    )


def test_the_command_shows_the_images_of_the_run(digits, capsys):
    run, data = digits
    assert command.main([str(run.folder)]) == 0
    path = run.folder / 'report.html'
    assert capsys.readouterr().out.strip() == str(path)
    seen = Page(path.read_text())
    assert len(seen.cards) > 20
    for card in seen.cards:
        (image,) = [one for one in card['inside'] if one['tag'] == 'img']
        split = data.split(card['data-split'])
        place = list(split.indices).index(int(card['data-index']))
        _, pixels = decoded(image['src'])
        assert np.array_equal(pixels, split.images[place][..., 0])


def test_the_command_does_without_data(fresh, capsys):
    fresh.write_json(
        'config.json',
        {
            'method': 'supervised',
            'dataset': 'folder',
            'data_dir': str(fresh.folder / 'gone'),
        },
    )
    assert command.main([str(fresh.folder)]) == 0
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith('The images cannot be shown: ')
    text = Page((fresh.folder / 'report.html').read_text()).text
    assert ' '.join(line.split()) in text


def test_corrections_are_applied(fresh, monkeypatch, capsys):
    from ieg.analysis import corrections

    asked = []

    def apply(*arguments):
        asked.append(arguments)
        return 'Written: nothing.'

    monkeypatch.setattr(corrections, 'apply', apply)
    folder = str(fresh.folder)
    assert command.main([folder, '--apply=c.csv']) == 0
    assert command.main([folder, '--apply', 'c.csv', '--output=o']) == 0
    assert asked == [(folder, 'c.csv', None), (folder, 'c.csv', 'o')]
    assert capsys.readouterr().out == 'Written: nothing.\n' * 2
    assert not (fresh.folder / 'report.html').exists()


@pytest.mark.parametrize(
    'arguments, word',
    [
        ([], 'run'),
        (['a', 'b'], 'b'),
        (['a', '--output=o'], '--apply'),
        (['a', '--aply=o'], '--aply'),
    ],
)
def test_mistakes_of_the_command_line(capsys, arguments, word):
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('ieg: ') and word in line


def test_a_report_needs_no_tensorflow(run):
    code = (
        'import sys; from ieg.analysis import report; import ieg.report; '
        'report.write(sys.argv[1]); sys.exit("tensorflow" in sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code, str(run.folder)], check=True)
