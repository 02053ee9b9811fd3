"""Options: who wins, and what is refused."""

import ast
import dataclasses
import functools
import json
import pathlib

import pytest
from absl import flags

import ieg
from ieg import options as options_
from ieg.commandline import arguments, catalog
from ieg.config import check_identity, folder_of, resolve
from ieg.data import own
from ieg.errors import UsageError
from ieg.registry import METHODS, option

DIVIDEMIX = {'method': 'dividemix', 'dataset': 'fake_uniform_0.4'}
GCE = {'method': 'supervised', 'loss': 'gce'}


def parsed(*texts):
    """Returns the configuration of a command line."""
    values = flags.FlagValues()
    arguments.define_flags(values)
    values(['ieg', *texts])
    return resolve(arguments.from_flags(values))


def options_file(tmp_path, **options):
    path = tmp_path / 'options.json'
    path.write_text(json.dumps(options))
    return f'--config={path}'


def test_default_then_preset_then_file_then_flag(tmp_path):
    default = options_.TrainConfig().learning_rate
    assert resolve({'dataset': 'fake'}).train.learning_rate == default
    preset = parsed('--dataset=cifar10_uniform_0.5', '--method=dividemix')
    assert preset.train.learning_rate != default
    assert preset.method.lambda_u == '25'
    file = options_file(
        tmp_path,
        dataset='cifar10_uniform_0.5',
        method='dividemix',
        learning_rate=0.3,
        lambda_u='7',
    )
    read = parsed(file)
    assert read.train.learning_rate == 0.3
    assert read.method.lambda_u == '7'
    assert read.train.batch_size == preset.train.batch_size
    told = parsed(file, '--learning_rate=0.4')
    assert told.train.learning_rate == 0.4
    assert told.method.lambda_u == '7'


@pytest.mark.parametrize('method', METHODS.names())
@pytest.mark.parametrize('dataset', ['fake_uniform_0.4', 'cifar10_uniform_0.9'])
@pytest.mark.parametrize('more', [{}, {'lr_schedule': 'constant'}])
def test_a_saved_configuration_repeats_itself(method, dataset, more):
    first = resolve({'method': method, 'dataset': dataset} | more)
    assert resolve(json.loads(json.dumps(first.flat()))) == first


@pytest.mark.parametrize('method', METHODS.names())
@pytest.mark.parametrize('dataset', ['cifar10', 'mnist', 'webvisionmini'])
@pytest.mark.parametrize('noise', ['', '_symmetric_0.2', '_pairflip_0.45'])
def test_features_of_a_known_set_have_the_recipe_of_vectors(
    method, dataset, noise
):
    """Nothing that suits its images, and all that suits its noise."""
    advice = own.of_vectors('', 40_000, 1280, 10)
    given = {'method': method, 'probe_dataset_hold_ratio': 0.01}
    features, vectors = (
        resolve(given | chosen, advice).flat()
        for chosen in (
            {'dataset': dataset + noise, 'backbone': 'lite0'},
            {'dataset': f'npz{noise}', 'data_dir': 'vectors.npz'},
        )
    )
    differing = {n for n, v in features.items() if v != vectors[n]}
    assert differing == {'dataset', 'data_dir', 'backbone'}
    assert features['network_name'] == 'linear'


def test_methods_know_the_noise_of_features():
    advice = own.of_vectors('', 40_000, 1280, 10)
    given = {'dataset': 'cifar10_asymmetric_0.4', 'backbone': 'lite0'}
    coteaching, dividemix = (
        resolve(given | {'method': method}, advice).method
        for method in ('coteaching', 'dividemix')
    )
    assert float(coteaching.noise_rate) == pytest.approx(0.2)
    assert dividemix.warm_up_penalty == 1.0


def test_a_file_says_neither_mode_nor_which_checkpoint(tmp_path):
    file = options_file(tmp_path, mode='evaluation', restore_step=7)
    assert parsed(file).run == options_.RunConfig()


def test_a_length_by_flag_replaces_the_length_of_a_file(tmp_path):
    file = options_file(tmp_path, dataset='fake', max_epoch=9, max_iteration=0)
    train = parsed(file, '--max_iteration=20').train
    assert (train.max_epoch, train.max_iteration) == (0, 20)


def test_a_schedule_by_flag_replaces_the_schedule_of_a_file(tmp_path):
    file = options_file(
        tmp_path, dataset='fake', lr_schedule='custom_step', decay_epochs='5'
    )
    train = parsed(file, '--lr_schedule=constant').train
    assert (train.lr_schedule, train.decay_epochs) == ('constant', '')


def test_a_length_by_flag_replaces_the_length_of_a_preset():
    preset = resolve({'dataset': 'cifar10', 'method': 'supervised'}).train
    assert preset.max_epoch and not preset.max_iteration
    told = resolve({'dataset': 'cifar10', 'max_iteration': 20}).train
    assert (told.max_epoch, told.max_iteration) == (0, 20)


