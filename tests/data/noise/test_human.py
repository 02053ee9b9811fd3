"""Labels that people gave, from every kind of file."""

import loading
import numpy as np
import pytest
from human_files import COUNT, WRITERS, WRONG, made_arrays, write_npz, write_pt
from paths import SHARED, TFDS

from ieg.data import dataset
from ieg.data import spec as spec_
from ieg.data.noise import human as human_labels
from ieg.data.sets import tfds as tfds_sets
from ieg.errors import UsageError
from ieg.registry import DATASETS

FILES = SHARED / 'cifar_n'


@pytest.fixture
def arrays():
    return made_arrays()


@pytest.fixture
def order(arrays, monkeypatch):
    """Makes a small cifar10 in another order; returns the numbers in it."""
    numbers = np.random.default_rng(1).permutation(COUNT)
    labels = arrays['clean_label'][numbers].astype(np.int32)
    pixels = np.zeros((COUNT, 1, 1, 1), np.uint8)
    small = dataset.Arrays(
        train_images=pixels,
        train_labels=labels,
        test_images=pixels[:10],
        test_labels=labels[:10],
        class_names=tuple('0123456789'),
        padding=0,
        flip=False,
        mean=(0.5,),
        std=(0.5,),
        published=numbers,
    )
    monkeypatch.setitem(DATASETS._entries, 'cifar10', lambda data_dir: small)
    return numbers


@pytest.mark.parametrize('name', WRITERS)
def test_all_formats_are_read_and_joined_by_number(
    name, arrays, order, tmp_path
):
    path = tmp_path / name
    WRITERS[name](path, arrays)
    loaded = loading.load('cifar10n_aggre', human_labels=str(path))
    expected = arrays['aggre_label'][order]
    np.testing.assert_array_equal(loaded.train.labels, expected)
    noise = loaded.noise
    assert (noise.kind, noise.rate) == ('aggre', None)
    assert noise.realised_rate == pytest.approx(WRONG / COUNT)
    assert noise.noisy.dtype == np.int32
    assert noise.transition[3, 4] > 0


def test_the_default_variant_and_the_older_name_of_its_key():
    human = human_labels.HUMAN_SETS['cifar100n']
    clean = np.arange(1000) % 100
    given = np.where(np.arange(1000) < 402, (clean + 1) % 100, clean)
    for key in human.variants['noisy'].keys:
        found = human_labels.join(
            {'clean_label': clean, key: given},
            'cifar100n', 'noisy', clean, None, 'a file',
        )  # fmt: skip
        np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize('name', human_labels.HUMAN_SETS['cifar10n'].files)
def test_the_usual_names_are_found_in_the_data_folder(
    name, arrays, order, tmp_path
):
    (write_pt if name.endswith('pt') else write_npz)(
        tmp_path / 'written.npz', arrays
    )
    (tmp_path / 'written.npz').rename(tmp_path / name)
    loaded = loading.load('cifar10n_aggre', data_dir=str(tmp_path))
    expected = arrays['aggre_label'][order]
    np.testing.assert_array_equal(loaded.train.labels, expected)


def test_files_in_the_order_of_tfds_are_told_by_their_clean_labels(
    arrays, order, tmp_path
):
    path = tmp_path / 'ordered.npz'
    write_npz(path, {name: a[order] for name, a in arrays.items()})
    loaded = loading.load('cifar10n_aggre', human_labels=str(path))
    expected = arrays['aggre_label'][order]
    np.testing.assert_array_equal(loaded.train.labels, expected)


