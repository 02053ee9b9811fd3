"""Policies and strong views: the right choices, the same everywhere."""

import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_image_ops import (  # The fixtures are used by name.
    golden,  # noqa: F401
    images,  # noqa: F401
    packed,
    pillow,
    rgba,
    unpacked,
)
from test_pipeline import assert_same, collect, make

from ieg import data
from ieg.data import autoaugment, image_ops, packing, views
from ieg.methods.base import Phase, Stream
from ieg.methods.ieg import IEG

RECIPE = types.SimpleNamespace(
    padding=2, flip=True, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
)
STRONG = sorted(set(views.VIEWS) - {'plain', 'weak'})


def draws(seed=(1, 2), count=600, offset=0, total=None):
    return views.Draws(
        tf.constant(seed), tf.constant(offset), count, total or count
    )


def photographs(size, count=8):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 4, 4, 3))
    large = tf.image.resize(small, (size, size), 'bicubic')
    return np.clip(large, 0, 255).astype(np.uint8)


# Tables.


@pytest.mark.parametrize(
    'policy, count, first, last',
    [
        (
            autoaugment.cifar(),
            95,
            (('Invert', 0.1, 7), ('Contrast', 0.2, 6)),
            (('Equalize', 0.6, 9), ('Equalize', 0.4, 4)),
        ),
        (
            autoaugment.imagenet(),
            25,
            (('Equalize', 0.8, 1), ('ShearY', 0.8, 4)),
            (('Color', 0.8, 6), ('Rotate', 0.4, 5)),
        ),
    ],
)
def test_tables_have_all_sub_policies(policy, count, first, last):
    assert len(policy.policies) == count
    assert policy.policies[0] == first
    assert policy.policies[-1] == last
    for steps in policy.policies:
        assert len(steps) == 2
        for name, chance, level in steps:
            assert name in image_ops.NUMBER
            assert 0 <= chance <= 1
            assert level in range(autoaugment.LEVELS)


def test_random_operations_are_known():
    assert len(set(autoaugment.RANDOM)) == 14
    assert set(autoaugment.RANDOM) <= set(image_ops.NUMBER)
    assert not {'Invert', 'Cutout'} & set(autoaugment.RANDOM)


@pytest.mark.parametrize(
    'name, level, cifar, imagenet',
    [
        ('ShearX', 5, 0.15, 0.15),
        ('TranslateY', 9, 9, 225),
        ('Rotate', 7, 21, 21),
        ('Color', 9, 1.72, 1.72),
        ('Solarize', 5, 128, 128),
        ('Solarize', 2, 205, 51),
        ('SolarizeAdd', 3, 0, 33),
        ('Posterize', 7, 2, 2),
        ('Posterize', 2, 4, 0),
        ('Cutout', 3, 3, 30),
        ('Equalize', 3, 0, 0),
    ],
)
def test_levels_mean_the_published_values(name, level, cifar, imagenet):
    assert autoaugment.cifar_value(name, level) == pytest.approx(cifar)
    assert autoaugment.imagenet_value(name, level) == pytest.approx(imagenet)


@pytest.mark.parametrize(
    'name, expected',
    [('TranslateX', -14), ('Rotate', -21), ('Cutout', 14), ('Color', 1.36)],
)
def test_pixels_grow_with_the_image_and_some_values_change_sign(name, expected):
    ranges = autoaugment.Ranges(autoaugment.cifar_value, 32)
    number = tf.constant([image_ops.NUMBER[name]])
    found = ranges.values(number, tf.constant([7]), tf.constant([True]), 64)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


# Sub-policies.


