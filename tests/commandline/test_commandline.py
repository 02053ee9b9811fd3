"""Subcommands, help, and mistakes that are answered without TensorFlow."""

import json
import subprocess
import sys

import pytest
from absl import flags
from command import ROOT, assert_mistake, ieg

from ieg import experiment
from ieg.commandline import arguments, catalog, usage
from ieg.config import resolve
from ieg.errors import UsageError, nearest
from ieg.options import ALIASES
from ieg.registry import METHODS, NETWORKS
from ieg.search import driver  # noqa: F401  # Registers the searchers.

SMALL = (
    '--dataset=fake_uniform_0.4',
    '--method=supervised',
    '--network_name=cnn',
    '--max_epoch=1',
    '--train_examples=64',
    '--batch_size=32',
    '--precision=float32',
)
# Arguments, exit code, what the answer contains.
ANSWERS = [
    (['--help'], 0, ['evaluate', '--dataset=', 'dividemix', 'preact_resnet18']),
    (['--helpfull'], 0, ['--lambda_u=', '--eval_freq=', '--parallel_trials=']),
    (['train', '--help'], 0, ['ieg train', '--lambda_u=', '--eval_every=']),
    (['evaluate', '--help'], 0, ['ieg evaluate', '--restore_step=']),
    (['compare', '--help'], 0, ['usage: ieg compare', '--boundary']),
    (['predict', '--help'], 0, ['usage: ieg predict', '--batch_size']),
    (['report', '--help'], 0, ['usage: ieg report', '--apply']),
    (['audit', '--help'], 0, ['ieg audit PATH', '--output=', '--time_budget=']),
    (['doctor', '--help'], 0, ['usage: ieg doctor', '--data_dir']),
    (['trian'], 2, ["'trian'", "'train'"]),
    (['evalute', '--dataset=digits'], 2, ["'evalute'", "'evaluate'"]),
    (['digits'], 2, ["'digits'", '--name=value']),
    (['train', 'digits'], 2, ["'digits'", '--name=value']),
    (['--metod=ieg'], 2, ['--metod', "'--method'"]),
    (['--datset=digits'], 2, ['--datset', "'--dataset'"]),
    (['train', '--batchsize=8'], 2, ['--batchsize', "'--batch_size'"]),
    (['--learningrate=1'], 2, ['--learningrate', "'--learning_rate'"]),
    (['--netwrok_name=cnn'], 2, ['--netwrok_name', "'--network_name'"]),
    (['--nodetermnistic'], 2, ["'--nodeterministic'"]),
    (['--method=dividemx'], 2, ["'dividemx'", "'dividemix'"]),
    (['--network_name=resnt29'], 2, ["'resnt29'", "'resnet29'"]),
    (['--dataset=cifar01'], 2, ["'cifar01'", "'cifar10'"]),
    (['--dataset=cifar10_unifrom_0.2'], 2, ["'unifrom'", "'uniform'"]),
    (['--dataset=cifar10_uniform_2'], 2, ['2', '[0, 1]']),
    (['--searcher=betane', '--search=beta:0..1'], 2, ["'betanes'"]),
    (['--dataset=my/photos'], 2, ['--dataset=folder', '--data_dir=my/photos']),
    (['--dataset=a/b.csv'], 2, ['--dataset=csv', '--data_dir=a/b.csv']),
    (['--dataset=folder', '--data_dir=nowhere'], 2, ['nowhere']),
    (['--dataset=npz', '--data_dir=nowhere'], 2, ['nowhere']),
    (['--dataset=csv'], 2, ['--data_dir']),
    (['--data_dir=nowhere'], 2, ['nowhere']),
    (['--data_dir=/etc/hosts'], 2, ['/etc/hosts']),
    (['--checkpoint_path=gs://b/runs'], 2, ['--checkpoint_path=gs://b/runs']),
    (['--run=nowhere'], 2, ['--run=nowhere', 'config.json']),
    (['--run_name=a/b'], 2, ['--run_name', 'a/b']),
    (['--max_epoch=1\n2'], 2, ['--max_epoch', r'1\n2']),
    (['--run=x', '--run_name=y'], 2, ['--run', '--run_name']),
    (['report', 's3://b/run'], 2, ['run: s3://b/run']),
    (['report', 'x', '--apply=s3://b/x'], 2, ['--apply: s3://b/x']),
    (['compare', 'runs', '--out=file:///tmp/x'], 2, ['--out: file:///tmp/x']),
    (['predict', 'gs://b/model.keras', 'x.jpg'], 2, ['gs://b/model.keras']),
    (['--batch_size=0'], 2, ['--batch_size', 'at least 1', '0']),
    (['--batch_size=1.5'], 2, ['--batch_size', 'integer', '1.5']),
    (['--learning_rate=fast'], 2, ['--learning_rate', 'number', 'fast']),
    (['--deterministic=maybe'], 2, ['--deterministic', 'maybe']),
    (['--jit=of'], 2, ['--jit', 'auto, on, off', "'off'"]),
    (['--lambda_u=25'], 2, ['--lambda_u', 'dividemix']),
    (['--method=dividemix', '--p_threshold=2'], 2, ['--p_threshold', '1']),
    (['--max_epoch=1', '--max_iteration=2'], 2, ['--max_iteration']),
    (['evaluate', '--mode=train'], 2, ['--mode=train', 'evaluate']),
    (['--config=nowhere.json'], 2, ['nowhere.json']),
    (['--dataset'], 2, ['--dataset']),
    (['audit'], 2, ['PATH', '.npz']),
    (['audit', 'x', 'y'], 2, ['PATH', '2']),
    (['audit', 'no/photos'], 2, ['no/photos']),
    (['audit', 's3://b/photos'], 2, ['s3://b/photos']),
    (['audit', 'cifar10'], 2, ['ieg train --dataset=cifar10']),
    (['audit', 'tfds:beans'], 2, ['ieg train --dataset=tfds:beans']),
    (['audit', 'x', '--dataset=folder'], 2, ['--dataset', 'PATH']),
    (['audit', 'x', '--data_dir=x'], 2, ['--data_dir', 'PATH']),
    (['audit', 'x', '--run=x'], 2, ['--run', 'PATH']),
    (['audit', 'x', '--config=x'], 2, ['--config', 'ieg train']),
    (['audit', 'x', '--mode=train'], 2, ['--mode', 'ieg evaluate']),
    (['audit', 'x', '--time_budget=soon'], 2, ['--time_budget', 'soon']),
    (['audit', 'x', '--time_budget=-1'], 2, ['--time_budget', '-1']),
    (['audit', 'x', '--outptu=y'], 2, ["'--output'"]),
    (['audit', '.', '--lambda_u=25'], 2, ['--lambda_u', 'dividemix']),
    (['audit', '/etc/hosts'], 2, ['/etc/hosts']),
]
SCRIPT = """
import contextlib, io, json, sys
from ieg import main

answers = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ['ieg', *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main()
            code = None
        except SystemExit as error:
            code = error.code or 0
    main.arguments.flags.FLAGS.unparse_flags()
    for name in main.arguments.flags.FLAGS:
        main.arguments.flags.FLAGS[name].unparse()
    heavy = [m for m in ('tensorflow', 'keras') if m in sys.modules]
    answers.append([code, out.getvalue(), err.getvalue(), heavy])
print(json.dumps(answers))
"""


