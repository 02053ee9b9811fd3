"""Matrices of examples, as scikit-learn has them, made vectors."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.utils import check_array

from ieg.utils.arrays import LARGEST

# Sparse matrices with more columns are reduced to as many.
MOST_SPARSE = 256


def is_matrix(values: Any, image_shape: Any) -> bool:
    """Returns whether rows are vectors, and not flat images.

    Args:
        values: an array, or what becomes one; or a sparse matrix.
        image_shape: of flat images; None for anything else.
    """
    if image_shape is not None or sparse.issparse(values):
        return image_shape is None
    array = np.asarray(values)
    return array.ndim == 2 and array.dtype != np.uint8


@dataclasses.dataclass(frozen=True)
class Matrix:
    """How a matrix becomes vectors.

    Attributes:
        width: number of its columns.
        reduction: what reduces a sparse one; None for no reduction.
        names: of its columns; empty where they have none.
    """

    width: int
    reduction: TruncatedSVD | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def learnt(cls, values: Any, seed: int) -> 'Matrix':
        """Finds it out from the examples of a training.

        Args:
            values: as of `vectors`.
            seed: of the reduction.

        Raises:
            ValueError: they are not finite numbers [n, d].
        """
        checked = _checked(values, 'X')
        count, width = checked.shape
        if not sparse.issparse(checked) or width <= MOST_SPARSE:
            return cls(width, names=_names(values))
        kept = min(MOST_SPARSE, count)
        warnings.warn(
            f'X is sparse: its {width} columns are reduced to {kept} numbers '
            'by TruncatedSVD, in predict as well.',
            stacklevel=3,
        )
        return cls(width, TruncatedSVD(kept, random_state=seed).fit(checked))

    @property
    def shape(self) -> tuple[int]:
        """Number of columns of `vectors`."""
        reduced = self.reduction and len(self.reduction.components_)
        return (reduced or self.width,)

    def vectors(self, values: Any, name: str = 'X') -> np.ndarray:
        """Returns vectors, float32 [n, d].

        Args:
            values: numbers [n, width], dense or sparse.
            name: of them, in errors.

        Raises:
            ValueError: they are of another shape, not finite, or their
                columns have other names.
        """
        checked = _checked(values, name)
        if checked.shape[1] != self.width:
            raise ValueError(
                f'{name} has {checked.shape[1]} features, but '
                f'NoisyLabelClassifier is expecting {self.width} features as '
                'input.'
            )
        self._check_names(_names(values), name)
        if self.reduction is not None:
            return self.reduction.transform(checked).astype(np.float32)
        return checked.toarray() if sparse.issparse(checked) else checked

    def _check_names(self, names: tuple[str, ...], name: str) -> None:
        """Raises ValueError for columns of other names, or another order."""
        pairs = zip(self.names, names, strict=False)
        differing = [pair for pair in pairs if pair[0] != pair[1]]
        if differing:
            expected, given = differing[0]
            raise ValueError(
                f'The feature names of {name} should match those that were '
                f'passed during fit, in the same order: got {given!r} where '
                f'{expected!r} was.'
            )


def _names(values: Any) -> tuple[str, ...]:
    """Returns the names of the columns of a data frame; () without names."""
    names = tuple(getattr(values, 'columns', ()))
    return names if all(isinstance(name, str) for name in names) else ()


def _check_size(values: np.ndarray, name: str) -> None:
    """Checks that no number is too large to compute with.

    Args:
        values: finite numbers.
        name: of them, in errors.

    Raises:
        ValueError: one is.
    """
    largest = np.abs(values).max(initial=0)
    if largest >= LARGEST:
        raise ValueError(
            f'{name} has numbers up to {largest:.3g}, which must be less than '
            f'{LARGEST:g}.'
        )


def _checked(values: Any, name: str) -> Any:
    """Returns finite numbers float32 [n, d], dense or sparse.

    Raises:
        ValueError: that is impossible.
    """
    # What is infinite in float32 is said to be too large.
    with np.errstate(over='ignore', invalid='ignore'):
        checked = check_array(
            values,
            accept_sparse='csr',
            dtype=np.float32,
            input_name=name,
            estimator='NoisyLabelClassifier',
        )
    _check_size(checked.data if sparse.issparse(checked) else checked, name)
    return checked
