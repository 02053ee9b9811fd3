"""Label issues: the ranked list, its figures and its file."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from looks import looked
from sklearn.metrics import average_precision_score, roc_auc_score

from ieg import label_issues
from ieg.errors import UsageError
from ieg.label_issues import floor, ranking
from ieg.label_issues.score import margin

CLASSES = 4


def planted(count=4000, rate=0.3, seed=0):
    """Returns true and given labels, and shares that mostly see the truth."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(CLASSES, size=count)
    wrong = rng.random(count) < rate
    given = np.where(wrong, (clean + 1) % CLASSES, clean)
    logits = rng.normal(size=(count, CLASSES))
    logits[np.arange(count), clean] += 4
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return clean, given, said


def test_detection_agrees_with_scikit_learn():
    clean, given, said = planted()
    right, score = clean == given, margin(given, said)
    found = label_issues.detection(right, score)
    assert found['roc_auc'] == pytest.approx(roc_auc_score(right, score))
    assert found['average_precision'] == pytest.approx(
        average_precision_score(~right, -score)
    )
    budget = int((~right).sum())
    lowest = np.argsort(score)[:budget]
    missed = 1 - np.isin(np.flatnonzero(~right), lowest).mean()
    assert found['budget'] == budget
    assert found['false_negative_rate_at_budget'] == pytest.approx(missed)
    assert found['recall_at_budget'] == pytest.approx(1 - missed)


def test_detection_says_nothing_where_every_label_is_right():
    found = label_issues.detection(np.ones(5, bool), np.linspace(0, 1, 5))
    assert found['roc_auc'] is found['average_precision'] is None
    assert found['budget'] == 0


@pytest.fixture(scope='module')
def audited():
    clean, given, said = planted(count=2000)
    agreement = np.random.default_rng(0).random(2000)
    train, valid = slice(1500), slice(1500, None)

    def part(split, rows, **more):
        places = np.arange(2000)[rows]
        names = np.array([f'a/{n}.png' for n in places], object)
        if split == 'train':
            places, names = places * 2, None
        own = looked(split, places, given[rows], said[rows], agreement[rows])
        return ranking.Judged(own, names, **more)

    right = (clean == given)[train]
    parts = [
        part('train', train, chosen=right, clean=clean[train]),
        part('valid', valid),
    ]
    estimate = floor.estimate([(said[valid], given[valid])])
    names = ['cat', 'Ärger, "x"', '=1', 'd']
    rows, figures = ranking.rank(parts, names, estimate)
    return rows, figures, clean, given


def test_rows_come_most_suspicious_first_those_of_training_before_all(audited):
    rows, figures, clean, given = audited
    assert len(rows) == 2000
    np.testing.assert_array_equal(rows.rank, np.arange(1, 2001))
    assert (rows.split[:1500] == 'train').all()
    for part in (rows.score[:1500], rows.score[1500:]):
        assert (np.diff(part) >= 0).all()
    assert rows.score[1500] < rows.score[1499]
    assert figures['count'] == rows.is_issue.sum() > 0
    assert figures['hard'] == rows.is_hard.sum()
    assert not (rows.is_issue & rows.is_hard).any()
    # What looks wrong looks worse than what does not.
    assert rows.score[rows.is_issue].max() < np.median(rows.score)
    wrong = np.mean((clean != given)[:1500])
    assert figures['budget'] == round(wrong * 1500)
    assert figures['roc_auc'] > 0.95


