"""Runs on texts and on rows of a table, from the file to the results."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from command import assert_mistake, ieg
from report_pages import Page
from text_files import people, reviews

from ieg import label_issues, run_folder
from ieg.data.sets.columns import read_fields
from ieg.predict import __main__ as predict_main
from ieg.predict import model as export
from ieg.report import __main__ as report_main

# Keras warns when it saves a model with NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def audited(folder, write, *options):
    """Returns table, run folder and output of an audit of a new table."""
    path = folder / 'table.csv'
    write(path)
    runs = folder / 'runs'
    code, out, err = ieg('audit', str(path), f'--output={runs}', *options)
    assert code == 0, err
    (run,) = (runs / 'csv-table').iterdir()
    return path, run, out


@pytest.fixture(scope='module')
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp('texts')
    return audited(folder, reviews, '--export=savedmodel')


@pytest.fixture(scope='module')
def rows(tmp_path_factory):
    return audited(tmp_path_factory.mktemp('rows'), people, '--max_epoch=5')


def content(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_an_audit_of_texts_says_what_it_does_and_what_it_found(texts):
    path, folder, out = texts
    said = ' '.join(out.split())
    assert f'{path}: 150 examples of 2 classes' in said
    for fact in ("'text' text (TF-IDF", "not used: 'id'", 'This takes about'):
        assert fact in said
    lines = out[out.index('most suspicious') :]
    assert "…' is labeled" in lines and 'NEW_ROWS.csv' in lines
    issues = label_issues.read(str(folder / run_folder.ISSUES))
    marked = issues.index[issues.is_issue & (issues.split == 'train')]
    table = content(path)
    wrong = [table[i]['label'] != table[i]['clean_label'] for i in marked]
    assert len(wrong) > 5 and np.mean(wrong) > 0.8


def test_copies_of_texts_are_found(texts):
    _, folder, _ = texts
    issues = label_issues.read(str(folder / run_folder.ISSUES))
    group = dict(zip(issues.index, issues.duplicate_group, strict=True))
    listed = [n for n in range(10) if n in group and n + 140 in group]
    assert len(listed) > 3
    for place in listed:
        assert group[place] == group[140 + place] > 0


def test_the_report_shows_texts_and_rows_as_they_are(texts, rows):
    path, folder, _ = texts
    source = (folder / 'report.html').read_text('utf-8')
    assert '<b>box</b>' not in source
    page = Page(source)
    table = content(path)
    seen = page.all('li', class_='card')
    assert len(seen) > 10 and 'no images' not in source
    for card in seen:
        assert table[int(card['data-index'])]['text'] in card['text']
    path, folder, _ = rows
    table = content(path)
    for card in Page((folder / 'report.html').read_text('utf-8')).cards:
        row = table[int(card['data-index'])]
        age = f'{float(row["age"]):g}' if row['age'] else ''
        assert f'age: {age}\ncolor: {row["color"]}' in card['text']


def predicted(capsys, folder, path):
    code = predict_main.main([str(folder), str(path), '--batch_size=16'])
    out, err = capsys.readouterr()
    assert code == 0, err
    return list(csv.DictReader(out.splitlines()))


def check_predictions(capsys, path, folder):
    """Compares the command with the logits of the run's own evaluation."""
    found = predicted(capsys, folder, path)
    names = json.loads((folder / 'config.json').read_text())
    assert names['dataset'] == 'csv'
    with np.load(folder / 'predictions.npz') as file:
        logits, places = file['test_logits'], file['test_indices']
        classes = file['class_names']
    shares = tf.nn.softmax(logits).numpy()
    for place, own in zip(places, shares, strict=True):
        row = found[place]
        assert row['path'] == f'{path}[{place}]'
        assert row['label'] == classes[own.argmax()]
        assert abs(float(row['probability']) - own.max()) < 1e-4


def test_predictions_are_those_of_the_evaluation(texts, rows, capsys):
    check_predictions(capsys, *texts[:2])
    check_predictions(capsys, *rows[:2])


