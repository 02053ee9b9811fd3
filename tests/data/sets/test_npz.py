"""Images and labels that are arrays in an .npz file."""

import os
import zipfile

import numpy as np
import pytest
from loading import load

from ieg.data.noise import human
from ieg.data.sets.npz import read_npz
from ieg.errors import UsageError
from ieg.predict import inputs
from ieg.utils import arrays

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 4, 5, 3), np.uint8)
GREY = RGB[..., 0]
LABELS = np.array([3, 1, 1, 9, 3, 9])
STRINGS = np.array(['c10', 'c2', 'c2', 'é', 'c10', 'é'])


@pytest.fixture
def save(tmp_path):
    """Returns a function that saves arrays, and returns the path."""

    def save(**arrays):
        path = str(tmp_path / 'data.npz')
        np.savez(path, **arrays)
        return path

    return save


def refusal(path):
    """Returns the sentence that refuses a file."""
    with pytest.raises(UsageError) as caught:
        read_npz(path)
    return str(caught.value)


def columns(part):
    """Returns the images, labels and clean labels of a part."""
    return part.images.array, part.labels, part.clean


def test_training_arrays(save):
    found = read_npz(save(x_train=RGB, y_train=LABELS))
    assert found.class_names == ('1', '3', '9')
    images, labels, clean = columns(found.parts['train'])
    np.testing.assert_array_equal(images, RGB)
    assert images.dtype == np.uint8
    assert labels.tolist() == [1, 0, 0, 2, 1, 2]
    assert labels.dtype == np.int32
    assert clean is None
    assert list(found.parts) == ['train']
    assert found.remarks == ()


@pytest.mark.parametrize(
    'names',
    [
        ('x_{}', 'y_{}', 'clean_train', 'valid'),
        ('{}_images', '{}_labels', 'clean_labels', 'valid'),
        ('x_{}', 'y_{}', 'clean_train', 'val'),
        ('{}_images', '{}_labels', 'clean_train', 'val'),
    ],
)
def test_all_arrays(save, names):
    x, y, clean, valid = names
    arrays = {clean: LABELS[::-1]}
    for place, part in enumerate(['train', 'test', valid, 'probe']):
        arrays[x.format(part)] = RGB + np.uint8(place)
        arrays[y.format(part)] = np.roll(LABELS, place)
    found = read_npz(save(**arrays))
    assert set(found.parts) == {'train', 'test', 'valid', 'probe'}
    for place, part in enumerate(['train', 'test', 'valid', 'probe']):
        images, labels, clean = columns(found.parts[part])
        np.testing.assert_array_equal(images, RGB + np.uint8(place))
        wanted = np.roll([1, 0, 0, 2, 1, 2], place)
        np.testing.assert_array_equal(labels, wanted)
        assert (clean is None) == (part != 'train')
    assert found.parts['train'].clean.tolist() == [2, 1, 2, 0, 0, 1]
    assert found.parts['train'].clean.dtype == np.int32


def test_images_and_labels_alone(save):
    path = save(images=GREY, labels=LABELS, clean_labels=LABELS)
    images, labels, clean = columns(read_npz(path).parts['train'])
    np.testing.assert_array_equal(images, GREY[..., None])
    np.testing.assert_array_equal(labels, clean)


def test_class_of_clean_labels_only(save):
    clean = np.array([3, 1, 1, 7, 3, 9])
    found = read_npz(save(images=GREY, labels=LABELS, clean_labels=clean))
    assert found.class_names == ('1', '3', '7', '9')
    assert found.parts['train'].clean.tolist() == [1, 0, 0, 2, 1, 3]


@pytest.mark.parametrize('images', [GREY, GREY[..., None], RGB])
@pytest.mark.parametrize(
    'labels',
    [LABELS[:, None], LABELS.astype(np.uint64), LABELS.astype(np.int8)],
)
def test_shapes_and_types(save, images, labels):
    found = read_npz(save(images=images, labels=labels))
    channels = 3 if images is RGB else 1
    assert found.parts['train'].images.array.shape == (6, 4, 5, channels)
    assert found.parts['train'].labels.tolist() == [1, 0, 0, 2, 1, 2]


@pytest.mark.parametrize(
    'labels', [STRINGS, np.char.encode(STRINGS, 'utf-8'), STRINGS[:, None]]
)
def test_labels_that_are_strings(save, labels):
    found = read_npz(save(images=GREY, labels=labels))
    assert found.class_names == ('c2', 'c10', 'é')
    assert found.parts['train'].labels.tolist() == [1, 0, 0, 2, 1, 2]


