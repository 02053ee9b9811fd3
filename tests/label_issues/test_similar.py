import numpy as np
import pandas as pd
import pytest

from ieg import label_issues
from ieg.label_issues import neighbours, similar


def examples(seed=0):
    """Returns two parts of vectors; some of the second copy the first."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 160)
    centres = 4 * rng.standard_normal((3, 20))
    vectors = centres[labels] + rng.standard_normal((160, 20))
    vectors[[120, 121, 122]] = vectors[[0, 1, 2]]
    vectors[5] = vectors[6]
    labels[[120, 121]] = labels[[0, 1]]
    labels[122] = (labels[2] + 1) % 3
    labels[5] = labels[6]
    train = similar.Part('train', np.arange(120), labels[:120], vectors[:120])
    test = similar.Part('test', np.arange(40) * 2, labels[120:], vectors[120:])
    return train, test


def issues(*parts):
    """Returns rows of the same examples, in some other order."""
    table = pd.concat(
        [pd.DataFrame({'index': p.indices, 'split': p.split}) for p in parts]
    ).sample(frac=1, random_state=0)
    count = len(table)
    numbers = dict.fromkeys(('score', 'margin', 'agreement'), np.zeros(count))
    texts = np.full(count, 'a', object)
    return label_issues.Issues(
        rank=np.arange(1, count + 1),
        index=table['index'].to_numpy(),
        path=texts,
        split=table['split'].to_numpy(object),
        given=texts,
        suggested=texts,
        in_selection=np.full(count, np.nan),
        is_issue=np.zeros(count, bool),
        is_hard=np.zeros(count, bool),
        corrected=np.full(count, '', object),
        **numbers,
    )


def test_of_narrow_vectors_only_copies_are_found():
    rng = np.random.default_rng(0)
    vectors = np.exp(3 * rng.standard_normal((600, 2)))
    vectors[7] = vectors[500]
    part = similar.Part('train', np.arange(600), np.arange(600) % 3, vectors)
    found = similar.examine([part], None)
    np.testing.assert_array_equal(np.flatnonzero(found.group), [7, 500])
    assert not found.is_outlier.any()


def test_neighbours_are_training_examples_only():
    train, test = examples()
    result = similar.examine([train, test], None)
    everything, agreement = slice(None), []
    for part, same in ((train, True), (test, False)):
        ids, _ = neighbours.nearest(part.vectors, train.vectors, 20, same)
        wanted = neighbours.shares(ids, train.labels, 3)
        found = result.shares(part.split, 3)(everything)
        np.testing.assert_array_equal(found, wanted)
        agreement += wanted[np.arange(len(part)), part.labels].tolist()
    np.testing.assert_allclose(result.agreement, agreement)


def test_neighbours_of_the_own_fold_are_left_out():
    train, test = examples()
    result = similar.examine([train, test], None)
    folds = np.arange(120) % 5
    shares = result.shares_apart(folds, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    for fold in range(5):
        own, rest = folds == fold, folds != fold
        ids, _ = neighbours.nearest(
            train.vectors[own], train.vectors[rest], 20, False
        )
        wanted = neighbours.shares(ids, train.labels[rest], 3)
        # Where fewer of them are known, these are the nearest ones.
        same = np.isclose(shares[own], wanted).all(axis=1)
        assert same.mean() > 0.5
        np.testing.assert_allclose(shares[own], wanted, atol=0.3)


def test_copies_are_counted_within_and_across_splits():
    result = similar.examine(examples(), None)
    assert result.figures() == {
        'near_duplicates': {
            'examples': 8,
            'groups': 4,
            'of_different_labels': 1,
            'across_splits': 3,
        },
        'outliers': int(result.is_outlier.sum()),
    }


def test_sentences_say_what_was_found():
    figures = similar.examine(examples(), None).figures()
    (text, *_) = similar.statement(figures | {'outliers': 0})
    for fact in ('8 examples', '4 groups', '1 with different', '3 in more'):
        assert fact in text
    (text,) = similar.statement({'outliers': 1})
    assert '1 example is' in text
    assert not similar.statement({})
    assert not similar.statement(
        {'outliers': 0, 'near_duplicates': {'groups': 0, 'examples': 0}}
    )


def test_rows_of_the_list_get_what_is_known_of_their_example(tmp_path):
    parts = examples()
    result = similar.examine(parts, None)
    rows = result.add(issues(*parts))
    for row in range(len(rows)):
        place = int(rows.index[row])
        if rows.split[row] == 'test':
            place = 120 + place // 2
        assert rows.neighbour_agreement[row] == result.agreement[place]
        group = rows.duplicate_group[row]
        assert (0 if np.isnan(group) else group) == result.group[place]
    path = str(tmp_path / 'label_issues.csv')
    label_issues.write(path, rows)
    again = label_issues.read(path)
    np.testing.assert_array_equal(again.duplicate_group, rows.duplicate_group)
    np.testing.assert_array_equal(again.is_outlier, rows.is_outlier)
    np.testing.assert_allclose(
        again.outlier_score, rows.outlier_score, atol=1e-5
    )
    assert again.mark is None


@pytest.mark.parametrize('counts', [(1,), (2, 1), (3,)])
def test_few_examples_are_no_error(counts):
    rng = np.random.default_rng(0)
    parts = [
        similar.Part(
            name, np.arange(n), np.zeros(n, int), rng.standard_normal((n, 4))
        )
        for name, n in zip(('train', 'test'), counts, strict=False)
    ]
    result = similar.examine(parts, None)
    assert len(result.nearest) == sum(counts)
    assert not result.group.any() and not result.is_outlier.any()
