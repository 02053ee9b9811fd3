"""The suspects of a report: which they are, and their pictures."""

import dataclasses
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_files import EVIL, NAMES, Run
from report_pages import (
    assert_pictures,
    decoded,
    make_fresh,  # noqa: F401
    make_run,  # noqa: F401
    make_whole,  # noqa: F401
    page_of,
)

from ieg import label_issues
from ieg.data.vectors import Vectors
from ieg.report import suspects

MEGABYTE = 2**20


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
    held = next(c for c in cards if c['data-split'] == 'valid')
    path = next(o for o in held['inside'] if o.get('class') == 'path')
    assert path['text'].split() == [held['data-path'], '(validation)']
    hard = [o for o in lists[1]['inside'] if o.get('class') == 'card']
    assert [int(card['data-index']) for card in hard] == issues.index[
        -4:
    ].tolist()
    options = whole.one('select', id='given')['inside']
    values = [one['value'] for one in options]
    assert values == ['', *sorted(NAMES)]
    parts = whole.one('select', id='split')['inside']
    assert [one['value'] for one in parts] == ['', 'train', 'valid']


def test_a_single_part_needs_no_filter(run):
    rows = np.flatnonzero(run.issues.split == 'train')
    names = [name for name, *_ in suspects._filters(run.issues, rows)]
    assert names == ['given', 'suggested']


def test_the_numbers_above_the_cards_are_those_of_the_cards(whole, run):
    first, hard = suspects.choose(run.issues)
    assert len(first) + len(hard) == len(whole.cards)
    text = ' '.join(whole.text.split())
    assert f'{len(whole.cards)} of {len(run.issues)} examples: ' in text
    assert f'{len(first)} suspects, most suspicious first, and ' in text
    assert f'and {len(hard)} hard examples after them.' in text


def test_names_that_a_spreadsheet_changed_do_not_hide_pictures(run):
    rows = np.arange(5)
    changed = run.issues.given.copy()
    changed[0] = 'TRUE'
    issues = dataclasses.replace(run.issues, given=changed)
    assert len(suspects.contents(run.data, issues, rows).pictures) == 5
    changed[0] = next(n for n in NAMES if n != run.issues.given[0])
    assert 'differ' in suspects.contents(run.data, issues, rows).reason


def test_pictures_are_those_of_the_examples(whole, run):
    assert_pictures(whole, run.data)


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
    seen = page_of(fresh, fresh.data)
    assert len(seen.all('img')) == len(seen.cards)


def gone(ids, seeds):
    raise OSError('gone')


@pytest.mark.parametrize(
    'damage, words',
    [
        (lambda s: s.labels.__iadd__(1), 'differ from those of the run'),
        (lambda s: s.indices.__iadd__(100), 'differ from those of the run'),
        (lambda s: vars(s).update(images=None, fetch=gone), '(OSError)'),
    ],
)
def test_without_images_the_gallery_says_why(fresh, damage, words):
    fresh.data.class_names += ('one more',)
    damage(fresh.splits['train'])
    seen = page_of(fresh, fresh.data)
    assert words in seen.text
    assert not seen.all('img') and len(seen.cards) > 10


def test_pictures_are_those_of_the_list_of_an_old_run_too(fresh):
    split, issues = fresh.splits['train'], fresh.issues
    places = split.places = split.indices
    rows = places + 3
    # Its list has the places.
    split.indices = rows
    seen = page_of(fresh, fresh.data)
    split.indices = places
    assert_pictures(seen, fresh.data)
    # That of a new one has the rows.
    fresh.write_predictions(train_indices=rows)
    is_train = issues.split == 'train'
    fresh.write_issues(index=np.where(is_train, issues.index + 3, issues.index))
    split.indices = rows
    assert_pictures(page_of(fresh, fresh.data), fresh.data)
    found = suspects.contents(fresh.data, issues, np.arange(5))
    assert not found.pictures and 'predictions.npz' in found.reason


