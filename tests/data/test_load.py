"""Data sets and their splits."""

import dataclasses
import hashlib

import loading
import numpy as np
import paths
import pytest
from requested_noise import corrupt

from ieg.data import dataset as dataset_
from ieg.errors import UsageError
from ieg.registry import DATASETS

GOLDEN = dict(np.load(paths.GOLDEN / 'noise.npz'))


def splits(loaded):
    named = [loaded.train, loaded.probe, loaded.valid]
    return [split for split in named if split is not None]


@pytest.mark.parametrize('base', ['fake', 'digits'])
@pytest.mark.parametrize('probe_ratio', [0.0, 0.1])
@pytest.mark.parametrize('valid_ratio', [0.0, 0.2])
@pytest.mark.parametrize('train_examples', [0, 202])
def test_the_splits_share_no_example_and_miss_none(
    base, probe_ratio, valid_ratio, train_examples
):
    loaded = loading.load(
        f'{base}_uniform_0.4',
        probe_ratio=probe_ratio,
        valid_ratio=valid_ratio,
        train_examples=train_examples,
    )
    arrays = DATASETS.get(base)(None)
    indices = np.concatenate([split.indices for split in splits(loaded)])
    assert len(indices) == (train_examples or len(arrays.train_labels))
    assert len(set(indices)) == len(indices)
    for split in splits(loaded):
        assert split.indices.dtype == np.int64
        assert split.labels.dtype == split.clean_labels.dtype == np.int32
        assert split is loaded.probe or (np.diff(split.indices) > 0).all()
        np.testing.assert_array_equal(
            split.images, arrays.train_images[split.indices]
        )
        np.testing.assert_array_equal(
            split.clean_labels, arrays.train_labels[split.indices]
        )
        assert len(split) == len(split.labels) == len(split.images)
    assert (loaded.probe is None) == (probe_ratio == 0.0)
    assert (loaded.valid is None) == (valid_ratio == 0.0)


def test_the_probe_is_clean_and_balanced_and_the_rest_is_noisy():
    loaded = loading.load(
        'digits_symmetric_0.5', probe_ratio=0.1, valid_ratio=0.1
    )
    per_class = int(1297 * 0.1 / 10)
    np.testing.assert_array_equal(
        loaded.probe.labels, np.arange(10 * per_class) % 10
    )
    np.testing.assert_array_equal(
        loaded.probe.labels, loaded.probe.clean_labels
    )
    for split in (loaded.train, loaded.valid):
        wrong = np.mean(split.labels != split.clean_labels)
        assert 0.35 < wrong < 0.65
    np.testing.assert_array_equal(loaded.test.labels, loaded.test.clean_labels)


def test_validation_has_the_shares_of_the_noisy_classes():
    loaded = loading.load('digits_asymmetric_0.8', valid_ratio=0.25)
    assert len(loaded.valid) == int(1297 * 0.25)
    exact = np.bincount(loaded.noise.noisy) * 0.25
    assert np.abs(np.bincount(loaded.valid.labels) - exact).max() <= 1.0


def test_the_rows_of_the_noise_are_train_and_valid_by_index():
    loaded = loading.load('fake_uniform_0.4', probe_ratio=0.1, valid_ratio=0.2)
    indices = np.concatenate([loaded.train.indices, loaded.valid.indices])
    labels = np.concatenate([loaded.train.labels, loaded.valid.labels])
    order = np.argsort(indices)
    np.testing.assert_array_equal(labels[order], loaded.noise.noisy)


