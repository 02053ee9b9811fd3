"""Images or vectors in an npz file."""

from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

from ieg.data.dataset import (
    PARTS,
    Advice,
    Found,
    FoundArrays,
    InMemory,
    Opened,
    Part,
)
from ieg.data.own import (
    check_classes,
    of_arrays,
    open_vectors,
    own_path,
    schedule,
    share_held_out,
)
from ieg.data.vectors import Vectors, checked
from ieg.errors import UsageError, nearest
from ieg.registry import DATASETS
from ieg.utils.arrays import check_arrays_fit
from ieg.utils.files import open_regular
from ieg.utils.text import in_order, listed, normal, tidy, unreadable

# How the parts are called in the file.
_PARTS = {part: part for part in PARTS} | {'val': 'valid'}
# The part that an array is of and what it is there, by its name.
KEYS: dict[str, tuple[str, str]] = {
    'views_train': ('train', 'views'),
    'text': ('train', 'texts'),
    'name': ('train', 'texts'),
    'images': ('train', 'images'),
    'labels': ('train', 'labels'),
    'clean_labels': ('train', 'clean'),
    'clean_train': ('train', 'clean'),
}
for _name, _part in _PARTS.items():
    KEYS |= {
        f'x_{_name}': (_part, 'images'),
        f'y_{_name}': (_part, 'labels'),
        f'{_name}_images': (_part, 'images'),
        f'{_name}_labels': (_part, 'labels'),
        f'text_{_name}': (_part, 'texts'),
        f'name_{_name}': (_part, 'texts'),
    }


class _Named(NamedTuple):
    """An array with the name that it has in the file."""

    key: str
    array: np.ndarray


def read_npz(path: str) -> FoundArrays:
    """Reads images and labels.

    The arrays are `x_train` and `y_train`, or `train_images` and
    `train_labels`, and so for `test`, `valid` (or `val`) and `probe`; or just
    `images` and `labels`. True classes of the training images are
    `clean_train` or `clean_labels`.

    A test part that is there but empty means that none is held out of training.

    Images are uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3]. Vectors are
    floating [N, d]; `views_train`, floating [N, v, d], has further views of
    the training vectors. Labels are integers or strings [N] or [N, 1]. The
    classes are the labels and clean labels of the training part, numbers in
    their order and strings in natural order (see `in_order`). If there are
    `class_names` (strings [C]), they are the classes instead: integer labels
    are then places in it, from 0 on. `text_train` or `name_train` (strings
    [N]), and so for other parts, is shown in reports.

    Args:
        path: of the file.

    Raises:
        UsageError: the file is not like that, or there is nothing to train
            on.
    """
    arrays = _load(path)
    names = arrays.pop('class_names', None)
    by_part = _by_part(arrays, path)
    stored = by_part['train'].pop('views', None)
    texts = {part: held.pop('texts', None) for part, held in by_part.items()}
    are_vectors = _are_vectors(by_part['train']['images'].array)
    read = _vectors if are_vectors else _images
    images = {
        part: read(held.pop('images'), path) for part, held in by_part.items()
    }
    labels = {
        part: {role: _flat(named, path) for role, named in held.items()}
        for part, held in by_part.items()
    }
    _check_fit(images, labels, path)
    views = stored and _views(stored, images['train'], path)
    if names is None:
        class_names, index = _own_classes(labels['train'])
    else:
        class_names, index = _given_classes(names, labels['train'], path)
    parts = {
        part: Part(
            _examples(images[part].array, views if part == 'train' else None),
            **{
                role: _indices(named, index, class_names, path)
                for role, named in held.items()
            },
            texts=_texts(texts[part], images[part], path),
        )
        for part, held in labels.items()
    }
    remarks = check_classes(
        class_names,
        {name: part for name, part in parts.items() if len(part)},
        dict.fromkeys(parts, path),
    )
    return Found(class_names, parts, tuple(remarks))


