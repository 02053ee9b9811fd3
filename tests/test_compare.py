"""The comparison of tracked runs, on run folders that are written here."""

import csv
import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from ieg import compare as command
from ieg.analysis import regions, runs
from ieg.compare import compare
from ieg.errors import UsageError

ROOT = pathlib.Path(__file__).parents[1]
PROBE = dict(
    step='sgd',
    rate=0.05,
    batch=128,
    images_sha256='ab' * 32,
    seed=7,
    source='test images',
)


def write_run(
    folder,
    accuracy,
    susceptibility,
    test=None,
    wrong=None,
    *,
    probe=PROBE,
    best=1,
    **options,
):
    """Writes the folder of a run of three epochs; returns it."""
    folder.mkdir(parents=True)
    config = dict(
        mode='train',
        checkpoint_path=str(folder.parent),
        dataset='digits_uniform_0.5',
        train_examples=0,
        noise_seed=-1,
        noise_sampler='numpy',
        method='supervised',
        network_name='cnn',
        seed=1,
        learning_rate=0.1,
        lr_schedule='constant',
    )
    (folder / 'config.json').write_text(json.dumps(config | options))
    entries = []
    for epoch in range(3):
        share = (epoch + 1) / 3
        entry = dict(
            epoch=epoch,
            step=10 * epoch + 10,
            train_accuracy=(1 - accuracy) * share,
            fit_accuracy=accuracy * share,
            susceptibility_drop=susceptibility,
            susceptibility=susceptibility * share,
        )
        if test is not None:
            entry['test_accuracy'] = test if epoch == 2 else 0.5
        if wrong is not None:
            entry |= dict(fit_right=0.9, fit_wrong=wrong)
        entries.append(entry)
    # Not computed, so that the values of the test stand there exactly.
    entries[-1] |= dict(fit_accuracy=accuracy, susceptibility=susceptibility)
    write_log(folder, entries)
    (folder / 'summary.json').write_text(json.dumps(dict(seed=1)))
    tracked = dict(
        probe=probe,
        recommended_epoch=best,
        recommended_step=20,
        reason='the fit still rises',
    )
    (folder / 'memorization.json').write_text(json.dumps(tracked))
    return folder


def write_log(folder, entries):
    (folder / 'log.jsonl').write_text(
        ''.join(json.dumps(entry) + '\n' for entry in entries)
    )