def test_a_seed_repeats_everything_and_another_changes_it():
    def fingerprint(**request):
        loaded = loading.load(
            'fake_uniform_0.4',
            **({'probe_ratio': 0.1, 'valid_ratio': 0.2} | request),
        )
        # The labels of the probe are always the same.
        noisy = [loaded.train.labels, loaded.valid.labels]
        parts = [split.indices for split in splits(loaded)] + noisy
        return [part.tobytes() for part in parts]

    assert fingerprint(seed=1) == fingerprint(seed=1)
    other = zip(fingerprint(seed=1), fingerprint(seed=2), strict=True)
    assert all(one != two for one, two in other)
    train = loading.load('fake_uniform_0.4', seed=1, noise_seed=9).train
    assert (train.labels != loading.load('fake_uniform_0.4').train.labels).any()
    again = loading.load('fake_uniform_0.4', seed=2, noise_seed=9).train
    np.testing.assert_array_equal(train.labels, again.labels)


def test_validation_leaves_the_noise_and_the_probe_as_they_are():
    one = loading.load('fake_uniform_0.4', probe_ratio=0.1)
    two = loading.load('fake_uniform_0.4', probe_ratio=0.1, valid_ratio=0.3)
    assert one.noise.sha256 == two.noise.sha256
    np.testing.assert_array_equal(one.probe.indices, two.probe.indices)


def test_a_subset_is_balanced():
    loaded = loading.load('digits', train_examples=103)
    counts = np.bincount(loaded.train.labels)
    assert sorted(counts) == [10] * 7 + [11] * 3


def test_the_sampler_reaches_the_noise():
    loaded = loading.load(
        'digits_uniform_0.4', noise_seed=7, noise_sampler='dividemix'
    )
    labels = DATASETS.get('digits')(None).train_labels
    expected = corrupt(labels, 'uniform', 0.4, 'digits', 10, 7, 'dividemix')
    assert loaded.noise.sha256 == expected.sha256


@pytest.fixture
def recorded(monkeypatch):
    """Lets both CIFAR sets have the labels of IEG's recordings, index mod C."""

    def replace(name, num_classes):
        pixels = np.zeros((50000, 1, 1, 1), np.uint8)
        labels = (np.arange(50000) % num_classes).astype(np.int32)
        arrays = dataset_.Arrays(
            train_images=pixels,
            train_labels=labels,
            test_images=pixels[:10],
            test_labels=labels[:10],
            class_names=tuple(map(str, range(num_classes))),
            padding=0,
            flip=False,
            mean=(0.5,),
            std=(0.5,),
        )
        monkeypatch.setitem(DATASETS._entries, name, lambda data_dir: arrays)

    replace('cifar10', 10)
    replace('cifar100', 100)


def assert_recorded(loaded, case):
    """Compares splits and labels with what IEG was recorded to draw."""
    golden = {
        key.removeprefix(f'ieg/{case}/'): value
        for key, value in GOLDEN.items()
        if key.startswith(f'ieg/{case}/')
    }

    def digest(values):
        return hashlib.sha256(values.astype('<i4').tobytes()).hexdigest()

    noisy = np.full(50000, -1)
    noisy[loaded.train.indices] = loaded.train.labels
    np.testing.assert_array_equal(noisy[:100], golden['noisy_first100'])
    assert digest(noisy) == golden['noisy_sha256']
    assert loaded.noise.realised_rate == golden['flip_rate']
    if 'probe_index' in golden:
        probe = loaded.probe
        np.testing.assert_array_equal(probe.indices, golden['probe_index'])
        assert digest(probe.indices) == golden['probe_index_sha256']
        assert digest(probe.labels) == golden['probe_label_sha256']
    else:
        assert loaded.probe is None


@pytest.mark.parametrize(
    'case',
    [
        'cifar10_uniform_0.4_p0',
        'cifar10_uniform_0.4_p0.002',
        'cifar10_uniform_0.4_p0.02',
        'cifar10_asymmetric_0.4_p0.02',
        'cifar100_uniform_0.4_p0.02',
    ],
)
def test_ieg_draws_probe_and_noise_as_its_code_does(case, recorded):
    dataset, _, ratio = case.rpartition('_p')
    loaded = loading.load(
        dataset, probe_ratio=float(ratio), seed=12345, noise_sampler='ieg'
    )
    assert_recorded(loaded, case)