def _load(path: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by their names.

    Raises:
        UsageError: it cannot be read, or holds anything else.
    """
    try:
        with open_regular(path) as file:
            if file.read(2) != b'PK':
                raise UsageError(
                    f'{path} is not an .npz file: save the arrays with '
                    'numpy.savez_compressed.'
                )
            return _load_from(file, path)
    except OSError as error:
        raise unreadable('.npz file', path, error) from None


def _load_from(file: BinaryIO, path: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an open file by their names."""
    key = ''
    try:
        check_arrays_fit(file, path)
        with np.load(file, allow_pickle=False) as archive:
            _check_keys(archive.files, path)
            arrays = {}
            for key in archive.files:
                arrays[key] = archive[key]
                if not isinstance(arrays[key], np.ndarray):
                    raise ValueError('no array')
            return arrays
    except UsageError:
        raise
    # A damaged file can raise anything.
    except Exception as error:
        if 'allow_pickle' in str(error):
            raise UsageError(
                f'{key} in {path} holds Python objects, which are not opened: '
                'save it as an array of numbers or strings, all images of one '
                'size.'
            ) from None
        raise UsageError(
            f'{path} is damaged{f" at {key}" if key else ""} '
            f'({type(error).__name__}): save it again with '
            'numpy.savez_compressed.'
        ) from None


def _check_keys(keys: list[str], path: str) -> None:
    unknown = [k for k in keys if k not in KEYS and k != 'class_names']
    if unknown:
        raise UsageError(
            f'{path} has arrays of unknown names, {listed(unknown)}: call them '
            'x_train, y_train, clean_train, x_test, y_test, x_valid, y_valid, '
            'x_probe, y_probe or class_names, or leave them out.'
            f'{nearest(unknown[0], [*KEYS, "class_names"])}'
        )


def _by_part(
    arrays: Mapping[str, np.ndarray], path: str
) -> dict[str, dict[str, _Named]]:
    """Returns the arrays of each part by what they are.

    Raises:
        UsageError: one is missing, or there twice.
    """
    by_part: dict[str, dict[str, _Named]] = {'train': {}}
    for key, array in arrays.items():
        part, role = KEYS[key]
        held = by_part.setdefault(part, {})
        if role in held:
            raise UsageError(
                f'{path} has both {held[role].key} and {key}, which are the '
                'same: leave one out.'
            )
        held[role] = _Named(key, array)
    for part, held in by_part.items():
        for role, letter in (('images', 'x'), ('labels', 'y')):
            if role not in held:
                only = f'only {listed(list(arrays))}' if arrays else 'nothing'
                raise UsageError(
                    f'{path} has no {role} of the {part} part, {only}: add '
                    f'{letter}_{part}.'
                )
    return by_part


def _images(named: _Named, path: str) -> _Named:
    """Returns images with an axis for channels.

    Raises:
        UsageError: they are of another type or shape.
    """
    key, array = named
    where = f'{key} in {path}'
    if array.dtype.kind == 'f':
        # A sample shows whether they are fractions of 1 or rounded numbers.
        small = not array.size or array.ravel()[:1_000_000].max() <= 1
        do = 'multiply by 255' if small else 'round them'
        raise UsageError(
            f'{where} is {array.dtype}: {do} and store as uint8, 0 to 255.'
        )
    if array.dtype != np.uint8:
        vectors = ', or vectors as float32' if array.ndim == 2 else ''
        raise UsageError(
            f'{where} is {array.dtype} and not uint8: store pixels as uint8, '
            f'0 to 255{vectors}.'
        )
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        do = 'store as [N, H, W] or [N, H, W, 3]'
        do += ', or vectors as float32' if array.ndim == 2 else ''
        if array.ndim == 4 and array.shape[-1] == 4:
            do = 'leave the fourth channel out'
        elif array.ndim == 4 and array.shape[1] in (1, 3):
            do = 'move the channels to the end'
        raise UsageError(
            f'{where} has the shape {named.array.shape}, which is not that of '
            f'grey or RGB images: {do}.'
        )
    if not array.size and (len(array) or KEYS[key][0] != 'test'):
        raise UsageError(
            f'{where} has the shape {named.array.shape}, so there are no '
            'images: add some, or leave the part out.'
        )
    return _Named(key, array)


def _are_vectors(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.dtype.kind == 'f'


def _vectors(named: _Named, path: str) -> _Named:
    """Returns vectors as float32 [N, d].

    Raises:
        UsageError: they are of another type or shape, or not finite.
    """
    key, array = named
    where = f'{key} in {path}'
    if not _are_vectors(array):
        raise UsageError(
            f'{where} is {array.dtype} of the shape {array.shape}, but the '
            'training part has vectors: store floating numbers [N, d].'
        )
    if not array.size and (len(array) or KEYS[key][0] != 'test'):
        raise UsageError(
            f'{where} has the shape {array.shape}, so there are no vectors: '
            'add some, or leave the part out.'
        )
    return _Named(key, checked(array, where))


def _views(named: _Named, images: _Named, path: str) -> np.ndarray:
    """Returns stored views [N, v, d].

    Raises:
        UsageError: they are of another type or shape than those of the
            vectors, or not finite.
    """
    key, array = named
    where, train = f'{key} in {path}', images.array
    if train.ndim != 2:
        raise UsageError(
            f'{where} has views of vectors, but {images.key} has images: leave '
            'it out.'
        )
    fits = array.ndim == 3 and array.shape[1] > 0
    fits = fits and (array.shape[0], array.shape[2]) == train.shape
    if array.dtype.kind != 'f' or not fits:
        raise UsageError(
            f'{where} is {array.dtype} of the shape {array.shape}: store '
            f'floating numbers [{len(train)}, v, {train.shape[1]}], as '
            f'{images.key} has the shape {train.shape}.'
        )
    # Half floats stay so in memory, and are cast when they are shown.
    half = array.dtype == np.float16
    return checked(array, where, np.float16 if half else np.float32)


def _texts(
    named: _Named | None, images: _Named, path: str
) -> np.ndarray | None:
    """Returns what is shown of the examples of a part, str [N].

    Raises:
        UsageError: it is not one string for each.
    """
    if named is None:
        return None
    key, array = named
    if array.dtype.kind not in 'SU' or array.shape != images.array.shape[:1]:
        raise UsageError(
            f'{key} in {path} is {array.dtype} of the shape {array.shape}: '
            f'store one string for each of the {len(images.array)} examples of '
            f'{images.key}.'
        )
    return _decoded(named, path)


def _decoded(named: _Named, path: str) -> np.ndarray:
    """Returns strings as str.

    Raises:
        UsageError: they are not UTF-8.
    """
    if named.array.dtype.kind == 'U':
        return named.array
    try:
        return np.char.decode(named.array, 'utf-8')
    except UnicodeDecodeError:
        raise UsageError(
            f'{named.key} in {path} is not UTF-8: store it as str.'
        ) from None


def _examples(
    array: np.ndarray, views: np.ndarray | None
) -> InMemory | Vectors:
    return Vectors(array, views) if array.ndim == 2 else InMemory(array)


def _flat(named: _Named, path: str) -> _Named:
    """Returns labels [N], integers or strings.

    Raises:
        UsageError: they are of another type or shape.
    """
    key, array = named
    where = f'{key} in {path}'
    if array.dtype.kind == 'f' and np.all(array == np.trunc(array)):
        # Tables with empty cells turn integers into 1.0; beyond 2^53 not all
        # of them have a float.
        array = array.astype(np.int64) if np.all(abs(array) < 2**53) else array
    if array.dtype.kind not in 'iuSU':
        raise UsageError(
            f'{where} is {array.dtype}: store labels as integers or strings.'
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UsageError(
            f'{where} has the shape {array.shape}, but labels are one per '
            'example, [N]: of one-hot labels, store the argmax.'
        )
    if array.dtype.kind in 'SU':
        array = _decoded(_Named(key, array), path)
        if len(empty := np.flatnonzero(np.char.strip(array) == '')):
            raise UsageError(
                f'{where} has an empty label at place {empty[0]}: fill it in.'
            )
        return _Named(key, array)
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise UsageError(
            f'{where} has the label {array.max()}, which is larger than 2^63: '
            'store labels as int64, or as strings.'
        )
    return _Named(key, array.astype(np.int64))


def _check_fit(
    images: Mapping[str, _Named],
    labels: Mapping[str, Mapping[str, _Named]],
    path: str,
) -> None:
    """Checks that arrays fit each other.

    Raises:
        UsageError: lengths of one part, or sizes of images, or types of
            labels differ.
    """
    train, given = images['train'], labels['train']['labels']
    for part, (key, array) in images.items():
        if array.shape[1:] != train.array.shape[1:]:
            raise UsageError(
                f'{key} in {path} has examples of {_size(array)}, but '
                f'{train.key} has {_size(train.array)}: store all in one size.'
            )
        for named in labels[part].values():
            if len(named.array) != len(array):
                raise UsageError(
                    f'{key} in {path} has {len(array):,} examples, but '
                    f'{named.key} has {len(named.array):,} labels: store one '
                    'label per example.'
                )
            if named.array.dtype.kind != given.array.dtype.kind:
                raise UsageError(
                    f'{named.key} in {path} is {_kind(named)}, but {given.key} '
                    f'is {_kind(given)}: store all labels alike.'
                )


def _size(images: np.ndarray) -> str:
    if images.ndim == 2:
        return f'{images.shape[1]} numbers'
    return '{}x{}x{}'.format(*images.shape[1:])


def _kind(named: _Named) -> str:
    return 'strings' if named.array.dtype.kind == 'U' else 'integers'


# What a file has for a class.
Label = int | str


def _own_classes(
    train: Mapping[str, _Named],
) -> tuple[tuple[str, ...], dict[Label, int]]:
    """Returns the classes that training labels have, and their places."""
    values = np.unique(np.concatenate([n.array for n in train.values()]))
    if values.dtype.kind == 'i':
        return tuple(map(str, values)), {v: i for i, v in enumerate(values)}
    first: dict[str, str] = {}
    for value in values.tolist():
        first.setdefault(normal(value), tidy(value))
    names = in_order(first.values())
    return tuple(names), {normal(name): i for i, name in enumerate(names)}


def _given_classes(
    names: np.ndarray, train: Mapping[str, _Named], path: str
) -> tuple[tuple[str, ...], dict[Label, int]]:
    """Returns the classes that a file names, and their places.

    Raises:
        UsageError: they are not names, or some are alike.
    """
    flat = names.ndim == 1 and names.dtype.kind in 'SU'
    if not flat or not all(names):
        raise UsageError(
            f'class_names in {path} is {names.dtype} of the shape '
            f'{names.shape}: store one name per class, all strings.'
        )
    flat_names = _flat(_Named('class_names', names), path).array.tolist()
    given = tuple(map(tidy, flat_names))
    if len(set(map(normal, given))) < len(given):
        forms = list(map(normal, given))
        twin = next(name for name in forms if forms.count(name) > 1)
        raise UsageError(
            f'class_names in {path} has {twin!r} twice: rename one.'
        )
    if train['labels'].array.dtype.kind == 'i':
        return given, {place: place for place in range(len(given))}
    return given, {normal(name): place for place, name in enumerate(given)}


def _indices(
    named: _Named,
    index: Mapping[Label, int],
    class_names: tuple[str, ...],
    path: str,
) -> np.ndarray:
    """Returns labels as places among the classes.

    Args:
        named: labels [N], integers or strings.
        index: place of each label.
        class_names: of all classes.
        path: of the file.

    Returns:
        int32 [N].

    Raises:
        UsageError: a label is of no class.
    """
    values, places = np.unique(named.array, return_inverse=True)
    keys = [normal(v) if isinstance(v, str) else v for v in values.tolist()]
    for key in keys:
        if key not in index:
            hint = nearest(key, class_names) if isinstance(key, str) else ''
            raise UsageError(
                f'{named.key} in {path} has the label {key!r}, which is none '
                f'of the {len(index)} classes ({listed([*map(str, index)])}): '
                f'correct it, or add the class.{hint}'
            )
    return np.array([index[key] for key in keys], np.int32)[places]


@DATASETS.register('npz')
def load(data_dir: str | None) -> Opened:
    """Opens a user's arrays; see `read_npz`."""
    found = read_npz(own_path('npz', data_dir))
    if isinstance(found.parts['train'].images, Vectors):
        return open_vectors('npz', found)
    return Opened(lambda _: of_arrays(found), lambda _: _advice(found))


def _advice(found: FoundArrays) -> Advice:
    train, classes = found.parts['train'], len(found.class_names)
    height, width, channels = train.images.shape
    return Advice(
        schedule(min(height, width), len(train), channels)
        | share_held_out(len(train), 'test' in found.parts),
        f'npz: {len(train):,} images of {classes:,} '
        f'classes, {width} x {height} pixels.',
    )