def test_the_set_of_tfds_is_read(arrays, order, tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    shown = np.random.default_rng(2).permutation(COUNT)
    label = tfds.features.ClassLabel(num_classes=10)
    tfds.dataset_builders.store_as_tfds_dataset(
        name='cifar10_n',
        version='1.0.4',
        features=tfds.features.FeaturesDict(
            {'id': tfds.features.Text(), 'label': label, 'aggre_label': label}
        ),
        split_datasets={
            'train': tf.data.Dataset.from_tensor_slices(
                {
                    'id': [f'train_{number:05d}' for number in shown],
                    'label': arrays['clean_label'][shown],
                    'aggre_label': arrays['aggre_label'][shown],
                }
            )
        },
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    loaded = loading.load('cifar10n_aggre', data_dir=str(tmp_path))
    expected = arrays['aggre_label'][order]
    np.testing.assert_array_equal(loaded.train.labels, expected)


@pytest.mark.parametrize('version', ['1.0.0', '1.0.1'])
def test_an_old_set_of_tfds_is_refused(version, order, tmp_path):
    (tmp_path / 'cifar10_n' / version).mkdir(parents=True)
    words = f'cifar10_n {version} .* other images: build version 1.0.2'
    with pytest.raises(UsageError, match=words):
        loading.load('cifar10n_aggre', data_dir=str(tmp_path))


def test_splits_and_long_tail_keep_the_labels_of_the_images(
    arrays, order, tmp_path
):
    path = tmp_path / 'labels.npz'
    write_npz(path, arrays)
    loaded = loading.load(
        'cifar10n_imbal_0.5_aggre',
        probe_ratio=0.1,
        valid_ratio=0.1,
        human_labels=str(path),
    )
    for split in (loaded.train, loaded.valid):
        numbers = order[split.indices]
        np.testing.assert_array_equal(
            split.labels, arrays['aggre_label'][numbers]
        )
        np.testing.assert_array_equal(
            split.clean_labels, arrays['clean_label'][numbers]
        )
    probe = loaded.probe
    np.testing.assert_array_equal(probe.labels, probe.clean_labels)


def swapped(arrays):
    both = arrays['clean_label'].copy()
    both[0], both[1] = (both[0] + 1) % 10, (both[1] + 1) % 10
    return {**arrays, 'clean_label': both}


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            lambda a: {name: values[:-1] for name, values in a.items()},
            r'clean_label .* shape \(1109,\), but there are 1110 .* images',
        ),
        (
            lambda a: {**a, 'aggre_label': a['aggre_label'][:, None]},
            r'aggre_label .* shape \(1110, 1\)',
        ),
        (
            lambda a: {**a, 'aggre_label': a['aggre_label'] + 1},
            'aggre_label .* does not hold classes 0 to 9',
        ),
        (
            lambda a: {**a, 'aggre_label': a['aggre_label'] / 1},
            'aggre_label .* does not hold classes',
        ),
        (swapped, 'clean labels .* not those of the images .* order'),
        (
            lambda a: {name: values[::-1] for name, values in a.items()},
            r'clean labels .*\(at \d+% of the places',
        ),
        (
            lambda a: {**a, 'aggre_label': a['clean_label']},
            r'0\.000% are wrong and not the published 9\.010%',
        ),
        (
            lambda a: {
                'clean_label': a['clean_label'],
                'odd': a['clean_label'],
            },
            'has no array aggre_label, only clean_label, odd',
        ),
        (lambda a: {'aggre_label': a['aggre_label']}, 'no array clean_label'),
    ],
)
def test_wrong_labels_are_one_sentence(change, words, arrays, order, tmp_path):
    path = tmp_path / 'labels.npz'
    write_npz(path, change(arrays))
    with pytest.raises(UsageError, match=words) as caught:
        loading.load('cifar10n_aggre', human_labels=str(path))
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_labels_at_all_are_one_sentence(order, tmp_path):
    words = 'neither a file in .* nor the TFDS set cifar10_n: copy CIFAR-10_h'
    with pytest.raises(UsageError, match=words):
        loading.load('cifar10n_worse', data_dir=str(tmp_path))
    with pytest.raises(UsageError, match='there is no file .*nothing.npz'):
        loading.load(
            'cifar10n_worse', human_labels=str(tmp_path / 'nothing.npz')
        )


def test_a_file_for_nothing_is_named():
    words = '--human_labels=x.npz is not used by fake_uniform_0.4, only by cif'
    with pytest.raises(UsageError, match=words):
        loading.load('fake_uniform_0.4', human_labels='x.npz')


def test_no_sampler_of_a_reference_code_has_human_labels():
    with pytest.raises(UsageError, match="'memomentum' .* no worse noise"):
        loading.load('cifar10n_worse', noise_sampler='memomentum')


