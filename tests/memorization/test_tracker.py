"""The memorization tracker: its numbers, and that it leaves no trace."""

import dataclasses
import json
import math
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_runs import (
    assert_same,
    check_figures,
    check_same,
    copy_middle,
    numbers,
    settings,
    tracked_settings,
    train,
    train_whole,
)
from paths import GOLDEN
from pictures import only_for_pillow
from PIL import Image
from recordings import (
    TOLERANCE,
    TYPES,
    check_network,
    close,
    set_network,
    small_network,
)

from ieg import config as ieg_config
from ieg import memorization
from ieg.data.augment import views
from ieg.errors import UsageError
from ieg.methods import supervised
from ieg.methods.base import Info
from ieg.ops import optim

BOTH = ('before', 'after')
ONE = tf.distribute.get_strategy()


# Against the reference.


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN / 'susceptibility.npz') as content:
        return dict(content)


def make_method(build_network, build_optimizer, strategy=ONE):
    info = Info(10, (16, 16, 3), np.zeros(64, np.int32), 0, 32, 6, 0)
    with strategy.scope():
        return supervised.Supervised(
            supervised.SupervisedConfig(),
            info,
            lambda n: build_network(),
            build_optimizer,
        )


def recorded_batch(golden, kind, number, dtype):
    rows = int(golden['batch_size'])
    part = slice(number * rows, (number + 1) * rows)
    images = tf.constant(golden[f'{kind}_input_nhwc'][part], TYPES[dtype])
    return images, golden[f'{kind}_label'][part].astype(np.int32)


@pytest.mark.parametrize('dtype', ['f64', 'f32'])
def test_six_epochs_are_those_of_the_reference(golden, dtype, precision):
    precision(TYPES[dtype], TYPES[dtype])
    momentum, decay = float(golden['momentum']), float(golden['weight_decay'])
    method = make_method(
        lambda: small_network(10), lambda: optim.SGD(0.1, momentum, l2=decay)
    )
    set_network(method.nets[0], golden, 'init')
    probe = memorization.Probe(method, 0, ONE, sgd_rate=None)
    train_step = tf.function(method.train_step, autograph=False)
    for epoch, rate in enumerate(golden['f64/lr']):
        found = probe(*recorded_batch(golden, 'probe', epoch, dtype), rate)
        expected = [golden[f'{dtype}/phi_{n}'][epoch] for n in BOTH]
        close(found, expected, TOLERANCE[dtype])
        method.optimizers[0].learning_rate.assign(rate)
        for step in range(2):
            images, label = recorded_batch(golden, 'train', step, dtype)
            batch = {'images': (images,), 'label': tf.constant(label)}
            batch['index'] = tf.range(len(label), dtype=tf.int64)
            train_step({'train': batch, 'step': {}})
    if dtype == 'f64':
        check_network(
            method.nets[0], golden, 'f64/epoch5/after_training', 1e-10
        )


@pytest.mark.parametrize('name', ['f64', 'f32', 'long'])
def test_the_average_is_of_all_epochs_and_not_the_notebooks(golden, name):
    drops = (
        golden[f'{name}/drop']
        if name != 'f32'
        else (golden['f32/phi_before'] - golden['f32/phi_after'])
    )
    for epoch in range(1, len(drops)):
        ours = memorization.susceptibility(list(drops[: epoch + 1]))
        assert ours == pytest.approx(drops[: epoch + 1].mean(), abs=1e-15)
        if name != 'f32':
            # Without the first epoch, over one epoch too many.
            notebook = drops[1:epoch].sum() / epoch
            recorded = golden[f'{name}/zeta_notebook'][epoch - 1]
            assert notebook == pytest.approx(recorded, abs=1e-12)
            both = (ours * (epoch + 1) - drops[0] - drops[epoch]) / epoch
            assert both == pytest.approx(recorded, abs=1e-12)


def test_a_drop_that_is_not_finite_is_left_out():
    assert memorization.susceptibility([1.0, None, math.nan, 2.0]) == 1.5
    assert math.isnan(memorization.susceptibility([None]))


# One probe.


def with_dropout():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Conv2D(4, 3, activation='tanh'),
            keras.layers.Dropout(0.3, seed=3),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def everything(method):
    found = [*method.variables, *method.optimizers[0].variables]
    return [v.numpy() for v in found]


@pytest.mark.parametrize('rate', [None, 0.05], ids=['optimizer', 'sgd'])
@pytest.mark.parametrize('kind', ['sgd', 'adam'])
def test_a_probe_restores_all_and_equals_that_of_one_replica(
    golden, two_replicas, kind, rate
):
    make = {'sgd': optim.SGD, 'adam': optim.Adam}[kind]
    found = []
    images, labels = recorded_batch(golden, 'probe', 0, 'f32')
    for strategy in (ONE, two_replicas):
        keras.utils.set_random_seed(5)
        method = make_method(with_dropout, make, strategy)
        # Neither velocity nor number of steps is zero.
        for variable in method.optimizers[0].variables[2:]:
            variable.assign(tf.fill(variable.shape, 0.01))
        method.optimizers[0].iterations.assign(3)
        before = everything(method)
        assert any('seed' in v.path for v in method.variables)
        probe = memorization.Probe(method, 0, strategy, rate)
        found.append(probe(images, labels, 0.1))
        assert_same(before, everything(method))
        assert probe(images, labels, 0.1) == found[-1]
    assert found[0][0] != found[0][1]
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_sgd_takes_the_plain_gradient_at_its_own_rate(golden):
    images, labels = recorded_batch(golden, 'probe', 0, 'f32')
    keras.utils.set_random_seed(5)
    method = make_method(
        lambda: keras.Sequential(
            [keras.Input((16, 16, 3)), keras.layers.Flatten()]
            + [keras.layers.Dense(10)]
        ),
        lambda: optim.SGD(1.0, 0.9, l2=0.1),
    )
    before, after = memorization.Probe(method, 0, ONE, 0.01)(
        images, labels, 7.0
    )
    kernel, bias = (v.numpy().astype(float) for v in method.nets[0].variables)
    x = images.numpy().reshape(len(labels), -1).astype(float)

    def softmax(kernel, bias):
        odds = np.exp(x @ kernel + bias)
        return odds / odds.sum(axis=1, keepdims=True)

    error = (softmax(kernel, bias) - np.eye(10)[labels]) / len(labels)
    moved = (kernel - 0.01 * x.T @ error, bias - 0.01 * error.sum(axis=0))
    for value, at in ((before, (kernel, bias)), (after, moved)):
        chosen = softmax(*at)[np.arange(len(labels)), labels]
        assert value == pytest.approx(-np.log(chosen).mean(), rel=1e-5)