@pytest.fixture(scope='module')
def answers():
    """What the command answers, in a process without TensorFlow."""
    process = subprocess.run(
        [sys.executable, '-c', SCRIPT, json.dumps([a for a, *_ in ANSWERS])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return json.loads(process.stdout)


@pytest.mark.parametrize(
    'number', range(len(ANSWERS)), ids=[' '.join(a) for a, *_ in ANSWERS]
)
def test_help_and_mistakes_need_no_tensorflow(answers, number):
    arguments, expected_code, words = ANSWERS[number]
    code, out, err, heavy = answers[number]
    assert code == expected_code, err
    assert heavy == []
    if code:
        assert_mistake((code, out, err), *words)
    else:
        assert not err
        for word in words:
            assert word in out


@pytest.mark.parametrize(
    ('typed', 'meant'),
    [
        ('metod', 'method'),
        ('datset', 'dataset'),
        ('batchsize', 'batch_size'),
        ('learningrate', 'learning_rate'),
        ('netwrok_name', 'network_name'),
        ('learning-rate', 'learning_rate'),
        ('max_epochs', 'max_epoch'),
        ('epoch_max', 'max_epoch'),
        ('Seed', 'seed'),
        ('hold_ratio', 'probe_dataset_hold_ratio'),
    ],
)
def test_the_suggestion_is_what_was_meant(typed, meant):
    options = catalog.shipped().options()
    assert nearest(typed, options) == f" Did you mean '{meant}'?"


def test_nothing_is_suggested_for_something_else():
    assert nearest('qqqq', catalog.shipped().options()) == ''
    assert nearest('x', []) == ''


def test_the_shipped_catalog_is_that_of_the_package():
    """Run `make options` if this fails."""
    shipped, current = catalog.shipped(), catalog.current()
    assert dict(shipped.shared) == dict(current.shared)
    for table in catalog.REGISTRIES:
        # Other tests register names, too.
        names = [
            name
            for name, entry in sorted(table._entries.items())
            if getattr(entry, 'func', entry).__module__.startswith('ieg.')
        ]
        assert shipped.names[table.kind] == names and names
    for method in shipped.names['method']:
        assert shipped.methods[method] == current.methods[method]
    assert sorted(shipped.methods) == shipped.names['method']


def test_the_file_is_as_it_is_written():
    content = (ROOT / 'ieg' / 'commandline' / 'options.json').read_text(
        encoding='utf-8'
    )
    assert catalog.dumps(catalog.shipped()) == content


def test_the_full_help_has_all_options_and_the_short_one_a_line_for_each():
    known = catalog.shipped()
    full, short = usage.full(known), usage.overview(known)
    for name in [*known.options(), *arguments.SOURCES]:
        assert f'--{name}=' in full
    lines = short.splitlines()
    for name in usage.COMMON:
        (line,) = [x for x in lines if x.startswith(f'  --{name}=')]
        assert len(line.split()) > 2
    texts = (full, short, usage.training(known), usage.evaluation(known))
    for text in texts:
        assert max(map(len, text.splitlines())) < 80
        for name in ALIASES:
            assert name not in text


def test_a_plugin_has_its_options_in_the_help():
    code, out, err = ieg('--plugin=elr', '--helpfull')
    assert (code, err) == (0, '')
    assert '--elr_lambda=' in out
    assert_mistake(ieg('--plugin=elr', '--method=elrr'), "'elrr'", "'elr'")
    assert_mistake(
        ieg('--plugin=elr', '--method=elr', '--elr_lamda=1'), "'--elr_lambda'"
    )


def test_train_and_evaluate_are_the_modes(tmp_path):
    options = (*SMALL, f'--checkpoint_path={tmp_path}')
    code, out, err = ieg('train', *options)
    assert code == 0, err
    (config,) = tmp_path.glob('*/*/config.json')
    assert json.loads(config.read_text())['mode'] == 'train'
    code, out, err = ieg('evaluate', *options)
    assert (code, err) == (0, '')
    code, again, err = ieg('--mode=evaluation', *options)
    assert (code, again) == (0, out)
    accuracy = json.loads(
        (config.parent / 'evaluation.jsonl').read_text().splitlines()[-1]
    )['test_accuracy']
    assert f'{accuracy:.4f}' in out
    code, again, _ = ieg('evaluate', f'--config={config}')
    assert (code, again) == (0, out)


def parsed(*arguments_):
    return arguments.parse_flags(['ieg', *arguments_], flags.FlagValues())


def test_flags_can_be_written_as_before(tmp_path):
    file = tmp_path / 'flags'
    file.write_text('--seed=4\n# A remark.\n--nouse_ema\n')
    values = flags.FlagValues()
    flags.DEFINE_string('flagfile', '', '', flag_values=values)
    given = arguments.parse_flags(
        [
            'ieg',
            f'--flagfile={file}',
            '--dataset',
            'fake',
            '-method=l2r',
            '--nodeterministic',
            '--pretrained=false',
            '--track_memorization',
            '--batch_size=0x10',
            '--learning_rate=1e-1',
            '--learning_rate=2',
        ],
        values,
    )
    assert given == {
        'seed': 4,
        'use_ema': False,
        'dataset': 'fake',
        'method': 'l2r',
        'deterministic': False,
        'pretrained': False,
        'track_memorization': True,
        'batch_size': 16,
        'learning_rate': 2.0,
    }


OLD = {'probe_step': 'optimizer', 'probe_rate': 0.5}
NEW = {'memorization_step': 'optimizer', 'memorization_rate': 0.5}


def test_old_names_of_options_are_accepted(tmp_path):
    flags_ = [f'--{name}={value}' for name, value in OLD.items()]
    assert parsed(*flags_) == NEW
    file = tmp_path / 'config.json'
    file.write_text(json.dumps(OLD | {'seed': 3}))
    assert parsed(f'--config={file}') == NEW | {'seed': 3}
    given = parsed(f'--config={file}', '--memorization_rate=0.25')
    assert given['memorization_rate'] == 0.25
    more = {'dataset': 'fake', 'track_memorization': True}
    assert resolve(OLD | more) == resolve(NEW | more)
    assert experiment.configure(OLD | more)[0] == resolve(NEW | more)
    with pytest.raises(UsageError, match='probe_rate|memorization_rate'):
        parsed('--probe_rate=fast')


def test_what_identifies_a_checkpoint_has_neither_name():
    more = {'dataset': 'fake', 'track_memorization': True}
    identity = resolve(OLD | more).identity(1)
    assert identity == resolve(more).identity(1)
    assert not (OLD | NEW).keys() & identity.keys()


def test_announced_names_can_be_checked_but_not_had(monkeypatch):
    monkeypatch.setattr(NETWORKS, '_announced', set())
    with pytest.raises(UsageError, match="'later'"):
        NETWORKS.check('later')
    NETWORKS.announce(['later'])
    NETWORKS.check('later')
    assert 'later' in NETWORKS.names()
    with pytest.raises(UsageError, match="'later'"):
        NETWORKS.get('later')
    assert 'dividemix' in METHODS.names()
