"""What users of the Python interface hand over, checked and as arrays."""

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ieg.errors import nearest
from ieg.label_issues.floor import combined

# How far probabilities may be from a sum of 1; half precision is off by less.
TOLERANCE = 0.01
# The least probability, whose logarithm is finite.
LEAST_PROBABILITY = 1e-12


def array(values: Any) -> np.ndarray:
    """Returns numbers of any library as an array.

    Tensors may be on a device, require a gradient, or be bfloat16.
    """
    if hasattr(values, 'detach'):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        return np.asarray(
            values.float() if values.is_floating_point() else values
        )
    if isinstance(values, list | tuple) and hasattr((*values, 0)[0], 'detach'):
        return np.array([array(value) for value in values])
    return np.asarray(values)


def labels(
    values: Any, num_classes: int | None, classes: Sequence[Any] | None
) -> tuple[np.ndarray, list[Any]]:
    """Returns class numbers of labels, int64 [n], and the classes, C of them.

    Args:
        values: class numbers or names [n], or one-hot rows [n, C].
        num_classes: C; None to read it from the labels or the classes.
        classes: the classes in the order of the columns of predictions; None
            for numbers from 0 on, or sorted names.

    Raises:
        ValueError: a label or a class cannot be used.
    """
    given = _items(values)
    if given and np.ndim(given[0]) == 1:
        given, num_classes = _of_one_hot(given, num_classes)
    if not given:
        raise ValueError('labels must have at least one label.')
    names = None if classes is None else _items(classes)
    if all(type(v) is float and v.is_integer() for v in given):
        # As columns of numbers come that once had gaps.
        given = [*map(int, given)]
    kinds = {*map(type, given)}
    if kinds <= {int, bool} and {*map(type, names or [''])} != {int}:
        codes = np.array(given, np.int64)
        names = _numbered(codes, num_classes, names)
    elif kinds in ({str}, {int}):
        names = sorted(set(given)) if names is None else names
        codes = _looked_up(given, names)
    else:
        odd = next((v for v in given if not _is_label(v)), given)
        raise ValueError(
            'labels must be class numbers or names without missing values, '
            f'got {reprlib.repr(odd)}.'
        )
    if {*map(type, names)} not in ({int}, {str}):
        raise ValueError('classes must be either all names or all integers.')
    if len(set(names)) != len(names):
        raise ValueError('classes must differ from each other.')
    if num_classes not in (None, len(names)):
        raise ValueError(
            f'{num_classes} classes are expected, but there are {len(names)} '
            'in labels or classes: give all classes.'
        )
    if len(names) < 2:
        raise ValueError(f'at least 2 classes are needed, got {len(names)}.')
    return codes, names


def _is_label(value: Any) -> bool:
    is_whole = type(value) is float and value.is_integer()
    return type(value) in (int, bool, str) or is_whole


def _items(values: Any) -> list[Any]:
    """Returns values as Python's own types; text and NaN are not mixed."""
    if hasattr(values, '__array__'):
        return array(values).tolist()
    # Elements are tensors where a list was collected in a loop.
    return [v.item() if hasattr(v, 'item') else v for v in values]


def _of_one_hot(
    given: list[Any], num_classes: int | None
) -> tuple[list[int], int]:
    """Returns class numbers, and C.

    Raises:
        ValueError: a row does not have a single 1.
    """
    rows = np.asarray(given)
    if {*np.unique(rows)} != {0, 1} or (rows.sum(axis=1) != 1).any():
        raise ValueError(
            'labels must be one class number or name per row [n], or one-hot '
            f'[n, C], got the shape {rows.shape}.'
        )
    return rows.argmax(axis=1).tolist(), num_classes or rows.shape[1]


def _numbered(
    codes: np.ndarray, num_classes: int | None, names: list[Any] | None
) -> list[Any]:
    """Returns the names of numbered classes; checks the numbers."""
    if names is None:
        names = [*range(num_classes or max(int(codes.max()) + 1, 2))]
    wrong = np.flatnonzero((codes < 0) | (codes >= len(names)))
    if len(wrong):
        raise ValueError(
            f'labels must be class numbers from 0 to {len(names) - 1}, got '
            f'{codes[wrong[0]]} in row {wrong[0]}.'
        )
    return names


def _looked_up(given: list[Any], names: list[Any]) -> np.ndarray:
    """Returns the places of labels among the classes, int64 [n]."""
    places = {name: place for place, name in enumerate(names)}
    codes = [places.get(label, -1) for label in given]
    if -1 in codes:
        label = given[codes.index(-1)]
        hint = nearest(str(label), map(str, names))
        raise ValueError(f'the label {label!r} is not among classes.{hint}')
    return np.array(codes, np.int64)


