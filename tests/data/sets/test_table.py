"""Images that a CSV file lists."""

import os
import unicodedata

import numpy as np
import pytest

from ieg.data.sets.table import read_csv
from ieg.errors import UsageError


@pytest.fixture
def table(tmp_path):
    """Returns a function that writes a table beside 20 images, a0 to a19."""
    for i in range(20):
        (tmp_path / f'a{i}.jpg').write_bytes(b'image %d' % i)

    def write(*lines, encoding='utf-8', newline='\n'):
        path = tmp_path / 'list.csv'
        path.write_bytes((newline.join(lines) + newline).encode(encoding))
        return str(path)

    return write


def refusal(path):
    """Returns the sentence that refuses a file."""
    with pytest.raises(UsageError) as caught:
        read_csv(path)
    return str(caught.value)


def images(listing):
    return [os.path.basename(path) for path in listing.paths]


def test_path_and_label(table, tmp_path):
    found = read_csv(table('path,label', 'a1.jpg,dog', 'a0.jpg,cat'))
    assert found.class_names == ('cat', 'dog')
    assert list(found.parts) == ['train']
    train = found.parts['train']
    assert train.paths == [str(tmp_path / 'a1.jpg'), str(tmp_path / 'a0.jpg')]
    assert train.labels.tolist() == [1, 0]
    assert train.labels.dtype == np.int32
    assert train.clean is None
    assert found.remarks == ()


def test_all_columns_in_any_order(table):
    found = read_csv(
        table(
            'Split,clean_label,PATH,label',
            'train,dog,a0.jpg,cat',
            'TRAIN,dog,a1.jpg,dog',
            'train,emu,a2.jpg,cat',
            'test,,a3.jpg,cat',
            'Test,,a4.jpg,dog',
            'test,,a10.jpg,emu',
            'val,dog,a5.jpg,cat',
            'valid,cat,a6.jpg,dog',
            'Validation,emu,a11.jpg,emu',
            'probe,,a7.jpg,emu',
            'probe,,a8.jpg,cat',
            'probe,,a9.jpg,dog',
        )
    )
    # 'emu' is a clean label only.
    assert found.class_names == ('cat', 'dog', 'emu')
    parts = found.parts
    assert images(parts['train']) == ['a0.jpg', 'a1.jpg', 'a2.jpg']
    assert parts['train'].labels.tolist() == [0, 1, 0]
    assert parts['train'].clean.tolist() == [1, 1, 2]
    assert parts['train'].clean.dtype == np.int32
    assert images(parts['test']) == ['a3.jpg', 'a4.jpg', 'a10.jpg']
    assert parts['test'].clean is None
    assert images(parts['valid']) == ['a5.jpg', 'a6.jpg', 'a11.jpg']
    assert parts['valid'].clean.tolist() == [1, 0, 2]
    assert parts['probe'].labels.tolist() == [2, 0, 1]
    assert found.remarks == ()


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
@pytest.mark.parametrize('newline', ['\n', '\r\n', '\r'])
def test_dialects(table, tmp_path, delimiter, encoding, newline):
    (tmp_path / 'a, b; c.jpg').write_bytes(b'image')
    lines = [
        ['path', 'label'],
        ['a0.jpg', ' Müll '],
        ['"a, b; c.jpg"', ' "say ""ah"""'],
    ]
    rows = [delimiter.join(line) for line in lines]
    found = read_csv(table(*rows, '', encoding=encoding, newline=newline))
    assert found.class_names == ('Müll', 'say "ah"')
    assert images(found.parts['train']) == ['a0.jpg', 'a, b; c.jpg']


def test_paths_are_of_the_folder_of_the_file_or_absolute(
    table, tmp_path, monkeypatch
):
    absolute = str(tmp_path / 'a3.jpg')
    path = table('path,label', f'{absolute},x', './a1.jpg,y')
    os.mkdir(tmp_path / 'elsewhere')
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert read_csv(path).parts['train'].paths[0] == absolute
    relative = read_csv('../list.csv').parts['train'].paths
    assert relative == [absolute, '.././a1.jpg']
    monkeypatch.chdir(tmp_path)
    assert read_csv('list.csv').parts['train'].paths[1] == './a1.jpg'


