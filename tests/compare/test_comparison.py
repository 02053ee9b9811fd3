"""What a comparison of runs says: regions, warnings, files, the command."""

import csv
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from command import assert_mistake
from paths import ROOT
from PIL import Image
from scipy import stats
from tracked_runs import PROBE, write_run

from ieg.compare import __main__ as compare_main
from ieg.compare.comparison import compare
from ieg.errors import UsageError


def test_the_report_of_four_runs(tmp_path):
    """Region by region, as in the paper's figure; every number by hand."""
    for name, accuracy, susceptibility, test, wrong in [
        ('a', 0.9, 0.1, 0.8, 0.2),
        ('b', 0.9, 0.3, 0.5, 0.9),
        ('c', 0.1, 0.1, 0.6, 0.1),
        ('d', 0.1, 0.3, 0.9, 0.3),
    ]:
        write_run(tmp_path / name, accuracy, susceptibility, test, wrong)
    report = compare([str(tmp_path)], top=2)
    names = [pathlib.Path(row.folder).name for row in report.rows]
    # The low half, a and c, first; then by susceptibility.
    assert names == ['a', 'c', 'b', 'd']
    assert [row.region for row in report.rows] == [1, 3, 2, 4]
    assert [row.ranks['lowhalf'] for row in report.rows] == [1, 2, None, None]
    assert report.rankings['regions']['order'] == [1]
    assert report.rankings['lowhalf']['outcome'] == dict(
        test_accuracy=0.8,
        rank=2,
        regret_points=pytest.approx(10),
        top_mean=pytest.approx(0.7),
        top_count=2,
    )
    assert report.overall['test_accuracy_mean'] == pytest.approx(0.7)
    assert report.overall['test_accuracy_best'] == 0.9
    assert report.regions[1]['test_accuracy_mean'] == 0.8
    assert report.regions[1]['test_accuracy_sd'] is None
    assert report.correlations['pearson'] == pytest.approx(
        stats.pearsonr([0.1, 0.3, 0.1, 0.3], [0.2, 0.9, 0.1, 0.3])[0]
    )
    assert report.recommendation['folder'] == str(tmp_path / 'a')
    assert report.recommendation['epoch'] == 1
    assert report.chosen.test_accuracy_at_epoch == 0.5
    # Nothing tells these runs apart but their folders.
    assert report.rows[0].label == str(tmp_path / 'a')
    shown = compare_main.text(report)
    assert '1 trainable, resistant           1  80.00, -' in shown
    assert 'run 1, ' in shown and 'after epoch 2 (step 20)' in shown
    assert 'fewer than 8 runs' in shown


def test_the_sample_deviation_of_a_region(tmp_path):
    accuracies = [0.6, 0.7, 0.95]
    for number, test in enumerate(accuracies):
        write_run(tmp_path / f'{number}', 0.5, 0.1, test)
    found = compare([str(tmp_path)]).regions[1]
    assert found['runs'] == 3 and found['ddof'] == 1
    expected = np.std(accuracies, ddof=1)
    assert found['test_accuracy_sd'] == pytest.approx(expected)


def test_labels_are_the_options_that_differ(tmp_path):
    write_run(tmp_path / 'a', 0.9, 0.1, learning_rate=0.2, mixup=1.0)
    write_run(tmp_path / 'b', 0.8, 0.1, learning_rate=0.3, mixup=1.0)
    write_run(
        tmp_path / 'c', 0.7, 0.1, method='ieg', learning_rate=0.2, data_dir='z'
    )
    labels = [row.label for row in compare([str(tmp_path)]).rows]
    assert sorted(labels) == [
        'ieg',
        'supervised learning_rate=0.2',
        'supervised learning_rate=0.3',
    ]


def test_without_test_labels_nothing_is_judged(tmp_path):
    write_run(tmp_path / 'a', 0.9, 0.1)
    write_run(tmp_path / 'b', 0.8, 0.2)
    report = compare([str(tmp_path)])
    assert report.rankings['lowhalf']['outcome'] is None
    assert report.correlations['pearson'] is None
    shown = compare_main.text(report)
    assert 'regret' not in shown and 'Pearson' not in shown
    write_run(tmp_path / 'c', 0.7, 0.3, 0.5)
    report = compare([str(tmp_path)])
    assert report.rankings['lowhalf']['outcome'] is None
    assert any('test accuracies' in text for text in report.warnings)


def warnings(tmp_path, points, **options):
    for number, (accuracy, susceptibility) in enumerate(points):
        write_run(tmp_path / f'{number:02}', accuracy, susceptibility)
    return ' '.join(compare([str(tmp_path)], **options).warnings)


def test_warned_of_empty_regions(tmp_path):
    points = [(0.6, 0.01), (0.8, 0.02), (0.7, 0.03), (1.0, 0.5), (0.95, 0.4)]
    found = warnings(tmp_path, points)
    assert 'in region 1, 4; ' in found and 'lowhalf' in found