def test_models_take_strings(texts, rows):
    path, folder, _ = texts
    model = export.load(str(folder))
    given = [row['text'] for row in content(path)][:5]
    expected = model(tf.constant(given)).numpy()
    assert expected.shape == (5, 2)
    whole = keras.saving.load_model(folder / 'model.keras')
    found = whole.predict(tf.constant(given), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    served = tf.saved_model.load(str(folder / 'savedmodel'))
    np.testing.assert_allclose(
        served.serve(tf.constant(given)), expected, atol=1e-6
    )
    with pytest.raises(ValueError, match='texts'):
        export.save_litert(model, str(folder / 'model.tflite'))
    model = export.load(str(rows[1]))
    assert model.columns == ('age', 'color')
    fields = read_fields(str(rows[0]), {'age': True, 'color': False})
    assert model(tf.constant(fields.tolist())).shape == (150, 2)


def test_new_categories_and_missing_columns(rows, tmp_path, capsys):
    _, folder, _ = rows
    path = tmp_path / 'new.csv'
    path.write_text('color,age\ngreen,1\n,nan\nred,1_000\n')
    assert len(predicted(capsys, folder, path)) == 3
    for text, fact in (
        ('age\n1\n', "'color'"),
        ('age,color\nold,red\n', "'old'"),
    ):
        path.write_text(text)
        assert predict_main.main([str(folder), str(path)]) == 2
        assert fact in capsys.readouterr().err
    np.save(tmp_path / 'x.npy', np.zeros((3, 2), np.float32))
    assert predict_main.main([str(folder), str(tmp_path / 'x.npy')]) == 2
    said = capsys.readouterr().err
    assert 'x.npy' in said and "'age'" in said and 'CSV' in said


def test_corrections_of_texts(texts, tmp_path, capsys):
    path, folder, _ = texts
    row = content(path)[3]
    other = {'good': 'bad', 'bad': 'good'}[row['label']]
    corrected, output = tmp_path / 'corrected.csv', tmp_path / 'new.csv'
    split = label_issues.read(str(folder / run_folder.ISSUES))
    part = split.split[split.index == 3][0]
    corrected.write_text(
        'split,index,given_label,corrected_label\n'
        f'{part},3,{row["label"]},{other}\n'
    )
    arguments = [f'--apply={corrected}', f'--output={output}']
    assert report_main.main([str(folder), *arguments]) == 0
    capsys.readouterr()
    expected = content(path)
    expected[3]['label'] = other
    assert content(output) == expected


def test_other_texts_are_other_data(texts, tmp_path):
    path, folder, _ = texts
    changed = path.with_name('changed.csv')
    changed.write_text(path.read_text('utf-8').replace('phone', 'Phone', 1))
    code, _, err = ieg(
        f'--run={folder}', f'--data_dir={changed}', '--mode=train'
    )
    assert code == 2 and 'changed.csv' in err and '--run_name' in err


@pytest.mark.parametrize(
    ('text', 'facts'),
    [
        ('text,label\n' + 'same,a\nsame,b\n' * 20, ['1 different text', '10']),
        ('text,label\n' + ',a\n,b\n' * 20, ['0 different texts', "'text'"]),
        ('text,label\n' + 'long ' * 50_000 + ',a\n', ['line 2', '131072']),
        ('text,label\n' + 'one,a\n' * 9 + 'two,\n', ['no label']),
        ('who,label\n' + ''.join(f'n{i},{i % 2}\n' for i in range(40)),
         ["'who'", "'text'"]),
        ('text,label\n' + ''.join(f'n{i} \udcff,{i % 2}\n' for i in range(40)),
         ['UTF-8', 'line 2']),
    ],
)  # fmt: skip
def test_texts_that_are_refused(text, facts, tmp_path):
    path = tmp_path / 'bad.csv'
    path.write_bytes(text.encode('utf-8', 'surrogateescape'))
    result = ieg('audit', str(path), f'--output={tmp_path / "runs"}')
    assert_mistake(result, *facts)
    assert not (tmp_path / 'runs').exists()
