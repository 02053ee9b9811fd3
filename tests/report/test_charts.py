"""Charts of a report, and the curves of a run that it draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_files import entries
from report_pages import (
    Page,
    make_fresh,  # noqa: F401
    make_run,  # noqa: F401
    make_whole,  # noqa: F401
    page_of,
)

from ieg.report import charts, curves


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e6))
@settings(max_examples=60, deadline=None)
def test_ticks_span_what_is_shown(low, width):
    found = charts.ticks(low, low + width)
    steps = np.diff(found)
    assert 2 <= len(found) <= 9
    assert found[0] <= low + 1e-6 * width
    assert found[-1] >= low + width * (1 - 1e-6)
    assert np.allclose(steps, steps[0]) and steps[0] > 0


@pytest.mark.parametrize('value', [0.0, 1e4, -1e-12])
def test_a_single_value_has_ticks_around_it(value):
    for width in (0.0, 1e-12 * abs(value)):
        found = charts.ticks(value, value + width)
        assert found[0] < value < found[-1]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_labels_at_the_ends_of_curves_do_not_touch(wanted):
    found = charts.spread(wanted, 15, 0, 200)
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
        'Fit of the given labels',
    ]
    text = ' '.join(section['text'].split())
    assert 'epoch 5 of 8' in text and '75.00 %' in text
    assert '--restore_step=50' in text
    marks = [o['text'] for o in section['inside'] if o.get('class') == 'note']
    assert marks == ['recommended: epoch 5'] * 2
    assert 'share of correct training labels, 66.7' in text


def test_where_nobody_knows_the_noise_its_estimate_is_drawn(fresh):
    (fresh.folder / 'noise.npz').unlink()
    summary = fresh.summary() | {'noise_rate_realised': None}
    fresh.write_json('summary.json', summary)
    text = page_of(fresh).text
    assert 'share of correct training labels, 65.0 %, estimated' in text
    assert 'In fact' not in text and 'realized' not in text


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
    assert '--track_memorization' in seen.text
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
