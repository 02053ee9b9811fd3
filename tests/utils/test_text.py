"""Counts, names and paths in messages, and the order of names."""

import decimal
import random

import pytest

from ieg.utils import text


@pytest.mark.parametrize(
    ('number', 'words'),
    [(0, '0 files'), (1, '1 file'), (1200, '1,200 files')],
)
def test_a_number_with_its_noun(number, words):
    assert text.counted(number, 'file') == words


def test_a_share_that_is_not_zero_is_not_said_to_be():
    shares = (0, 0.004, 4e-5, 0.006, 0.5, 1)
    words = ['0%', '0.4%', '0.004%', '1%', '50%', '100%']
    assert [*map(text.percent, shares)] == words
    assert text.percent(0.288, 1) == '28.8%'


def test_a_list_of_names_has_an_end():
    assert text.listed(['a', "b's"]) == "'a', \"b's\""
    assert text.listed([]) == ''
    many = text.listed([str(n) for n in range(1200)], most=2)
    assert many == "'0', '1' and 1,198 more"


@pytest.mark.parametrize(
    ('error', 'word'),
    [
        (FileNotFoundError(), 'no file'),
        (NotADirectoryError(), 'is a file'),
        (IsADirectoryError(), 'is a folder'),
        (PermissionError(), 'permissions'),
        (OSError(5, 'Input/output error'), 'Input/output error'),
    ],
)
def test_why_a_path_cannot_be_read(error, word):
    message = str(text.unreadable('file', 'some/path', error))
    assert 'some/path' in message and word in message
    assert '\n' not in message


def test_an_empty_path_is_a_missing_argument():
    assert 'give the path' in str(text.unreadable('file', '', OSError()))


def test_an_accent_can_be_written_in_two_ways():
    assert text.normal('e\u0301') == text.normal('é') == 'é'


def test_a_name_that_is_not_utf8_can_be_shown():
    assert text.shown('caf\udce9') == 'caf\\xe9'
    assert text.shown('café') == 'café'


@pytest.mark.parametrize(
    ('name', 'value'),
    [('-1', '-1'), ('+2', '2'), ('2.50', '2.5'), ('1e3', None), ('٣', None)],
)
def test_which_names_are_numbers(name, value):
    expected = None if value is None else decimal.Decimal(value)
    assert text.number(name) == expected


@pytest.mark.parametrize(
    'names',
    [
        ['-1', '2', '2.5', '10'],
        ['class2', 'Class3', 'class10', 'class10b'],
        ['A01', 'a1', 'a02'],
        ['10', '2b'][::-1],
    ],
)
def test_names_are_in_natural_order(names):
    mixed = list(names)
    random.Random(0).shuffle(mixed)
    assert text.in_order(mixed) == text.in_order(names[::-1]) == names
