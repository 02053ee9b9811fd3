"""The list of a finished run as a table."""

import numpy as np
import pytest
import report_files

import ieg


@pytest.fixture
def run(tmp_path):
    return report_files.Run(tmp_path / 'run', path='photos/{}.png')


def test_the_list_of_a_run_is_a_table(run):
    table = ieg.read_issues(run.folder)
    rows = run.issues
    assert list(table)[:4] == ['rank', 'index', 'path', 'split']
    assert 'corrected_label' not in table
    np.testing.assert_array_equal(table['index'], rows.index)
    np.testing.assert_array_equal(table.path, rows.path)
    np.testing.assert_array_equal(table.given_label, rows.given)
    np.testing.assert_array_equal(table.is_issue, rows.is_issue)
    np.testing.assert_allclose(table.score, rows.score, rtol=1e-5)


@pytest.mark.parametrize(
    ('removed', 'words'),
    [
        ('config.json', 'is not a run folder'),
        ('summary.json', 'has not finished'),
        ('label_issues.csv', 'has no label_issues.csv'),
    ],
)
def test_a_folder_without_a_list_is_one_sentence(run, removed, words):
    (run.folder / removed).unlink()
    with pytest.raises(ValueError, match=words) as caught:
        ieg.read_issues(str(run.folder))
    assert str(run.folder) in str(caught.value)


def test_a_damaged_list_is_one_sentence(run):
    (run.folder / 'label_issues.csv').write_text('rank,index\n1,2\n')
    with pytest.raises(ValueError, match=r'label_issues\.csv'):
        ieg.read_issues(run.folder)