def test_a_reason_is_told(fresh):
    seen = page_of(fresh, None, 'There is no <folder>.')
    assert 'There is no <folder>.' in seen.text and not seen.all('img')
    assert 'without data' in page_of(fresh).text


@pytest.mark.parametrize('shape', [(48, 48, 3), (120, 96, 3)])
def test_a_report_of_10000_images_is_below_5_megabytes(tmp_path, shape):
    # Noise is what compresses worst.
    run = Run(tmp_path / 'run', train=600, valid=0, shape=shape)
    more = {
        name: np.resize(column, 10000)
        for name, column in vars(run.issues).items()
        if column is not None
    }
    more |= {'rank': np.arange(1, 10001), 'is_issue': np.ones(10000, bool)}
    run.write_issues(**more)
    text = page_of(run, run.data).source
    assert text.count('<img src="data:') == suspects.MOST
    assert len(text) < 5 * MEGABYTE
    assert '>check the first 300</a>' in text


def as_vectors(run, **content):
    """Returns the data of a run with vectors in the place of images."""
    splits, vectors = {}, types.SimpleNamespace(pictures=None, columns=())
    for name in ('train', 'valid'):
        split = run.data.split(name)
        of_split = {
            key: np.array([make(name, i) for i in split.indices], object)
            for key, make in content.items()
        }
        splits[name] = dataclasses.replace(
            split, images=None, vectors=vectors, **of_split
        )
    data = types.SimpleNamespace(**vars(run.data))
    data.split = splits.get
    return data


def test_texts_are_shown_where_there_are_no_pictures(fresh):
    data = as_vectors(fresh, texts=lambda split, i: f'{EVIL} {split} {i} ' * 50)
    page = page_of(fresh, data)
    assert not page.all('img') and page.cards
    for card in page.cards:
        (text,) = [e for e in card['inside'] if e.get('class') == 'text']
        begin = f'{EVIL} {card["data-split"]} {card["data-index"]} '
        assert text['text'].startswith(begin)
        assert len(text['text']) == suspects.MOST_TEXT + 1
    assert 'There are no images' not in page.text


def test_nothing_is_shown_of_vectors_alone(fresh):
    page = page_of(fresh, as_vectors(fresh))
    assert not page.all('img') and not page.all('p', class_='text')
    assert len(page.cards) > 5 and 'There are no images' not in page.text


def test_numbers_of_a_table_are_shown_by_column():
    numbers = np.array([[0.5, 3e7], [2, -1.25]], np.float32)
    part = types.SimpleNamespace(texts=None)
    part.vectors = Vectors(numbers, columns=('size', 'b'))
    shown = suspects._texts(part, np.array([1, 0]))
    assert [*shown] == ['size: 2\nb: -1.25', 'size: 0.5\nb: 3e+07']
    # So many are features of something.
    names = [f'f{n}' for n in range(suspects.MOST_COLUMNS + 1)]
    part.vectors = Vectors(np.zeros((2, len(names)), np.float32), columns=names)
    assert suspects._texts(part, np.array([1, 0])) is None


def test_the_pictures_behind_vectors(run, tmp_path):
    turned = Image.new('RGB', (600, 300), (200, 10, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / 'photo.jpg', exif=exif)
    Image.new('RGBA', (20, 20), (0, 0, 0, 0)).save(tmp_path / 'clear.png')

    def name(split, index):
        return str(tmp_path / ('photo.jpg', 'clear.png')[index % 2])

    page = page_of(run, as_vectors(run, names=name))
    for card in page.cards:
        (image,) = [one for one in card['inside'] if one['tag'] == 'img']
        _, pixels = decoded(image['src'])
        if int(card['data-index']) % 2:
            assert pixels.shape == (20, 20, 3) and pixels.min() == 255
        else:
            assert pixels.shape == (96, 48, 3)
            assert np.abs(pixels.astype(int) - [200, 10, 10]).max() <= 4
    (tmp_path / 'clear.png').unlink()
    found = suspects.contents(
        as_vectors(run, names=name), run.issues, np.arange(5)
    )
    assert 'can no longer be read' in found.reason