def test_grey_images_with_and_without_an_axis_are_alike(save):
    found = read_npz(
        save(x_train=GREY, y_train=LABELS, x_test=RGB[..., :1], y_test=LABELS)
    )
    assert found.parts['test'].images.array.shape == (6, 4, 5, 1)


def test_integers_are_places_among_class_names(save):
    names = np.array(['z', 'b', 'ä', 'd'])
    labels = np.array([0, 3, 1, 1])
    path = save(images=GREY[:4], labels=labels, class_names=names)
    found = read_npz(path)
    assert found.class_names == ('z', 'b', 'ä', 'd')
    np.testing.assert_array_equal(found.parts['train'].labels, labels)
    assert found.remarks == (
        f"{path} has no training image of 'ä', so the network never learns to "
        'predict it.',
    )


def test_strings_are_looked_up_in_class_names(save):
    names = np.array([b'c2', 'é'.encode(), b'c10'])
    found = read_npz(save(images=GREY, labels=STRINGS, class_names=names))
    assert found.class_names == ('c2', 'é', 'c10')
    assert found.parts['train'].labels.tolist() == [2, 0, 0, 1, 2, 1]


def test_classes_that_parts_lack(save):
    arrays = {'x_train': GREY, 'y_train': LABELS}
    path = save(**arrays, x_test=GREY[:2], y_test=LABELS[:2])
    assert read_npz(path).remarks == (
        f"{path} has no test image of '9', so nothing is measured on it.",
    )
    path = save(**arrays, x_probe=GREY[:2], y_probe=LABELS[:2])
    assert refusal(path).startswith(f"{path} has no probe image of '9'")


@pytest.mark.parametrize(
    ('change', 'wanted'),
    [
        (
            {'x_train': GREY / 255},
            'x_train in {} is float64: multiply by 255 and store as uint8',
        ),
        (
            {'x_train': GREY.astype(np.float32)},
            'x_train in {} is float32: round them and store as uint8',
        ),
        (
            {'x_train': np.full((6, 4, 5), np.nan)},
            'x_train in {} is float64: round them',
        ),
        ({'x_train': GREY.astype(int)}, 'x_train in {} is int64 and not uint8'),
        ({'x_train': GREY > 9}, 'x_train in {} is bool and not uint8'),
        (
            {'x_train': np.zeros((6, 4, 5, 4), np.uint8)},
            'the shape (6, 4, 5, 4), which is not that of grey or RGB images: '
            'leave the fourth channel out',
        ),
        (
            {'x_train': np.zeros((6, 3, 8, 8), np.uint8)},
            '(6, 3, 8, 8), which is not that of grey or RGB images: move the',
        ),
        (
            {'x_train': np.zeros((6, 20), np.uint8)},
            '(6, 20), which is not that of grey or RGB images: store as',
        ),
        (
            {'x_train': GREY[:0], 'y_train': LABELS[:0]},
            'x_train in {} has the shape (0, 4, 5), so there are no images',
        ),
        (
            {'y_train': LABELS + 0.5},
            'y_train in {} is float64: store labels as integers or strings',
        ),
        (
            {'y_train': np.eye(6, dtype=int)},
            'y_train in {} has the shape (6, 6), but labels are one per '
            'example, [N]: of one-hot labels, store the argmax',
        ),
        ({'y_train': np.int64(3)}, 'y_train in {} has the shape ()'),
        (
            {'y_train': np.array([b'a', b'\xff'] * 3)},
            'y_train in {} is not UTF-8',
        ),
        (
            {'y_train': np.array(['a', 'b', 'c', '', 'a', ''])},
            'y_train in {} has an empty label at place 3',
        ),
        (
            {'y_train': LABELS[:5]},
            'x_train in {} has 6 examples, but y_train has 5 labels',
        ),
        (
            {'clean_train': LABELS[:5]},
            'x_train in {} has 6 examples, but clean_train has 5 labels',
        ),
        (
            {'clean_train': STRINGS},
            'clean_train in {} is strings, but y_train is integers',
        ),
        (
            {'x_test': GREY, 'y_test': STRINGS},
            'y_test in {} is strings, but y_train is integers',
        ),
        (
            {'x_test': RGB, 'y_test': LABELS},
            'x_test in {} has examples of 4x5x3, but x_train has 4x5x1',
        ),
        (
            {'x_test': GREY, 'y_test': LABELS + 1},
            "y_test in {} has the label 2, which is none of the 3 classes ('1'",
        ),
        (
            {'x_test': GREY},
            '{} has no labels of the test part, only',
        ),
        ({'y_val': LABELS}, '{} has no images of the valid part, only'),
        (
            {'images': GREY},
            '{} has both x_train and images, which are the same',
        ),
        (
            {'x_tset': GREY, 'extra': LABELS},
            "arrays of unknown names, 'x_tset', 'extra': call them x_train",
        ),
        ({'y_train': np.full(6, 4)}, "{} has only the class '4'"),
        (
            {'y_train': LABELS.astype(object)},
            'y_train in {} holds Python objects, which are not opened',
        ),
        (
            {'class_names': np.array(['a', 'b', 'c'])},
            'y_train in {} has the label 3, which is none of the 3 classes '
            "('0', '1', '2')",
        ),
        (
            {'y_train': LABELS - 2, 'class_names': np.array(list('abcdefgh'))},
            'y_train in {} has the label -1, which is none',
        ),
        (
            {'y_train': STRINGS, 'class_names': np.array(['c10', 'C2', 'é'])},
            "has the label 'c2', which is none of the 3 classes ('c10', 'C2', "
            "'é')",
        ),
        (
            {'class_names': np.array([*'abcdefgha', 'i', 'j'])},
            "class_names in {} has 'a' twice: rename one",
        ),
        (
            {'class_names': np.array(['e\u0301', 'é', 'x'])},
            "class_names in {} has 'é' twice: rename one",
        ),
        ({'class_names': np.arange(10)}, 'class_names in {} is int64 of the'),
        ({'class_names': np.array('a')}, 'class_names in {} is <U1 of the'),
        ({'class_names': np.array(['a', ''])}, 'class_names in {} is <U1 of'),
    ],
)
def test_refused(save, change, wanted):
    path = save(**({'x_train': GREY, 'y_train': LABELS} | change))
    assert wanted.replace('{}', path) in refusal(path)


