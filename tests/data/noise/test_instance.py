"""Noise that depends on the image, and the draws of Me-Momentum and CORES2."""

import hashlib
import time

import loading
import numpy as np
import paths
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requested_noise import corrupt
from scipy import special, stats

from ieg.data import dataset
from ieg.data.noise import kinds
from ieg.data.noise import labels as noise_labels
from ieg.errors import UsageError
from ieg.registry import DATASETS

GOLDEN = dict(np.load(paths.GOLDEN / 'memomentum_noise.npz'))
RECORDED = [
    ('gray', 'instance', 0.2),
    ('gray', 'instance', 0.4),
    ('rgb', 'instance', 0.2),
    ('rgb', 'instance', 0.4),
    ('gray', 'symmetric', 0.2),
    ('gray', 'symmetric', 0.4),
    ('gray', 'pairflip', 0.45),
]


def sha256(labels):
    return hashlib.sha256(labels.astype('<i8').tobytes()).hexdigest()


def pictures(count, num_classes=10, size=6, seed=0):
    """Returns random images that have a large mean, as photographs do."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 256, (count, size, size, 3), np.uint8)
    return images, (np.arange(count) % num_classes).astype(np.int32)


def loop_instance(images, labels, rate, num_classes, seed):
    """The construction, image by image."""
    state = np.random.RandomState(seed)
    low, high = -rate / 0.1, (1 - rate) / 0.1
    rates = stats.truncnorm.rvs(
        low, high, loc=rate, scale=0.1, size=len(labels), random_state=state
    )
    size = images[0].size
    projections = state.randn(num_classes, size, num_classes)
    projections = projections.astype(np.float32)
    odds = []
    for image, label, q in zip(images, labels, rates, strict=True):
        scores = image.ravel().astype(np.float32) @ projections[label]
        scores[label] = -np.inf
        odds.append(np.float32(q) * special.softmax(scores))
        odds[-1][label] += 1 - q
    return np.array(
        [state.choice(num_classes, p=p / p.sum(dtype=float)) for p in odds]
    )


def loop_cores(images, labels, rate, num_classes, seed):
    """The other construction, image by image."""
    state = np.random.RandomState(seed)
    rates = [q for q in state.normal(rate, 0.1, 10**6) if 0 < q < 1]
    projection = state.normal(0, 1, (images[0].size, num_classes))
    noisy = []
    for image, label, q in zip(images, labels, rates, strict=False):
        scores = image.ravel() @ projection
        scores[label] = -1000000
        odds = q * special.softmax(scores)
        odds[label] = 1 - q
        noisy.append(state.choice(num_classes, p=odds / sum(odds)))
    return np.array(noisy)


@pytest.mark.parametrize(('images', 'kind', 'rate'), RECORDED)
def test_labels_are_those_of_the_reference(images, kind, rate):
    key = f'{images}/{kind}_{rate}/seed1'
    labels = GOLDEN['label']
    result = corrupt(
        labels,
        kind,
        rate,
        '',
        10,
        1,
        'memomentum',
        images=GOLDEN[f'{images}/image'],
    )
    expected = GOLDEN[f'{key}/noisy_label_all']
    np.testing.assert_array_equal(result.noisy, expected)
    train = noise_labels.memomentum_train_part(600, 0.1, 1)
    np.testing.assert_array_equal(train, GOLDEN[f'{key}/train_index'])


def test_another_seed_repeats_the_reference_too():
    expected = GOLDEN['rgb/instance_0.4/seed2/noisy_label_all']
    state = np.random.RandomState(2)
    images, labels = GOLDEN['rgb/image'], GOLDEN['label']
    noisy = kinds.instance(images, labels, 0.4, 10, state)
    np.testing.assert_array_equal(noisy, expected)


@pytest.mark.parametrize(('images', 'kind', 'rate'), RECORDED[:4])
def test_rates_and_odds_are_those_of_the_reference(images, kind, rate):
    key = f'{images}/{kind}_{rate}/seed1'
    uniform = np.random.RandomState(1).random(600)
    np.testing.assert_allclose(
        kinds.flip_rates(rate, uniform),
        GOLDEN[f'{key}/flip_rate'],
        atol=1e-12,
    )
    odds = kinds.instance_odds(
        GOLDEN[f'{images}/image'],
        GOLDEN['label'],
        rate,
        10,
        np.random.RandomState(1),
    )
    assert odds.dtype == np.float32
    # Scores are some ten thousand, so sums in another order move them.
    np.testing.assert_allclose(odds, GOLDEN[f'{key}/probability'], atol=1e-4)


def test_the_projections_are_those_of_the_reference():
    state = np.random.RandomState(1)
    state.random(600)
    found = np.stack([state.standard_normal((64, 10)) for _ in range(10)])
    expected = GOLDEN['gray/instance_0.2/seed1/W']
    np.testing.assert_array_equal(found.astype(np.float32), expected)


@pytest.mark.parametrize('num_classes', [2, 10])
def test_whole_arrays_give_what_the_loops_give(num_classes):
    images, labels = pictures(400, num_classes)
    # A class of its own size, and one without any example.
    labels[:30] = 0
    labels[labels == num_classes - 1] = 0
    for kind, sampler, loop in (
        ('instance', 'memomentum', loop_instance),
        ('cores', 'cores', loop_cores),
    ):
        result = corrupt(
            labels, kind, 0.3, '', num_classes, 5, sampler, images=images
        )
        expected = loop(images, labels, 0.3, num_classes, 5)
        np.testing.assert_array_equal(result.noisy, expected)


@pytest.mark.parametrize('kind', ['instance', 'cores'])
@pytest.mark.parametrize('rate', [0.08, 0.2, 0.5, 0.92])
def test_our_own_draws_have_the_rates_of_the_construction(kind, rate):
    images, labels = pictures(4000)
    mean = stats.truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, rate, 0.1)
    result = corrupt(labels, kind, rate, '', 10, 3, images=images)
    sigma = np.sqrt(mean * (1 - mean) / 4000)
    assert abs(result.realised_rate - mean) < 4 * sigma
    again = corrupt(labels, kind, rate, '', 10, 3, images=images)
    assert again.sha256 == result.sha256
    other = corrupt(labels, kind, rate, '', 10, 4, images=images)
    assert other.sha256 != result.sha256


def test_the_means_of_the_rates_are_the_documented_ones():
    uniform = (np.arange(10**5) + 0.5) / 10**5
    for rate, mean in ((0.2, 0.2055), (0.4, 0.39998), (0.0, 0.0798)):
        found = kinds.flip_rates(rate, uniform).mean()
        assert found == pytest.approx(mean, abs=1e-4)


def test_the_wrong_class_depends_on_the_image():
    images, labels = pictures(3000)
    one = corrupt(labels, 'instance', 0.9, '', 10, 3, images=images)
    two = corrupt(
        labels, 'instance', 0.9, '', 10, 3, images=images[::-1].copy()
    )
    both = (one.noisy != labels) & (two.noisy != labels)
    # The rates are those of the places; the wrong classes are others.
    assert 0.3 < np.mean(one.noisy[both] != two.noisy[both])


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0, exclude_max=True))
def test_a_rate_of_an_image_is_a_probability(rate, uniform):
    found = kinds.flip_rates(rate, np.array([uniform]))
    assert 0.0 <= found[0] <= 1.0


@pytest.mark.parametrize('kind', ['instance', 'cores'])
@pytest.mark.parametrize('rate', [0.0, 0.05, 0.95, 1.0])
def test_a_rate_out_of_reach_is_one_sentence(kind, rate):
    words = f'{kind} noise of rate {rate} .* choose a rate from 0.08 to 0.92'
    with pytest.raises(UsageError, match=words) as caught:
        # Before anything is read.
        loading.load(f'mnist_{kind}_{rate}', data_dir='/nowhere')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('spec', 'sampler'),
    [
        ('fake_instance_0.4', 'coteaching'),
        ('fake_instance_0.4', 'dividemix'),
        ('fake_instance_0.4', 'ieg'),
        ('fake_instance_0.4', 'cores'),
        ('fake_cores_0.4', 'memomentum'),
        ('fake_uniform_0.4', 'memomentum'),
    ],
)
def test_a_sampler_without_the_kind_is_named(spec, sampler):
    with pytest.raises(UsageError, match=f'{sampler!r} repeats .* has no'):
        loading.load(spec, noise_sampler=sampler)


@pytest.mark.parametrize('sampler', ['numpy', 'memomentum'])
def test_noise_of_images_goes_through_loading(sampler):
    loaded = loading.load(
        'digits_instance_0.4',
        probe_ratio=0.1,
        valid_ratio=0.1,
        train_examples=800,
        noise_sampler=sampler,
        seed=3,
        noise_seed=1,
    )
    arrays = DATASETS.get('digits')(None)
    indices = np.concatenate([loaded.train.indices, loaded.valid.indices])
    rest = np.sort(indices)
    expected = corrupt(
        arrays.train_labels[rest],
        'instance',
        0.4,
        'digits',
        10,
        1,
        sampler,
        images=arrays.train_images[rest],
    )
    assert loaded.noise.sha256 == expected.sha256
    assert 0.3 < loaded.noise.realised_rate < 0.5
    assert len(loaded.valid) == len(rest) // 10


def test_the_split_of_the_reference_needs_the_seed_of_the_noise_alone():
    def load(**more):
        return loading.load(
            'digits_symmetric_0.4',
            valid_ratio=0.1,
            noise_seed=1,
            noise_sampler='memomentum',
            **more,
        )

    train = noise_labels.memomentum_train_part(1297, 0.1, 1)
    for seed in (0, 7):
        loaded = load(seed=seed)
        np.testing.assert_array_equal(loaded.train.indices, np.sort(train))
        assert len(loaded.valid) == 1297 - int(0.9 * 1297)


@pytest.mark.parametrize(
    ('count', 'first', 'digest'),
    [
        (60000, [15281, 21435, 44536, 13518, 47529, 53560], '48c4837e82eff64c'),
        (50000, [26247, 35067, 34590, 16668, 12196, 2600], '94a1b4f5d876fe98'),
    ],
)
def test_the_split_has_the_published_hash(count, first, digest):
    train = noise_labels.memomentum_train_part(count, 0.1, 1)
    assert len(train) == count * 9 // 10
    assert list(train[:6]) == first
    assert sha256(train).startswith(digest)


def test_the_published_order_is_the_order_of_the_draws(monkeypatch):
    arrays = DATASETS.get('digits')(None)
    order = np.random.default_rng(0).permutation(len(arrays.train_labels))
    shuffled = dataset.Arrays(
        **vars(arrays)
        | {
            'train_images': arrays.train_images[order],
            'train_labels': arrays.train_labels[order],
            'published': order,
        }
    )
    request = ('digits_instance_0.4',)
    options = dict(valid_ratio=0.1, noise_sampler='memomentum', seed=1)
    plain = loading.load(*request, **options)
    monkeypatch.setitem(DATASETS._entries, 'digits', lambda _: shuffled)
    ours = loading.load(*request, **options)
    for split in ('train', 'valid'):
        one, two = getattr(plain, split), getattr(ours, split)
        places = order[two.indices]
        back = np.argsort(places)
        np.testing.assert_array_equal(places[back], one.indices)
        np.testing.assert_array_equal(two.labels[back], one.labels)
    # Ours keeps to the order in memory.
    options['noise_sampler'] = 'numpy'
    assert ours.noise.sha256 != loading.load(*request, **options).noise.sha256


@pytest.fixture(scope='module')
def mnist():
    return DATASETS.get('mnist')(str(paths.TFDS))


@pytest.mark.skipif(
    not (paths.TFDS / 'mnist').is_dir(),
    reason='mnist is not in TFDS_DATA_DIR or ../shared/data/tfds',
)
@pytest.mark.parametrize(
    'case',
    [
        'instance_0.2',
        'instance_0.4',
        'symmetric_0.2',
        'symmetric_0.4',
        'pairflip_0.45',
    ],
)
def test_mnist_has_the_published_hashes(case, mnist, monkeypatch):
    monkeypatch.setitem(DATASETS._entries, 'mnist', lambda data_dir: mnist)
    begin = time.perf_counter()
    loaded = loading.load(
        f'mnist_{case}', valid_ratio=0.1, seed=1, noise_sampler='memomentum'
    )
    assert time.perf_counter() - begin < 10.0
    both = np.concatenate([loaded.train.indices, loaded.valid.indices])
    order = np.argsort(mnist.published[np.sort(both)])
    clean, noisy = loaded.noise.clean[order], loaded.noise.noisy[order]
    assert sha256(clean).startswith('e474323ac02fc156')
    key = f'mnist/{case}'
    assert sha256(noisy) == GOLDEN[f'{key}/sha256_int64']
    assert loaded.noise.realised_rate == GOLDEN[f'{key}/realised_rate']
    # The parts of the reference, as sets.
    train = noise_labels.memomentum_train_part(60000, 0.1, 1)
    numbers = mnist.published[loaded.train.indices]
    np.testing.assert_array_equal(np.sort(numbers), np.sort(train))
    expected = GOLDEN[f'{key}/train_noisy_first20']
    np.testing.assert_array_equal(noisy[train[:20]], expected)
