"""Policies: their tables, the right choices, and Pillow's pixels."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pillow_images import packed, pillow, rgba, unpacked
from view_samples import draws

from ieg.data.augment import image_ops
from ieg.data.augment import policies as policies_

# Tables.


@pytest.mark.parametrize(
    'policy, count, first, last',
    [
        (
            policies_.cifar(),
            95,
            (('Invert', 0.1, 7), ('Contrast', 0.2, 6)),
            (('Equalize', 0.6, 9), ('Equalize', 0.4, 4)),
        ),
        (
            policies_.imagenet(),
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
            assert level in range(policies_.LEVELS)


def test_random_operations_are_known():
    assert len(set(policies_.RANDOM)) == 14
    assert set(policies_.RANDOM) <= set(image_ops.NUMBER)
    assert not {'Invert', 'Cutout'} & set(policies_.RANDOM)


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
    assert policies_.cifar_value(name, level) == pytest.approx(cifar)
    assert policies_.imagenet_value(name, level) == pytest.approx(imagenet)


@pytest.mark.parametrize(
    'name, expected',
    [('TranslateX', -14), ('Rotate', -21), ('Cutout', 14), ('Color', 1.36)],
)
def test_pixels_grow_with_the_image_and_some_values_change_sign(name, expected):
    ranges = policies_.Ranges(policies_.cifar_value, 32)
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
    policies = policies_.cifar().policies
    rng = np.random.default_rng(0)
    inputs = rgba(images[rng.integers(len(images), size=190)], False)
    policies = policies * 2
    spot = rng.random((190, 2)).astype(np.float32)
    ranges = policies_.Ranges(policies_.cifar_value, 32)
    operation = tf.constant(
        [[image_ops.NUMBER[name] for name, _, _ in p] for p in policies]
    )
    level = tf.constant([[level for _, _, level in p] for p in policies])
    signs = tf.fill(level.shape, negative)
    value = ranges.values(operation, level, signs, 32)
    steps = policies_.Steps(
        tf.transpose(operation), tf.transpose(value), tf.constant(spot)
    )
    found = unpacked(policies_.perform(packed(inputs), steps, image_ops.PILLOW))
    for row, policy in enumerate(policies):
        image = Image.fromarray(inputs[row])
        for name, _, at in policy:
            amount = policies_.cifar_value(name, at)
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
    steps = policies_.Steps(
        tf.constant(operation), tf.constant([[3.0, 2.0]]), tf.fill([2, 2], 0.5)
    )
    style = policies_.imagenet().style
    found = policies_.perform(image_ops.pack(inputs), steps, style)
    assert image_ops.opaque(found).numpy().all()
    expected = np.zeros((2, 8, 8))
    expected[0, :, 5:] = 128
    expected[1, 2:6, 2:6] = 128
    np.testing.assert_array_equal(image_ops.channel(found, 0), expected)


# Choices.


def chi_square(found, expected):
    """Returns the statistic over its mean; near 1 for a good fit."""
    used = expected > 0
    assert not found[~used].any()
    found, expected = found[used], expected[used]
    return ((found - expected) ** 2 / expected).sum() / (used.sum() - 1)


def test_sub_policies_are_drawn_evenly_and_applied_by_their_chances():
    policy = policies_.cifar()
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
    policy = policies_.RandAugment(per_batch)
    assert policy.shared == (4 if per_batch else 0)
    numbers = draws(count=70_000).uniform(policy.numbers)
    steps = policy.steps(numbers, 32)
    expected = np.zeros(len(image_ops.OPERATIONS))
    expected[[image_ops.NUMBER[n] for n in policies_.RANDOM]] = 2500
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
