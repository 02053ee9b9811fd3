import numpy as np
import pytest

from ieg.errors import UsageError
from ieg.label_issues import neighbours


def vectors(count, width, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width))


def plain(queries, references, k, same):
    """Returns the same by a whole sort, ties by id."""
    scale = [np.linalg.norm(x, axis=1)[:, None] for x in (queries, references)]
    cosine = (queries / scale[0]) @ (references / scale[1]).T
    if same:
        np.fill_diagonal(cosine, -np.inf)
    ids = np.argsort(-cosine, axis=1, kind='stable')[:, :k]
    return ids, np.take_along_axis(cosine, ids, axis=1)


@pytest.mark.parametrize('same', [True, False])
@pytest.mark.parametrize('count', [2, 47, 48, 49, 700])
def test_neighbours_are_those_of_a_whole_sort(count, same, monkeypatch):
    monkeypatch.setattr(neighbours, '_BLOCK', 2048)
    references = vectors(count, 7)
    queries = references if same else vectors(30, 7, 1)
    ids, cosine = neighbours.nearest(queries, references, 20, same)
    k = min(20, count - same)
    wanted = plain(queries, references, k, same)
    np.testing.assert_array_equal(ids, wanted[0])
    np.testing.assert_allclose(cosine, wanted[1], atol=1e-6)
    assert ids.shape == cosine.shape == (len(queries), k)


def test_neighbours_are_those_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    references, queries = vectors(500, 16), vectors(80, 16, 1)
    search = NearestNeighbors(
        n_neighbors=9, metric='cosine', algorithm='brute'
    ).fit(references)
    distance, wanted = search.kneighbors(queries)
    ids, cosine = neighbours.nearest(queries, references, 9, same=False)
    np.testing.assert_array_equal(ids, wanted)
    np.testing.assert_allclose(1 - cosine, distance, atol=1e-6)
    # Without a query, scikit-learn leaves each row itself out.
    ids, _ = neighbours.nearest(references, references, 9, same=True)
    np.testing.assert_array_equal(ids, search.kneighbors(return_distance=False))


def test_of_equal_neighbours_the_first_ones_are_taken():
    # All of a thousand rows are one of two directions.
    directions = np.eye(2)[np.arange(1000) % 2] * np.arange(1, 1001)[:, None]
    ids, cosine = neighbours.nearest(directions, directions, 5, same=True)
    np.testing.assert_array_equal(ids[0], [2, 4, 6, 8, 10])
    np.testing.assert_array_equal(ids[4], [0, 2, 6, 8, 10])
    np.testing.assert_array_equal(ids[999], [1, 3, 5, 7, 9])
    np.testing.assert_allclose(cosine, 1)
    wanted, _ = plain(directions, directions, 5, True)
    np.testing.assert_array_equal(ids, wanted)


def test_a_row_that_is_not_a_direction_is_like_nothing():
    rows = np.array([[1, 0], [0, 0], [np.nan, 1], [np.inf, 1], [1e30, 1e30]])
    ids, cosine = neighbours.nearest(rows, rows, 4, same=True)
    np.testing.assert_allclose(cosine[1:4], 0)
    np.testing.assert_array_equal(ids[0], [4, 1, 2, 3])
    np.testing.assert_allclose(cosine[0, 0], 0.5**0.5, rtol=1e-6)


@pytest.mark.parametrize(('count', 'same'), [(1, True), (0, False)])
def test_where_nothing_else_is_there_are_no_neighbours(count, same):
    ids, cosine = neighbours.nearest(
        vectors(1, 3), vectors(count, 3), 20, same=same
    )
    assert ids.shape == cosine.shape == (1, 0)
    shares = neighbours.shares(ids, np.zeros(count, int), 3)
    np.testing.assert_array_equal(shares, np.zeros((1, 3)))


def test_shares_count_given_labels():
    ids = np.array([[0, 1, 2, 3], [3, 3, 2, 2]])
    labels = np.array([2, 2, 0, 1], np.int32)
    np.testing.assert_array_equal(
        neighbours.shares(ids, labels, 4),
        [[0.25, 0.25, 0.5, 0], [0.5, 0.5, 0, 0]],
    )


def test_what_would_take_hours_is_refused():
    # Without its memory.
    many = np.broadcast_to(np.float32(1), (1_000_000, 512))
    with pytest.raises(UsageError, match='1,000,000'):
        neighbours.nearest(many, many, 20, same=True)