def test_the_data_set_is_written_in_one_way():
    assert resolve({'dataset': 'fake_uniform_.40'}).data.dataset == (
        'fake_uniform_0.4'
    )


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'learning_rat': 0.1}, "'learning_rat'.*'learning_rate'"),
        ({'lambda_u': '25'}, 'lambda_u is not used by --method=ieg'),
        ({'lambda_u': '25'}, 'only by: dividemix'),
        (
            {'decay_epochs': '5'},
            'decay_epochs is not used by --lr_schedule=constant, only by: '
            'custom_step, exponential, cosine',
        ),
        ({'max_epoch': 3, 'max_iteration': 9}, 'max_epoch or --max_iteration'),
        ({'batch_size': 0}, '--batch_size .*at least 1, got 0'),
        ({'momentum': 1.5}, '--momentum .*at most 0.9999, got 1.5'),
        ({'valid_ratio': -0.1}, '--valid_ratio .*at least 0, got -0.1'),
        ({'learning_rate': float('nan')}, '--learning_rate .*nan'),
        ({'learning_rate': float('inf')}, '--learning_rate .*inf'),
        ({'learning_rate': 1e308}, '--learning_rate .*at most 3.4e'),
        ({'learning_rate': 10**400}, '--learning_rate .*finite'),
        ({'max_epoch': 10**30}, '--max_epoch .*at most 1000000, got 1000'),
        ({'val_batch_size': 10**30}, '--val_batch_size .*at most 2147483647'),
        ({'num_replicas': 10**30}, '--num_replicas .*at most'),
        ({'train_examples': 10**30}, '--train_examples .*at most'),
        ({'crop_padding': -2}, '--crop_padding .*at least -1, got -2'),
        (
            {'scaling': 'symetric'},
            "of standard, symmetric.*'symetric'.*'symmetric'",
        ),
        ({'jit': 'of'}, "--jit .*auto, on, off.*'of'.*'off'"),
        ({'batch_size': 1.5}, '--batch_size .*integer.*1.5'),
        ({'batch_size': True}, '--batch_size .*integer.*True'),
        ({'method': 'dividmix'}, "method 'dividmix'.*'dividemix'"),
        ({'method': 5}, '--method .*5'),
        ({'dataset': ['fake']}, "--dataset .*'fake'"),
        ({'network_name': 3}, '--network_name .*3'),
        ({'network_name': 'cn'}, "network 'cn'.*'cnn'"),
        (GCE | {'label_smoothing': 0.1}, '--label_smoothing .*--loss=gce'),
        (GCE | {'loss': 'mae'}, "--loss .*cross_entropy, gce, got 'mae'"),
        (GCE | {'gce_q': 0.0}, '--gce_q .*at least 0.01'),
        (
            {'method': 'supervised', 'gce_q': 0.5},
            '--gce_q .*--loss=cross_entropy',
        ),
        (DIVIDEMIX | {'lambda_u': 'abc'}, 'lambda_u=abc is neither auto nor'),
        (DIVIDEMIX | {'lambda_u': '-1'}, 'lambda_u=-1 is neither auto nor'),
        (DIVIDEMIX | {'alpha': 0}, 'alpha=0.0 must be larger than 0'),
        (DIVIDEMIX | {'alpha': float('nan')}, 'alpha .*nan'),
    ],
)
def test_a_mistake_is_one_sentence(given, words):
    with pytest.raises(UsageError, match=words) as caught:
        resolve({'dataset': 'fake'} | given)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'content', ['{', '[1]', '"text"', '\x00', 100_000 * '[']
)
def test_a_file_of_something_else_is_named(tmp_path, content):
    path = tmp_path / 'config.json'
    path.write_text(content)
    for text in (f'--config={path}', f'--run={tmp_path}'):
        with pytest.raises(UsageError, match='config.json') as caught:
            parsed(text)
        assert str(caught.value).startswith(text)
        assert '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match='nowhere.json'):
        parsed(f'--config={tmp_path}/nowhere.json')


def identity(replicas=1, **given):
    return resolve({'dataset': 'fake'} | given).identity(replicas)


@pytest.mark.parametrize(
    'given',
    [
        {'checkpoint_path': 'elsewhere'},
        {'max_epoch': 99},
        {'max_iteration': 99},
        {'eval_every': 7},
        {'val_batch_size': 5},
        {'augment_on': 'host'},
        {'jit': 'off'},
        {'num_replicas': 1},
    ],
)
def test_where_and_how_long_do_not_change_what_a_run_is(given):
    assert identity(**given) == identity()


