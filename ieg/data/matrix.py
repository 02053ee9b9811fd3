"""Matrices of examples, as scikit-learn has them, made vectors."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.utils import check_array

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
    """

    width: int
    reduction: TruncatedSVD | None = None

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
            return cls(width)
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
            ValueError: they are of another shape, or not finite.
        """
        checked = _checked(values, name)
        if checked.shape[1] != self.width:
            raise ValueError(
                f'{name} has {checked.shape[1]} features, but '
                f'NoisyLabelClassifier is expecting {self.width} features as '
                'input.'
            )
        if self.reduction is not None:
            return self.reduction.transform(checked).astype(np.float32)
        return checked.toarray() if sparse.issparse(checked) else checked


def _checked(values: Any, name: str) -> Any:
    """Returns finite numbers float32 [n, d], dense or sparse.

    Raises:
        ValueError: that is impossible.
    """
    # What is infinite in float32 is said to be too large.
    with np.errstate(over='ignore', invalid='ignore'):
        return check_array(
            values,
            accept_sparse='csr',
            dtype=np.float32,
            input_name=name,
            estimator='NoisyLabelClassifier',
        )