def test_numbers_come_from_the_ids_of_tfds():
    ids = [b'train_00123', b'train_49999', b'train_00000']
    np.testing.assert_array_equal(tfds_sets.numbers_of(ids), [123, 49999, 0])


def test_the_rates_that_methods_are_told_are_the_published_ones():
    for name, human in human_labels.HUMAN_SETS.items():
        for variant, labels in human.variants.items():
            spec = spec_.parse(f'{name}_{variant}')
            assert spec.expected_noise_rate == labels.rate
            tail = spec_.parse(f'{name}_imbal_0.1_{variant}')
            assert tail.expected_noise_rate is None


@pytest.mark.parametrize(
    ('text', 'rate'),
    [
        ('mnist_instance_0.4', 0.4),
        ('cifar10_cores_0.2', 0.2),
        ('cifar10_imbal_0.1_uniform_0.4', 0.36),
        ('cifar10_asymmetric_0.4', 0.2),
        ('cifar10_imbal_0.1_asymmetric_0.4', None),
        ('cifar100_imbal_0.1_asymmetric_0.4', 0.4),
        ('cifar10_imbal_0.1', None),
        ('tfds:beans_symmetric_0.4', 0.4),
        # It depends on the number of classes.
        ('tfds:beans_uniform_0.4', None),
    ],
)
def test_the_share_of_wrong_labels_that_a_name_promises(text, rate):
    spec = spec_.parse(text)
    expected = rate if rate is None else pytest.approx(rate)
    assert spec.expected_noise_rate == expected
    # Their features have the same labels, and no recipe.
    features = spec.of_features
    assert features.expected_noise_rate == expected
    assert not features.has_recipe


def needs(name):
    """Skips where data are not on this machine."""
    there = (TFDS / name).is_dir() and (FILES / f'{name}n.npz').is_file()
    reason = f'{name} or its human labels are not in ../shared/data'
    return pytest.mark.skipif(not there, reason=reason)


@pytest.fixture(scope='module')
def numbered():
    """Returns a function that reads labels and numbers, once for each set."""
    import tensorflow_datasets as tfds

    known = {}

    def read(base):
        if base not in known:
            decoders = tfds.decode.PartialDecoding({'id', 'label'})
            builder = tfds_sets.tfds_builder(base, str(TFDS))
            found = tfds_sets._whole(builder, 'train', decoders=decoders)
            known[base] = (
                found['label'].numpy().astype(np.int32),
                tfds_sets.numbers_of(found['id'].numpy()),
            )
        return known[base]

    return read


@pytest.mark.parametrize(
    ('base', 'variant', 'rate'),
    [
        pytest.param(human.base, variant, found.rate, marks=needs(human.base))
        for human in human_labels.HUMAN_SETS.values()
        for variant, found in human.variants.items()
    ],
)
def test_the_real_files_have_the_published_rates(base, variant, rate, numbered):
    clean, numbers = numbered(base)
    path = str(FILES / f'{base}n.npz')
    arrays = human_labels.read(path)
    given = human_labels.join(arrays, f'{base}n', variant, clean, numbers, path)
    assert np.mean(given != clean) == pytest.approx(rate, abs=1e-6)
    np.testing.assert_array_equal(arrays['clean_label'][numbers], clean)
    # TFDS itself sorts by a hash of the numbers.
    np.testing.assert_array_equal(
        tfds_sets.shuffled_by_tfds('train', 50000), numbers
    )


@pytest.mark.slow
@needs('cifar10')
def test_the_real_labels_meet_the_real_images():
    path = str(FILES / 'cifar10n.npz')
    loaded = loading.load(
        'cifar10n_worse', data_dir=str(TFDS), human_labels=path
    )
    assert loaded.noise.realised_rate == pytest.approx(0.40208)
    # Truck -> automobile, cat -> dog.
    assert loaded.noise.transition[9, 1] == pytest.approx(0.28, abs=0.01)
    assert loaded.noise.transition[3, 5] == pytest.approx(0.21, abs=0.01)