def pillow_step(image, name, value, spot):
    """Applies one operation of a policy to an RGBA image."""
    if name != 'Cutout':
        return pillow(image, name, value)
    y, x = (spot * image.size[::-1]).astype(int)
    half = int(value)
    pixels = np.array(image)
    pixels[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = (
        128,
        128,
        128,
        0,
    )
    return Image.fromarray(pixels)


@pytest.mark.parametrize('negative', [False, True])
def test_every_sub_policy_is_pillow_on_rgba(images, negative):  # noqa: F811
    policies = autoaugment.cifar().policies
    rng = np.random.default_rng(0)
    inputs = rgba(images[rng.integers(len(images), size=190)], False)
    policies = policies * 2
    spot = rng.random((190, 2)).astype(np.float32)
    ranges = autoaugment.Ranges(autoaugment.cifar_value, 32)
    operation = tf.constant(
        [[image_ops.NUMBER[name] for name, _, _ in p] for p in policies]
    )
    level = tf.constant([[level for _, _, level in p] for p in policies])
    signs = tf.fill(level.shape, negative)
    value = ranges.values(operation, level, signs, 32)
    steps = autoaugment.Steps(
        tf.transpose(operation), tf.transpose(value), tf.constant(spot)
    )
    found = unpacked(
        autoaugment.perform(packed(inputs), steps, image_ops.PILLOW)
    )
    for row, policy in enumerate(policies):
        image = Image.fromarray(inputs[row])
        for name, _, at in policy:
            amount = autoaugment.cifar_value(name, at)
            amount = (
                -amount if negative and name in image_ops.SIGNED else amount
            )
            image = pillow_step(image, name, amount, spot[row])
        np.testing.assert_array_equal(
            found[row], np.asarray(image), err_msg=str(policy)
        )


def test_the_policy_of_imagenet_fills_with_grey():
    inputs = np.zeros((2, 8, 8, 3), np.uint8)
    operation = [[image_ops.NUMBER['TranslateX'], image_ops.NUMBER['Cutout']]]
    steps = autoaugment.Steps(
        tf.constant(operation), tf.constant([[3.0, 2.0]]), tf.fill([2, 2], 0.5)
    )
    style = autoaugment.imagenet().style
    found = autoaugment.perform(packing.pack(inputs), steps, style)
    assert packing.opaque(found).numpy().all()
    expected = np.zeros((2, 8, 8))
    expected[0, :, 5:] = 128
    expected[1, 2:6, 2:6] = 128
    np.testing.assert_array_equal(packing.channel(found, 0), expected)


# Choices.


def chi_square(found, expected):
    """Returns the statistic over its mean; near 1 for a good fit."""
    used = expected > 0
    assert not found[~used].any()
    found, expected = found[used], expected[used]
    return ((found - expected) ** 2 / expected).sum() / (used.sum() - 1)


def test_sub_policies_are_drawn_evenly_and_applied_by_their_chances():
    policy = autoaugment.cifar()
    count = 95_000
    numbers = draws(count=count).uniform(policy.numbers)
    chosen = (numbers[:, 0].numpy() * 95).astype(int)
    steps = policy.steps(numbers, 32)
    each = np.bincount(chosen, minlength=95)
    assert chi_square(each, np.full(95, 1000.0)) < 1.5
    for place in range(2):
        applied = steps.operation[place].numpy()
        expected = np.zeros(len(image_ops.OPERATIONS))
        for row, pair in enumerate(policy.policies):
            name, chance, _ = pair[place]
            expected[image_ops.NUMBER[name]] += each[row] * chance
            expected[0] += each[row] * (1 - chance)
        found = np.bincount(applied, minlength=len(expected))
        assert chi_square(found, expected) < 2
        moved = applied == image_ops.NUMBER['TranslateY']
        values = steps.value[place].numpy()[moved]
        assert 0.47 < (values > 0).mean() / (values != 0).mean() < 0.53


@pytest.mark.parametrize('per_batch', [False, True])
def test_random_operations_and_levels_are_drawn_evenly(per_batch):
    policy = autoaugment.RandAugment(per_batch)
    assert policy.shared == (4 if per_batch else 0)
    numbers = draws(count=70_000).uniform(policy.numbers)
    steps = policy.steps(numbers, 32)
    expected = np.zeros(len(image_ops.OPERATIONS))
    expected[[image_ops.NUMBER[n] for n in autoaugment.RANDOM]] = 2500
    expected[0] += 35_000
    for place in range(2):
        operation = steps.operation[place].numpy()
        found = np.bincount(operation, minlength=len(expected))
        assert chi_square(found, expected) < 2
        values = steps.value[place].numpy()
        degrees = values[operation == image_ops.NUMBER['Rotate']] / 3
        _, levels = np.unique(np.round(degrees), return_counts=True)
        assert len(levels) == 18
        assert chi_square(levels, np.full(18, len(degrees) / 18)) < 2
    one, two = steps.operation.numpy()
    both = (one > 0) & (two > 0)
    assert 0.05 < (one == two)[both].mean() < 0.1


# Views.


def test_options_name_views():
    choices = IEG.Config.__dataclass_fields__['aug_type'].metadata['choices']
    assert 'autoaug' in choices and set(choices) <= set(views.VIEWS)


@pytest.fixture
def op_by_op():
    """Returns a function that computes a view without XLA."""

    def compute(*args):
        tf.config.run_functions_eagerly(True)
        try:
            return views.VIEWS[args[0]](*args[1:])
        finally:
            tf.config.run_functions_eagerly(False)

    return compute


# The others have the same code; each costs seconds of compilation.
@pytest.mark.parametrize('name', ['autoaug', 'randaug_batch', 'default'])
def test_a_strong_view_does_not_depend_on_how_it_is_computed(name, op_by_op):
    raw = tf.constant(photographs(16))
    count = len(raw)
    device = tf.cast(raw, tf.float16)
    expected = op_by_op(name, raw, draws(count=count), RECIPE).numpy()
    assert len(np.unique(expected.reshape(count, -1), axis=0)) == count

    def view(_=0):
        return views.VIEWS[name](raw, draws(count=count), RECIPE)

    dataset = tf.data.Dataset.range(1)
    (mapped,) = dataset.map(tf.autograph.experimental.do_not_convert(view))
    np.testing.assert_array_equal(mapped, expected)
    found = op_by_op(name, device, draws(count=count), RECIPE)
    np.testing.assert_array_equal(found, expected)
    halves = [
        op_by_op(
            name,
            raw[offset : offset + 4],
            draws(count=4, offset=offset, total=count),
            RECIPE,
        )
        for offset in (0, 4)
    ]
    np.testing.assert_array_equal(np.concatenate(halves), expected)


def test_xla_draws_the_numbers_of_tensorflow():
    def numbers(seed):
        on = views.Draws(seed, tf.constant(0), 9, 9).lane(3)
        return on.uniform(7), on.common(2), on.seeds()

    seed = tf.constant([-5, 9])
    compiled = tf.function(numbers, jit_compile=True, autograph=False)(seed)
    assert_same(
        [x.numpy() for x in compiled], [x.numpy() for x in numbers(seed)]
    )
    uniform = tf.random.stateless_uniform([9, 7], tf.random.fold_in(seed, 3))
    np.testing.assert_array_equal(compiled[0], uniform)


def test_a_compiled_step_computes_the_same_view():
    raw = tf.constant(photographs(16))

    @tf.function(jit_compile=True, autograph=False)
    def step(raw, seed):
        on = views.Draws(seed, tf.constant(0), 8, 8)
        return views.VIEWS['autoaug'](raw, on, RECIPE)

    expected = views.VIEWS['autoaug'](raw, draws(count=8), RECIPE)
    found = step(tf.cast(raw, tf.float16), tf.constant([1, 2]))
    np.testing.assert_array_equal(found, expected)


def test_an_image_in_another_batch_is_changed_in_the_same_way(op_by_op):
    raw = photographs(16)
    whole = op_by_op('autoaug', raw, draws(count=8), RECIPE)
    alone = op_by_op(
        'autoaug', raw[5:6], draws(count=1, offset=5, total=8), RECIPE
    )
    np.testing.assert_array_equal(alone[0], whole[5])


def test_a_batch_may_share_its_operations():
    common = draws(count=64).common(4).numpy()
    assert (common == common[0]).all()
    assert len(np.unique(common[0])) == 4
    other = draws(seed=(1, 3), count=64).common(4).numpy()
    assert (common != other).all()

    found = {}
    for name in ('randaug', 'randaug_batch'):
        policy = autoaugment.RandAugment(name == 'randaug_batch')
        numbers = views.Strong(policy)._numbers(draws(count=64))
        assert numbers.shape == (64, policy.numbers + 5)
        steps = policy.steps(numbers, 32)
        pairs = np.transpose([steps.operation, steps.value], (2, 0, 1))
        found[name] = len(np.unique(np.abs(pairs), axis=0))
    # Each of the two is applied or not.
    assert found['randaug_batch'] <= 4
    assert found['randaug'] > 30


@pytest.mark.parametrize('shape', [(8, 8, 1), (28, 28, 1), (9, 12, 3)])
def test_other_images_have_strong_views(shape, op_by_op):
    raw = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    recipe = types.SimpleNamespace(
        padding=1,
        flip=False,
        mean=RECIPE.mean[: shape[-1]],
        std=RECIPE.std[: shape[-1]],
    )
    for name in STRONG:
        found = op_by_op(name, raw, draws(count=1), recipe)
        assert found.shape == raw.shape
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()


@pytest.mark.parametrize('flip', [False, True])
def test_the_view_without_a_policy_is_crop_flip_and_cutout(flip, op_by_op):
    raw = photographs(32, 200)
    recipe = types.SimpleNamespace(**{**vars(RECIPE), 'flip': flip})
    found = op_by_op('default', raw, draws(count=200), recipe).numpy()
    numbers = draws(count=200).uniform(5).numpy()
    levels = np.full((200, 40, 40, 3), 127.5)
    levels[:, 4:-4, 4:-4] = raw
    offsets = (numbers[:, :2] * 9).astype(int)
    spots = (numbers[:, 3:] * 32).astype(int)
    for image, (y, x), mirror, (top, left), result in zip(
        levels, offsets, numbers[:, 2], spots, found, strict=True
    ):
        expected = image[y : y + 32, x : x + 32]
        if flip and mirror < 0.5:
            expected = expected[:, ::-1]
        hole = np.zeros((32, 32, 1), bool)
        hole[max(top - 8, 0) : top + 8, max(left - 8, 0) : left + 8] = True
        expected = np.where(hole, 127.5, expected)
        expected = (expected / 255 - RECIPE.mean) / np.array(RECIPE.std)
        np.testing.assert_allclose(result, expected, atol=1e-5)
    assert len(np.unique(offsets, axis=0)) > 70
    assert set(offsets.ravel()) == set(range(9))


def test_the_table_of_a_strong_view_is_that_of_the_others(op_by_op):
    raw = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)
    found = op_by_op('default', raw, draws(count=1), RECIPE).numpy()
    plain = views.plain(raw, None, RECIPE).numpy()
    known = set(plain[..., 1].ravel())
    grey = np.float32((0.5 - 0.4) / 0.3)
    others = set(found[..., 1].ravel()) - known
    assert len(others) == 1
    assert others.pop() == pytest.approx(grey)


