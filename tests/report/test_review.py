"""The commands that draw labels for a review and read it."""

import csv
import re

import numpy as np
import pytest
from command import assert_mistake
from report_pages import Page
from reviewed_runs import REVIEWED, evidence, figures_of, reviewable

from ieg import label_issues, results
from ieg.report import __main__ as report_main
from ieg.run_folder import SEALED
from ieg.utils.files import check_sums, write_sums

FILES = ('summary.json', 'label_issues.csv', 'report.html', 'SHA256SUMS')


@pytest.fixture
def run(tmp_path):
    run = reviewable(tmp_path / 'run', evidence())
    write_sums(str(run.folder), SEALED)
    return run


def command(run, argument):
    return report_main.main([str(run.folder), argument])


def sample(run, count=20):
    """Draws labels; returns the lines of the table as dictionaries."""
    assert command(run, f'--sample={count}') == 0
    with open(run.folder / 'sample.csv', encoding='utf-8-sig') as file:
        return list(csv.DictReader(file))


def write(run, rows, name='sample.csv', delimiter=','):
    """Writes a table; returns the argument that names it."""
    with open(run.folder / name, 'w', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return f'--reviewed={run.folder / name}'


def filled(run, rows):
    """Writes the true class of each example; returns how many are wrong."""
    for row in rows:
        row['corrected_label'] = run.names[run.clean[int(row['index'])]]
    return sum(run.wrong[int(row['index'])] for row in rows)


def contents(run):
    paths = [run.folder / name for name in FILES]
    return [path.read_bytes() if path.exists() else None for path in paths]


def test_a_sample_is_drawn_from_the_training_labels(run, capsys):
    rows = sample(run)
    assert 'sample.csv' in capsys.readouterr().out
    indices = [int(row['index']) for row in rows]
    assert len(set(indices)) == 20 and not run.is_valid[indices].any()
    assert {row['corrected_label'] for row in rows} == {''}
    assert sample(run) == rows


def test_a_larger_sample_keeps_what_was_filled_in(run, capsys):
    rows = sample(run)
    filled(run, rows)
    write(run, rows, delimiter=';')
    more = sample(run, 30)
    assert more[:20] == rows
    assert {row['corrected_label'] for row in more[20:]} == {''}
    code = command(run, '--sample=10')
    assert_mistake((code, *capsys.readouterr()), 'sample.csv', '10')
    assert sample(run, 20) == rows
    code = command(run, '--sample=61')
    assert_mistake((code, *capsys.readouterr()), '61', '60')


@pytest.mark.parametrize('delimiter', [',', ';'])
def test_a_review_changes_all_files_alike(run, capsys, delimiter):
    corrected = np.full(len(run.issues), '', object)
    corrected[3] = 'dog'
    marks = np.full(len(run.issues), '', object)
    run.write_issues(corrected=corrected, mark=marks)
    rows = sample(run)
    wrong = filled(run, rows)
    own = figures_of(run)['evidence']
    assert command(run, write(run, rows, delimiter=delimiter)) == 0
    printed = capsys.readouterr().out
    figures = figures_of(run)
    assert figures['evidence'] == own
    expected = {'examples': 20, 'wrong': wrong}
    assert figures[REVIEWED] == expected
    low, high = figures['noise_rate_interval']
    assert own['noise_rate_interval'][0] <= low <= figures['noise_rate'] <= high
    table = label_issues.read(str(run.folder / 'label_issues.csv'))
    assert figures['count'] == table.is_issue.sum() > 0
    likely = round(figures['noise_rate'] * 60)
    assert table.is_issue[table.split == 'train'].sum() == likely
    assert figures['marks']['possible'] == table.is_hard.sum()
    assert table.corrected.tolist() == corrected.tolist()
    text = Page((run.folder / 'report.html').read_text()).text
    for words in (f'most {high:.1%}', '20 labels'):
        assert words in printed and words in text
    check_sums(str(run.folder))


def test_the_same_review_again_changes_nothing(run):
    rows = sample(run)
    filled(run, rows)
    argument = write(run, rows)
    assert command(run, argument) == 0
    once = contents(run)
    other = [row | {'corrected_label': '-'} for row in rows]
    assert command(run, write(run, other, 'other.csv')) == 0
    # An example of no class has a wrong label.
    assert figures_of(run)[REVIEWED]['wrong'] == 20
    assert figures_of(run)['noise_rate'] == 1
    assert command(run, argument) == 0
    assert contents(run) == once


def test_a_review_that_a_repeated_training_replaces_is_named(run):
    folder = str(run.folder)
    assert results.review_of(folder) == ''
    rows = sample(run)
    filled(run, rows)
    assert command(run, write(run, rows)) == 0
    assert f'ieg report {folder} --reviewed=' in results.review_of(folder)
    (run.folder / 'summary.json').write_text('{')
    assert results.review_of(folder) == ''


def test_only_rows_that_were_drawn_count(run, capsys):
    rows = sample(run, 30)
    filled(run, rows)
    assert command(run, write(run, rows[:10])) == 0
    before = contents(run)
    capsys.readouterr()
    code = command(run, write(run, rows[10:], 'rest.csv'))
    assert_mistake((code, *capsys.readouterr()), 'rest.csv', 'random')
    assert contents(run) == before


def test_a_refused_or_unknown_rate_becomes_that_of_the_review(tmp_path):
    for name, found in (('weak', evidence(weak=True)), ('unknown', None)):
        run = reviewable(tmp_path / name, found)
        rows = sample(run)
        wrong = filled(run, rows)
        assert command(run, write(run, rows)) == 0
        low, high = figures_of(run)['noise_rate_interval']
        assert figures_of(run)['noise_rate'] == wrong / 20
        assert low <= wrong / 20 <= high
        # Networks that could not tell before cannot now.
        assert figures_of(run)['count'] == 0


def without_class(rows):
    rows[4]['corrected_label'] = ' '


def unknown_class(rows):
    rows[4]['corrected_label'] = 'cow'


def twice(rows):
    rows[5] = rows[4]


def of_another_run(rows):
    rows[4]['index'] = '5000'


def held_out(rows):
    rows[4]['split'] = 'valid'


def other_given(rows):
    rows[4]['given_label'] = 'cat' if rows[4]['given_label'] == 'dog' else 'dog'


@pytest.mark.parametrize(
    'spoil',
    [
        without_class,
        unknown_class,
        twice,
        of_another_run,
        held_out,
        other_given,
    ],
)
def test_a_mistake_in_the_table_names_the_line(run, capsys, spoil):
    rows = sample(run)
    filled(run, rows)
    spoil(rows)
    before = contents(run)
    capsys.readouterr()
    code = command(run, write(run, rows))
    name = re.escape(str(run.folder / 'sample.csv'))
    said = capsys.readouterr()
    assert_mistake((code, *said), 'sample.csv')
    # A class under two names can be a spreadsheet's, so any of both is named.
    line = (
        r'line \d+ of' if spoil is other_given else 'line 6 of|lines 6 and 7 of'
    )
    assert re.search(f'({line}) {name}', said.err)
    assert contents(run) == before


def test_an_empty_table_is_a_mistake(run, capsys):
    header = sample(run)[:1]
    write(run, header)
    path = run.folder / 'sample.csv'
    path.write_text(path.read_text().splitlines()[0] + '\n')
    capsys.readouterr()
    code = command(run, f'--reviewed={path}')
    assert_mistake((code, *capsys.readouterr()), 'sample.csv')


def test_what_cannot_be_reviewed(run, capsys):
    rows = sample(run)
    filled(run, rows)
    argument = write(run, rows)
    for change in (
        lambda: run.write_json('summary.json', run.summary()),
        lambda: (run.folder / 'predictions.npz').unlink(),
        lambda: (run.folder / 'summary.json').unlink(),
        lambda: (run.folder / 'label_issues.csv').unlink(),
    ):
        change()
        (run.folder / 'SHA256SUMS').unlink(missing_ok=True)
        for one in (argument, '--sample=20'):
            capsys.readouterr()
            code = command(run, one)
            assert_mistake((code, *capsys.readouterr()), str(run.folder))


def test_a_page_with_pictures_is_not_lost(run, capsys):
    rows = sample(run)
    filled(run, rows)
    argument = write(run, rows)
    (run.folder / 'report.html').write_text('<img src="data:image/png;x">')
    before = contents(run)
    assert command(run, argument) == 1
    assert 'report.html' in capsys.readouterr().err
    assert contents(run) == before
