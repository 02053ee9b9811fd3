"""Runs that are resumed from their folders, and folders of other runs."""

import csv
import json
import os
import shutil

import pytest
from command import assert_mistake, ieg, log
from tiny_sets import make_folder

from ieg.report import __main__ as report_main

pytestmark = pytest.mark.usefixtures('tiny')
SMALL = (
    *('--method=supervised', '--network_name=tiny', '--precision=float32'),
    *('--lr_schedule=constant', '--batch_size=16', '--image_size=16'),
)


def contents(folder):
    """Returns the contents of all files in a folder by their paths."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.fixture(scope='module')
def trained(tmp_path_factory, tiny):
    """A folder with `photos`, and `runs/.../first` that learned from them."""
    root = tmp_path_factory.mktemp('place')
    make_folder(root / 'photos')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        # The run folders lie among the data, and are none.
        code, out, err = ieg(
            *SMALL, '--data_dir=photos', '--max_epoch=1', '--run_name=first',
            '--checkpoint_path=photos/train/runs', '--valid_ratio=0.2',
        )  # fmt: skip
    assert code == 0, err
    assert '--dataset=folder' in out
    return root


RUN = 'photos/train/runs/folder-photos/first'


@pytest.fixture
def moved(trained, tmp_path, monkeypatch):
    """A copy elsewhere, with run folder and data apart."""
    shutil.copytree(trained / 'photos', tmp_path / 'pictures')
    run = tmp_path / 'pictures' / 'train' / 'runs' / 'folder-photos' / 'first'
    run.rename(tmp_path / 'renamed')
    shutil.rmtree(tmp_path / 'pictures' / 'train' / 'runs')
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path / 'renamed', tmp_path / 'pictures'


def test_a_run_says_at_its_start_what_it_is(trained):
    options = json.loads((trained / RUN / 'config.json').read_text())
    assert options['data_dir'] == str(trained / 'photos')
    assert options['checkpoint_path'] == f'{trained}/photos/train/runs'
    assert 'run' not in options and options['run_name'] == 'first'
    identity = json.loads((trained / RUN / 'identity.json').read_text())
    assert identity['learning_rate'] == options['learning_rate']
    assert not (trained / RUN / 'lock').exists()


def test_a_moved_run_goes_on_with_moved_data(moved):
    run, data = moved
    before = log(run)
    code, _, err = ieg(
        'train', f'--run={run}', f'--data_dir={data}', '--max_epoch=2'
    )
    assert code == 0, err
    after = log(run)
    assert after[:1] == before and len(after) == 2
    assert not os.listdir('.')
    options = json.loads((run / 'config.json').read_text())
    assert options['data_dir'] == str(data) and options['max_epoch'] == 2
    assert options['run_name'] == 'first'
    # From now on that is where the data are.
    code, out, err = ieg('evaluate', f'--run={run}')
    assert (code, err) == (0, '')
    assert f'{after[-1]["test_accuracy"]:.4f}' in out
    code, out, err = ieg(f'--run={run}')
    assert (code, err) == (0, '') and 'complete' in out
    assert log(run) == after


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (['--learning_rate=0.1', '--seed=4'], ['learning_rate was', 'seed']),
        (['--lr_schedule=linear'], ['lr_schedule', "'constant'", "'linear'"]),
    ],
)
def test_other_options_are_refused_and_nothing_is_written(moved, change, words):
    run, data = moved
    before = contents(run)
    result = ieg('train', f'--run={run}', f'--data_dir={data}', *change)
    assert_mistake(result, *words, '--run_name')
    assert contents(run) == before


def test_a_folder_that_was_not_trained_takes_other_options(moved):
    run, data = moved
    shutil.rmtree(run / 'checkpoints')
    before = contents(run)
    options = ('train', f'--run={run}', f'--data_dir={data}', '--seed=4')
    # The results of a finished run are not replaced by those of another.
    assert_mistake(ieg(*options), 'seed was 1')
    assert contents(run) == before
    (run / 'summary.json').unlink()
    # What is refused now comes after the options were accepted.
    assert_mistake(ieg(*options, '--restore_step=7'), '--restore_step=7')


def test_changed_data_is_said_to_be_changed(moved):
    run, data = moved
    (extra,) = (data / 'train' / 'cat').glob('*1.jpg')
    shutil.copyfile(extra, extra.with_name('more.jpg'))
    before = contents(run)
    result = ieg(f'--run={run}', f'--data_dir={data}')
    words = f'images and labels in {data} have changed since the run in {run} '
    assert_mistake(result, words)
    assert 'sha256' not in result[2]
    # As the checkpoints of earlier versions, which had no identity.json.
    (run / 'identity.json').unlink()
    assert_mistake(ieg(f'--run={run}', f'--data_dir={data}'), words)
    before.pop('identity.json')
    assert contents(run) == before


def test_a_checkpoint_of_another_layout_is_of_another_version(moved):
    run, data = moved
    identity = json.loads((run / 'identity.json').read_text())
    identity['layout'] = 1
    (run / 'identity.json').write_text(json.dumps(identity))
    result = ieg(f'--run={run}', f'--data_dir={data}')
    assert_mistake(result, 'another version of ieg')


def test_a_report_with_pictures_is_not_replaced_by_one_without(
    moved, capsys, monkeypatch
):
    run, data = moved
    page = (run / 'report.html').read_bytes()
    assert b'data:image/' in page
    data.rename(data.with_name('gone'))
    options = json.loads((run / 'config.json').read_text())
    options['data_dir'] = str(data)
    (run / 'config.json').write_text(json.dumps(options))
    assert report_main.main([str(run)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(run / 'report.html') in line and str(data) in line
    assert (run / 'report.html').read_bytes() == page
    (run / 'report.html').unlink()
    assert report_main.main([str(run)]) == 0
    assert b'data:image/' not in (run / 'report.html').read_bytes()
    data.with_name('gone').rename(data)
    assert report_main.main([str(run)]) == 0
    assert b'data:image/' in (run / 'report.html').read_bytes()


def test_corrections_are_applied_from_anywhere(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = trained / RUN
    # Like the pictures of some methods: they are no data either.
    shutil.copyfile(next((trained / 'photos').rglob('*.jpg')), run / 'x.jpg')
    with open(run / 'label_issues.csv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    assert all(os.path.isfile(row['path']) for row in rows)
    row = next(row for row in rows if row['split'] == 'train')
    others = {'cat', 'dog'} - {row['given_label']}
    with open('fixed.csv', 'w', encoding='utf-8', newline='') as file:
        table = csv.DictWriter(file, [*row])
        table.writeheader()
        table.writerow(row | {'corrected_label': others.pop()})
    arguments = [str(run), '--apply=fixed.csv', '--output=fixed']
    assert report_main.main(arguments) == 0
    assert len(list((tmp_path / 'fixed' / 'train').rglob('*.jpg'))) == 32
    assert not list((tmp_path / 'fixed').rglob('config.json'))


def test_a_failed_start_leaves_no_folder(trained, tmp_path):
    path = tmp_path / 'new' / 'runs'
    for mistake in ('--batch_size=5000', '--train_examples=5000'):
        result = ieg(
            *SMALL[:-1], '--dataset=fake', f'--checkpoint_path={path}', mistake
        )
        assert_mistake(result, '5000')
        assert not os.listdir(tmp_path)
    search = ('--search=learning_rate:0.01..0.1', '--valid_ratio=0.2')
    result = ieg(
        *SMALL[:-1], '--dataset=fake', f'--checkpoint_path={path}', *search,
        '--train_examples=5000',
    )  # fmt: skip
    assert_mistake(result, '5000')
    assert not os.listdir(tmp_path)


def test_figures_are_printed_where_they_cannot_be_written(moved):
    run, data = moved
    (run / 'evaluation.jsonl').mkdir()
    before = contents(run)
    code, out, err = ieg('evaluate', f'--run={run}', f'--data_dir={data}')
    assert (code, err) == (0, '')
    lines = out.splitlines()
    assert any(line.startswith('test_accuracy ') for line in lines)
    assert any('evaluation.jsonl' in line for line in lines)
    assert contents(run) == before


def test_a_place_that_is_no_run_is_a_mistake(tmp_path):
    for place in (tmp_path, tmp_path / 'none'):
        assert_mistake(ieg('train', f'--run={place}'), str(place))
    assert not os.listdir(tmp_path)