def test_the_seed_of_the_noise_is_enough_for_the_draws_of_ieg(recorded):
    def load(**more):
        return loading.load(
            'cifar10_uniform_0.4',
            probe_ratio=0.02,
            noise_seed=12345,
            noise_sampler='ieg',
            **more,
        )

    assert_recorded(load(seed=1), 'cifar10_uniform_0.4_p0.02')
    whole, part = load(), load(valid_ratio=0.1)
    assert part.noise.sha256 == whole.noise.sha256
    np.testing.assert_array_equal(part.probe.indices, whole.probe.indices)


def test_ieg_splits_a_subset_too():
    loaded = loading.load(
        'digits_uniform_0.4',
        train_examples=400,
        probe_ratio=0.1,
        valid_ratio=0.1,
        noise_sampler='ieg',
    )
    np.testing.assert_array_equal(loaded.probe.labels, np.arange(40) % 10)
    np.testing.assert_array_equal(
        loaded.probe.labels, loaded.probe.clean_labels
    )
    indices = np.concatenate([split.indices for split in splits(loaded)])
    assert len(set(indices)) == 400
    assert 0.2 < loaded.noise.realised_rate < 0.5
    subset = loading.load('digits', train_examples=400).train.indices
    assert set(indices) == set(subset)


def test_without_noise_all_samplers_have_the_same_probe():
    one, two = (
        loading.load('fake', probe_ratio=0.1, noise_sampler=sampler)
        for sampler in ('numpy', 'ieg')
    )
    np.testing.assert_array_equal(one.probe.indices, two.probe.indices)


def test_noisy_labels_drawn_earlier_are_used_if_they_are_asked_for():
    def load(frozen=None, **request):
        given = {'noise_sampler': 'ieg', 'probe_ratio': 0.1} | request
        return loading.load('fake_uniform_0.4', frozen=frozen, **given)

    drawn = load().noise
    other = dataclasses.replace(drawn, noisy=drawn.noisy[::-1].copy())
    assert load(other).noise is other
    np.testing.assert_array_equal(load(other).train.labels, other.noisy)
    for change in (
        {'noise_sampler': 'numpy'},
        {'noise_seed': 5},
        {'probe_ratio': 0.2},
    ):
        assert load(other, **change).noise is not other


def preprocessing(dataset, **options):
    return loading.load(dataset, **options).preprocessing


def test_padding_and_scaling_are_those_of_the_data_set_or_as_asked():
    usual = preprocessing('fake')
    arrays = DATASETS.get('fake')(None)
    assert usual.padding == arrays.padding
    assert (usual.mean, usual.std) == (arrays.mean, arrays.std)
    for padding in (0, 3, 7):
        assert preprocessing('fake', crop_padding=padding).padding == padding
    symmetric = preprocessing('fake', scaling='symmetric')
    assert symmetric.mean == symmetric.std == (0.5, 0.5, 0.5)
    assert preprocessing('digits', scaling='symmetric').mean == (0.5,)


def test_symmetric_scaling_leads_to_minus_one_and_one():
    from ieg.data.augment import views

    recipe = preprocessing('fake', scaling='symmetric')
    images = np.array([[[[0, 51, 255]]]], np.uint8)
    found = views.plain(images, None, recipe)
    np.testing.assert_allclose(found, [[[[-1, -0.6, 1]]]], atol=1e-6)


def test_without_noise_the_labels_are_the_true_ones():
    loaded = loading.load('fake')
    assert loaded.noise is None
    np.testing.assert_array_equal(
        loaded.train.labels, loaded.train.clean_labels
    )


