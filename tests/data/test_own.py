"""Data sets of image files: what becomes of what a reader found."""

import csv

import loading
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pipelines import assert_same, collect, make
from tiny_sets import Made, make_folder, make_imagenet_val

from ieg.errors import UsageError
from ieg.methods.base import Phase, Stream

STREAMED = 72  # Pixels; smaller ones are held in memory.


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp('sets'))


@pytest.fixture(scope='module')
def folder(made):
    return made('folder')[0]


def load(name, folder, **options):
    return loading.load(name, data_dir=str(folder), **options)


def listed(name, folder, **options):
    """Loads a data set whose images are not decoded, which takes longer."""
    return load(name, folder, image_size=STREAMED, **options)


def write(path, colour, size=(20, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, colour).save(path)


def coloured(tmp_path, count=10, splits=('train', 'test')):
    """Class folders whose images have one colour each."""
    for place, split in enumerate(splits):
        for number in range(count):
            shade = 10 * number + place
            write(tmp_path / split / 'red' / f'{number}.png', (250, shade, 0))
            write(tmp_path / split / 'blue' / f'{number}.png', (shade, 0, 250))
    return tmp_path


# In memory or from files.


def test_small_images_are_held_in_memory_and_shifted(folder):
    found = load('folder', folder, image_size=32)
    assert found.train.images.shape[1:] == found.image_shape == (32, 32, 3)
    assert found.preprocessing.padding == 4 and found.in_memory
    pixels = found.train.images.reshape(-1, 3) / 255
    np.testing.assert_allclose(
        found.preprocessing.mean, pixels.mean(axis=0), atol=1e-9
    )
    np.testing.assert_allclose(
        found.preprocessing.std, pixels.std(axis=0), atol=1e-9
    )


def test_large_images_stay_in_their_files(folder):
    found = load('folder', folder, image_size=STREAMED)
    assert not found.in_memory and found.preprocessing.padding == 0
    assert found.image_shape == (STREAMED, STREAMED, 3)
    ids = np.arange(3)
    plain = found.train.fetch(ids, None).numpy()
    np.testing.assert_array_equal(plain, found.train.fetch(ids, None))
    cropped = found.train.fetch(ids, np.array([[1, 2], [3, 4], [5, 6]]))
    assert plain.shape == cropped.shape and np.any(plain != cropped)


def test_images_in_memory_are_the_files_in_order(tmp_path):
    found = load('folder', coloured(tmp_path))
    assert found.class_names == ('blue', 'red')
    for split in (found.train, found.test):
        reddish = split.images[:, 0, 0, 0] > split.images[:, 0, 0, 2]
        np.testing.assert_array_equal(split.labels, reddish.astype(int))


def test_grey_images_have_one_channel_and_are_not_mirrored(tmp_path):
    for name in ('a', 'b'):
        for number in range(6):
            path = tmp_path / name / f'{number}.png'
            path.parent.mkdir(exist_ok=True)
            Image.new('L', (30, 30), 20 * number).save(path)
    found = load('folder', tmp_path)
    assert found.image_shape == (32, 32, 1) and not found.preprocessing.flip
    assert load('folder', tmp_path, flip='on').preprocessing.flip


# Parts.


def test_without_a_test_part_a_fifth_is_held_out_whatever_the_seed(tmp_path):
    found = load('folder', coloured(tmp_path / 'x', 10, ('',)), seed=1)
    other = load('folder', tmp_path / 'x', seed=2)
    assert (len(found.train), len(found.test)) == (16, 4)
    np.testing.assert_array_equal(found.test.images, other.test.images)
    everything = np.concatenate([found.train.images, found.test.images])
    assert len(np.unique(everything.reshape(20, -1), axis=0)) == 20
    assert any(text.startswith('No test set found') for text in found.remarks)


@pytest.mark.parametrize('name', ['folder', 'csv'])
def test_an_index_is_a_place_in_what_the_owner_listed(tmp_path, name):
    paths = sorted(coloured(tmp_path / 'x', 10, ('',)).glob('*/*.png'))
    paths[3].write_text('no image')
    given = tmp_path / 'x'
    if name == 'csv':
        # Any order but that of the classes.
        paths = paths[::2] + paths[1::2]
        given = tmp_path / 'x' / 'labels.csv'
        rows = [f'{path},{path.parent.name}\n' for path in paths]
        given.write_text(''.join(['path,label\n', *rows]))
    found = listed(name, given, valid_ratio=0.2)
    indices = []
    for split in (found.train, found.valid, found.test):
        names = [str(paths[index]) for index in split.indices]
        assert names == [str(name) for name in split.names]
        indices += split.indices.tolist()
    assert len(set(indices)) == len(indices) == 19


def test_too_few_images_to_hold_some_out_are_refused(tmp_path):
    with pytest.raises(UsageError, match='too few to hold a test part out'):
        load('folder', coloured(tmp_path / 'x', 1, ('',)))


def test_nobody_knows_the_true_labels_of_a_folder(folder):
    found = listed('folder', folder)
    assert found.train.clean_labels is None and found.noise is None
    with pytest.raises(UsageError, match='--probe_dir'):
        load('folder', folder, probe_ratio=0.1)


def test_noise_may_be_put_on_a_folder_that_is_right(tmp_path):
    coloured(tmp_path, 20)
    found = listed('folder_symmetric_0.3', tmp_path, probe_ratio=0.2)
    assert found.noise.realised_rate > 0.1
    np.testing.assert_array_equal(found.probe.labels, [0, 1] * 4)
    wrong = found.train.labels != found.train.clean_labels
    assert wrong.mean() == found.noise.realised_rate


def test_a_probe_folder_is_the_probe_class_by_class(tmp_path):
    coloured(tmp_path / 'own')
    coloured(tmp_path / 'more', 3, ('',))
    write(tmp_path / 'more' / 'red' / 'one more.png', (255, 0, 9))
    found = load(
        'folder',
        tmp_path / 'own',
        probe_dir=str(tmp_path / 'more'),
        probe_ratio=0.1,
    )
    np.testing.assert_array_equal(found.probe.labels, [0, 1] * 3)
    reddish = found.probe.images[:, 0, 0, 0] > found.probe.images[:, 0, 0, 2]
    np.testing.assert_array_equal(found.probe.labels, reddish.astype(int))
    assert len(found.train) == 20


def test_own_validation_images_win_over_a_share(tmp_path):
    coloured(tmp_path, 10, ('train', 'test', 'valid'))
    found = listed('folder', tmp_path, valid_ratio=0.25)
    assert (len(found.train), len(found.valid)) == (20, 20)


# Bad files.


def test_what_is_no_image_is_left_out_and_said(tmp_path):
    coloured(tmp_path)
    (tmp_path / 'train' / 'red' / 'bad.jpg').write_text('no image')
    whole = (tmp_path / 'train' / 'red' / '3.png').read_bytes()
    (tmp_path / 'train' / 'blue' / 'cut.png').write_bytes(whole[:-30])
    found = listed('folder', tmp_path)
    assert len(found.train) == 20
    names = [path.rpartition('/')[2] for path, _ in found.skipped]
    assert names == ['cut.png', 'bad.jpg'] and all(r for _, r in found.skipped)
    assert any(text.startswith('2 of 42 files') for text in found.remarks)


def test_a_class_without_any_image_is_a_usage_error(tmp_path):
    coloured(tmp_path)
    for path in (tmp_path / 'train' / 'red').iterdir():
        path.write_bytes(b'')
    with pytest.raises(UsageError, match=r"class 'red' can be read; .*png"):
        load('folder', tmp_path)


# Tables and arrays.


def test_a_table_with_true_labels_has_a_known_noise(made):
    folder, _ = made('csv')
    path = f'{folder}/labels.csv'
    with open(path, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    found = listed('csv', path)
    train = [row for row in rows if row.get('split', 'train') == 'train']
    wrong = np.mean([row['label'] != row['clean_label'] for row in train])
    assert 0 < wrong == found.noise.realised_rate
    np.testing.assert_array_equal(found.noise.noisy, found.train.labels)
    names = [found.class_names[label] for label in found.train.clean_labels]
    assert names == [row['clean_label'] for row in train]
    with pytest.raises(UsageError, match='wrong labels of its own'):
        load('csv_symmetric_0.2', path)


def test_arrays_are_taken_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 9, 11, 3), dtype=np.uint8)
    labels = np.arange(30) % 3
    path = tmp_path / 'mine.npz'
    np.savez(
        path,
        x_train=images,
        y_train=labels,
        x_test=images[:6],
        y_test=labels[:6],
    )
    found = load('npz', path)
    np.testing.assert_array_equal(found.train.images, images)
    np.testing.assert_array_equal(found.test.labels, labels[:6])
    assert found.image_shape == (9, 11, 3) and found.preprocessing.flip
    with pytest.raises(UsageError, match='--image_size=16 is not used by'):
        load('npz', path, image_size=16)


