"""Training sets whose classes become rarer by a constant factor."""

import loading
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ieg.data import splits
from ieg.errors import UsageError
from ieg.registry import DATASETS


def test_the_profile_is_the_usual_one():
    labels = np.arange(50000) % 10
    chosen = splits.long_tail(labels, 0.01, 10, 0)
    # Cao et al. 2019, ratio 100.
    expected = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert list(np.bincount(labels[chosen])) == expected
    assert len(chosen) == 12406
    assert (np.diff(chosen) > 0).all()
    of_100 = np.arange(50000) % 100
    chosen = splits.long_tail(of_100, 0.1, 100, 0)
    counts = np.bincount(of_100[chosen])
    assert (counts[0], counts[-1], len(chosen)) == (500, 50, 19573)


@given(
    st.lists(st.integers(5, 60), min_size=2, max_size=8),
    st.floats(0.02, 1.0),
    st.integers(0, 9),
)
def test_no_class_is_asked_for_more_than_it_has(sizes, imbalance, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    try:
        chosen = splits.long_tail(labels, imbalance, len(sizes), seed)
    except UsageError:
        # Five of the most frequent class are always possible.
        assert imbalance < 1 / 5
        return
    counts = np.bincount(labels[chosen], minlength=len(sizes))
    assert (counts >= 1).all() and (counts <= sizes).all()
    assert (np.diff(counts) <= 0).all()
    shares = imbalance ** (np.arange(len(sizes)) / (len(sizes) - 1))
    assert (np.abs(counts - np.floor(counts[0] * shares)) <= 1).all()
    # There cannot be more.
    assert ((counts[0] + 1) * shares > sizes).any()


def test_a_long_tail_goes_before_probe_noise_and_validation():
    loaded = loading.load(
        'fake_imbal_0.25_symmetric_0.4', probe_ratio=0.1, valid_ratio=0.1
    )
    arrays = DATASETS.get('fake')(None)
    profile = np.array([64, 40, 25, 16])
    probe = loaded.probe
    assert list(np.bincount(probe.labels)) == [3, 3, 3, 3]
    np.testing.assert_array_equal(np.bincount(loaded.noise.clean), profile - 3)
    total = len(loaded.train) + len(loaded.valid) + len(probe)
    assert total == profile.sum()
    assert len(loaded.valid) == int((total - 12) * 0.1)
    assert 0.2 < loaded.noise.realised_rate < 0.6
    np.testing.assert_array_equal(
        loaded.train.clean_labels, arrays.train_labels[loaded.train.indices]
    )
    # The test set stays whole.
    assert (np.bincount(loaded.test.labels) == 32).all()


def test_a_subset_goes_before_the_long_tail():
    whole = loading.load('digits', train_examples=400, seed=3).train.indices
    tail = loading.load('digits_imbal_0.1', train_examples=400, seed=3).train
    assert set(tail.indices) < set(whole)
    assert np.bincount(tail.labels)[[0, -1]].tolist() == [40, 4]


def test_a_seed_repeats_a_long_tail_and_another_changes_it():
    def indices(seed):
        return loading.load('fake_imbal_0.1', seed=seed).train.indices.tolist()

    assert indices(1) == indices(1) != indices(2)


@pytest.mark.parametrize('sampler', ['numpy', 'ieg', 'memomentum'])
def test_samplers_take_a_long_tail(sampler):
    kind = 'symmetric' if sampler == 'memomentum' else 'uniform'
    loaded = loading.load(
        f'digits_imbal_0.2_{kind}_0.4',
        probe_ratio=0.05,
        valid_ratio=0.1,
        noise_sampler=sampler,
    )
    count = len(loaded.train) + len(loaded.valid) + len(loaded.probe)
    expected = len(loading.load('digits_imbal_0.2').train)
    assert count == expected
    assert (np.diff(np.bincount(loaded.noise.clean)) <= 0).all()


@pytest.mark.parametrize(
    ('spec', 'request_', 'words'),
    [
        ('fake_imbal_0.001', {}, 'has 64 .* rarest one none: choose 0.0157'),
        (
            'fake_imbal_0.05',
            {'probe_ratio': 0.2},
            'fewer than the 3 of the rarest class: choose a smaller share',
        ),
        ('fake_imbal_0.1', {'train_examples': 8}, 'choose 0.5 or more'),
    ],
)
def test_an_impossible_request_is_named(spec, request_, words):
    with pytest.raises(UsageError, match=words) as caught:
        loading.load(spec, **request_)
    assert '\n' not in str(caught.value)


def test_the_least_imbalance_that_is_named_works():
    loaded = loading.load('fake_imbal_0.0157')
    assert np.bincount(loaded.train.labels).tolist() == [64, 16, 4, 1]