def test_nothing_in_it(save):
    path = save()
    assert f'{path} has no images of the train part, nothing' in refusal(path)
    path = save(class_names=np.array(['a', 'b']))
    assert f'{path} has no images of the train part, nothing' in refusal(path)


def test_damaged_files(save, tmp_path):
    path = save(x_train=GREY, y_train=LABELS)
    content = bytearray((tmp_path / 'data.npz').read_bytes())
    place = content.index(GREY.tobytes())
    content[place] ^= 255
    (tmp_path / 'data.npz').write_bytes(content)
    assert f'{path} is damaged at x_train (BadZipFile)' in refusal(path)
    (tmp_path / 'data.npz').write_bytes(content[: len(content) // 2])
    assert f'{path} is damaged (BadZipFile)' in refusal(path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('x_train', 'no array')
    assert f'{path} is damaged at x_train (' in refusal(path)


def test_other_files(tmp_path):
    path = tmp_path / 'data.npz'
    for content in (b'', b'path,label'):
        path.write_bytes(content)
        assert f'{path} is not an .npz file: save the arrays' in refusal(
            str(path)
        )
    np.save(tmp_path / 'data.npy', GREY)
    assert 'data.npy is not an .npz file' in refusal(str(tmp_path / 'data.npy'))
    assert refusal(str(tmp_path)) == (
        f'{tmp_path} is a folder, not a .npz file: check the path.'
    )
    assert refusal('x.npz') == 'there is no .npz file x.npz: check the path.'


def test_an_empty_test_part_means_that_none_is_held_out(save):
    path = save(
        x_train=GREY, y_train=LABELS, x_test=GREY[:0], y_test=LABELS[:0]
    )
    assert read_npz(path).remarks == ()
    found = load('npz', data_dir=path)
    assert found.test is None and len(found.train) == len(LABELS)
    assert found.remarks == ()
    with pytest.raises(UsageError, match='x_test in .* has examples of 0x5x1'):
        empty = GREY[:0, :0]
        read_npz(
            save(x_train=GREY, y_train=LABELS, x_test=empty, y_test=LABELS[:0])
        )


def test_labels_are_tidied_and_not_wrapped(tmp_path):
    path = str(tmp_path / 'x.npz')
    images = np.zeros((4, 8, 8), np.uint8)
    labels = np.array(['a\rb', 'cat ', 'cat', 'c\r\n'])
    np.savez(path, x_train=images, y_train=labels)
    found = read_npz(path)
    assert found.class_names == ('a b', 'c', 'cat')
    assert found.parts['train'].labels.tolist() == [0, 2, 2, 1]
    large = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    np.savez(path, x_train=images, y_train=large)
    with pytest.raises(UsageError, match=f'y_train in {path} .*{2**64 - 1}'):
        read_npz(path)


def test_arrays_larger_than_the_memory_are_not_unpacked(tmp_path, monkeypatch):
    path = str(tmp_path / 'bomb.npz')
    images, labels = np.zeros((900, 99, 99), np.uint8), np.arange(900) % 2
    np.savez_compressed(path, x_train=images, y_train=labels)
    assert os.path.getsize(path) < 50_000
    monkeypatch.setattr(arrays, 'memory_bytes', lambda: images.nbytes)
    for read in (read_npz, lambda path: inputs.find([path]), human.read):
        with pytest.raises(UsageError, match=f'{path} need.* memory'):
            read(path)
    monkeypatch.setattr(arrays, 'memory_bytes', lambda: 2 * images.nbytes)
    assert len(read_npz(path).parts['train']) == 900


# Vectors.

X = RNG.normal(size=(6, 3))
BAD = np.full((6, 3), np.nan)


def test_vectors(save):
    arrays = dict(x_train=X, y_train=LABELS, x_test=X[:0], y_test=LABELS[:0])
    found = read_npz(save(**arrays))
    vectors, labels, _ = columns(found.parts['train'])
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, X.astype(np.float32))
    assert labels.tolist() == [1, 0, 0, 2, 1, 2]
    assert found.parts['test'].images.shape == (3,)


@pytest.mark.parametrize('bad', [np.nan, np.inf, 2.0**53, 0.5])
def test_whole_numbers_are_labels_whatever_their_type(tmp_path, bad):
    path = str(tmp_path / 'x.npz')
    labels = np.array([1.0, 3.0, 1.0, 3.0, 1.0])
    np.savez(path, x_train=np.ones((5, 2)), y_train=labels)
    found = read_npz(path)
    assert found.class_names == ('1', '3')
    assert found.parts['train'].labels.tolist() == [0, 1, 0, 1, 0]
    np.savez(path, x_train=np.ones((5, 2)), y_train=[*labels[:4], bad])
    with pytest.raises(UsageError, match='y_train in .* is float64'):
        read_npz(path)


@pytest.mark.parametrize('kind', [np.float16, np.float32, np.float64])
def test_stored_views(save, kind):
    views = np.stack([X, X + 1], axis=1).astype(kind)
    path = save(x_train=X, y_train=LABELS, views_train=views)
    held = read_npz(path).parts['train'].images.views
    assert held.dtype == (np.float16 if kind == np.float16 else np.float32)
    np.testing.assert_array_equal(held, views.astype(held.dtype))


@pytest.mark.parametrize(
    'changed, facts',
    [
        (dict(views_train=X), ['views_train', '(6, 3)', '[6, v, 3]']),
        (dict(views_train=X[:, None, :2]), ['views_train', '(6, 1, 2)']),
        (dict(views_train=X[:5, None]), ['views_train', '(5, 1, 3)']),
        (dict(views_train=X[:, None, :][:, :0]), ['views_train', '(6, 0, 3)']),
        (dict(views_train=LABELS), ['views_train', 'int64']),
        (dict(views_train=BAD[:, None]), ['views_train', 'row 0']),
        (dict(x_train=BAD), ['x_train', 'row 0', 'column 0']),
        (
            dict(x_test=X[:, :2], y_test=LABELS),
            ['x_test', '2 numb', '3 numb'],
        ),
        (dict(x_test=RGB, y_test=LABELS), ['x_test', 'uint8', 'vectors']),
        (dict(x_train=X[:, :0]), ['x_train', '(6, 0)', 'no vectors']),
        (dict(x_train=RGB, views_train=X), ['views_train', 'images']),
        (dict(x_train=X[:, :, None]), ['x_train', 'float64', 'uint8']),
        (dict(x_train=X[:, :, None, None]), ['x_train', 'float64', 'uint8']),
        (dict(x_train=X.astype(int)), ['x_train', 'int64', 'float32']),
        (dict(x_train=GREY[0], y_train=LABELS[:4]), ['x_train', 'float32']),
        (dict(x_train=X.astype(complex)), ['x_train', 'complex128']),
        (dict(x_train=X.astype(object)), ['x_train', 'Python objects']),
    ],
)
def test_vectors_that_cannot_be_used(save, changed, facts):
    arrays = dict(x_train=X, y_train=LABELS) | changed
    said = refusal(save(**arrays))
    for fact in facts:
        assert fact in said


@pytest.mark.parametrize('key', ['text', 'name', 'text_train', 'name_train'])
def test_what_is_shown_of_vectors(save, key):
    texts = np.array([f'sentence {n}' for n in range(5)] + [''])
    found = read_npz(save(x_train=X, y_train=LABELS, **{key: texts}))
    train = found.parts['train']
    assert train.texts.tolist() == texts.tolist()
    assert train.take(np.array([2])).texts.tolist() == ['sentence 2']


def test_one_text_for_each_example(save):
    for texts in (STRINGS[:5], LABELS, STRINGS[:, None]):
        said = refusal(save(x_train=X, y_train=LABELS, text_train=texts))
        assert 'text_train' in said and '6 examples' in said
