"""Vectors in the columns of a CSV file."""

import numpy as np
import pytest

from ieg.data.own import held_out
from ieg.data.sets.columns import read_fields, read_vectors
from ieg.errors import UsageError

HEADER = 'id,a,b,label,clean_label,split,text'
ROWS = [
    'r1,1.5,-2,cat,cat,train,a cat',
    'r2,2.5,3e2,dog,cat,train,a hot dog',
    'r3,0,1,cat,cat,test,',
    'r4,4,5,dog,dog,valid,"dog, two"',
]


@pytest.fixture
def save(tmp_path):
    """Returns a function that writes lines, and returns the path."""

    def save(*lines):
        path = tmp_path / 'table.csv'
        path.write_text('\n'.join(lines) + '\n', 'utf-8')
        return str(path)

    return save


def refusal(path, asked=''):
    with pytest.raises(UsageError) as caught:
        read_vectors(path, asked)
    return str(caught.value)


def test_columns_of_numbers_are_the_vectors(save):
    found = read_vectors(save(HEADER, *ROWS))
    assert found.class_names == ('cat', 'dog')
    train = found.parts['train']
    assert train.images.columns == ('a', 'b')
    assert train.images.array.dtype == np.float32
    np.testing.assert_array_equal(train.images.array, [[1.5, -2], [2.5, 300]])
    assert train.labels.tolist() == [0, 1]
    assert train.clean.tolist() == [0, 0]
    assert train.texts.tolist() == ['a cat', 'a hot dog']
    assert list(found.parts) == ['train', 'test', 'valid']
    assert found.parts['valid'].texts.tolist() == ['dog, two']
    (remark,) = [r for r in found.remarks if 'not used' in r]
    assert "'id'" in remark


def test_semicolons_tabs_and_names_in_capitals(save):
    for delimiter in ';\t':
        text = '\n'.join([HEADER.upper(), *ROWS[:3]]).replace(',', delimiter)
        found = read_vectors(save(text), 'B')
        assert found.parts['train'].images.array.tolist() == [[-2], [300]]


def test_columns_that_are_asked_for_in_their_order(save):
    found = read_vectors(save(HEADER, *ROWS), 'b, a')
    np.testing.assert_array_equal(
        found.parts['train'].images.array, [[-2, 1.5], [300, 2.5]]
    )


def test_more_rows_than_are_read_at_once(save):
    count = 10_000
    rows = (f'{n},{n % 3}' for n in range(count))
    train = read_vectors(save('a,label', *rows)).parts['train']
    np.testing.assert_array_equal(train.images.array[:, 0], np.arange(count))
    np.testing.assert_array_equal(train.labels, np.arange(count) % 3)


def test_the_row_numbers_of_pandas_are_no_feature(save):
    found = read_vectors(save(',a,label', '0,7,x', '1,8,y'))
    assert found.parts['train'].images.columns == ('a',)
    assert any('without a name' in remark for remark in found.remarks)


def test_labels_that_are_one_number(save):
    found = read_vectors(save('a,label', '1,1', '2,1.0', '3,2'))
    assert found.class_names == ('1', '1.0', '2')
    assert any("'1', '1.0'" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ('value', 'fact'),
    [
        ('many', "'many'"),
        ('-inf', "'-inf'"),
        ('1e99', "'1e99'"),
        ('1,5', "'1,5'"),
    ],
)
def test_a_field_that_is_no_number(save, value, fact):
    rows = [f'{n};{n % 2};{n}' for n in range(20)]
    rows[17] = f'3;1;{value}'
    said = refusal(save('a;label;b', *rows))
    for part in (fact, 'line 19', "'b'"):
        assert part in said


@pytest.mark.parametrize(
    ('lines', 'asked', 'facts'),
    [
        (['a,b', '1,2'], '', ["no column 'label'", "'a'"]),
        (['a,label'], '', ['no rows']),
        (['name,label', 'x,y'], '', ['column path', 'numbers', "'name'"]),
        (['a,a,label', '1,2,x'], '', ["2 columns 'a'"]),
        (['a,label', '1,x'], 'A,bb', ['--feature_columns=A,bb', "'bb'"]),
        (['a,label', '1,x'], 'a,a', ['a is there twice']),
        (['a,label', '1,x'], 'a,label', ['label is a label']),
        (['a,label', '1,x'], ',', ["''"]),
        (['a,label', '1,x', '2,x'], '', ["only the class 'x'", 'examples']),
        (['a,label', '1,x', '2,'], '', ['line 3', 'no label']),
        (['a,label', '1,x', '2,3,y'], '', ['line 3', '3 fields']),
        (['a,label,split', '1,x,test'], '', ["'train'"]),
        (['a,label,split', '1,x,tset'], '', ["'tset'", 'test']),
        (
            ['a,label,split', '1,x,train', '1,y,train', '2,Y,test'],
            '',
            ["'Y'", 'line 4'],
        ),
    ],
)
def test_tables_that_are_refused(save, lines, asked, facts):
    said = refusal(save(*lines), asked)
    for fact in facts:
        assert fact in said