def test_test_images_have_the_true_labels_where_they_are_known(made):
    folder, _ = made('csv')
    found = listed('csv', f'{folder}/labels.csv')
    np.testing.assert_array_equal(found.test.labels, found.test.clean_labels)


def test_labels_that_change_in_the_file_change_in_the_next_run(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    clean, path = np.arange(40) % 2, tmp_path / 'x.npz'
    noisy = [clean.copy(), clean.copy()]
    noisy[0][[0, 2]] = 1
    noisy[1][[4, 6]] = 1
    found = []
    for labels in noisy:
        np.savez(path, x_train=images, y_train=labels, clean_train=clean)
        frozen = found[0].noise if found else None
        found.append(load('npz', path, frozen=frozen))
    one, two = found
    assert np.any(one.noise.noisy != two.noise.noisy)
    assert one.fingerprint != two.fingerprint


def test_a_file_that_is_there_twice_is_on_one_side(tmp_path):
    for number in range(20):
        for name in ('a', 'b'):
            write(tmp_path / name / f'{number}.png', (number, 0, ord(name)))
            write(tmp_path / name / f'{number}x.png', (number, 0, ord(name)))
    found = load('folder', tmp_path)
    one, two = (
        {image.tobytes() for image in split.images}
        for split in (found.train, found.test)
    )
    assert two and not one & two


def test_two_folders_of_equal_counts_are_two_data_sets(tmp_path):
    one, two = coloured(tmp_path / 'one'), coloured(tmp_path / 'two')
    assert (
        listed('folder', one).fingerprint == listed('folder', two).fingerprint
    )
    (two / 'train' / 'red' / '3.png').rename(two / 'train' / 'blue' / 'x.png')
    (two / 'train' / 'blue' / '4.png').rename(two / 'train' / 'red' / 'y.png')
    assert (
        listed('folder', one).fingerprint != listed('folder', two).fingerprint
    )


def test_the_same_folder_twice_has_the_same_labels_and_another_has_others(
    tmp_path,
):
    make_folder(str(tmp_path / 'a'))
    make_folder(str(tmp_path / 'b'), noise=0.0)
    one, again, other = (
        listed('folder', tmp_path / name).labels_sha256 for name in 'aab'
    )
    assert one == again != other


# Published sets.


@pytest.mark.parametrize(
    ('name', 'classes'),
    [
        ('webvision', 50),
        ('webvision_tfds', 50),
        ('clothing1m', 14),
        ('animal10n', 10),
        ('food101n', 101),
    ],
)
def test_a_published_set_loads_from_its_layout(made, name, classes):
    folder, true = made(name)
    base = 'webvisionmini' if name.startswith('webvision') else name
    found = load(base, folder, image_size=48)
    assert found.num_classes == classes and found.preprocessing.flip
    assert len(found.train) and len(found.test)
    assert found.in_memory and found.train.clean_labels is None


def test_validation_images_of_imagenet_are_a_further_test_set(made, tmp_path):
    folder = made.copy('webvision', tmp_path)
    make_imagenet_val(folder)
    found = load(
        'webvisionmini', folder, image_size=32, use_imagenet_as_eval=True
    )
    assert set(found.further) == {'imagenet'}
    assert found.split('imagenet') is found.further['imagenet']
    assert set(found.split('imagenet').labels) == set(range(50))
    with pytest.raises(UsageError, match='use_imagenet_as_eval=True is not'):
        load('digits', None, use_imagenet_as_eval=True)


# Batches.


STREAMS = {'pair': Stream(4, ('weak', 'weak')), 'train': Stream(8)}


def test_streamed_batches_do_not_depend_on_the_replicas(folder, two_replicas):
    found = load('folder', folder, image_size=STREAMED)
    everything = np.arange(len(found.train))
    phase = Phase('step', {'train': everything, 'pair': everything[:9]}, 3)
    one, two = (
        collect(make(found, strategy, streams=STREAMS), strategy, phase)
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    assert len(one) == len(two) == 3
    for ours, theirs in zip(one, two, strict=True):
        for stream in STREAMS:
            np.testing.assert_array_equal(
                ours[stream]['index'], theirs[stream]['index']
            )
            assert_same(ours[stream]['images'], theirs[stream]['images'])
    first, second = one[0]['pair']['images']
    assert np.any(first != second)
