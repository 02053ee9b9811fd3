"""Labels that people gave: CIFAR-10N and CIFAR-100N (Wei et al. 2022).

The labels come in files of their own, whose licence (CC BY-NC 4.0) keeps them
out of this package, and are joined to the images by the number that each image
has in the published files.
"""

import dataclasses
import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from ieg.errors import UsageError
from ieg.utils.arrays import check_arrays_fit
from ieg.utils.files import open_regular

# What the measured share of wrong labels may differ from the published one.
_TOLERANCE = 1e-4
_SOURCE = 'github.com/UCSC-REAL/cifar-10-100n'


@dataclasses.dataclass(frozen=True)
class Variant:
    """One set of labels.

    Attributes:
        keys: its names in the files, any of them.
        rate: the published share of wrong labels.
    """

    keys: tuple[str, ...]
    rate: float


@dataclasses.dataclass(frozen=True)
class HumanSet:
    """Human labels of one data set.

    Attributes:
        base: the data set that has the images.
        variants: the sets of labels by name.
        default: the variant that the name alone stands for; '' for none.
        files: usual names of the file.
        builder: TFDS builder that has the labels too.
        version: its first version whose labels belong to the images.
    """

    base: str
    variants: Mapping[str, Variant]
    default: str
    files: tuple[str, ...]
    builder: str
    version: str


HUMAN_SETS: dict[str, HumanSet] = {
    'cifar10n': HumanSet(
        base='cifar10',
        variants={
            'aggre': Variant(('aggre_label',), 0.0901),
            'worse': Variant(('worse_label',), 0.40208),
            'random1': Variant(('random_label1',), 0.17234),
            'random2': Variant(('random_label2',), 0.18122),
            'random3': Variant(('random_label3',), 0.1764),
        },
        default='',
        files=(
            'CIFAR-10_human.pt',
            'CIFAR-10_human.npy',
            'CIFAR-10_human_ordered.npy',
            'cifar10n.npz',
        ),
        builder='cifar10_n',
        version='1.0.2',
    ),
    'cifar100n': HumanSet(
        base='cifar100',
        variants={'noisy': Variant(('noisy_label', 'noise_label'), 0.402)},
        default='noisy',
        files=(
            'CIFAR-100_human.pt',
            'CIFAR-100_human.npy',
            'CIFAR-100_human_ordered.npy',
            'cifar100n.npz',
        ),
        builder='cifar100_n',
        version='1.0.1',
    ),
}


def human_set(base: str, noise: str | None) -> str | None:
    """Returns the name in `HUMAN_SETS` of a data set with a kind of noise."""
    for name, human in HUMAN_SETS.items():
        if human.base == base and noise in human.variants:
            return name
    return None


def find(name: str, folder: str) -> str | None:
    """Returns the path of the file with human labels in a folder, if any."""
    for file in HUMAN_SETS[name].files:
        path = os.path.join(folder, file)
        if os.path.isfile(path):
            return path
    return None


def newest(name: str, folder: str) -> str | None:
    """Returns the folder of the newest version of the TFDS set, if any.

    Raises:
        UsageError: it is too old.
    """
    human = HUMAN_SETS[name]
    parent = os.path.join(folder, human.builder)
    names = os.listdir(parent) if os.path.isdir(parent) else []
    versions = [v for v in names if re.fullmatch(r'\d+\.\d+\.\d+', v)]
    if not versions:
        return None
    version = max(versions, key=_as_numbers)
    if _as_numbers(version) < _as_numbers(human.version):
        raise UsageError(
            f'{human.builder} {version} in {folder} has labels that belong to '
            f'other images: build version {human.version} or later, or give '
            'a file with --human_labels.'
        )
    return os.path.join(parent, version)


def _as_numbers(version: str) -> list[int]:
    return [int(number) for number in version.split('.')]


def missing(name: str, folder: str) -> UsageError:
    """Returns the error for a folder without human labels."""
    human = HUMAN_SETS[name]
    return UsageError(
        f'the human labels of {name} are neither a file in {folder} nor the '
        f'TFDS set {human.builder}: copy {human.files[0]} from {_SOURCE} '
        'there, or give the file with --human_labels.'
    )


def join(
    arrays: Mapping[str, np.ndarray],
    name: str,
    variant: str,
    clean: np.ndarray,
    published: np.ndarray | None,
    source: str,
) -> np.ndarray:
    """Returns the human labels of images, after all checks.

    Args:
        arrays: by name, each [N] in the order of the published files, or in
            that of the images (the authors' files for TensorFlow, which put
            14 of the images of CIFAR-100 in another place).
        name: in `HUMAN_SETS`.
        variant: of that set.
        clean: true labels of the images, integers [N].
        published: number of each image in the published files, integers [N];
            None where they are in that order.
        source: where the arrays are from; for messages.

    Returns:
        int32 [N], in the order of the images.

    Raises:
        UsageError: the arrays are not these labels of these images.
    """
    wanted = HUMAN_SETS[name].variants[variant]
    truth = _labels(arrays, ('clean_label',), clean, source)
    given = _labels(arrays, wanted.keys, clean, source)
    places = np.arange(len(clean)) if published is None else published
    share = np.mean(truth[places] != clean)
    if share and np.array_equal(truth, clean):
        places = np.arange(len(clean))
    elif share:
        raise UsageError(
            f'the clean labels in {source} are not those of the images (at '
            f'{share:.0%} of the places they differ), so its human labels are '
            f'of another data set or order: get the file from {_SOURCE} again.'
        )
    rate = np.mean(given != truth)
    if abs(rate - wanted.rate) > _TOLERANCE:
        raise UsageError(
            f'of the {variant} labels in {source}, {rate:.3%} are wrong and '
            f'not the published {wanted.rate:.3%}, so they differ: get '
            f'the file from {_SOURCE} again.'
        )
    return given[places].astype(np.int32)