def table_of_texts(extra='', count=20):
    """Returns lines with texts, of which those of the test part differ."""
    lines = [f'id,text,label,split{extra and ",kind"}']
    for n in range(count):
        part = 'test' if n % 4 == 3 else 'train'
        text = f'word{n} {part} Straße'
        lines.append(f'{n},{text},{"ab"[n % 2]},{part}{extra}')
    return lines


def test_texts_become_vectors_learned_from_the_training_part(save):
    found = read_vectors(save(*table_of_texts()))
    train = found.parts['train']
    assert train.texts[0] == 'word0 train Straße'
    assert train.images.columns == ('text',)
    (column,) = train.images.encoding.columns
    words = set(column.terms[0].vocabulary_)
    assert {'straße', 'train', 'word0'} <= words
    assert not {'test', 'word3'} & words
    assert train.images.shape == (15,) == found.parts['test'].images.shape
    remarks = ' '.join(found.remarks)
    assert "'text' text" in remarks and "not used: 'id'" in remarks


def test_what_will_be_held_out_is_not_learned_from(save):
    lines = ['text,label', *(f'word{n} here,{"ab"[n % 2]}' for n in range(50))]
    part = read_vectors(save(*lines)).parts['train']
    (column,) = part.images.encoding.columns
    rest, test = held_out(part.labels)
    words = column.terms[0].vocabulary_
    assert {f'word{n}' for n in rest} <= set(words)
    assert not {f'word{n}' for n in test} & set(words)


def test_columns_of_all_kinds_if_they_are_asked_for(save):
    path = save(*table_of_texts(',odd'))
    found = read_vectors(path, 'id,text')
    images = found.parts['train'].images
    assert images.columns == ('id', 'text') and images.shape == (16,)
    assert images.array[:3, 0].tolist() == [0, 1, 2]


def test_missing_numbers_and_categories(save):
    rows = [f'{n},{"red" if n % 3 else "blue"},r{n},{n % 2}' for n in range(30)]
    rows[4] = ',NA,r4,0'
    found = read_vectors(save('a,c,id,label', *rows))
    images = found.parts['train'].images
    assert images.columns == ('a', 'c') and images.shape == (6,)
    kept = np.setdiff1d(held_out(found.parts['train'].labels)[0], [4])
    np.testing.assert_array_equal(
        images.array[[0, 1, 4]],
        [
            [0, 0, 1, 0, 0, 0],
            [1, 0, 0, 1, 0, 0],
            [np.median(kept), 1, 0, 0, 1, 0],
        ],
    )
    assert found.parts['train'].texts[4] == 'a: \nc: NA'
    assert any("'id'" in remark for remark in found.remarks)


def test_numbers_stay_as_they_are_next_to_columns_that_are_left_out(save):
    rows = [f'{n / 3},k{n},{n % 2}' for n in range(30)]
    images = read_vectors(save('a,id,label', *rows)).parts['train'].images
    assert images.encoding is None and images.columns == ('a',)
    expected = [[np.float32(n / 3)] for n in range(30)]
    np.testing.assert_array_equal(images.array, expected)


def test_fields_and_parts_are_what_a_data_set_is_known_by(save):
    lines = table_of_texts()

    def digest(*changed):
        return read_vectors(save(*changed)).parts['train'].images.digest

    one = digest(*lines)
    assert one == digest(*lines)
    assert one != digest(*lines[:-1], lines[-1].replace('Straße', 'Strasse'))
    assert one != digest(*lines[:-1], lines[-1].replace('test', 'valid', 1))


def test_labels_alone_are_read_without_learning(save):
    found = read_vectors(save(*table_of_texts()), learns=False)
    assert found.parts['train'].images.shape == (0,)
    assert found.parts['train'].labels.tolist()[:4] == [0, 1, 0, 0]


def test_fields_for_a_model(save):
    path = save('B;a;x', 'Größe;1_0;', ' ?;; 2', 'r;nan;3')
    fields = read_fields(path, {'a': True, 'b': False})
    assert fields.tolist() == [['10.0', 'Größe'], ['', '?'], ['', 'r']]
