"""When computing is in bfloat16; all methods, networks and views then work."""

import elr  # noqa: F401  # Registers the method.
import keras
import numpy as np
import pytest
import tensorflow as tf
from all_networks import IMAGE_SHAPES, NARROW, create, images_for
from contract_runs import does_something_new, settings, train_only
from view_samples import RECIPE, draws, photographs

from ieg import config as ieg_config
from ieg import experiment
from ieg.data.augment.views import VIEWS
from ieg.registry import METHODS
from ieg.training import devices


def machine(monkeypatch, gpu, fast):
    """Makes the package see another machine."""
    monkeypatch.setattr(devices, 'has_gpu', lambda: gpu)
    monkeypatch.setattr(devices, 'has_fast_bfloat16', lambda: fast)


@pytest.mark.parametrize(
    ('asked', 'gpu', 'fast', 'policy'),
    [
        ('auto', False, False, 'float32'),
        ('auto', False, True, 'float32'),
        ('auto', True, False, 'float32'),
        ('auto', True, True, 'mixed_bfloat16'),
        ('float32', True, True, 'float32'),
        ('bfloat16', False, False, 'mixed_bfloat16'),
    ],
)
def test_what_a_precision_means(
    asked, gpu, fast, policy, monkeypatch, restored
):
    machine(monkeypatch, gpu, fast)
    options = {'dataset': 'fake', 'method': 'supervised', 'precision': asked}
    devices.set_numerics(ieg_config.resolve(options))
    assert keras.config.dtype_policy().name == policy


@pytest.mark.parametrize(
    ('asked', 'fast', 'told'),
    [('auto', True, True), ('auto', False, False), ('float32', True, False)],
)
def test_a_run_says_where_bfloat16_would_be_faster(
    asked, fast, told, monkeypatch, tmp_path, tiny, capsys
):
    machine(monkeypatch, False, fast)
    config = settings(
        'supervised',
        tf.distribute.get_strategy(),
        tmp_path,
        precision=asked,
        max_epoch=1,
        steps_per_epoch=1,
    )
    experiment.train(config)
    text = capsys.readouterr().out
    assert text.count('--precision=bfloat16') == told


# An epoch of each kind that a method has.
EPOCHS = {'dividemix': 2, 'me_momentum': 2, 'fsr': 2, 'coteaching': 2}


@pytest.mark.parametrize(
    'method', [name for name in METHODS.names() if does_something_new(name)]
)
def test_a_method_trains(method, tmp_path, tiny, bfloat16):
    strategy = tf.distribute.get_strategy()
    config = settings(
        method,
        strategy,
        tmp_path,
        precision='bfloat16',
        max_epoch=EPOCHS.get(method, 1),
        steps_per_epoch=2,
    )
    run = train_only(config, strategy)
    for net in run.method.nets:
        assert net.get_layer('conv').compute_dtype == 'bfloat16'
    for variable in run.method.variables:
        assert variable.dtype != 'bfloat16', variable.path
    for array in run.arrays():
        assert np.isfinite(array).all()
    for entry in run.log():
        losses = [v for k, v in entry.items() if 'loss' in k]
        assert losses and np.isfinite(losses).all()


# Each has the code of another one, and seconds of layers to build.
DEEP = (
    'inception_resnet_v2',
    'resnet34',
    'resnet34-same',
    'resnet50v2',
    'wrn28-10',
)


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=pytest.mark.slow if name in DEEP else ())
        for name in sorted(IMAGE_SHAPES)
    ],
)
def test_a_network_learns(name, precision):
    precision('mixed_bfloat16')
    options = {'widths': NARROW} if name == 'preact_resnet18' else {}
    net = create(name, **options)
    with tf.GradientTape() as tape:
        logits = net(images_for(name), training=True)
        losses = keras.losses.sparse_categorical_crossentropy(
            tf.range(3), logits, from_logits=True
        )
    assert logits.dtype == losses.dtype == tf.float32
    assert np.isfinite(losses).all()
    gradients = tape.gradient(losses, net.trainable_variables)
    for variable, gradient in zip(
        net.trainable_variables, gradients, strict=True
    ):
        assert variable.dtype == 'float32' and gradient.dtype == tf.float32
        assert np.isfinite(gradient).all(), variable.path
    assert sum(bool(np.any(gradient)) for gradient in gradients) > 1


@pytest.mark.parametrize('name', VIEWS)
def test_a_view_is_that_of_float32(name, precision, op_by_op):
    images = tf.constant(photographs(16, count=2))
    expected = op_by_op(name, images, draws(count=2), RECIPE)
    precision('mixed_bfloat16')
    found = op_by_op(name, images, draws(count=2), RECIPE)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected)