def test_rows_keep_what_belongs_together(audited):
    rows, _, clean, given = audited
    names = np.array(['cat', 'Ärger, "x"', '=1', 'd'], object)
    train, valid = rows.split == 'train', rows.split == 'valid'
    assert train.sum() == 1500 and valid.sum() == 500
    place = rows.index[train] // 2
    np.testing.assert_array_equal(rows.given[train], names[given[place]])
    right = (clean == given)[place]
    np.testing.assert_array_equal(rows.in_selection[train], right)
    assert np.isnan(rows.in_selection[valid]).all()
    assert rows.path[valid].tolist() == [
        f'a/{n}.png' for n in rows.index[valid]
    ]
    assert not rows.path[train].any()
    # An issue is never suggested to be what it is called.
    assert (rows.suggested != rows.given)[rows.is_issue].all()
    found = train & rows.is_issue
    truth = names[clean[rows.index[found] // 2]]
    assert np.mean(rows.suggested[found] == truth) > 0.9


def test_the_file_gives_back_what_was_written(audited, tmp_path):
    rows = audited[0]
    path = str(tmp_path / 'label_issues.csv')
    odd = rows.path.copy()
    odd[:3] = 'café "a,b"\n.png', '-1\r', "'=1 "
    marks = np.resize(np.array(['likely', ''], object), len(rows))
    groups = np.where(np.arange(len(rows)) % 3, np.nan, 12.0)
    rows = dataclasses.replace(
        rows,
        path=odd,
        mark=marks,
        neighbour_agreement=rows.agreement,
        duplicate_group=groups,
        outlier_score=rows.margin,
        is_outlier=~rows.is_hard,
    )
    label_issues.write(path, rows)
    found = label_issues.read(path)
    for field in dataclasses.fields(rows):
        ours, theirs = getattr(rows, field.name), getattr(found, field.name)
        if ours.dtype == float:
            np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(theirs, ours)
        assert ours.flags.writeable and theirs.flags.writeable
    content = (tmp_path / 'label_issues.csv').read_bytes()
    assert content.startswith(
        b'\xef\xbb\xbfrank,index,path,split,given_label,suggested_label,score,'
    )


def test_columns_that_a_run_does_not_have_are_not_written(audited, tmp_path):
    path = str(tmp_path / 'issues.csv')
    label_issues.write(path, dataclasses.replace(audited[0], mark=None))
    assert label_issues.read(path).mark is None
    with open(path, encoding='utf-8-sig') as file:
        assert file.readline() == ','.join(label_issues.COLUMNS) + '\n'


def test_the_file_is_read_after_a_spreadsheet(audited, tmp_path):
    rows = audited[0]
    path = tmp_path / 'label_issues.csv'
    label_issues.write(str(path), rows)
    cells = list(csv.reader(path.read_text('utf-8-sig').splitlines()))
    for cell in cells[1:]:
        cell[6:10] = [text.replace('.', ',') for text in cell[6:10]]
    text = io.StringIO()
    csv.writer(text, delimiter=';').writerows([*cells, [''] * len(cells[0])])
    path.write_text(f'sep=;\r\n{text.getvalue()}', 'utf-8-sig', newline='')
    found = label_issues.read(str(path))
    np.testing.assert_array_equal(found.given, rows.given)
    np.testing.assert_array_equal(found.index, rows.index)
    np.testing.assert_allclose(found.margin, rows.margin, atol=1e-5)
    np.testing.assert_array_equal(found.in_selection, rows.in_selection)


HEAD = ','.join(label_issues.COLUMNS)
GOOD = '1,7,,train,a,b,0.1,-0.8,0,,1,0,'


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'is empty'),
        ('a,b\n1,2\n', 'must start with the columns'),
        (f'{HEAD}\n{GOOD}\n1,2\n', "Line 3 .*: ''"),
        (f'{HEAD}\n{GOOD},5\n', '13 fields in line 2, saw 14'),
        (f'{HEAD}\n\n{GOOD}\n1,2\n', "Line 4 .*: ''"),
        (f'sep=,\n{HEAD}\n{GOOD}\n1,2\n', "Line 4 .*: ''"),
        (f'{HEAD}\n{GOOD}\n1.5{GOOD[1:]}\n', "Line 3 .*: '1.5'"),
        (f'{HEAD}\n{GOOD.replace("-0.8", "low")}\n', "Line 2 .*: 'low'"),
        (f'{HEAD}\n{GOOD}"x\n', 'cannot be read'),
        (f'{HEAD}\nx{GOOD}\n', "Line 2 .*: 'x1' must be a number"),
        (f'{HEAD}\n-{GOOD}\n', "Line 2 .*: '-1' must be a number"),
        (f'{HEAD}\n1e3{GOOD[1:]}\n', "Line 2 .*: '1e3'"),
        (f'{HEAD}\n{10**30}{GOOD[1:]}\n', "Line 2 .*: '10000"),
        (f'{HEAD}\n{GOOD.replace("0.1", "inf")}\n', "Line 2 .*: 'inf'"),
        (f'{HEAD}\n{GOOD.replace("train", "part")}\n', "'part' must be one"),
        (f'{HEAD}\n{GOOD}\0\n', 'not a text file'),
        (f'{HEAD}\n{GOOD.replace(",1,0,", ",2,0,")}\n', "Line 2 .*: '2'"),
    ],
)
def test_what_is_no_such_table_is_refused(text, said, tmp_path):
    path = tmp_path / 'label_issues.csv'
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        label_issues.read(str(path))


def test_a_file_name_that_is_no_unicode_leaves_a_table(audited, tmp_path):
    rows = audited[0]
    path = str(tmp_path / 'label_issues.csv')
    odd = rows.path.copy()
    odd[0] = 'caf\udce9.png'
    label_issues.write(path, dataclasses.replace(rows, path=odd))
    assert label_issues.read(path).path[0] == 'caf\\udce9.png'


def test_a_missing_table_is_told(tmp_path):
    with pytest.raises(UsageError, match='label_issues.csv: check the path'):
        label_issues.read(str(tmp_path / 'label_issues.csv'))
