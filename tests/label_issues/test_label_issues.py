"""Label issues: from what was said of examples to a ranked list."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ieg import label_issues
from ieg.errors import UsageError
from ieg.label_issues import Evidence
from ieg.ops.visits import Visits

CLASSES = 4


def planted(count=4000, rate=0.3, seed=0):
    """Returns true and given labels, and visits that mostly see the truth."""
    rng = np.random.default_rng(seed)
    clean = rng.integers(CLASSES, size=count)
    wrong = rng.random(count) < rate
    given = np.where(wrong, (clean + 1) % CLASSES, clean)
    logits = rng.normal(size=(count, CLASSES))
    logits[np.arange(count), clean] += 4
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return clean, given, said


def evidence_of(said, given):
    return Evidence.of_predictions(given, said)


def test_evidence_adds_up_what_visits_said():
    rng = np.random.default_rng(1)
    visits, labels = 5, np.array([0, 2, 1])
    said = rng.dirichlet(np.ones(CLASSES), size=(visits, 3))
    agrees = said.argmax(axis=2) == labels
    sums = np.zeros((3, 3 + CLASSES))
    sums[:, 0] = 1  # The first visit counts as nothing else.
    for number in range(visits):
        sums[:, 0] += 1
        sums[:, 1] += agrees[number]
        sums[:, 2] += agrees[number] * number
        sums[:, 3:] += said[number]
    found = Evidence.of_visits(labels, Visits.of_columns(sums))
    np.testing.assert_allclose(found.probabilities, said.mean(axis=0))
    np.testing.assert_allclose(found.agreement, agrees.mean(axis=0))
    weights = np.arange(visits, 0, -1) - 0.5
    weights /= weights.sum()
    np.testing.assert_allclose(found.early, weights @ agrees, atol=1e-12)
    own = said.mean(axis=0)[np.arange(3), labels]
    others = said.mean(axis=0)
    others[np.arange(3), labels] = 0
    np.testing.assert_allclose(found.margin, own - others.max(axis=1))


def test_what_was_never_shown_gives_no_evidence():
    visits = Visits.of_columns(np.zeros((1, 3 + CLASSES)))
    found = Evidence.of_visits(np.array([1]), visits)
    assert found.agreement == found.early == 0
    assert np.isfinite(found.score).all()


def test_what_is_learnt_late_looks_worse():
    early = np.array([[11, 5, sum(range(5)), 5, 5, 0, 0]], float)
    late = np.array([[11, 5, sum(range(5, 10)), 5, 5, 0, 0]], float)
    one, other = (
        Evidence.of_visits(np.array([0]), Visits.of_columns(sums))
        for sums in (early, late)
    )
    assert one.agreement == other.agreement
    assert one.score > other.score


@pytest.mark.parametrize('rate', [0.05, 0.3, 0.6])
def test_the_noise_is_estimated(rate):
    clean, given, said = planted(rate=rate)
    found = label_issues.estimate(evidence_of(said, given))
    realised = np.mean(clean != given)
    assert abs(found.rate - realised) < 0.05
    assert found.interval[0] <= realised <= found.interval[1]
    assert found.interval[0] <= found.rate <= found.interval[1]
    truth = np.zeros((CLASSES, CLASSES))
    np.add.at(truth, (clean, given), 1)
    truth /= truth.sum(axis=1, keepdims=True)
    assert np.abs(found.transition - truth).max() < 0.08
    np.testing.assert_allclose(found.transition.sum(axis=1), 1)


def test_without_noise_little_is_estimated():
    _, given, said = planted(rate=0.0)
    said = 0.9 * np.eye(CLASSES)[given] + 0.1 * said
    found = label_issues.estimate(evidence_of(said, given))
    assert found.rate == 0
    np.testing.assert_array_equal(found.transition, np.eye(CLASSES))


def test_short_clean_runs_are_not_taken_for_noisy():
    # Few visits: most labels were predicted at all of them, hard ones later.
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=1000)
    sums = np.zeros((1000, 3 + CLASSES))
    sums[:, 0] = 1
    for number in range(3):
        right = rng.random(1000) < (0.6, 0.8, 0.95)[number]
        said = np.where(right, labels, (labels + 1) % CLASSES)
        sums[:, 0] += 1
        sums[:, 1] += right
        sums[:, 2] += number * right
        sums[:, 3:] += 0.6 * np.eye(CLASSES)[said] + 0.4 / CLASSES
    found = label_issues.estimate(
        Evidence.of_visits(labels, Visits.of_columns(sums))
    )
    assert found.rate < 0.12


def test_what_is_learnt_by_heart_is_found():
    # A third of the labels is wrong, and predicted in the second half only.
    rng = np.random.default_rng(0)
    clean, given, _ = planted(count=1000)
    wrong = clean != given
    sums = np.zeros((1000, 3 + CLASSES))
    sums[:, 0] = 1
    for number in range(30):
        heart = rng.random(1000) < (number - 8) / 16
        said = np.where(wrong & heart, given, clean)
        sums[:, 0] += 1
        sums[:, 1] += said == given
        sums[:, 2] += number * (said == given)
        sums[:, 3:] += np.eye(CLASSES)[said]
    found = label_issues.estimate(
        Evidence.of_visits(given, Visits.of_columns(sums))
    )
    assert found.rate == pytest.approx(wrong.mean(), abs=0.02)


@pytest.mark.parametrize(
    'skill, least, most', [(0.97, 0.03, 0.04), (0.65, 0.15, 0.2)]
)
def test_hard_images_widen_the_interval(skill, least, most):
    # The network recognises the second half of the images less often.
    rng = np.random.default_rng(0)
    clean, given, _ = planted(count=2000, rate=0.2)
    knows = np.repeat([0.97, skill], 1000)
    sums = np.zeros((2000, 3 + CLASSES))
    sums[:, 0] = 1
    for number in range(12):
        said = (clean + 2 * (rng.random(2000) > knows)) % CLASSES
        sums[:, 0] += 1
        sums[:, 1] += said == given
        sums[:, 2] += number * (said == given)
        sums[:, 3:] += np.eye(CLASSES)[said]
    low, high = label_issues.estimate(
        Evidence.of_visits(given, Visits.of_columns(sums))
    ).interval
    assert low <= np.mean(clean != given) <= high
    assert least < high - low < most


def test_nothing_is_known_where_nothing_was_learnt():
    labels = np.arange(100) % CLASSES
    said = np.tile([0.4, 0.2, 0.2, 0.2], (100, 1))
    found = label_issues.estimate(evidence_of(said, labels))
    assert found.interval == (0, 1)


def test_a_class_without_labels_changes_nothing_else():
    clean, given, said = planted()
    wider = np.concatenate([said, np.zeros((len(said), 1))], axis=1)
    found = label_issues.estimate(evidence_of(wider, given))
    np.testing.assert_array_equal(found.transition[-1], np.eye(CLASSES + 1)[-1])
    assert abs(found.rate - np.mean(clean != given)) < 0.05


def test_detection_agrees_with_scikit_learn():
    clean, given, said = planted()
    right, score = clean == given, evidence_of(said, given).score
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
    half = 1500
    parts = [
        label_issues.Examples(
            'train',
            np.arange(half) * 2,
            None,
            evidence_of(said[:half], given[:half]),
            chosen=clean[:half] == given[:half],
            clean=clean[:half],
        ),
        label_issues.Examples(
            'valid',
            np.arange(500),
            np.array([f'a/{n}.png' for n in range(500)], object),
            evidence_of(said[half:], given[half:]),
        ),
    ]
    rows, figures = label_issues.audit(parts, ['cat', 'Ärger, "x"', '=1', 'd'])
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
    label_issues.write(path, audited[0])
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
