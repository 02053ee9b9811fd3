"""Matrices of examples made vectors."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import TruncatedSVD

from ieg.data.matrix import MOST_SPARSE, Matrix, is_matrix

X = np.random.default_rng(0).normal(size=(30, 4))
WIDE = sparse.random(300, 900, 0.05, 'csr', random_state=0)


def test_what_is_a_matrix():
    assert is_matrix(X, None) and is_matrix(X.tolist(), None)
    assert is_matrix(X.astype(int), None) and is_matrix(WIDE, None)
    assert not is_matrix(X, (2, 2)) and not is_matrix(WIDE, (30, 30))
    assert not is_matrix(X.astype(np.uint8), None)
    assert not is_matrix(X.reshape(30, 2, 2), None)
    assert not is_matrix(X[0], None)


@pytest.mark.parametrize('kind', [np.array, sparse.csr_array, sparse.coo_array])
def test_narrow_ones_stay_as_they_are(kind):
    taken = Matrix.learnt(kind(X), 0)
    assert taken.shape == (4,)
    found = taken.vectors(kind(X))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, X.astype(np.float32))


def test_wide_sparse_ones_are_reduced():
    with pytest.warns(UserWarning, match='900 columns.*256 numbers.*Truncated'):
        taken = Matrix.learnt(WIDE, 3)
    assert taken.shape == (MOST_SPARSE,)
    svd = TruncatedSVD(MOST_SPARSE, random_state=3).fit(WIDE.astype(np.float32))
    expected = svd.transform(WIDE[:5].astype(np.float32))
    np.testing.assert_allclose(taken.vectors(WIDE[:5]), expected, atol=1e-5)
    # Dense rows of the same columns are reduced as well.
    dense = taken.vectors(WIDE[:5].toarray())
    np.testing.assert_allclose(dense, expected, atol=1e-5)


@pytest.mark.parametrize(
    ('values', 'facts'),
    [
        (X[:, :3], 'the probe has 3 features.*expecting 4 features'),
        (np.full((2, 4), np.nan), 'NaN'),
        (X * 1e300, 'infinity or a value too large'),
        (np.full((2, 4), 2e37), 'up to 2e\\+37.*less than 1e\\+37'),
        (sparse.csr_array(np.full((2, 4), 2e37)), 'the probe.*up to 2e'),
        ([['a', 'b', 'c', 'd']], "could not convert string to float: 'a'"),
        (np.zeros((0, 4)), 'Found array with 0 sample'),
    ],
)
def test_what_is_refused(values, facts):
    with pytest.raises(ValueError, match=facts):
        Matrix.learnt(X, 0).vectors(values, 'the probe')


def test_columns_with_names_come_in_the_order_of_the_training():
    frame = pd.DataFrame(X, columns=list('abcd'))
    taken = Matrix.learnt(frame, 0)
    expected = X.astype(np.float32)
    np.testing.assert_array_equal(taken.vectors(frame), expected)
    # Without names, the place counts.
    np.testing.assert_array_equal(taken.vectors(X), expected)
    numbered = Matrix.learnt(pd.DataFrame(X), 0)
    np.testing.assert_array_equal(numbered.vectors(frame), expected)
    for wrong in (frame[list('acbd')], frame.rename(columns={'b': 'e'})):
        with pytest.raises(ValueError, match="'[ce]' where 'b' was"):
            taken.vectors(wrong)
