"""Which runs are compared: those that are found, and those that are refused."""

import pytest
from tracked_runs import PROBE, read_log, refused, write_log, write_run

from ieg.compare import __main__ as compare_main
from ieg.compare import runs as compared_runs
from ieg.compare.comparison import compare


def test_runs_are_found_at_any_depth_and_once(tmp_path):
    one = write_run(tmp_path / 'a' / 'b' / 'one', 0.5, 0.1)
    two = write_run(tmp_path / 'c' / 'two', 0.6, 0.2, learning_rate=0.2)
    # A trial of a search is no run of its own, unless it is named.
    trial = write_run(one / 'search' / 'trial_0', 0.6, 0.2)
    (tmp_path / 'c' / 'notes.txt').write_text('x')
    both = [str(one), str(two)]
    assert compared_runs.find([str(tmp_path)]) == both
    assert compared_runs.find([str(tmp_path / '*')]) == both
    assert compared_runs.find([str(tmp_path / '**' / 'one'), *both]) == both
    assert compared_runs.find([str(trial)]) == [str(trial)]


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
    assert sentence in compare_main.text(report)
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


@pytest.mark.parametrize(
    'name, content, words',
    [
        ('config.json', '{"method": ', ['line 1']),
        ('config.json', '{\n"method":\n', ['line 3']),
        ('config.json', '[]', ['damaged']),
        ('config.json', '{"dataset": "digits"}', ['no method']),
        ('summary.json', 'x', ['line 1']),
        ('memorization.json', '{}', ['--track_memorization']),
        (
            'memorization.json',
            '{"probe": {}, "recommended_epoch": "1"}',
            ['--track_memorization'],
        ),
        ('log.jsonl', '{"epoch": 0}\n{"epo\n', ['line 2']),
        ('log.jsonl', '{"epoch": 0, "fit_accuracy": "x"}\n', ['line 1']),
        ('log.jsonl', '{"step": 0}\n', ['line 1']),
        ('log.jsonl', '3\n', ['line 1']),
        ('log.jsonl', b'\xff\xfe', []),
        ('config.json', b'\xff\xfe', []),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, words):
    folder = write_run(tmp_path / 'run', 0.5, 0.1)
    as_bytes = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(as_bytes)
    sentence = refused(tmp_path)
    for word in [str(folder / name), *words]:
        assert word in sentence


@pytest.mark.parametrize('name', ['config.json', 'summary.json', 'log.jsonl'])
def test_a_folder_in_place_of_a_file_is_named(tmp_path, name):
    folder = write_run(tmp_path / 'run', 0.5, 0.1)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert str(folder / name) in refused(folder)


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
    for entry in entries:
        del entry['fit_accuracy']
    write_log(folder, entries)
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


@pytest.mark.parametrize(
    'options, differs, warning',
    [
        (dict(seed=2), 'noise_seed: 1 and 2', 'noise draws'),
        (
            dict(probe=PROBE | dict(rate=0.01)),
            'rate: 0.05 and 0.01',
            'different probes',
        ),
    ],
    ids=['noise draws', 'probes'],
)
def test_what_differs_otherwise_needs_force(
    tmp_path, options, differs, warning
):
    write_run(tmp_path / 'a', 0.5, 0.1)
    write_run(tmp_path / 'b', 0.5, 0.1, **options)
    sentence = refused(tmp_path)
    assert differs in sentence and '--force' in sentence
    report = compare([str(tmp_path)], force=True)
    assert any(warning in text for text in report.warnings)


@pytest.mark.parametrize(
    'options', [dict(noise_seed=1), dict(dataset='clothing1m')]
)
def test_other_seeds_with_the_same_labels(tmp_path, options):
    write_run(tmp_path / 'a', 0.5, 0.1, **options)
    write_run(tmp_path / 'b', 0.5, 0.1, seed=2, **options)
    labels = [row.label for row in compare([str(tmp_path)]).rows]
    assert sorted(labels) == ['seed=1', 'seed=2']