def test_the_view_of_imagenet_has_a_small_black_hole(op_by_op):
    raw = np.full((40, 28, 28, 3), 255, np.uint8)
    recipe = types.SimpleNamespace(**{**vars(RECIPE), 'padding': 0})
    found = op_by_op('imagenet_autoaug', raw, draws(count=40), recipe)
    black = views.plain(np.zeros((1, 1, 1, 3), np.uint8), None, RECIPE)
    holes = (found == black).numpy().all(-1).sum((1, 2))
    assert np.median(holes) == 4


def test_the_pipeline_makes_strong_views_on_both_sides(two_replicas):
    fake = data.load('fake_uniform_0.4', probe_ratio=0.1, train_examples=200)
    streams = {'train': Stream(8, ('weak', 'autoaug'))}
    phase = Phase('step', {'train': np.arange(20)}, 3)
    host, device = (
        collect(
            make(fake, strategy, on_device=on_device, streams=streams),
            strategy,
            phase,
        )
        for strategy, on_device in (
            (tf.distribute.get_strategy(), False),
            (two_replicas, True),
        )
    )
    for one, two in zip(host, device, strict=True):
        assert_same(one['train'], two['train'])
        weak, strong = one['train']['images']
        assert (weak != strong).any(axis=(1, 2, 3)).all()