def test_warned_of_regions_that_hold_those_that_learn_by_heart(tmp_path):
    # Five resist and lie low; of the memorisers one is below the mean of
    # susceptibility, which one outlier has dragged up.
    points = [(0.55, 0.01 + n / 1000) for n in range(5)]
    points += [(1.0, 0.1), (0.99, 0.2), (0.98, 0.9)]
    assert 'disagree' in warnings(tmp_path, points, top=4)


def test_not_warned_without_reason(tmp_path):
    points = [(0.9, 0.1), (0.9, 0.3), (0.1, 0.1), (0.1, 0.3)] * 2
    assert warnings(tmp_path, points) == ''


def test_warned_of_steps_that_overshoot(tmp_path):
    found = warnings(tmp_path, [(0.9, -0.1), (0.8, 0.2)])
    assert 'not positive' in found and 'too large' in found


def many(path, count=12):
    """Writes runs of which susceptibility follows the fit on wrong labels."""
    rng = np.random.default_rng(0)
    for number in range(count):
        wrong = rng.random()
        write_run(
            path
            / f'rate_{number}'
            / 'digits_uniform_0.5'
            / 'supervised_cnn_s1',
            0.5 + wrong / 2,
            0.02 * math.exp(3 * wrong + rng.normal()),
            0.9 - 0.3 * wrong,
            wrong,
            learning_rate=0.1 / (number + 1),
            method='ieg' if number % 3 else 'supervised',
        )
    return path


def test_the_files(tmp_path):
    report = compare([str(many(tmp_path / 'runs'))])
    paths = compare_main.write(report, str(tmp_path / 'out'))
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'compare.csv',
        'compare.json',
        'compare.png',
    ]
    with open(paths[0], newline='') as file:
        lines = list(csv.DictReader(file))
    assert [int(line['number']) for line in lines] == list(range(1, 13))
    first = report.rows[0]
    assert float(lines[0]['susceptibility']) == first.susceptibility
    assert lines[0]['learning_rate'] == str(first.options['learning_rate'])
    assert lines[0]['rank_lowhalf'] == '1' and lines[-1]['rank_lowhalf'] == ''
    found = json.loads(pathlib.Path(paths[1]).read_text())
    assert found['dataset'] == 'digits_uniform_0.5'
    assert found['boundaries']['accuracy'] == report.boundaries[0]
    assert len(found['rows']) == 12 and len(found['rows'][0]['curve']) == 3
    assert sum(r['runs'] for r in found['regions'].values()) == 12
    assert set(found['rankings']) == {'regions', 'lowhalf', 'corner'}
    assert found['recommendation']['folder'] == first.folder
    assert found['probe'] == PROBE
    assert {'correlations', 'warnings', 'left_out'} < set(found)
    with Image.open(paths[2]) as image:
        image.verify()
        assert image.format == 'PNG' and image.width > 1500


@pytest.mark.parametrize(
    'points',
    [
        [(0.5, 0.1)],
        [(0.5, 0.0), (0.5, 0.0)],
        [(0.5, -0.1), (0.9, 0.2), (0.7, 50.0)],
    ],
)
def test_pictures_of_odd_runs(tmp_path, points):
    for number, (accuracy, susceptibility) in enumerate(points):
        write_run(tmp_path / 'runs' / f'{number}', accuracy, susceptibility)
    report = compare([str(tmp_path / 'runs')])
    with Image.open(compare_main.write(report, str(tmp_path))[2]) as image:
        image.verify()


def test_a_folder_that_cannot_be_written(tmp_path):
    report = compare([str(write_run(tmp_path / 'run', 0.5, 0.1))])
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='cannot be written'):
        compare_main.write(report, str(tmp_path / 'file'))


def test_the_command(tmp_path, capsys, monkeypatch):
    many(tmp_path / 'runs')
    monkeypatch.chdir(tmp_path)
    assert compare_main.main(['runs', '--boundary=median', '--top=3']) == 0
    shown = capsys.readouterr().out
    assert 'The medians' in shown and 'Recommended' in shown
    assert '(3 runs)' in shown and 'Spearman' in shown
    assert (tmp_path / 'comparison' / 'compare.png').exists()
    assert compare_main.main(['runs', '--out=']) == 0
    assert 'Written' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments, word',
    [
        ([], 'run'),
        (['x', '--wrong=1'], '--wrong'),
        (['x', '--top=0'], '--top'),
        (['x', '--y=loss'], '--y'),
        (['nowhere'], 'nowhere'),
    ],
)
def test_mistakes_are_one_sentence(capsys, arguments, word):
    code = compare_main.main(arguments)
    captured = capsys.readouterr()
    assert_mistake((code, *captured), word)
    assert not captured.out


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        compare_main.main(['--help'])
    assert caught.value.code == 0
    assert '--boundary' in capsys.readouterr().out


def test_the_command_imports_no_tensorflow(tmp_path):
    write_run(tmp_path / 'run', 0.5, 0.1, 0.9, 0.1)
    code = (
        'import sys\n'
        'from ieg.compare.__main__ import main\n'
        'assert main(sys.argv[1:]) == 0\n'
        'heavy = {"tensorflow", "keras", "absl"} & set(sys.modules)\n'
        'assert not heavy, heavy\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, 'run', '--out=out'],
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT), 'PATH': '', 'HOME': str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out' / 'compare.png').exists()
