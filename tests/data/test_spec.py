"""The dataset string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ieg.data.noise.human import HUMAN_SETS
from ieg.data.spec import DatasetSpec, parse
from ieg.errors import UsageError
from ieg.registry import DATASETS, NOISES

BASES = st.sampled_from(DATASETS.names())
KINDS = st.sampled_from(NOISES.names())
RATES = st.floats(0.0, 1.0)
TAILS = st.none() | st.floats(0.0, 1.0, exclude_min=True)
HUMAN = st.sampled_from(
    [(h.base, variant) for h in HUMAN_SETS.values() for variant in h.variants]
)


@given(BASES, KINDS, RATES, TAILS)
def test_a_spec_survives_its_string(base, kind, rate, tail):
    spec = DatasetSpec(base, kind, abs(rate), tail)
    assert parse(str(spec)) == spec
    assert str(parse(str(spec))) == str(spec)


@given(BASES, TAILS)
def test_a_long_tail_needs_no_noise(base, tail):
    spec = DatasetSpec(base, imbalance=tail)
    assert parse(str(spec)) == spec


@given(HUMAN, TAILS)
def test_human_labels_survive_their_string(human, tail):
    spec = DatasetSpec(*human, imbalance=tail)
    assert parse(str(spec)) == spec
    assert str(spec).startswith(f'{spec.human}_')
    assert spec.base in DATASETS.names()


def test_human_labels_have_the_images_of_their_base():
    spec = parse('cifar10n_worse')
    assert spec == DatasetSpec('cifar10', 'worse', None)
    assert spec.human == 'cifar10n'
    assert parse('cifar10_uniform_0.4').human is None
    assert str(parse('cifar100n')) == 'cifar100n_noisy'
    tailed = parse('cifar100n_imbal_0.1')
    assert str(tailed) == 'cifar100n_imbal_0.1_noisy'


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
        'mnist_instance_0.4',
        'cifar10_cores_0.2',
        'cifar10_imbal_0.01',
        'cifar10_imbal_0.01_uniform_0.2',
        'fashion_mnist_imbal_0.1_instance_0.4',
        'cifar10n_aggre',
        'cifar10n_imbal_0.1_random1',
        'cifar100n_noisy',
    ],
)
def test_canonical_strings_stay_as_they_are(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize('number', ['0.40', '.4', '4e-1', '00.4', '+0.4'])
def test_other_ways_to_write_a_rate_are_normalised(number):
    assert str(parse(f'cifar10_uniform_{number}')) == 'cifar10_uniform_0.4'
    assert str(parse(f'cifar10_imbal_{number}')) == 'cifar10_imbal_0.4'


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
        ('', ["no data set ''", 'Known: animal10n, ', 'tfds:NAME']),
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
        ('cifar10_imbal', ["imbalance ''", 'cifar10_imbal_0.01']),
        ('cifar10_imbal_few', ["'few'", 'is not a number']),
        ('cifar10_imbal_0', ['0.0', 'outside (0, 1]', 'cifar10_imbal_0.01']),
        ('cifar10_imbal_1.5', ['1.5', 'outside (0, 1]']),
        ('cifar10_imbal_nan', ['nan', 'outside (0, 1]']),
        ('cifar10_imbal_0.1_', ['no kind of noise']),
        ('cifar10_imbal_0.1_uniform', ["'uniform' needs a rate"]),
        ('cifar10_imbal_0.1_imbal_0.1', ['no kind of noise']),
        ('cifar10_uniform_0.2_imbal_0.1', ['is not a number']),
        ('cifar10_imbl_0.1', ["Did you mean 'imbal'"]),
        ('cifar10n', ['which human labels', 'cifar10n_worse', 'cifar10 has']),
        ('cifar10n_', ['which human labels', 'cifar10n_worse']),
        ('cifar10n_wors', ["'wors'", "Did you mean 'worse'", 'cifar10n_aggre']),
        ('cifar10n_uniform_0.4', ["no human labels 'uniform_0.4'"]),
        ('cifar10n_worse_0.4', ['takes no rate', 'leave out 0.4']),
        ('cifar10n_worse_x', ["'x'", 'is not a number']),
        ('cifar100n_worse', ["'worse'", 'cifar100n_noisy']),
        ('cifar10_worse', ["no kind of noise 'worse'"]),
        ('cifar11n_worse', ['no data set', 'cifar10n']),
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