def read_log(folder):
    lines = (folder / 'log.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


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


def refused(*arguments, **options):
    with pytest.raises(UsageError) as caught:
        compare([str(a) for a in arguments], **options)
    sentence = str(caught.value)
    assert sentence.endswith('.') and '\n' not in sentence
    return sentence


# Regions.

CROSS = [0.9, 0.9, 0.1, 0.1], [0.1, 0.3, 0.1, 0.3]


def test_four_points_are_in_four_regions():
    bounds = regions.boundaries(*CROSS, 'mean')
    assert bounds == pytest.approx((0.5, 0.2))
    assert regions.assign(*CROSS, bounds) == [1, 2, 3, 4]


def test_a_run_on_a_line_is_trainable_and_resistant():
    assert regions.assign([0.5, 0.5, 0.4], [0.2, 0.3, 0.2], (0.5, 0.2)) == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize('how', ['mean', 'median'])
@pytest.mark.parametrize('count', [1, 3, 6, 10])
def test_equal_runs_tie(how, count):
    # A mean in floating point is 0.10000000000000002 for three times 0.1.
    values = [0.1] * count
    bounds = regions.boundaries(values, values, how)
    assert regions.assign(values, values, bounds) == [1] * count


def test_medians():
    accuracy, susceptibility = [0.5, 0.6, 1.0], [0.01, 0.02, 0.9]
    bounds = regions.boundaries(accuracy, susceptibility, 'median')
    assert bounds == (0.6, 0.02)
    assert regions.assign(accuracy, susceptibility, bounds) == [3, 1, 2]
    # The mean of the accuracy is 0.7.
    bounds = regions.boundaries(accuracy, susceptibility, 'mean')
    assert regions.assign(accuracy, susceptibility, bounds) == [3, 3, 2]


def test_spread():
    assert regions.spread([]) == (None, None)
    assert regions.spread([0.5]) == (0.5, None)
    mean, deviation = regions.spread([1.0, 2.0, 6.0])
    assert (mean, deviation) == (3.0, pytest.approx(math.sqrt(7)))


# Rankings.

FIVE = [0.6, 0.8, 0.7, 1.0, 0.95], [0.01, 0.02, 0.03, 0.5, 0.4]


def test_the_low_half_is_ranked_by_accuracy():
    # The least susceptible three of five.
    assert regions.low_half(*FIVE) == [1, 2, 0]


def test_a_tie_at_the_border_of_the_half_goes_to_the_more_accurate():
    found = regions.low_half([0.5, 0.6, 0.7, 0.9], [0.1, 0.2, 0.2, 0.3])
    assert found == [2, 0]


def test_regions_rank_the_first_only():
    # The mean accuracy is 0.81: 3 and 4 are above and susceptible.
    bounds = regions.boundaries(*FIVE, 'mean')
    assert regions.assign(*FIVE, bounds) == [3, 3, 3, 2, 2]
    # So the first is empty, and lowhalf stands in.
    assert regions.by_region(*FIVE, bounds) == [1, 2, 0]
    # Median 0.8 of accuracy, 0.03 of susceptibility.
    bounds = regions.boundaries(*FIVE, 'median')
    assert regions.by_region(*FIVE, bounds) == [1]


def test_the_corner_is_in_log_susceptibility():
    # From 0.01 to 1: across 0, 0.5, 1; up 1, 0.5, 0 and so on.
    accuracy = [0.5, 0.75, 1.0, 0.9]
    susceptibility = [0.01, 0.1, 1.0, 0.1]
    # Distances: 1; hypot(0.5, 0.5); 1; hypot(0.5, 0.2).
    assert regions.corner(accuracy, susceptibility) == [3, 1, 0, 2]
    # The last is at hypot(log(2) / log(100), 0.4), before the third, at
    # hypot(log(30) / log(100), 0.1); on a linear axis it would be behind.
    found = regions.corner([1.0, 0.0, 0.9, 0.6], [1.0, 0.01, 0.3, 0.02])
    assert found == [3, 2, 1, 0]


def test_the_corner_survives_what_has_no_logarithm():
    accuracy = [0.5, 1.0, 0.9, 0.8]
    # The first two count as 0.1, the smallest positive one.
    found = regions.corner(accuracy, [-0.3, 0.0, 0.1, 1.0])
    assert found == [1, 2, 0, 3]
    assert regions.corner([0.5, 0.9], [-1.0, -2.0]) == [1, 0]
    assert regions.corner([0.5, 0.5], [0.2, 0.1]) == [1, 0]
    assert regions.corner([0.5], [0.2]) == [0]


def test_judge():
    found = regions.judge([2, 0, 1], [0.7, 0.9, 0.8, 0.9], top=2)
    assert found == dict(
        test_accuracy=0.8,
        rank=3,
        regret_points=pytest.approx(10),
        top_mean=pytest.approx(0.75),
        top_count=2,
    )
    assert regions.judge([1], [0.7, 0.9], top=5)['top_count'] == 1


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(1)
    first = rng.random(9)
    second = first**3 + 0.1 * rng.random(9)
    found = regions.correlations(first.tolist(), second.tolist())
    assert found['pearson'] == pytest.approx(stats.pearsonr(first, second)[0])
    assert found['spearman'] == pytest.approx(stats.spearmanr(first, second)[0])
    assert found['runs'] == 9


@pytest.mark.parametrize(
    'first, second', [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([], [])]
)
def test_no_correlation_of_too_little(first, second):
    found = regions.correlations(first, second)
    assert found['pearson'] is None and found['spearman'] is None


# Finding runs.


def test_runs_are_found_at_any_depth_and_once(tmp_path):
    one = write_run(tmp_path / 'a' / 'b' / 'one', 0.5, 0.1)
    two = write_run(tmp_path / 'c' / 'two', 0.6, 0.2, learning_rate=0.2)
    # A trial of a search is no run of its own, unless it is named.
    trial = write_run(one / 'search' / 'trial_0', 0.6, 0.2)
    (tmp_path / 'c' / 'notes.txt').write_text('x')
    both = [str(one), str(two)]
    assert runs.find([str(tmp_path)]) == both
    assert runs.find([str(tmp_path / '*')]) == both
    assert runs.find([str(tmp_path / '**' / 'one'), *both]) == both
    assert runs.find([str(trial)]) == [str(trial)]


def test_no_run(tmp_path):
    (tmp_path / 'empty').mkdir()
    assert 'No run found' in refused(tmp_path / 'empty')
    missing = refused(tmp_path / 'gone*')
    assert 'No run found' in missing and 'gone*' in missing


def test_an_unfinished_run_is_left_out(tmp_path):
    write_run(tmp_path / 'done', 0.5, 0.1)
    other = write_run(tmp_path / 'going', 0.6, 0.1)
    (other / 'summary.json').unlink()
    (other / 'log.jsonl').unlink()
    report = compare([str(tmp_path)])
    assert len(report.rows) == 1
    (sentence,) = report.left_out
    assert 'going' in sentence and 'not finished' in sentence
    assert sentence in command.text(report)
    sentence = refused(other)
    assert 'No run is left' in sentence and 'not finished' in sentence


def test_a_diverged_run_is_left_out(tmp_path):
    write_run(tmp_path / 'good', 0.5, 0.1)
    bad = write_run(tmp_path / 'bad', 0.6, 0.1)
    # The mean skips the probe that gave no number.
    entries = read_log(bad)
    entries[-1]['susceptibility_drop'] = None
    write_log(bad, entries)
    (sentence,) = compare([str(tmp_path)]).left_out
    assert 'bad' in sentence and 'diverged' in sentence


# Refusals.


@pytest.mark.parametrize(
    'name, text, words',
    [
        ('config.json', '{"method": ', ['line 1']),
        ('config.json', '{\n"method":\n', ['line 3']),
        ('config.json', '[]', ['broken']),
        ('config.json', '{"dataset": "digits"}', ['no method']),
        ('summary.json', 'x', ['line 1']),
        ('memorization.json', '{}', ['--track_memorization']),
        (
            'memorization.json',
            '{"probe": {}, "recommended_epoch": "1"}',
            ['--track_memorization'],
        ),
        ('log.jsonl', '{"epoch": 0}\n{"epo', ['line 2']),
        ('log.jsonl', '{"epoch": 0, "fit_accuracy": "x"}\n', ['line 1']),
        ('log.jsonl', '{"step": 0}\n', ['line 1']),
        ('log.jsonl', '3\n', ['line 1']),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, text, words):
    folder = write_run(tmp_path / 'run', 0.5, 0.1)
    (folder / name).write_text(text)
    sentence = refused(tmp_path)
    for word in [str(folder / name), *words]:
        assert word in sentence


def test_bytes_that_are_no_text(tmp_path):
    folder = write_run(tmp_path / 'run', 0.5, 0.1)
    (folder / 'log.jsonl').write_bytes(b'\xff\xfe')
    assert 'log.jsonl' in refused(tmp_path)
    (folder / 'config.json').write_bytes(b'\xff\xfe')
    assert 'config.json' in refused(tmp_path)


def test_a_missing_log(tmp_path):
    folder = write_run(tmp_path / 'run', 0.5, 0.1)
    (folder / 'log.jsonl').unlink()
    assert str(folder / 'log.jsonl') in refused(tmp_path)


def test_a_run_without_the_tracker(tmp_path):
    write_run(tmp_path / 'tracked', 0.5, 0.1)
    plain = write_run(tmp_path / 'plain', 0.5, 0.1)
    (plain / 'memorization.json').unlink()
    sentence = refused(tmp_path)
    assert str(plain) in sentence and '--track_memorization' in sentence
    other = write_run(tmp_path / 'other' / 'plain', 0.5, 0.1)
    write_log(other, [dict(epoch=0, train_accuracy=0.5)])
    assert '--track_memorization' in refused(other)


def test_the_other_accuracy(tmp_path):
    folder = write_run(tmp_path / 'run', 0.75, 0.1)
    (row,) = compare([str(folder)], y='train_accuracy').rows
    assert row.accuracy == 0.25
    entries = read_log(folder)
    write_log(
        folder,
        [
            {k: v for k, v in entry.items() if k != 'fit_accuracy'}
            for entry in entries
        ],
    )
    assert '--y=train_accuracy' in refused(folder)


@pytest.mark.parametrize(
    'options',
    [
        dict(dataset='digits_symmetric_0.5'),
        dict(dataset='digits_uniform_0.4'),
        dict(dataset='mnist_uniform_0.5'),
        dict(train_examples=500),
    ],
)
def test_other_data_sets_are_refused_even_by_force(tmp_path, options):
    write_run(tmp_path / 'a', 0.5, 0.1)
    write_run(tmp_path / 'b', 0.5, 0.1, **options)
    (value,) = options.values()
    for force in (False, True):
        sentence = refused(tmp_path, force=force)
        assert 'different data sets' in sentence and str(value) in sentence
        assert str(tmp_path / 'a') in sentence


def test_own_images_are_told_apart_by_their_folder(tmp_path):
    write_run(tmp_path / 'a', 0.5, 0.1, dataset='folder', data_dir='x')
    write_run(tmp_path / 'b', 0.5, 0.1, dataset='folder', data_dir='y')
    assert 'data_dir' in refused(tmp_path)


def test_other_draws_of_the_noise_need_force(tmp_path):
    write_run(tmp_path / 'a', 0.5, 0.1)
    write_run(tmp_path / 'b', 0.5, 0.1, seed=2)
    sentence = refused(tmp_path)
    assert 'noise_seed: 1 and 2' in sentence and '--force' in sentence
    report = compare([str(tmp_path)], force=True)
    assert any('draws of the noise' in text for text in report.warnings)


@pytest.mark.parametrize(
    'options', [dict(noise_seed=1), dict(dataset='clothing1m')]
)
def test_other_seeds_with_the_same_labels(tmp_path, options):
    write_run(tmp_path / 'a', 0.5, 0.1, **options)
    write_run(tmp_path / 'b', 0.5, 0.1, seed=2, **options)
    labels = [row.label for row in compare([str(tmp_path)]).rows]
    assert sorted(labels) == ['seed=1', 'seed=2']


def test_other_probes_need_force(tmp_path):
    write_run(tmp_path / 'a', 0.5, 0.1)
    write_run(tmp_path / 'b', 0.5, 0.1, probe=PROBE | dict(rate=0.01))
    sentence = refused(tmp_path)
    assert 'rate: 0.05 and 0.01' in sentence and '--force' in sentence
    report = compare([str(tmp_path)], force=True)
    assert any('different probes' in text for text in report.warnings)


# The report.


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
    shown = command.text(report)
    assert '1 trainable, resistant           1  80.00, -' in shown
    assert 'run 1, ' in shown and 'after epoch 2 (step 20)' in shown
    assert 'fewer than 8 runs' in shown


def test_the_sample_deviation_of_a_region(tmp_path):
    for number, test in enumerate([0.6, 0.7, 0.95]):
        write_run(tmp_path / f'{number}', 0.5, 0.1, test)
    found = compare([str(tmp_path)]).regions[1]
    assert found['runs'] == 3 and found['ddof'] == 1
    assert found['test_accuracy_sd'] == pytest.approx(
        np.std([0.6, 0.7, 0.95], ddof=1)
    )


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
    shown = command.text(report)
    assert 'regret' not in shown and 'Pearson' not in shown
    write_run(tmp_path / 'c', 0.7, 0.3, 0.5)
    report = compare([str(tmp_path)])
    assert report.rankings['lowhalf']['outcome'] is None
    assert any('no ranking is judged' in text for text in report.warnings)


def warnings(tmp_path, points, **options):
    for number, (accuracy, susceptibility) in enumerate(points):
        write_run(tmp_path / f'{number:02}', accuracy, susceptibility)
    return ' '.join(compare([str(tmp_path)], **options).warnings)


def test_warned_of_empty_regions(tmp_path):
    found = warnings(tmp_path, zip(*FIVE, strict=True))
    assert 'in region 1, 4; lowhalf stands in' in found


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
    assert 'not positive' in found and 'too long' in found


# Files and the command.


def test_the_files(tmp_path):
    report = compare([str(many(tmp_path / 'runs'))])
    paths = command.write(report, str(tmp_path / 'out'))
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
    with Image.open(command.write(report, str(tmp_path))[2]) as image:
        image.verify()


def test_a_folder_that_cannot_be_written(tmp_path):
    report = compare([str(write_run(tmp_path / 'run', 0.5, 0.1))])
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='cannot be written'):
        command.write(report, str(tmp_path / 'file'))


def test_the_command(tmp_path, capsys, monkeypatch):
    many(tmp_path / 'runs')
    monkeypatch.chdir(tmp_path)
    assert command.main(['runs', '--boundary=median', '--top=3']) == 0
    shown = capsys.readouterr().out
    assert 'The medians' in shown and 'Recommended' in shown
    assert '(3 runs)' in shown and 'Spearman' in shown
    assert (tmp_path / 'comparison' / 'compare.png').exists()
    assert command.main(['runs', '--out=']) == 0
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
    assert command.main(arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith('ieg: ') and word in line
    assert not captured.out


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(['--help'])
    assert caught.value.code == 0
    assert '--boundary' in capsys.readouterr().out


def test_the_command_imports_no_tensorflow(tmp_path):
    write_run(tmp_path / 'run', 0.5, 0.1, 0.9, 0.1)
    code = (
        'import sys\n'
        'from ieg.compare import main\n'
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
