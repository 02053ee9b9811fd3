"""The dataset string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ieg.data.spec import DatasetSpec, parse
from ieg.errors import UsageError
from ieg.registry import DATASETS, NOISES

BASES = st.sampled_from(DATASETS.names())
KINDS = st.sampled_from(NOISES.names())
RATES = st.floats(0.0, 1.0)


@given(BASES, KINDS, RATES)
def test_a_spec_survives_its_string(base, kind, rate):
    spec = DatasetSpec(base, kind, abs(rate))
    assert parse(str(spec)) == spec
    assert str(parse(str(spec))) == str(spec)


@given(BASES)
def test_a_name_alone_means_no_noise(base):
    assert parse(base) == DatasetSpec(base, None, None)
    assert str(parse(base)) == base


@pytest.mark.parametrize(
    'text',
    [
        'cifar10',
        'cifar10_uniform_0.4',
        'cifar100_asymmetric_0.4',
        'fashion_mnist_uniform_0.4',
        'mnist_pairflip_0.45',
        'digits_symmetric_1.0',
        'fake_uniform_0.0',
        'fake_uniform_1e-05',
    ],
)
def test_canonical_strings_stay_as_they_are(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize('number', ['0.40', '.4', '4e-1', '00.4', '+0.4'])
def test_other_ways_to_write_a_rate_are_normalised(number):
    assert str(parse(f'cifar10_uniform_{number}')) == 'cifar10_uniform_0.4'


def test_a_whole_or_negative_zero_rate_is_normalised():
    assert str(parse('cifar10_uniform_1')) == 'cifar10_uniform_1.0'
    assert str(parse('cifar10_uniform_-0')) == 'cifar10_uniform_0.0'


def test_the_longest_known_name_wins():
    bases = ['cifar10', 'cifar10_uniform', 'mnist', 'fashion_mnist']
    spec = parse('cifar10_uniform_symmetric_0.2', bases)
    assert spec == DatasetSpec('cifar10_uniform', 'symmetric', 0.2)
    assert parse('cifar100', ['cifar10', 'cifar100']).base == 'cifar100'


@given(st.text(max_size=30))
def test_any_text_is_a_spec_or_a_usage_error(text):
    try:
        spec = parse(text)
    except UsageError:
        return
    assert parse(str(spec)) == spec


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('cifar11_uniform_0.4', ["no data set 'cifar11'", "'cifar10"]),
        ('CIFAR10', ["no data set 'CIFAR10'", "Did you mean 'cifar10'"]),
        ('fashion_mnst', ["Did you mean 'fashion_mnist'", 'Known: ']),
        ('', ["no data set ''", 'Known: cifar10, ']),
        (
            'cifar10_unifrom_0.4',
            ["no kind of noise 'unifrom'", "Did you mean 'uniform'", 'Known:'],
        ),
        ('cifar10_0.4', ['no kind of noise', 'cifar10_uniform_0.4']),
        ('cifar10_', ['no kind of noise', 'cifar10_uniform_0.4']),
        ('cifar10_uniform', ["'uniform' needs a rate", 'cifar10_uniform_0.4']),
        ('cifar10_uniform_1.4', ['1.4', 'cifar10_uniform_1.4', '[0, 1]']),
        ('cifar10_uniform_-0.1', ['-0.1', 'outside [0, 1]']),
        ('cifar10_uniform_nan', ['nan', 'outside [0, 1]']),
        ('cifar10_uniform_inf', ['inf', 'outside [0, 1]']),
        ('cifar10_uniform_', ["rate ''", 'is not a number']),
        ('cifar10_uniform_many', ["'many'", 'is not a number']),
        ('cifar10_uniform_0.4_0.2', ["'0.4_0.2'", 'is not a number']),
    ],
)
def test_a_mistake_is_named(text, words):
    with pytest.raises(UsageError) as caught:
        parse(text)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert '\n' not in message


def test_a_rate_without_a_kind_is_a_mistake():
    with pytest.raises(UsageError, match='no kind of noise'):
        DatasetSpec('cifar10', None, 0.4)