@pytest.mark.parametrize(
    'given',
    [
        {'dataset': 'digits'},
        {'method': 'dividemix'},
        {'seed': 2},
        {'batch_size': 32},
        {'learning_rate': 0.1},
        {'ce_factor': 1.0},
        {'network_name': 'lenet'},
        {'crop_padding': 2},
        {'scaling': 'symmetric'},
    ],
)
def test_what_is_computed_changes_what_a_run_is(given):
    assert identity(**given) != identity()


def test_the_batch_counts_as_a_whole():
    assert identity(2, batch_size=32) == identity(1, batch_size=64)


def test_the_length_counts_where_the_learning_rate_depends_on_it():
    def cosine(epochs):
        return identity(lr_schedule='cosine_one', max_epoch=epochs)

    assert cosine(5) != cosine(6)


def test_every_option_explains_itself():
    for option_, _ in catalog.current().options().values():
        assert option_.help.endswith('.')


@functools.cache
def attributes_read():
    """Returns the attributes that the package reads."""
    return {
        node.attr
        for path in pathlib.Path(ieg.__file__).parent.rglob('*.py')
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize(
    'options_class',
    [
        options_.RunConfig,
        options_.DataConfig,
        options_.TrainConfig,
        options_.SearchConfig,
        *(METHODS.get(n).Config for n in METHODS.names() if n != 'elr'),
    ],
    ids=lambda cls: f'{cls.__module__}.{cls.__name__}',
)
def test_every_option_is_read(options_class):
    names = {field.name for field in dataclasses.fields(options_class)}
    assert names - attributes_read() == set()


def test_two_methods_cannot_share_a_name_for_different_things(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Config:
        warm_up: str = option('', 'Something else.')

    other = type('Other', (), {'Config': Config})
    monkeypatch.setitem(METHODS._entries, 'other', other)
    with pytest.raises(UsageError, match="'warm_up'.*'other'"):
        arguments.define_flags(flags.FlagValues())


# Run folders.


def test_a_run_folder_has_the_name_that_is_asked_for():
    given = {'dataset': 'fake_uniform_0.4', 'method': 'supervised'}
    assert folder_of(resolve(given)) == (
        'runs/fake_uniform_0.4/supervised_cnn_s1'
    )
    named = resolve(given | {'run_name': 'try 2'})
    assert folder_of(named) == 'runs/fake_uniform_0.4/try 2'
    assert folder_of(resolve(given | {'run': 'old/one/'})) == 'old/one'


@pytest.mark.parametrize('name', ['a/b', '..', '.', ' ', '/', 'a\n', 's3://b'])
def test_a_name_of_a_run_is_one_folder(name):
    with pytest.raises(UsageError, match='--run_name='):
        resolve({'dataset': 'fake', 'run_name': name})


@pytest.mark.parametrize('name', options_.PATHS)
@pytest.mark.parametrize('url', ['gs://b/x', 'file:///tmp/x'])
def test_a_url_is_not_a_path(name, url):
    for use in (resolve, arguments.complete):
        with pytest.raises(UsageError) as caught:
            use({'dataset': 'fake', name: url})
        assert f'--{name}={url}' in str(caught.value)


def test_paths_are_recorded_as_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', '/home/me')
    given = {'dataset': 'folder', 'data_dir': 'photos', 'probe_dir': '~/probe'}
    given |= {'network_name': 'cnn', 'run': 'old'}
    recorded = resolve(given).recorded()
    assert recorded['data_dir'] == str(tmp_path / 'photos')
    assert recorded['probe_dir'] == '/home/me/probe'
    assert recorded['checkpoint_path'] == str(tmp_path / 'runs')
    assert recorded['unlabeled_dir'] == '' and 'run' not in recorded


IDENTITY = {
    'method': 'supervised',
    'lr_schedule': 'linear',
    'max_epoch': 3,
    'labels_sha256': 'a',
    'images_sha256': 'b',
    'layout': 2,
    'data': 'photos',
}


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'max_epoch': 5}, ['max_epoch was 3', '5', '--lr_schedule=linear']),
        ({'images_sha256': 'c'}, ['The images in pictures', 'changed']),
        ({'labels_sha256': 'c'}, ['The labels in pictures', 'changed']),
        ({'seed': 2, 'labels_sha256': 'c'}, ['seed was 1 and is now 2']),
        ({'layout': 3}, ['another version']),
    ],
)
def test_what_differs_is_said(change, words):
    now = IDENTITY | {'data': 'pictures', 'seed': 1}
    check_identity('a/b', IDENTITY, now, {'seed': 1})
    with pytest.raises(UsageError) as caught:
        check_identity('a/b', IDENTITY, now | change, {'seed': 1})
    for word in ('the run in a/b', '--run_name', *words):
        assert word.lower() in str(caught.value).lower()
    assert 'sha256' not in str(caught.value)
    check_identity('a/b', IDENTITY, now | change, {'seed': 1}, [*change])