def test_labels_that_are_numbers_are_in_their_order(table):
    found = read_csv(
        table('path,label', 'a0.jpg,10', 'a1.jpg,9', 'a2.jpg,-1', 'a3.jpg,9')
    )
    assert found.class_names == ('-1', '9', '10')
    assert found.parts['train'].labels.tolist() == [2, 1, 0, 1]


def test_one_number_written_in_two_ways(table):
    found = read_csv(table('path,label', 'a0.jpg,1', 'a1.jpg,1.0'))
    assert found.class_names == ('1', '1.0')
    assert "'1', '1.0'" in found.remarks[0]
    assert 'are the same number' in found.remarks[0]


def test_labels_are_compared_composed_and_shown_as_they_are(table):
    apart = unicodedata.normalize('NFD', 'é')
    path = table(
        'path,label,split',
        f'a0.jpg,{apart},train',
        'a1.jpg,é,train',
        'a2.jpg,f,train',
        'a3.jpg,é,test',
        'a4.jpg,f,test',
    )
    found = read_csv(path)
    assert found.class_names == ('f', apart)
    assert found.parts['train'].labels.tolist() == [1, 1, 0]
    assert found.parts['test'].labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ('lines', 'wanted'),
    [
        (
            ['path,lable,size', 'a0.jpg,x,3'],
            "unknown columns, 'lable', 'size': the first line names the "
            'columns, which may be path, label, clean_label, split. Did you '
            "mean 'label'?",
        ),
        (
            ['a0.jpg,cat', 'a1.jpg,dog'],
            "no column 'label', only 'a0.jpg', 'cat'",
        ),
        (['path|label', 'a0.jpg|cat'], "no column 'label', only 'path|label'"),
        (
            ['path,label,f0', 'a0.jpg,x,1'],
            "unknown columns, 'f0': the first line names the columns, which "
            'may be path, label, clean_label, split. Columns of vectors are '
            'named by --feature_columns.',
        ),
        (['f0,f1', '1,2'], "no column 'label', only 'f0', 'f1'"),
        (['path', 'a0.jpg'], "no column 'label', only 'path'"),
        (['label;split', 'x;test'], "no column 'path', only 'label', 'split'"),
        (['path,label,label', 'a0.jpg,x,x'], "2 columns 'label': keep one"),
        (
            ['"path,label', 'a0.jpg,x'],
            'line 2 of {} is not valid CSV (unexpected',
        ),
        (['path,label', 'a0.jpg,"x"y'], 'line 2 of {} is not valid CSV'),
        (['path,label', '', 'a0.jpg'], 'line 3 of {} has 1 field and not 2'),
        (
            ['path,label', 'a0.jpg,x', 'a1.jpg,x,y'],
            'line 3 of {} has 3 fields and not 2: put quotes',
        ),
        (['path,label', 'a0.jpg,x', 'a1.jpg,'], 'line 3 of {} has no label'),
        (['path,label', 'a0.jpg,x', ' ,x'], 'line 3 of {} has no path'),
        (
            ['path,label,clean_label', 'a0.jpg,x,y', 'a1.jpg,y,'],
            'line 3 of {} has no clean_label, but other train rows have',
        ),
        (
            ['path,label,split', 'a0.jpg,x,trian'],
            "line 2 of {} has the split 'trian', which must be one of train, "
            'test, valid, probe, val, validation: correct it. Did you mean '
            "'train'?",
        ),
        (['path,label,split', 'a0.jpg,x,'], "line 2 of {} has the split ''"),
        (['path,label,split', 'a0.jpg,x,test'], "no row of the split 'train'"),
        (
            ['path,label', 'a0.jpg,x', 'no.jpg,y', 'a1.jpg,x', 'a99.jpg,y'],
            "2 of 4 files in {} do not exist, the first is '{folder}/no.jpg' "
            '(line 3)',
        ),
        (
            ['path,label', 'a0.jpg,x', '.,y'],
            "1 of 2 files in {} do not exist, the first is '{folder}/.'",
        ),
        (
            ['path,label', 'a0.jpg,x', 'a1.jpg,y', './a0.jpg,y'],
            "{} gives '{folder}/./a0.jpg' different labels in lines 2 and 4",
        ),
        (
            ['path,label,clean_label', 'a0.jpg,x,x', 'a0.jpg,x,y'],
            'different labels in lines 2 and 3',
        ),
        (['path,label', 'a0.jpg,x', 'a1.jpg,x'], "{} has only the class 'x'"),
        (['path,label'], '{} has a header, but no rows'),
        (['', ' '], '{} is empty'),
    ],
)
def test_refused(table, tmp_path, lines, wanted):
    path = table(*lines)
    wanted = wanted.replace('{}', path).replace('{folder}', str(tmp_path))
    assert wanted in refusal(path)