# Runs.


def test_a_run_is_the_same_without_the_tracker(whole, plain):
    check_figures(whole)
    check_same(whole, plain)


@pytest.fixture(scope='module')
def whole(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp('whole')
    config = tracked_settings(
        'supervised', ONE, path, max_epoch=3, checkpoint_minutes=1e-9
    )
    return train_whole(config, ONE, present=False)


def test_a_run_that_resumes_in_an_epoch_measures_the_same(whole, tmp_path):
    config = tracked_settings('supervised', ONE, tmp_path, max_epoch=3)
    copy_middle(whole, config)
    resumed = train(config, ONE)
    for own in (True, False):
        assert numbers(resumed, own) == numbers(whole, own)


@pytest.fixture(scope='module')
def plain(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp('plain')
    return train(settings('supervised', ONE, path), ONE)


def test_the_fit_is_that_of_the_final_networks(whole):
    images = whole.trainer._data.train.fetch(np.arange(256), None)
    images = probing_view(images, whole)
    predicted = whole.method(images).numpy().argmax(axis=1)
    given = whole.trainer._data.train.labels
    right = whole.trainer._data.train.clean_labels == given
    last = whole.log()[-1]
    assert last['fit_accuracy'] == np.mean(predicted == given)
    assert last['fit_wrong'] == np.mean((predicted == given)[~right])
    assert last['fit_right'] == np.mean((predicted == given)[right])


def probing_view(images, run):
    return views.VIEWS['plain'](images, None, run.trainer._data.preprocessing)


def advice(run):
    return json.loads((run.folder / 'memorization.json').read_text())


def resumed(whole, path, step=1, **more):
    config = tracked_settings(
        'supervised',
        ONE,
        path,
        max_epoch=3,
        restore_step=whole.log()[step]['step'],
        **more,
    )
    shutil.copytree(whole.folder, ieg_config.folder_of(config))
    return train(config, ONE)


def test_a_run_goes_on_with_its_means(whole, tmp_path):
    again = resumed(whole, tmp_path)
    for own in (True, False):
        assert numbers(again, own) == numbers(whole, own)
    assert advice(again) == advice(whole)


def test_another_probe_is_refused(whole, tmp_path):
    sentence = r'^[^\n]*memorization.json \(step, rate differ\)[^\n]*$'
    with pytest.raises(UsageError, match=sentence):
        resumed(whole, tmp_path, memorization_step='optimizer')


def test_epochs_without_the_tracker_are_told(plain, tmp_path):
    last = resumed(plain, tmp_path).log()[-1]
    assert last['susceptibility'] == last['susceptibility_drop']
    assert last['remarks'][0].startswith('2 epochs were trained without')


def test_every_run_is_measured_by_the_same(whole, tiny, tmp_path):
    config = tracked_settings('supervised', ONE, tmp_path, seed=2, max_epoch=1)
    other = train(config, ONE)
    assert advice(other)['probe'] == advice(whole)['probe']
    probe = advice(whole)['probe']
    assert probe['batch'] == 128 and probe['rate'] == 0.05
    labels = [memorization.random_labels(epoch, 128, 4) for epoch in range(2)]
    assert set(labels[0]) == set(range(4))
    assert (labels[0] != labels[1]).any()


# Images of one's own.


def write_images(root, count, size=12):
    rng = np.random.default_rng(1)
    for number in range(count):
        folder = root / f'level{number % 2}' / 'below'
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (size, size + 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')


def test_images_of_a_folder_at_any_depth(whole, tmp_path):
    write_images(tmp_path, 5)
    (tmp_path / 'level0' / 'broken.png').write_bytes(b'no image')
    (tmp_path / 'notes.txt').write_text('no image either')
    data = whole.trainer._data
    pool = memorization.held_out(data, str(tmp_path))
    images = pool.images(0).numpy()
    assert images.shape == (5, *data.image_shape)
    assert len({image.tobytes() for image in images}) == 5
    only_for_pillow(tmp_path / 'odd')
    assert len(memorization.held_out(data, str(tmp_path)).images(0)) == 10
    shutil.rmtree(tmp_path / 'odd')
    assert pool.sha256() == memorization.held_out(data, str(tmp_path)).sha256()
    assert pool.sha256() != memorization.held_out(data).sha256()


def test_a_folder_without_images_is_refused(whole, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no image')
    for folder in (tmp_path, tmp_path / 'nowhere'):
        with pytest.raises(UsageError, match='^--unlabeled_dir[^\n]*$'):
            memorization.held_out(whole.trainer._data, str(folder))
    odd = dataclasses.replace(whole.trainer._data, image_shape=(8, 9, 3))
    with pytest.raises(UsageError, match='^[^\n]*square[^\n]*$'):
        memorization.held_out(odd, str(tmp_path))
