"""Tables that people and spreadsheets read, write and edit."""

import csv
import io

import pandas as pd
import pytest

from ieg.errors import UsageError
from ieg.utils import tables

ODD = (
    '-1', '+a', '=1+1', '@b', '\tc', '\rd', "'=e", "''-f", "'g", '-', '=',
    'a,b', 'a;b', 'a\tb', 'a"b', 'a\rb', 'a\r\nb', ' x ', '\xa0y', 'Müll', '',
)  # fmt: skip


def write(path, *texts):
    tables.write(path, [('text', 'number'), *((t, -0.5) for t in texts)])


def test_text_is_read_back_exactly(tmp_path):
    path = str(tmp_path / 'table.csv')
    write(path, *ODD)
    table = tables.Table(path, ('text',), strip=False)
    assert [row['text'] for _, row in table.rows()] == list(ODD)


@pytest.mark.parametrize('text', ODD)
def test_no_cell_is_a_formula(tmp_path, text):
    path = tmp_path / 'table.csv'
    write(path, text)
    content = path.read_bytes().decode('utf-8-sig')
    (_, (cell, number)) = csv.reader(io.StringIO(content, newline=''))
    # A single character is text.
    assert cell[:1] not in ('=', '+', '-', '@', '\t', '\r') or len(cell) == 1
    assert number == '-0.5'
    found = pd.read_csv(path, na_filter=False)
    assert list(found) == ['text', 'number']
    assert found.number[0] == -0.5


@pytest.mark.parametrize(('text', 'has_mark'), [('Müll', True), ('a', False)])
def test_the_mark_is_there_where_it_helps(tmp_path, text, has_mark):
    path = tmp_path / 'table.csv'
    write(path, text)
    assert path.read_bytes().startswith(b'\xef\xbb\xbf') == has_mark


def test_what_is_missing_is_empty():
    assert tables.line(['a', None, float('nan'), 0, 1.5]) == 'a,,,0,1.5\n'


@pytest.mark.parametrize(
    'first', ['', 'sep=;\r\n', 'SEP=;\n', '\ufeffsep=;\n', '"sep=;";\n']
)
def test_rows_have_the_numbers_of_their_lines(tmp_path, first):
    path = tmp_path / 'table.csv'
    path.write_text(f'{first}Text;number\n;\n\na,b; 1\n ; \nc;2\n', newline='')
    table = tables.Table(str(path), ('text', 'number'))
    line = 4 + bool(first)
    assert list(table.rows()) == [
        (line, {'text': 'a,b', 'number': '1'}),
        (line + 2, {'text': 'c', 'number': '2'}),
    ]


def test_a_long_field_is_one_sentence(tmp_path):
    path = tmp_path / 'table.csv'
    path.write_text(f'text\n{"x" * 200_000}\n')
    with pytest.raises(UsageError, match='line 2 of .* is not valid CSV'):
        list(tables.Table(str(path), ('text',)).rows())


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_a_header_of_any_length(tmp_path, end):
    path = tmp_path / 'table.csv'
    names = [f'column_{n}' for n in range(20_000)] + ['last', 'a\nb']
    head = ';'.join([*names[:-1], '"a\nb"'])
    path.write_text(end.join([head, ';'.join('1' * 20_002)]), newline='')
    table = tables.Table(str(path), ('last',))
    assert table.header == names
    ((_, row),) = table.rows()
    assert row['last'] == '1' and len(row) == len(names)
