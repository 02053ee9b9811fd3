"""Strong views: the same wherever and however they are computed."""

import types

import loading
import numpy as np
import pytest
import tensorflow as tf
from pipelines import assert_same, collect, make
from view_samples import RECIPE, draws, photographs

from ieg.data.augment import policies, views
from ieg.methods.base import Phase, Stream
from ieg.methods.ieg import IEG

STRONG = sorted(set(views.VIEWS) - {'plain', 'weak'})


def test_options_name_views():
    choices = IEG.Config.__dataclass_fields__['aug_type'].metadata['choices']
    assert 'autoaug' in choices and set(choices) <= set(views.VIEWS)


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
        policy = policies.RandAugment(name == 'randaug_batch')
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
    fake = loading.load('fake_uniform_0.4', probe_ratio=0.1, train_examples=200)
    # Fast to trace; that others are the same everywhere is shown above.
    streams = {'train': Stream(8, ('weak', 'default'))}
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