def _labels(
    arrays: Mapping[str, np.ndarray],
    keys: tuple[str, ...],
    clean: np.ndarray,
    source: str,
) -> np.ndarray:
    """Returns the array that bears one of the names.

    Raises:
        UsageError: there is none, or it is of another length or no labels.
    """
    key = next((key for key in keys if key in arrays), None)
    if key is None:
        raise UsageError(
            f'{source} has no array {keys[0]}, only {_listed(arrays)}: get '
            f'the file from {_SOURCE}.'
        )
    labels = np.asarray(arrays[key])
    if labels.shape != clean.shape:
        raise UsageError(
            f'{key} in {source} has the shape {labels.shape}, but there are '
            f'{len(clean)} training images: get the file from {_SOURCE}.'
        )
    most = clean.max()
    if labels.dtype.kind not in 'iu' or not 0 <= labels.min() <= most >= (
        labels.max()
    ):
        raise UsageError(
            f'{key} in {source} does not hold classes 0 to {most}: get the '
            f'file from {_SOURCE}.'
        )
    return labels.astype(np.int64)


def _listed(names: Iterable[Any]) -> str:
    return ', '.join(sorted(map(str, names))) or 'nothing'


def read(path: str) -> dict[str, np.ndarray]:
    """Reads named arrays from a file without running what is in it.

    The formats: `.npz`; `.npy` with named fields, or with a pickled
    dictionary; and what PyTorch saves of a dictionary of arrays. Pickles may
    build arrays and containers of Python, and nothing else.

    Raises:
        UsageError: the file does not exist, is damaged, of another format, or
            holds anything but arrays.
    """
    try:
        with open_regular(path) as file:
            arrays = _read(file, path)
        return {str(key): np.asarray(arrays[key]) for key in arrays}
    except FileNotFoundError:
        raise UsageError(
            f'there is no file {path} with human labels: give another one '
            'with --human_labels.'
        ) from None
    except _ForbiddenError as error:
        raise UsageError(
            f'{path} asks for {error}, which a file of labels has no need of, '
            f'and is not opened: get the file from {_SOURCE}.'
        ) from None
    except UsageError:
        raise
    # A damaged pickle can raise anything.
    except Exception as error:
        raise UsageError(
            f'{path} cannot be read as human labels ({type(error).__name__}): '
            f'get the file from {_SOURCE}.'
        ) from error


def _read(file: BinaryIO, path: str) -> Mapping[str, Any]:
    """Returns the named arrays of an open file, whatever its format."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b'PK'):
        with zipfile.ZipFile(file) as archive:
            pickles = [n for n in archive.namelist() if n.endswith('data.pkl')]
            if pickles:
                with archive.open(pickles[0]) as content:
                    return _Unpickler(content).load()
        check_arrays_fit(file, path)
        return dict(np.load(file, allow_pickle=False))
    if start != b'\x93NUMPY':
        raise ValueError('neither .npz nor .npy nor .pt')
    return _read_npy(file)


def _read_npy(file: BinaryIO) -> Mapping[str, Any]:
    """Returns the fields of a .npy file, or the dictionary pickled in it."""
    version = np.lib.format.read_magic(file)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    _, _, dtype = header(file)
    if dtype.hasobject:
        return _Unpickler(file).load().item()
    file.seek(0)
    array = np.load(file, allow_pickle=False)
    return {field: array[field] for field in array.dtype.names}


class _ForbiddenError(Exception):
    """A pickle asks for something that does not belong to an array."""


class _Unpickler(pickle.Unpickler):
    """Builds arrays and containers; the real classes are out of reach."""

    def find_class(self, module: str, name: str) -> Any:
        asked = f'{module}.{name}'
        if asked not in _BUILDERS:
            raise _ForbiddenError(asked)
        return _BUILDERS[asked]

    def persistent_load(self, pid: Any) -> Any:
        raise _ForbiddenError('a tensor')


def _empty_array(*_: Any) -> np.ndarray:
    """Returns an array that the pickle then fills."""
    return np.empty(0, np.int8)


def _dtype(code: str, *_: Any) -> np.dtype:
    """Returns the type of labels, or of an array that holds a dictionary."""
    dtype = np.dtype(code)
    if dtype.kind not in 'iuO':
        raise _ForbiddenError(f'the type {dtype}')
    return dtype


def _bytes(text: str, encoding: str) -> bytes:
    """Returns the bytes that old pickles write as text."""
    if encoding != 'latin1':
        raise _ForbiddenError(f'the encoding {encoding}')
    return text.encode('latin1')


_BUILDERS: dict[str, Any] = {
    'numpy.core.multiarray._reconstruct': _empty_array,
    'numpy._core.multiarray._reconstruct': _empty_array,
    # An argument of the above, never called.
    'numpy.ndarray': 'numpy.ndarray',
    'numpy.dtype': _dtype,
    '_codecs.encode': _bytes,
}