@pytest.mark.parametrize(
    ('request_', 'words'),
    [
        (
            {'probe_ratio': 0.001},
            r'^--probe_dataset_hold_ratio=0\.001 of 256 .* 0 per class, but '
            r'there must be at least 1 .* choose 0\.0157 or more\.$',
        ),
        ({'crop_padding': 8}, '--crop_padding=8 .* 8 x 8 .* from 0 to 7'),
        ({'crop_padding': -2}, '--crop_padding=-2 .* usual 1'),
        ({'scaling': 'linear'}, "no scaling 'linear'"),
        ({'valid_ratio': 0.001}, 'leaves none for validation'),
        ({'train_examples': 3}, 'choose from 4'),
        ({'train_examples': 257}, r'to 256 \(all'),
        ({'train_examples': -4}, 'subset of -4'),
        ({'noise_sampler': 'coteaching'}, 'no uniform noise'),
        ({'noise_sampler': 'torch'}, "no noise sampler 'torch'"),
    ],
)
def test_an_impossible_request_is_named(request_, words):
    with pytest.raises(UsageError, match=words) as caught:
        loading.load('fake_uniform_0.4', **request_)
    assert '\n' not in str(caught.value)


def test_a_probe_must_leave_some_of_each_class():
    words = '128 per class.*fewer than the 126.*choose a smaller share'
    with pytest.raises(UsageError, match=words):
        loading.load('digits', probe_ratio=0.99)


def test_the_least_probe_share_that_is_named_works():
    loaded = loading.load('fake_uniform_0.4', probe_ratio=0.0157)
    assert list(loaded.probe.labels) == [0, 1, 2, 3]


def test_fetch_gathers_eagerly_and_in_a_graph():
    import tensorflow as tf

    train = loading.load('fake', train_examples=40).train
    ids = tf.constant([3, 0, 39, 3], tf.int64)
    seeds = tf.zeros([4, 2], tf.int32)
    graph = tf.function(train.fetch)(ids, seeds)
    for images in (graph, train.fetch(ids, seeds)):
        assert images.dtype == tf.uint8
        np.testing.assert_array_equal(images, train.images[[3, 0, 39, 3]])


@pytest.mark.parametrize(
    ('base', 'train', 'test'), [('digits', 1297, 500), ('fake', 256, 128)]
)
def test_built_in_sets_are_whole_and_always_the_same(base, train, test):
    one, two = DATASETS.get(base)(None), DATASETS.get(base)(None)
    assert one.train_images.shape[0] == len(one.train_labels) == train
    assert one.test_images.shape[0] == len(one.test_labels) == test
    assert one.train_images.dtype == one.test_images.dtype == np.uint8
    np.testing.assert_array_equal(one.train_images, two.train_images)
    np.testing.assert_array_equal(one.test_labels, two.test_labels)
    shares = [
        np.bincount(labels) / len(labels)
        for labels in (one.train_labels, one.test_labels)
    ]
    np.testing.assert_allclose(*shares, atol=0.005)
    scaled = one.train_images / 255
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), one.mean, atol=0.01)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), one.std, atol=0.01)


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    arrays = DATASETS.get('digits')(None)
    images = np.concatenate([arrays.train_images, arrays.test_images])
    sixteenths = np.rint(images[..., 0] * (16 / 255)).astype(np.uint8)
    original = load_digits().images.astype(np.uint8)
    assert images.max() == 255
    assert sorted(map(bytes, sixteenths)) == sorted(map(bytes, original))


def test_a_fake_class_is_learnt_by_its_nearest_mean():
    arrays = DATASETS.get('fake')(None)
    pixels = arrays.train_images.reshape(256, -1).astype(float)
    means = [pixels[arrays.train_labels == c].mean(0) for c in range(4)]
    test = arrays.test_images.reshape(128, 1, -1).astype(float)
    nearest = ((test - np.stack(means)) ** 2).sum(-1).argmin(1)
    assert np.mean(nearest == arrays.test_labels) > 0.95


def test_a_data_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match='no data folder .*nowhere'):
        loading.load('mnist', data_dir=str(tmp_path / 'nowhere'))
