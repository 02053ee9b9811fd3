"""The command: what it prints, where it stops, and how it says why."""

import json
import os
import shutil

import command
import pytest
from command import assert_mistake, ieg
from paths import PLUGINS

from ieg import __main__, experiment
from ieg.config import resolve
from ieg.predict import model
from ieg.training import runlog

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--network_name=cnn',
    '--max_epoch=1',
    '--train_examples=64',
    '--batch_size=32',
)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a run of ELR, made by a command with a plugin."""
    path = tmp_path_factory.mktemp('runs')
    process = command.start(
        *SMALL,
        '--plugin=elr',
        '--method=elr',
        '--elr_lambda=2',
        f'--checkpoint_path={path}',
        cwd=PLUGINS,
    )
    code, out, err = command.finish(process)
    assert code == 0, err
    return path, out, err


def run_folder(path):
    return path / 'fake_uniform_0.4' / 'elr_cnn_s1'


ELR = (*SMALL, '--method=elr', '--elr_lambda=2', '--plugin=elr')


def test_training_prints_the_options_the_course_and_a_table(trained):
    path, out, err = trained
    assert 'elr_lambda=2.0' in out
    assert 'learning_rate=' in out
    for words in ('test accuracy, last', 'noise rate', str(run_folder(path))):
        assert words in out
    # Nothing but the progress: no notes of TensorFlow, no warnings.
    (line,) = err.splitlines()
    assert line.startswith('epoch 1/1: ')
    summary = json.loads((run_folder(path) / 'summary.json').read_text())
    assert f'{summary["test_accuracy_last"]:.2%}' in out


def test_the_same_command_shows_the_table_again(trained, tmp_path):
    path, out, _ = trained
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    log = (run_folder(path) / 'log.jsonl').read_text()
    code, again, err = ieg(*ELR, f'--checkpoint_path={tmp_path}')
    assert (code, err) == (0, '')
    title = 'test accuracy, last '
    line = next(x for x in out.splitlines() if x.startswith(title))
    assert line in again.splitlines()
    assert 'complete' in again and 'complete' not in out
    assert (run_folder(tmp_path) / 'log.jsonl').read_text() == log


def test_more_epochs_go_on_from_there(trained, tmp_path):
    path, _, _ = trained
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    code, _, err = ieg(*ELR, '--max_epoch=2', f'--checkpoint_path={tmp_path}')
    assert code == 0
    assert [line.split(':')[0] for line in err.splitlines()] == ['epoch 2/2']
    entries = command.log(run_folder(tmp_path))
    assert entries[:1] == command.log(run_folder(path))
    assert len(entries) == 2


def test_evaluation_prints_the_figures_and_appends_them(trained):
    path, _, _ = trained
    code, out, err = ieg(*ELR, '--mode=evaluation', f'--checkpoint_path={path}')
    assert (code, err) == (0, '')
    accuracy = command.log(run_folder(path))[-1]['test_accuracy']
    assert f'{accuracy:.4f}' in out
    lines = (run_folder(path) / 'evaluation.jsonl').read_text().splitlines()
    assert json.loads(lines[-1])['test_accuracy'] == accuracy


def test_a_saved_configuration_repeats_the_run(trained):
    path, out, _ = trained
    config = run_folder(path) / 'config.json'
    code, again, _ = ieg(f'--config={config}', '--plugin=elr')
    assert code == 0
    lines = again.splitlines(keepends=True)
    assert ''.join(x for x in lines if 'was complete' not in x) == out


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--dataset=cifar11_uniform_0.4'], ['cifar11', "'cifar10"]),
        (['--dataset=cifar10_uniform_1.4'], ['1.4', '[0, 1]']),
        (['--dataset=cifar10_foo_0.2'], ["'foo'", 'Known:']),
        (['--dataset=digits_unifrom_0.2'], ["mean 'uniform'"]),
        (['--dataset=digits_uniform'], ['needs a rate', 'digits_uniform_0.4']),
        (['--method=dividmix'], ["mean 'dividemix'", 'Known:']),
        (['--network_name=resnet28'], ["mean 'resnet29'", 'Known:']),
        (['--lambda_u=25'], ['--lambda_u', '--method=ieg']),
        (['--learning_rat=1'], ['--learning_rat.', "'--learning_rate'"]),
        (['--learning_rate=fast'], ['learning_rate', 'fast']),
        (['--batch_size=0'], ['--batch_size', 'at least 1', 'got 0']),
        (['--batch_size=500'], ['--batch_size=500', '60']),
        (['--aug_type=autoagu'], ["'autoaug'", 'randaug']),
        (['--probe_batch_size=6'], ['--probe_batch_size', '4 classes', '6']),
        (
            ['--method=fsr', '--queue_bs=6'],
            ['--queue_bs', '4 classes', 'got 6'],
        ),
        (['--dataset'], ['dataset']),
        (['digits'], ["'digits'", '--name=value']),
        (['--plugin=no_such_plugin'], ['--plugin=no_such_plugin']),
        (['--plugin=./elr.py'], ['--plugin=./elr.py']),
        (['--config=nowhere.json'], ['nowhere.json']),
        (['--num_replicas=7'], ['--num_replicas=7']),
        (['--distribution_strategy=multi_worker'], ['TF_CONFIG']),
        (['--max_iteration=7'], ['--max_epoch', '--max_iteration']),
        (['--mode=evaluation'], ['no checkpoint', '--mode=train']),
        (['--restore_step=77'], ['--restore_step=77']),
        (['--train_examples=3000'], ['3000', '256']),
        (
            ['--probe_dataset_hold_ratio=0.001'],
            ['--probe_dataset_hold_ratio=0.001', '0 per class', 'or more'],
        ),
        (['--crop_padding=8'], ['--crop_padding=8', '0 to 7']),
        (['--crop_padding=-2'], ['--crop_padding', 'at least -1', 'got -2']),
        (['--scaling=symetric'], ['--scaling', "'symetric'", "'symmetric'"]),
        (['--network_name=lenet'], ['lenet', '8x8', 'cnn']),
    ],
    ids=lambda value: value[0] if value[0].startswith('-') else '',
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    result = ieg(*SMALL, f'--checkpoint_path={tmp_path}', *arguments)
    assert_mistake(result, *words)


def test_the_views_are_as_the_options_say(tmp_path, restored):
    given = {
        'dataset': 'fake',
        'crop_padding': 3,
        'scaling': 'symmetric',
        'checkpoint_path': str(tmp_path),
    }
    seen = experiment.build(resolve(given)).data.preprocessing
    assert seen.padding == 3
    assert seen.mean == seen.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    'options',
    [
        ['--method=ieg'],
        ['--method=l2r'],
        ['--method=supervised', '--probe_use=only'],
    ],
)
def test_a_method_that_needs_a_probe_says_so(tmp_path, options):
    result = ieg(
        *SMALL,
        *options,
        '--probe_dataset_hold_ratio=0',
        f'--checkpoint_path={tmp_path}',
    )
    assert_mistake(
        result,
        'clean probe images',
        '--probe_dataset_hold_ratio',
    )


def test_a_checkpoint_of_other_options_is_a_mistake(trained):
    path, _, _ = trained
    for mode in ('train', 'evaluation'):
        result = ieg(
            *ELR,
            '--elr_lambda=3',
            f'--mode={mode}',
            f'--checkpoint_path={path}',
        )
        assert_mistake(result, 'elr_lambda was 2.0', 'now 3.0', '--run_name')


def test_a_shorter_run_than_there_is_is_a_mistake(trained, tmp_path):
    path, _, _ = trained
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    more = (*ELR, f'--checkpoint_path={tmp_path}')
    assert ieg(*more, '--max_epoch=2')[0] == 0
    assert_mistake(ieg(*more), '4 steps', 'ask for 2', '--run_name')


def flip(content):
    middle = len(content) // 2
    return content[:middle] + b'damage' + content[middle + 6 :]


@pytest.mark.parametrize('damage', [lambda content: content[:100], flip])
@pytest.mark.parametrize('mode', ['train', 'evaluation'])
def test_checkpoints_that_are_all_damaged_are_a_mistake(
    damage, mode, trained, tmp_path
):
    path, _, _ = trained
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    folder = run_folder(tmp_path)
    (file,) = (folder / 'checkpoints').iterdir()
    file.write_bytes(damage(file.read_bytes()))
    log = (folder / 'log.jsonl').read_bytes()
    result = ieg(*ELR, f'--mode={mode}', f'--checkpoint_path={tmp_path}')
    assert_mistake(result, str(file))
    assert (folder / 'log.jsonl').read_bytes() == log


def test_a_folder_that_cannot_be_written_is_a_mistake(tmp_path):
    file = tmp_path / 'file'
    file.write_text('')
    result = ieg(*SMALL, f'--checkpoint_path={file}/runs')
    assert_mistake(result, 'cannot be written', '--checkpoint_path')
    assert os.listdir(tmp_path) == ['file']


def test_a_model_that_cannot_be_written_is_a_failure(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(model, 'save_model', fail)
    code, out, err = ieg(
        *SMALL, '--method=supervised', f'--checkpoint_path={tmp_path}'
    )
    (folder,) = tmp_path.glob('*/*')
    assert code == 1 and str(folder / 'model.keras') in err.splitlines()[-1]
    assert 'test accuracy' in out and (folder / 'report.html').exists()


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def fail(path, text):
        raise OSError(28, 'No space left on device', path)

    monkeypatch.setattr(runlog, 'append', fail)
    code, _, err = ieg(
        *SMALL, '--method=supervised', f'--checkpoint_path={tmp_path}'
    )
    last = err.splitlines()[-1]
    assert code == 1 and 'log.jsonl' in last and 'disk is full' in last


def test_an_interrupt_while_the_command_is_imported(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr('ieg.main.main', interrupt)
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err == 'ieg: Interrupted.\n'


def test_a_mistake_in_a_process_of_its_own():
    result = command.finish(command.start('--dataset=digitz'))
    assert_mistake(result, "'digitz'", "'digits'")


@pytest.mark.parametrize('flag', ['--help', '-h', '--helpshort'])
def test_help_names_what_there_is(flag):
    code, out, err = ieg(flag)
    assert (code, err) == (0, '')
    for word in ('dividemix', 'cnn', 'digits', 'uniform', '--learning_rate='):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80
