"""Images that come as arrays of any kind, made uint8."""

import dataclasses
import math
import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

WHITE = 255
# What white can be in arrays of other types: shares, the 17 grey levels of
# scikit-learn's digits, or pixels.
_LEVELS = (1, 16, WHITE)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How arrays become images.

    Attributes:
        shape: (H, W, channels).
        largest: what white is in arrays that are not uint8, one of `_LEVELS`:
            the first that no value exceeds.
    """

    shape: tuple[int, int, int]
    largest: int

    @property
    def width(self) -> int:
        """Number of values per image."""
        return math.prod(self.shape)

    @classmethod
    def learnt(
        cls, values: ArrayLike, image_shape: Sequence[int] | None = None
    ) -> 'Pixels':
        """Finds it out from the images of a training.

        Args:
            values: as of `images`.
            image_shape: (H, W) or (H, W, channels) of flat images, or None.

        Raises:
            ValueError: they cannot be images.
        """
        array = _checked(values)
        shape = array.shape[1:]
        if array.ndim == 2 or image_shape is not None:
            shape = _asked(array, image_shape)
        shape = shape if len(shape) == 3 else (*shape, 1)
        if shape[2] not in (1, 3):
            raise ValueError(
                f'X has images of {shape[2]} channels, but must have 1 or 3, '
                'as [n, H, W], [n, H, W, 1] or [n, H, W, 3].'
            )
        largest = WHITE
        if array.dtype != np.uint8:
            most = array.max()
            largest = next((n for n in _LEVELS if most <= n), WHITE)
        height, width, channels = map(int, shape)
        return cls((height, width, channels), largest)

    def images(self, values: ArrayLike, name: str = 'X') -> np.ndarray:
        """Returns images, uint8 [n, H, W, channels].

        Args:
            values: [n, H, W], [n, H, W, channels] or flat [n, d]; uint8 as
                they are, others from 0 to `largest`, to be rounded.
            name: of them, in errors.

        Raises:
            ValueError: they are of another shape, or out of range.
        """
        array = _checked(values, name)
        shape, size = array.shape[1:], int(np.prod(self.shape))
        if array.ndim == 2 and shape != (size,):
            raise ValueError(
                f'{name} has {shape[0]} features, but NoisyLabelClassifier is '
                f'expecting {size} features as input.'
            )
        if array.ndim > 2 and (*shape, 1)[:3] != self.shape:
            raise ValueError(
                f'{name} has images of the shape {shape}, but '
                f'NoisyLabelClassifier is expecting {self.shape}.'
            )
        if array.dtype != np.uint8:
            if array.max() > self.largest:
                raise ValueError(
                    f'{name} has the value {array.max():g}, but pixels are '
                    f'numbers from 0 to {self.largest}'
                    + (', as in fit.' if self.largest < WHITE else '.')
                )
            array = np.rint(array * (WHITE / self.largest)).astype(np.uint8)
        return array.reshape(-1, *self.shape)


def _checked(values: ArrayLike, name: str = 'X') -> np.ndarray:
    """Returns an array of numbers from 0 on.

    Raises:
        ValueError: that is impossible.
        TypeError: it is sparse.
    """
    if sparse.issparse(values):
        raise TypeError(
            f'{name} is sparse, but images are dense arrays: use toarray().'
        )
    array = np.asarray(values)
    if array.dtype.kind == 'c':
        raise ValueError(f'Complex data not supported: {name} has some.')
    if array.dtype.kind not in 'buif':
        # Strings of numbers, or objects; others raise a TypeError.
        try:
            array = array.astype(np.float64)
        except ValueError as error:
            raise ValueError(
                f'{name} must have numbers only: {error}.'
            ) from error
    if array.dtype == bool:
        array = array.astype(np.float32)
    if not 2 <= array.ndim <= 4:
        raise ValueError(
            f'{name} has {array.ndim} dimensions, but images are [n, H, W], '
            '[n, H, W, channels] or flat [n, d]. Reshape your data.'
        )
    if not array.size:
        what = 'feature' if len(array) else 'sample'
        raise ValueError(
            f'{name} has 0 {what}(s) (shape={array.shape}) while a minimum of '
            '1 is required.'
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f'{name} contains NaN or infinity, which are not pixel values.'
        )
    if array.min() < 0:
        raise ValueError(
            f'Negative values in {name}: {array.min():g} is not a pixel '
            'value; scale '
            'images to [0, 1] or [0, 255].'
        )
    return array


def _asked(
    array: np.ndarray, image_shape: Sequence[int] | None
) -> tuple[int, ...]:
    """Returns the shape of images that a user gives.

    Raises:
        ValueError: it is missing, or does not fit.
    """
    held = int(np.prod(array.shape[1:]))
    if image_shape is None:
        raise ValueError(
            f'X has {held} features per image, but their height and width are '
            'unknown: give image_shape=(H, W) or (H, W, channels), images as '
            '[n, H, W], or floating numbers for vectors.'
        )
    try:
        shape = tuple(map(operator.index, image_shape))
    except TypeError:
        shape = ()
    fits = len(shape) in (2, 3) and min(shape) > 0
    if not fits or math.prod(shape) != held:
        raise ValueError(
            f'image_shape={image_shape!r} does not fit X, which has {held} '
            'values per image: give (H, W) or (H, W, channels).'
        )
    return shape