def index(values: Any, count: int) -> np.ndarray:
    """Returns row numbers, int64 [k].

    Args:
        values: the row numbers.
        count: number of rows that exist.

    Raises:
        ValueError: these are not numbers of rows.
    """
    rows = array(values)
    if not rows.size:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in 'iu':
        raise ValueError(
            'index must be a list of integers, got '
            f'{rows.dtype} of shape {rows.shape}.'
        )
    low, high = int(rows.min()), int(rows.max())
    if low < 0 or high >= count:
        raise ValueError(
            f'index must be from 0 to {count - 1}, as there are {count} '
            f'labels, got {low if low < 0 else high}.'
        )
    return rows.astype(np.int64)


def predictions(
    probabilities: Any, logits: Any, count: int, num_classes: int
) -> np.ndarray:
    """Returns probabilities, float64 [k, C], given as such or as logits.

    Args:
        probabilities: [k, C], or None.
        logits: [k, C], or None.
        count: k.
        num_classes: C.

    Raises:
        ValueError: both or neither is given, or the numbers cannot be used.
    """
    if (probabilities is None) == (logits is None):
        raise ValueError('give either probabilities or logits.')
    if logits is not None:
        # Faster than SciPy's, which is for any axis.
        exps = logits_of(logits, count, num_classes)
        exps -= exps.max(axis=1, keepdims=True)
        np.exp(exps, out=exps)
        exps /= exps.sum(axis=1, keepdims=True)
        return exps
    values = array(probabilities).astype(np.float64)
    _check(values, 'probabilities', (count, num_classes))
    if not _are_probabilities(values, TOLERANCE):
        off = np.abs(values.sum(axis=1) - 1)
        off[values.min(axis=1) < 0] = np.inf
        row = int(off.argmax())
        raise ValueError(
            'probabilities must not be negative and must sum to 1, but those '
            f'of row {row} range from {values[row].min():.4g} to '
            f'{values[row].max():.4g} and sum to {values[row].sum():.4g}: '
            'if they are logits, take their softmax.'
        )
    return values


def logits_of(values: Any, count: int, num_classes: int) -> np.ndarray:
    """Returns a copy of logits, float64 [k, C].

    Args:
        values: [k, C]; of several networks [k, networks, C], of which the mean
            probabilities count.
        count: k.
        num_classes: C.

    Raises:
        ValueError: these are not logits.
    """
    values = array(values).astype(np.float64)
    networks = values.shape[1:-1] if values.ndim == 3 else ()
    _check(values, 'logits', (count, *networks, num_classes))
    if len(values) and _are_probabilities(values, 1e-6):
        raise ValueError(
            'logits must be given before the softmax, but these are '
            'probabilities: give their logarithms.'
        )
    return combined(values) if networks else values


def is_softmax(outputs: np.ndarray) -> bool:
    """Returns whether outputs of a network [n, C] are probabilities."""
    return _are_probabilities(outputs, TOLERANCE)


def _are_probabilities(values: np.ndarray, tolerance: float) -> bool:
    """Returns whether all rows are distributions over the classes."""
    if values.min(initial=0) < 0:
        return False
    return bool((np.abs(values.sum(axis=-1) - 1) <= tolerance).all())


def _check(values: np.ndarray, name: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError if predictions have another shape or are not finite."""
    if values.shape != shape:
        wanted = ', '.join(map(str, shape))
        raise ValueError(
            f'{name} must have the shape ({wanted}), one row per index and one '
            f'column per class, got {values.shape}.'
        )
    # A sum is not finite if a number is not.
    if not np.isfinite(values.sum()) and not np.isfinite(values).all():
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        raise ValueError(
            f'{name} must be finite, but row {bad.argmax()} has NaN or '
            'infinity.'
        )


def features(values: Any, count: int, name: str = 'features') -> np.ndarray:
    """Returns vectors, float32 [n, d].

    Args:
        values: [n, d].
        count: n.
        name: what they are called in messages.

    Raises:
        ValueError: these are not vectors of as many rows.
    """
    vectors = array(values)
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise ValueError(
            f'{name} must have the shape ({count}, d), one row per label, got '
            f'{vectors.shape}.'
        )
    vectors = vectors.astype(np.float32)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(
            f'{name} must be finite, but row {bad.argmax()} has NaN, infinity '
            'or a number beyond float32.'
        )
    if count > 1 and (vectors == vectors[0]).all():
        raise ValueError(
            f'{name} are the same in all rows, so neighbours mean nothing.'
        )
    return vectors
