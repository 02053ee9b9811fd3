"""Runs without --track_memorization, of which none is recommended."""

import csv
import json

import pytest
from command import assert_mistake, ieg
from tracked_runs import write_run


def write_untracked(folder, figures, test=0.75, **options):
    """Writes the folder of an audit, say; returns it."""
    options = dict(dataset='folder', data_dir='/photos') | options
    write_run(folder, 0.5, 0.1, **options)
    (folder / 'memorization.json').unlink()
    summary = dict(test_accuracy_last=test, label_issues=figures)
    (folder / 'summary.json').write_text(json.dumps(summary))
    return folder


def compared(*arguments):
    code, out, err = ieg('compare', *map(str, arguments))
    assert code == 0, err
    return out


MARKED = {'count': 1234, 'noise_rate': 0.1, 'noise_rate_interval': [0.04, 0.3]}
WEAK = {'count': 0, 'noise_rate': None, 'noise_rate_interval': [0, 0.8]}


def test_their_figures_are_listed_and_none_is_recommended(tmp_path):
    one = write_untracked(tmp_path / 'a', MARKED, backbone='lite0')
    two = write_untracked(tmp_path / 'b', WEAK, 0.5, backbone='lite0@128')
    three = write_untracked(tmp_path / 'c', {}, None, backbone='off')
    out = compared(one, two, three, f'--out={tmp_path / "out"}')
    header, *rows = (line.split() for line in out.splitlines()[:4])
    assert header[0] == 'test' and header[-1] == 'run'
    assert rows == [
        ['75.00', '1,234', '4%', 'to', '30%', 'backbone=lite0'],
        ['50.00', '0', 'at', 'most', '80%', 'backbone=lite0@128'],
        ['-', '-', '-', 'backbone=off'],
    ]
    assert 'No run is recommended' in out and '--track_memorization' in out
    assert out.splitlines()[-1].endswith(str(tmp_path / 'out/compare.csv'))
    with open(tmp_path / 'out/compare.csv') as file:
        cells = list(csv.DictReader(file))
    assert [row['folder'] for row in cells] == [str(one), str(two), str(three)]
    assert float(cells[0]['noise_rate_high']) == 0.3
    assert cells[2]['test_accuracy'] == cells[2]['labels_to_check'] == ''
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [
        'compare.csv'
    ]


def test_a_single_run_and_one_that_has_not_finished(tmp_path):
    write_untracked(tmp_path / 'done', MARKED)
    other = write_untracked(tmp_path / 'going', MARKED)
    (other / 'summary.json').unlink()
    out = compared(tmp_path, '--out=')
    assert out.count('1,234') == 1 and 'Written' not in out
    assert f'{other}: ' in out and 'not finished' in out
    assert_mistake(ieg('compare', str(other)), 'No run is left', str(other))


def test_where_one_was_tracked_all_must_be(tmp_path):
    write_run(tmp_path / 'tracked', 0.5, 0.1)
    plain = write_untracked(tmp_path / 'plain', MARKED)
    result = ieg('compare', str(tmp_path), '--out=')
    assert_mistake(result, str(plain), '--track_memorization')


def test_other_data_are_refused(tmp_path):
    write_untracked(tmp_path / 'a', MARKED)
    write_untracked(tmp_path / 'b', MARKED, data_dir='/pets')
    result = ieg('compare', str(tmp_path), '--out=')
    assert_mistake(result, 'different data sets', '/pets')


@pytest.mark.parametrize(
    'figures',
    [
        {'count': 'x'},
        {'noise_rate_interval': 3},
        {'noise_rate_interval': [0, None]},
        [1],
    ],
)
def test_a_damaged_summary_is_named(tmp_path, figures):
    folder = write_untracked(tmp_path / 'a', figures)
    result = ieg('compare', str(folder), '--out=')
    assert_mistake(result, str(folder / 'summary.json'), 'damaged')
