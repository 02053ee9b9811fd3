"""Label noise: definitions, draws of the reference codes, the file."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import paths
import pytest
from requested_noise import corrupt

from ieg.data.noise import kinds as noise_kinds
from ieg.data.noise import labels as noise_labels
from ieg.errors import UsageError
from ieg.registry import NOISES

GOLDEN = np.load(paths.GOLDEN / 'noise.npz')
KINDS = ('asymmetric', 'pairflip', 'symmetric', 'uniform')


def cyclic(num_examples, num_classes=10):
    return np.arange(num_examples) % num_classes


def sha256(labels, dtype='<i8'):
    return hashlib.sha256(labels.astype(dtype).tobytes()).hexdigest()


def test_importing_the_pure_modules_leaves_tensorflow_out():
    code = (
        'import sys, ieg.data.spec, ieg.data.noise.labels, ieg.data;'
        'assert "tensorflow" not in sys.modules;'
        'assert "keras" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('rate', [0.0, 0.3, 1.0])
@pytest.mark.parametrize('base', sorted(noise_kinds.ASYMMETRIC_MAPS))
def test_a_matrix_has_rows_of_probabilities(kind, rate, base):
    num_classes = {'cifar100': 100, 'fake': 4}.get(base, 10)
    matrix = NOISES.get(kind)(rate, num_classes, base)
    assert matrix.shape == (num_classes, num_classes)
    assert matrix.min() >= 0.0
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
    if rate == 0.0:
        np.testing.assert_array_equal(matrix, np.eye(num_classes))


def test_the_matrices_are_those_of_the_definitions():
    uniform = noise_kinds.uniform(0.8, 10, 'cifar10')
    assert 1 - uniform[3, 3] == pytest.approx(0.72)
    symmetric = noise_kinds.symmetric(0.8, 10, 'cifar10')
    assert 1 - symmetric[3, 3] == pytest.approx(0.8)
    assert symmetric[3, 4] == pytest.approx(0.8 / 9)
    pairflip = noise_kinds.pairflip(0.45, 10, 'cifar10')
    assert pairflip[9, 0] == pytest.approx(0.45)
    asymmetric = noise_kinds.asymmetric(0.4, 10, 'cifar10')
    moved = {(9, 1), (2, 0), (3, 5), (5, 3), (4, 7)}
    assert moved == set(zip(*np.nonzero(asymmetric == 0.4), strict=True))
    assert np.trace(asymmetric) == pytest.approx(5 + 5 * 0.6)


def test_cifar100_moves_within_the_superclass_in_one_cycle():
    moves = noise_kinds.ASYMMETRIC_MAPS['cifar100']
    coarse = noise_kinds.CIFAR100_SUPERCLASS
    for fine in range(100):
        cycle = [fine]
        while len(cycle) < 5:
            cycle.append(moves[cycle[-1]])
        assert len(set(cycle)) == 5
        assert moves[cycle[-1]] == fine
        assert {coarse[c] for c in cycle} == {coarse[fine]}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('base', 'num_classes'), [('mnist', 10), ('fake', 4)])
def test_the_realised_matrix_is_near_its_definition(kind, base, num_classes):
    result = corrupt(
        cyclic(40000, num_classes), kind, 0.4, base, num_classes, seed=1
    )
    expected = NOISES.get(kind)(0.4, num_classes, base)
    sigma = np.sqrt(expected * (1 - expected) / (40000 / num_classes))
    # Of 100 entries one in three runs has one beyond 3 sigma.
    assert (np.abs(result.transition - expected) <= 4 * sigma + 1e-12).all()
    rate = 1 - np.trace(expected) / num_classes
    sigma = np.sqrt(rate * (1 - rate) / 40000)
    assert abs(result.realised_rate - rate) <= 3 * sigma
    assert (result.transition[expected == 0] == 0).all()


def test_the_result_describes_itself():
    labels = cyclic(1000)
    result = corrupt(labels, 'uniform', 0.4, 'cifar10', 10, seed=3)
    assert result.noisy.dtype == result.clean.dtype == np.int32
    np.testing.assert_array_equal(result.clean, labels)
    assert result.realised_rate == np.mean(result.noisy != labels)
    assert result.transition[2, 2] == np.mean(result.noisy[labels == 2] == 2)
    assert result.sha256 == sha256(result.noisy, '<i4')
    assert (result.kind, result.rate) == ('uniform', 0.4)
    assert (result.seed, result.sampler) == (3, 'numpy')


def test_draws_can_be_made_in_another_order():
    labels = cyclic(400)
    order = np.random.default_rng(0).permutation(400)
    request = ('symmetric', 0.4, 'cifar10', 10, 3, 'coteaching')
    result = corrupt(labels, *request, order=order)
    along = corrupt(labels[order], *request)
    np.testing.assert_array_equal(result.noisy[order], along.noisy)
    np.testing.assert_array_equal(result.clean, labels)


def test_me_momentum_draws_classes_as_co_teaching_does():
    one, two = (
        corrupt(cyclic(300), 'pairflip', 0.45, 'mnist', 10, 1, sampler)
        for sampler in ('coteaching', 'memomentum')
    )
    assert one.sha256 == two.sha256


def test_given_labels_have_no_rate_and_survive_the_file(tmp_path):
    labels = cyclic(50)
    noisy = np.where(np.arange(50) < 5, 0, labels)
    result = noise_labels.given(
        labels, noisy, noise_labels.Request('worse', None, 'cifar10', 10, 3)
    )
    assert result.rate is None
    assert result.realised_rate == np.mean(noisy != labels)
    path = str(tmp_path / 'noise.npz')
    noise_labels.save(path, result)
    again = noise_labels.load(path)
    assert again.rate is None and again.kind == 'worse'
    np.testing.assert_array_equal(again.noisy, noisy)
    np.testing.assert_array_equal(again.transition, result.transition)


def test_a_class_without_examples_keeps_a_proper_row():
    result = corrupt(np.zeros(50, int), 'uniform', 0.5, 'fake', 4, seed=0)
    np.testing.assert_array_equal(result.transition[1], [0, 1, 0, 0])


@pytest.mark.parametrize('sampler', sorted(noise_labels.SAMPLERS))
def test_draws_depend_on_the_seed_alone(sampler):
    kind = (*noise_labels.SAMPLERS[sampler].kinds, 'asymmetric')[0]
    images = np.arange(500 * 4, dtype=np.uint8).reshape(500, 2, 2, 1)

    def draw(seed):
        return corrupt(
            cyclic(500), kind, 0.4, 'cifar10', 10, seed, sampler, images=images
        )

    assert draw(0).sha256 == draw(0).sha256
    assert draw(0).sha256 != draw(1).sha256


@pytest.mark.parametrize('sampler', sorted(noise_labels.SAMPLERS))
@pytest.mark.parametrize('kind', KINDS)
def test_no_noise_at_rate_zero_and_no_example_spared_at_one(sampler, kind):
    kinds = noise_labels.SAMPLERS[sampler].kinds
    if kinds and kind not in kinds:
        with pytest.raises(UsageError, match=f'{sampler}.* no {kind} noise'):
            corrupt(cyclic(20), kind, 0.5, 'mnist', 10, 0, sampler)
        return
    labels = cyclic(300)
    none = corrupt(labels, kind, 0.0, 'mnist', 10, 0, sampler)
    np.testing.assert_array_equal(none.noisy, labels)
    full = corrupt(labels, kind, 1.0, 'mnist', 10, 0, sampler)
    expected = NOISES.get(kind)(1.0, 10, 'mnist')
    assert (expected[labels, full.noisy] > 0).all()


@pytest.mark.parametrize(
    ('case', 'num_examples', 'num_classes'),
    [
        ('n20_k10/symmetric_0.2', 20, 10),
        ('n20_k10/symmetric_0.5', 20, 10),
        ('n20_k10/pairflip_0.45', 20, 10),
        ('n1000_k10/symmetric_0.8', 1000, 10),
        ('n50000_k10/pairflip_0.45', 50000, 10),
        ('n50000_k100/symmetric_0.2', 50000, 100),
    ],
)
def test_coteaching_labels_are_those_of_the_reference(
    case, num_examples, num_classes
):
    kind, rate = case.split('/')[1].split('_')
    labels = cyclic(num_examples, num_classes)
    result = corrupt(
        labels, kind, float(rate), 'cifar10', num_classes, 0, 'coteaching'
    )
    key = f'coteaching/{case}'
    if f'{key}/labels' in GOLDEN:
        np.testing.assert_array_equal(result.noisy, GOLDEN[f'{key}/labels'])
    assert np.sum(result.noisy != labels) == GOLDEN[f'{key}/flips']
    assert sha256(result.noisy) == GOLDEN[f'{key}/sha256_int64']


@pytest.mark.parametrize(
    'case', ['uniform_0.2', 'uniform_0.9', 'asymmetric_0.4']
)
def test_dividemix_labels_are_those_of_the_reference(case):
    kind, rate = case.split('_')
    labels = cyclic(50000)
    result = corrupt(labels, kind, float(rate), 'cifar10', 10, 123, 'dividemix')
    key = f'dividemix/{case}'
    np.testing.assert_array_equal(
        np.bincount(result.noisy), GOLDEN[f'{key}/counts']
    )
    assert np.sum(result.noisy != labels) == GOLDEN[f'{key}/flips']
    assert sha256(result.noisy) == GOLDEN[f'{key}/sha256_int64']


def test_ieg_uniform_labels_are_those_of_the_reference_without_probe():
    result = corrupt(cyclic(50000), 'uniform', 0.4, 'cifar10', 10, 12345, 'ieg')
    key = 'ieg/cifar10_uniform_0.4_p0'
    np.testing.assert_array_equal(
        result.noisy[:100], GOLDEN[f'{key}/noisy_first100']
    )
    assert result.sha256 == GOLDEN[f'{key}/noisy_sha256']
    assert result.realised_rate == GOLDEN[f'{key}/flip_rate']


def test_ieg_without_a_probe_is_its_split_with_none():
    request = ('asymmetric', 0.4, 'cifar10', 10, 12345, 'ieg')
    labels = cyclic(3000)
    probe, result = noise_labels.split_and_corrupt(
        labels, 0, noise_labels.Request(*request)
    )
    assert len(probe) == 0 and probe.dtype == np.int64
    assert result.sha256 == corrupt(labels, *request).sha256
    # The draws of Co-teaching, along a shuffled order.
    order = np.random.RandomState(12345).permutation(3000)
    along = corrupt(labels[order], *request[:-1], 'coteaching')
    np.testing.assert_array_equal(result.noisy[order], along.noisy)


@pytest.mark.parametrize('kind', ['uniform', 'asymmetric'])
def test_ieg_splits_classes_of_any_size(kind):
    labels = np.repeat(np.arange(4), [9, 40, 11, 300])
    request = noise_labels.Request(kind, 0.4, 'fake', 4, 7, 'ieg')
    probe, result = noise_labels.split_and_corrupt(labels, 8, request)
    assert len(set(probe)) == 32
    np.testing.assert_array_equal(labels[probe], cyclic(32, 4))
    np.testing.assert_array_equal(result.clean, np.delete(labels, probe))
    assert 0.2 < np.mean(result.noisy != result.clean) == result.realised_rate
    again, _ = noise_labels.split_and_corrupt(labels, 8, request)
    np.testing.assert_array_equal(again, probe)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'sampler': 'numpi'}, "no noise sampler 'numpi'.* 'numpy'"),
        ({'kind': 'unifrom'}, "kind of noise 'unifrom'.* 'uniform'"),
        ({'rate': 1.4}, r'1\.4 is outside \[0, 1\]'),
        ({'seed': -1}, 'seed -1'),
        ({'seed': 2**32}, 'seed 4294967296'),
        ({'kind': 'asymmetric', 'base': 'svhn'}, "'svhn': use pairflip"),
    ],
)
def test_a_mistake_is_named(change, words):
    request = {
        'kind': 'uniform',
        'rate': 0.4,
        'base': 'cifar10',
        'num_classes': 10,
        'seed': 0,
        'sampler': 'numpy',
    }
    with pytest.raises(UsageError, match=words):
        corrupt(cyclic(20), **(request | change))


@pytest.fixture
def saved(tmp_path):
    result = corrupt(cyclic(200), 'uniform', 0.4, 'cifar10', 10, seed=5)
    path = tmp_path / 'noise.npz'
    noise_labels.save(str(path), result)
    return path, result


def test_a_file_gives_back_everything(saved, tmp_path):
    path, result = saved
    again = noise_labels.load(str(path))
    for field in dataclasses.fields(result):
        expected, value = (
            getattr(result, field.name),
            getattr(again, field.name),
        )
        np.testing.assert_array_equal(value, expected)
        assert type(value) is type(expected), field.name
    assert [p.name for p in tmp_path.iterdir()] == ['noise.npz']
    with np.load(path) as file:
        assert set(file) == {
            'noisy_labels', 'clean_labels', 'transition', 'kind', 'rate',
            'realised_rate', 'seed', 'sampler', 'sha256',
        }  # fmt: skip


def test_a_write_that_fails_leaves_the_old_file(saved, monkeypatch):
    path, result = saved

    def fail(file, **arrays):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(np, 'savez_compressed', fail)
    with pytest.raises(OSError, match='disk full'):
        noise_labels.save(str(path), result)
    assert noise_labels.load(str(path)).sha256 == result.sha256


def test_altered_labels_are_noticed(saved):
    path, _ = saved
    with np.load(path) as file:
        content = dict(file)
    content['noisy_labels'][7] ^= 1
    np.savez_compressed(path, **content)
    with pytest.raises(UsageError, match='do not match their SHA-256'):
        noise_labels.load(str(path))


@pytest.mark.parametrize('damage', ['short', 'bits', 'text', 'empty', 'keys'])
def test_a_damaged_file_is_one_sentence(saved, damage):
    path, _ = saved
    content = path.read_bytes()
    if damage == 'short':
        path.write_bytes(content[: len(content) // 2])
    elif damage == 'bits':
        path.write_bytes(content[:100] + b'\x55' * 40 + content[140:])
    elif damage == 'text':
        path.write_bytes(b'hello')
    elif damage == 'empty':
        path.write_bytes(b'')
    else:
        np.savez(path, noisy_labels=np.zeros(3, np.int32))
    with pytest.raises(UsageError, match='cannot be read') as caught:
        noise_labels.load(str(path))
    assert '\n' not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match='there is no noise file .*nothing'):
        noise_labels.load(str(tmp_path / 'nothing.npz'))