@pytest.mark.parametrize('part', ['test', 'valid', 'probe'])
@pytest.mark.parametrize('row', ['X0,x0', 'x0,X0'])
def test_label_of_no_training_row(table, part, row):
    path = table(
        'path,label,clean_label,split',
        'a0.jpg,x0,x0,train',
        'a1.jpg,y1,y1,train',
        f'a2.jpg,{row},{part}',
    )
    message = refusal(path)
    assert f"line 4 of {path} has the {part} label 'X0', which no" in message
    assert message.endswith("Did you mean 'x0'?")


def test_classes_that_parts_lack(table):
    rows = ['path,label,split', 'a0.jpg,x,train', 'a1.jpg,y,train']
    path = table(*rows, 'a2.jpg,y,test')
    assert read_csv(path).remarks == (
        f"{path} has no test image of 'x', so nothing is measured on it.",
    )
    path = table(*rows, 'a2.jpg,y,probe')
    assert refusal(path).startswith(f"{path} has no probe image of 'x'")


def test_a_row_given_twice_counts_twice(table, tmp_path):
    path = table('path,label', 'a0.jpg,x', 'a1.jpg,y', 'a0.jpg,x')
    found = read_csv(path)
    assert len(found.parts['train']) == 3
    assert found.remarks == (
        f'{path} lists 1 train image again with the same label, such as '
        f"'{tmp_path}/a0.jpg' (line 4), which count twice.",
    )


def test_training_copies_of_test_images_are_left_out(table):
    path = table(
        'path,label,clean_label,split',
        'a0.jpg,x,y,train',
        'a1.jpg,x,y,train',
        'a2.jpg,y,x,train',
        'a0.jpg,x,,test',
        'a3.jpg,y,,test',
    )
    found = read_csv(path)
    train = found.parts['train']
    assert images(train) == ['a1.jpg', 'a2.jpg']
    assert train.labels.tolist() == [0, 1]
    assert train.clean.tolist() == [1, 0]
    assert 'Left out of training: 1 image that the test' in found.remarks[0]


@pytest.mark.parametrize(
    ('content', 'wanted'),
    [
        (b'', 'is empty: it needs a first line such as path,label'),
        (b'\xef\xbb\xbf', 'is empty'),
        (b'""\n', "has no column 'label'"),
        (b'PK\3\4\0\0\0', 'is not a text file: give a CSV file'),
        (
            b'path,label\na0.jpg,x\na1.jpg,caf\xe9\n',
            'is not UTF-8 (line 3): save it as UTF-8',
        ),
        ('path,label\n'.encode('utf-16'), 'is UTF-16: save it as UTF-8'),
    ],
)
def test_other_content(tmp_path, content, wanted):
    path = tmp_path / 'list.csv'
    path.write_bytes(content)
    assert f'{path} {wanted}' in refusal(str(path))


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    message = refusal(str(tmp_path))
    assert message == f'{tmp_path} is a folder, not a CSV file: check the path.'
    message = refusal(f'{tmp_path}/x.csv')
    assert message == f'there is no CSV file {tmp_path}/x.csv: check the path.'
    assert 'path of the CSV file is empty' in refusal('')

    # The tests may run as root, who may read everything.
    def denied(*_, **__):
        raise PermissionError(13, 'no')

    monkeypatch.setattr('builtins.open', denied)
    assert 'the CSV file x.csv cannot be read' in refusal('x.csv')
