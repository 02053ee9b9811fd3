"""Tables that people edit, and how they go wrong."""

import csv
import io
import os

import numpy as np
import pytest

from ieg.corrections.edits import Known, corrected_labels
from ieg.errors import UsageError
from ieg.utils import tables

NAMES = ('cat', 'dog', 'owl')
HEADER = 'split,index,path,given_label,corrected_label'
OTHER = (
    'the table is damaged or of another run, or the data have changed since; '
    'take the label_issues.csv of this run.'
)


def known(names=None):
    """Returns examples 10, 20, 30, 40 of the classes 0, 1, 2, 0."""
    indices = np.array([10, 20, 30, 40])
    return Known(indices, np.array([0, 1, 2, 0], np.int32), names)


def read(path, *lines, header=HEADER, names=NAMES, **splits):
    path.write_text('\n'.join([header, *lines]) + '\n', 'utf-8')
    found = corrected_labels(str(path), names, splits or {'train': known()})
    return {name: labels.tolist() for name, labels in found.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'corrected.csv'


def test_labels_change_where_a_class_is_written(path):
    found = read(
        path,
        'train,20,,dog,cat',
        'train,10,,cat,',
        'valid,30,,owl,-',
        'train,40,,cat,owl',
        train=known(),
        valid=known(),
    )
    assert found == {'train': [0, 0, 2, 2], 'valid': [0, 1, -1, 0]}


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
@pytest.mark.parametrize('mark', ['', '\ufeff'])
def test_what_spreadsheets_save(path, delimiter, mark):
    lines = [
        ['Index', 'Given_label', 'corrected_label', 'split', 'path', 'seen'],
        ['20.0', '1.0', '10.0', 'Train', 'a, b; c.png', 'yes'],
        ['10', '0', '', 'train', 'a.png', ''],
        # Empty fields at the end of a line are gone.
        ['30', '10', '2', 'train'],
        [],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(lines)
    path.write_bytes((mark + text.getvalue()).encode())
    files = np.array(['a.png', 'a, b; c.png', 'c.png', 'd.png'])
    splits = {'train': known(files)}
    found = corrected_labels(str(path), ('0', '1', '10', '2'), splits)
    assert found['train'].tolist() == [0, 2, 3, 0]


def test_a_number_that_could_be_two_classes_is_none(path):
    names = ('1', '01', '2')
    assert read(path, 'train,10,,1,2', names=names)['train'] == [2, 1, 2, 0]
    with pytest.raises(UsageError, match="the corrected label '1.0', which"):
        read(path, 'train,30,,2.0,1.0', names=names)


@pytest.mark.parametrize(
    ('lines', 'sentence'),
    [
        (
            ['train,10,,cat,', 'train,20,,dog,oul'],
            "line 3 of {} has the corrected label 'oul', which must be one of "
            "the 3 classes ('cat', 'dog', 'owl'): correct it. Did you mean "
            "'owl'?",
        ),
        (
            ['train,20,,dog,cat', 'train,20,,dog,owl'],
            'lines 2 and 3 of {} correct train example 20 in two ways: keep '
            'one of them.',
        ),
        (
            ['train,20,,dog,cat', 'train,20,,dog,-'],
            'lines 2 and 3 of {} correct train example 20 in two ways: keep '
            'one of them.',
        ),
        (
            ['train,21,,dog,cat'],
            'line 2 of {} is about train example 21, which the run does not '
            f'have: {OTHER}',
        ),
        (
            ['valid,20,,dog,cat'],
            "line 2 of {} has the split 'valid', which must be one of train: "
            'take it from label_issues.csv.',
        ),
        (
            ['train,20,,cat,owl'],
            'line 2 of {} is not about train example 20 of the run, because '
            f"its given label is 'cat' and not 'dog': {OTHER}",
        ),
        (
            ['train,20,b.png,dog,owl'],
            'line 2 of {} is not about train example 20 of the run, because '
            f"its path is 'b.png' and not '': {OTHER}",
        ),
        (
            ['train,2x,,dog,cat'],
            "line 2 of {} has the index '2x', which is not the position of an "
            'example: take it from label_issues.csv.',
        ),
        (
            ['train,20,a, b.png,dog,cat'],
            'line 2 of {} has 6 fields and not 5: put quotes around a field '
            "that has ',' in it.",
        ),
        (
            ['train,20,,dog,', 'train,10,,cat,cat'],
            '{} corrects nothing: write the right class of an example into '
            'the column corrected_label, or - to leave it out.',
        ),
        (
            ['train,20,"a,dog,cat'],
            'line 2 of {} is not valid CSV (unexpected end of data): check the '
            'quotes in this line and before.',
        ),
    ],
)
def test_mistakes_are_one_sentence(path, lines, sentence):
    with pytest.raises(UsageError) as caught:
        read(path, *lines)
    assert str(caught.value) == sentence.format(path)


@pytest.mark.parametrize(
    ('header', 'sentence'),
    [
        (
            'split,index,given_label,corrected',
            "{} has no column 'corrected_label', only 'split', 'index', "
            "'given_label', 'corrected': keep the first line of "
            'label_issues.csv as it is.',
        ),
        (
            'split,index,split,given_label,corrected_label',
            "{} has 2 columns 'split': keep one.",
        ),
    ],
)
def test_columns_must_be_there_once(path, header, sentence):
    with pytest.raises(UsageError) as caught:
        read(path, header=header)
    assert str(caught.value) == sentence.format(path)


@pytest.mark.parametrize(
    'index', ['-1', '1e3', '1.5', '', 'nan', '9' * 30, '9' * 5000]
)
def test_an_index_is_a_position(path, index):
    with pytest.raises(UsageError) as caught:
        read(path, 'train,10,,cat,owl', f'train,{index},,dog,cat')
    assert f'line 3 of {path} has the index {index[:9]!r}'[:-1] in str(
        caught.value
    )
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ('field', 'sentence'),
    [('\0', 'is not a text file'), ('x' * 200_000, 'line 2 of .* not valid')],
)
def test_damage_is_one_sentence(path, field, sentence):
    with pytest.raises(UsageError, match=sentence):
        read(path, f'train,10,{field},cat,owl')


MANGLED = ('1-2', 'Müll', 'True')


@pytest.mark.parametrize('first', ['', 'sep=;\n', '"sep=;";;;;\n'])
def test_what_a_spreadsheet_changed_is_read(path, first):
    files = np.array(['1-2/a', 'Müll/b', 'True/c', '1-2/d'])
    lines = (
        # The column of given labels explains the date.
        'train;20;MÃ¼ll/b;MÃ¼ll;02-Jan',
        ';;;;',
        'train;10;1-2/a;02-Jan;TRUE',
        'train;40;1-2/d;02-Jan;mÃ¼ll',
        'train;30;True/c;WAHR;',
    )
    header = first + HEADER.replace(',', ';')
    splits = {'train': known(files)}
    found = read(path, *lines, header=header, names=MANGLED, **splits)
    assert found['train'] == [2, 0, 2, 1]


def test_given_labels_identify_the_examples_of_arrays_only(path):
    lines = ('train,10,,02-Jan,True', 'train,20,,nonsense,')
    assert read(path, *lines, names=MANGLED)['train'] == [2, 1, 2, 0]
    with pytest.raises(UsageError, match="'02-Jan' and not '1-2'"):
        read(path, *lines, 'train,30,,02-Jan,', names=MANGLED)
    names = np.array(['a', 'b', 'c', 'd'])
    row = 'train,10,{},Müll,True'
    found = read(path, row.format('a'), names=MANGLED, train=known(names))
    assert found['train'] == [2, 1, 2, 0]
    with pytest.raises(UsageError, match="path is 'b' and not 'a'"):
        read(path, row.format('b'), names=MANGLED, train=known(names))


@pytest.mark.parametrize('text', ['cAt', '02-Jan', '1'])
def test_a_class_that_is_not_clear_is_refused(path, text):
    names = ('Cat', 'cat', '01')
    # The column of given labels says that 1 is written for 01 and for cat.
    lines = ('train,30,c,1,', 'train,20,b,1,', f'train,10,a,Cat,{text}')
    splits = {'train': known(np.array(['a', 'b', 'c', 'd']))}
    with pytest.raises(UsageError, match=f'line 4 .* {text!r}, which must be'):
        read(path, *lines, names=names, **splits)


def test_odd_classes_can_be_corrected(path):
    names = ('cat ', '-1', 'a\rb', '=x', "'=x", ' dog', 'owl')
    for place, name in enumerate(names[1:], 1):
        row = tables.line(['train', 10, '', names[0], name]).rstrip('\n')
        assert read(path, row, names=names)['train'][0] == place
    # As a person writes it.
    assert read(path, 'train,20,,-1,cat', names=names)['train'][1] == 0
    assert read(path, 'train,10,,"cat ",-1', names=names)['train'][0] == 1
    assert read(path, "train,20,,'-1, - ", names=names)['train'][1] == -1


def test_a_table_in_another_encoding_is_refused(path):
    names = np.array(['é', 'é', 'c', os.fsdecode(b'\xe9')])
    for row in ('20,é,dog,cat', '20,,é,cat'):
        path.write_bytes(f'{HEADER}\ntrain,{row}\n'.encode('latin-1'))
        text = r'corrected.csv is not UTF-8 \(line 2\): save it'
        with pytest.raises(UsageError, match=text):
            corrected_labels(str(path), NAMES, {'train': known(names)})
    # The name of this file really is these bytes.
    path.write_bytes(f'{HEADER}\ntrain,40,é,cat,dog\n'.encode('latin-1'))
    found = corrected_labels(str(path), NAMES, {'train': known(names)})
    assert found['train'].tolist() == [0, 1, 2, 1]
    with pytest.raises(UsageError, match='there is no CSV file'):
        corrected_labels(f'{path}x', NAMES, {'train': known()})


def test_a_class_that_is_a_dash_cannot_be_chosen(path):
    names = ('-', 'dog', 'owl')
    assert read(path, 'train,10,,-,dog', names=names)['train'] == [1, 1, 2, 0]
    with pytest.raises(UsageError, match='rename the class first'):
        read(path, 'train,20,,dog,-', names=names)
