"""Columns become numbers, categories or text, as documented."""

import numpy as np
import pytest

from ieg.data import encoding
from ieg.errors import UsageError

COLORS = ['red', 'blue'] * 10
TEXTS = [f'word{n} and word{n + 1}' for n in range(20)]
NAMES = [f'row {n}' for n in range(20)]


def column(values):
    kind = np.float32 if isinstance(values[0], float) else object
    return np.array(values, kind)


def learn(asked=False, **columns):
    table = {name: column(values) for name, values in columns.items()}
    return encoding.learn(table, asked, 'x.csv')


def test_kinds_of_columns():
    learned, remarks = learn(
        age=[float(n) for n in range(20)], color=COLORS, text=TEXTS, who=NAMES
    )
    kinds = [type(one).__name__ for one in learned.columns]
    assert kinds == ['Numbers', 'Categories', 'Texts']
    assert learned.names == ('age', 'color', 'text')
    used, left_out = remarks
    assert all(repr(name) in used for name in learned.names)
    assert "'who'" in left_out and "'text'" in left_out


def test_many_columns_are_not_all_described():
    _, (used,) = learn(**{f'c{n}': COLORS for n in range(100)})
    assert "'c9'" in used and "'c10'" not in used and '90 more' in used


def test_strings_that_are_asked_for_and_hardly_repeat_are_texts():
    learned, remarks = learn(True, who=TEXTS, color=COLORS)
    kinds = [type(one).__name__ for one in learned.columns]
    assert kinds == ['Texts', 'Categories'] and len(remarks) == 1


def test_columns_of_one_value_are_left_out_and_some_column_must_be_left():
    learned, (_, left_out) = learn(color=COLORS, same=['x'] * 20)
    assert learned.names == ('color',) and "'same'" in left_out
    for columns in ({'same': ['x'] * 20}, {'who': NAMES}, {'no': [''] * 20}):
        with pytest.raises(UsageError, match=repr(next(iter(columns)))):
            learn(**columns)


@pytest.mark.parametrize(
    'texts', [[''] * 20, ['a text', 'A TEXT', 'b'] * 7, [' ', '\n'] * 10]
)
def test_too_few_different_texts(texts):
    with pytest.raises(UsageError) as caught:
        learn(text=texts)
    for fact in ('x.csv', "'text'", '10'):
        assert fact in str(caught.value)


def test_rare_and_new_categories_are_one_number_and_missing_ones_another():
    learned = encoding.Categories.learned(
        'color', column(['red'] * 5 + ['blue'] * 4 + ['', 'null'])
    )
    assert learned.values == ('red',)
    values = column(['red', 'blue', 'new', '', 'None'])
    np.testing.assert_array_equal(
        learned.vectors(values).argmax(axis=1), [0, 2, 2, 1, 1]
    )


def test_only_frequent_categories_have_a_number_of_their_own():
    names = [f'c{n:03}' for n in range(150) for _ in range(5 + (n < 100))]
    learned = encoding.Categories.learned('c', column(names))
    assert learned.values == tuple(f'c{n:03}' for n in range(100))


def test_numbers_of_a_text_have_one_scale():
    learned, _ = learn(age=[float(n) for n in range(20)], text=TEXTS)
    width = learned.columns[1].width
    std = np.linspace(1, 2, 1 + width)
    scales = learned.scales(std)
    assert scales[0] == std[0]
    np.testing.assert_allclose(scales[1:], np.sqrt(np.mean(std[1:] ** 2)))


def test_texts_become_the_same_vectors_every_time():
    table = {'text': column(TEXTS)}
    one, other = (
        encoding.learn(table, False, 'x.csv')[0].vectors(table)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    assert one.shape == (20, 20) and one.dtype == np.float32


@pytest.mark.parametrize(
    ('fields', 'asked', 'numbers', 'strings'),
    [
        ({'text': TEXTS}, False, [], ['text']),
        # Numbers of rows, and a category, do not keep from the text.
        (
            {'id': [*map(str, range(20))], 'text': TEXTS, 'c': COLORS},
            False,
            [],
            ['text'],
        ),
        # Numbers that the text is behind do.
        ({'x': ['.5', '2'] * 10, 'text': TEXTS}, False, ['x'], []),
        ({'x': ['.5', '2'] * 10, 'text': TEXTS}, True, ['x'], ['text']),
        ({'x': ['1', '', 'NA'], 'c': ['a', 'b', '']}, False, ['x'], ['c']),
    ],
)
def test_candidates(fields, asked, numbers, strings):
    found = encoding.candidates(fields, asked)
    assert (found.numbers, found.strings) == (numbers, strings)
