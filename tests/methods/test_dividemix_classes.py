"""DivideMix where classes are unequally hard, and the noise rate it keeps."""

import dataclasses
import json

import numpy as np
import pytest
from command import ieg, log
from recordings import make_method
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ieg.config import resolve
from ieg.data import own
from ieg.data.dataset import Advice
from ieg.ops import mixture
from ieg.training import checkpoint
from ieg.training.checkpoint import Checkpoints

IMAGES = Advice(own.schedule(32, 1000, 3), '')
VECTORS = own.of_vectors('', 1000, 64, 10)


def losses_of(labels, hard, wrong=0.2, seed=0):
    """Losses `[N]` where right labels of a hard class look wrong, and truth."""
    rng = np.random.default_rng(seed)
    is_wrong = rng.random(len(labels)) < wrong
    loss = rng.gamma(2.0, 0.1, len(labels))
    loss[labels == hard] += 2.5
    loss[is_wrong] += 2.5
    return loss.astype(np.float32), is_wrong


def score_of(loss, classes=10):
    """A pass over the data that gives both networks these losses `[N]`."""
    scores = {
        'loss': np.stack([loss, loss], axis=1),
        'logits': np.zeros((len(loss), 2, classes), np.float32),
    }
    return lambda step, ids: {k: v[ids] for k, v in scores.items()}


def sizes(*counts):
    """Labels `[N]` of classes with these sizes, in a random order."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(1).permutation(labels)


def posterior_of(column, seed):
    """Scikit-learn's posterior of the smaller mean, as the authors set it."""
    model = GaussianMixture(
        n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed
    )
    column = column.reshape(-1, 1)
    return model.fit(column).predict_proba(column)[:, model.means_.argmin()]


# One mixture per class.


def test_each_class_has_the_mixture_of_scikit_learn():
    labels = sizes(120, mixture.SMALLEST_CLASS, 300)
    losses = mixture.normalise(losses_of(labels, hard=1)[0].astype(float))
    fitted = mixture.fit_per_class(losses, labels, 3)
    for label in range(3):
        rows = labels == label
        expected = posterior_of(losses[rows], 3)
        np.testing.assert_array_equal(fitted[rows], expected)


def test_small_classes_share_a_mixture():
    small = mixture.SMALLEST_CLASS - 1
    labels = sizes(120, small, 300, small, 0)
    losses = mixture.normalise(losses_of(labels, hard=1)[0].astype(float))
    fitted = mixture.fit_per_class(losses, labels, 3)
    rest = np.isin(labels, [1, 3])
    expected = posterior_of(losses[rest], 3)
    np.testing.assert_array_equal(fitted[rest], expected)
    rows = labels == 2
    np.testing.assert_array_equal(fitted[rows], posterior_of(losses[rows], 3))


def test_a_few_examples_of_small_classes_have_the_mixture_of_all():
    labels = sizes(200, 300, 7, 0, 1)
    losses = mixture.normalise(losses_of(labels, hard=1)[0].astype(float))
    fitted = mixture.fit_per_class(losses, labels, 3)
    rest = labels >= 2
    expected = posterior_of(losses, 3)[rest]
    np.testing.assert_array_equal(fitted[rest], expected)
    # As all are of a data set of nothing but small classes.
    tiny = sizes(9, 8, 7)
    losses = losses[: len(tiny)]
    expected = mixture.fit(losses, 3).clean_probability
    fitted = mixture.fit_per_class(losses, tiny, 3)
    np.testing.assert_array_equal(fitted, expected)


def test_a_class_that_needs_more_rounds_warns_of_nothing():
    rng = np.random.default_rng(270)
    parts = rng.beta(1, 8, 45), rng.beta(5, 4, 5)
    losses = np.concatenate(parts)
    with pytest.warns(ConvergenceWarning):
        expected = posterior_of(losses, 0)
    fitted = mixture.fit_per_class(losses, np.zeros(50, int), 0)
    np.testing.assert_array_equal(fitted, expected)


def test_the_default_is_the_mixture_of_all():
    labels = sizes(200, 300)
    loss, _ = losses_of(labels, hard=1)
    method = make_method(labels, 2, 0.0, warm_up=0)
    method.begin_epoch(0, score_of(loss, 2))
    column = mixture.normalise(loss.astype(np.float64))
    for net in (0, 1):
        expected = posterior_of(column, method._host_seed(0, net))
        np.testing.assert_array_equal(
            method.host_state['probability'][net], expected.astype(np.float32)
        )


def test_a_hard_class_keeps_its_labels_with_a_mixture_of_its_own():
    labels = sizes(*[200] * 10)
    loss, is_wrong = losses_of(labels, hard=6)
    kept = {}
    for choice in ('global', 'per_class'):
        method = make_method(labels, 10, 0.0, warm_up=0, mixture=choice)
        method.begin_epoch(0, score_of(loss))
        chosen = method.selection().chosen
        kept[choice] = chosen[(labels == 6) & ~is_wrong].mean()
        others = labels != 6
        assert chosen[others & ~is_wrong].mean() > 0.95
        assert chosen[others & is_wrong].mean() < 0.1
    assert kept['global'] < 0.2 and kept['per_class'] > 0.9


def test_what_was_drawn_is_divided_by_class():
    labels = sizes(300, 300)
    loss, is_wrong = losses_of(labels, hard=1)
    method = make_method(
        labels, 2, 0.0, warm_up=0, mixture='per_class', epoch_examples=200
    )
    for phase in method.begin_epoch(0, score_of(loss, 2)):
        labeled, unlabeled = phase.examples.values()
        assert len(labeled) + len(unlabeled) == 200
        assert is_wrong[labeled].mean() < 0.05
        assert is_wrong[unlabeled].mean() > 0.8


# The noise rate behind --lambda_u=auto.

NOISES = (0.4, 0.55, 0.5)


def divided(method, epochs):
    """Divides in some epochs with another noise rate each."""
    labels, weights = method.info.labels, []
    for epoch in epochs:
        loss, _ = losses_of(labels, hard=-1, wrong=NOISES[epoch], seed=epoch)
        method.begin_epoch(epoch, score_of(loss))
        figures, _ = method.take_reports()
        weights.append((figures['lambda_u'], figures['estimated_noise_rate']))
    return weights


def test_lambda_u_follows_the_first_division():
    labels = sizes(*[60] * 10)
    method = make_method(labels, 10, 0.0, warm_up=0)
    (first, rate), *later = divided(method, [0, 1, 2])
    assert 0 < first == method.lambda_u(rate) < 25
    assert [weight for weight, _ in later] == [first, first]
    # What is reported is what the division in force says.
    assert later[0][1] > 0.45


def test_a_number_is_the_weight_whatever_the_noise():
    labels = sizes(*[60] * 10)
    method = make_method(labels, 10, 0.0, warm_up=0, lambda_u='7')
    assert [weight for weight, _ in divided(method, [0, 1])] == [7, 7]


def resumed(folder, change=lambda state: None):
    """A method with the checkpoint of one that has divided once."""
    labels = sizes(*[60] * 10)
    first, second = (
        make_method(labels, 10, 0.0, warm_up=0, mixture='per_class')
        for _ in range(2)
    )
    figures = divided(first, [0])
    saved = dict(first.host_state)
    change(first.host_state)
    Checkpoints(first, str(folder), {}).save(1, {'steps': 1, 'entries': []})
    first.host_state.update(saved)
    Checkpoints(second, str(folder), {}).restore()
    return first, second, figures


def test_the_estimate_survives_a_resume(tmp_path):
    whole, method, before = resumed(tmp_path)
    after = divided(method, [1, 2])
    assert after == divided(whole, [1, 2])
    assert {weight for weight, _ in after} == {before[0][0]}
    assert method.host_state.keys() == whole.host_state.keys()
    for name, values in whole.host_state.items():
        np.testing.assert_array_equal(method.host_state[name], values)


def test_a_checkpoint_without_it_takes_the_next_estimate(tmp_path):
    def older(state):
        del state['noise_rate'], state['neglected']

    _, method, before = resumed(tmp_path, older)
    (weight, rate), (later, _) = divided(method, [1, 2])
    assert weight == later == method.lambda_u(rate) != before[0][0]


# Classes that lose their labels.


def remarks(method, loss, epoch=0):
    method.begin_epoch(epoch, score_of(loss, method.info.num_classes))
    return [r for r in method.take_reports()[1] if 'label' in r]


@pytest.fixture
def hard():
    labels = sizes(*[200] * 10)
    return labels, losses_of(labels, hard=6)[0]


def test_a_class_that_loses_its_labels_is_named_once(hard):
    labels, loss = hard
    method = make_method(labels, 10, 0.0, warm_up=0)
    (text,) = remarks(method, loss)
    kept = method.selection().chosen[labels == 6].mean()
    assert "'6'" in text and f'{kept:.0%}' in text
    assert '--mixture=per_class' in text
    assert not remarks(method, loss, 1)
    # Another class is news.
    other = loss.copy()
    other[labels == 2] += 2.5
    (text,) = remarks(method, other, 2)
    assert "'2'" in text and "'6'" not in text


def test_a_class_is_called_by_its_name(hard):
    labels, loss = hard
    method = make_method(labels, 10, 0.0, warm_up=0)
    names = tuple(f'thing {number}' for number in range(10))
    method.info = dataclasses.replace(method.info, class_names=names)
    (text,) = remarks(method, loss)
    assert "'thing 6'" in text


def test_it_is_named_once_across_a_resume(hard, tmp_path):
    labels, loss = hard
    first, second = (make_method(labels, 10, 0.0, warm_up=0) for _ in range(2))
    assert remarks(first, loss)
    Checkpoints(first, str(tmp_path), {}).save(1, {'steps': 1, 'entries': []})
    Checkpoints(second, str(tmp_path), {}).restore()
    assert not remarks(second, loss, 1)


def test_classes_that_are_equally_hard_are_not_named():
    labels = sizes(*[200] * 10)
    for wrong in (0.0, 0.2, 0.45):
        loss, _ = losses_of(labels, hard=-1, wrong=wrong)
        assert not remarks(make_method(labels, 10, 0.0, warm_up=0), loss)


def test_a_mixture_of_its_own_leaves_nothing_to_remark(hard):
    labels, loss = hard
    method = make_method(labels, 10, 0.0, warm_up=0, mixture='per_class')
    assert not remarks(method, loss)


@pytest.mark.parametrize(
    ('kept', 'judged', 'expected'),
    [
        ([80, 82, 20, 78], [100] * 4, [2]),
        ([80, 10, 20, 78, 79], [100] * 5, [1, 2]),
        # Twice as many wrong labels as elsewhere.
        ([80, 82, 60, 78], [100] * 4, []),
        # Too few labels to tell.
        ([80, 82, 2, 78], [100, 100, 6, 100], []),
        ([80, 82, 0, 78], [100, 100, 0, 100], []),
        ([0, 0, 1], [300, 300, 300], []),
        ([90, 20], [100, 100], [1]),
        ([3], [100], []),
    ],
)
def test_few_are_far_fewer_than_the_others_keep(kept, judged, expected):
    shares = mixture.Shares(np.array(kept), np.array(judged))
    assert shares.neglected().tolist() == expected


# What is chosen where.


@pytest.mark.parametrize(
    ('dataset', 'advice'),
    [
        ('npz', IMAGES),
        ('npz_symmetric_0.2', VECTORS),
        ('csv', IMAGES),
        ('folder_pairflip_0.4', IMAGES),
        ('tfds:beans', IMAGES),
    ],
)
def test_your_own_data_has_a_mixture_per_class(dataset, advice):
    given = {'method': 'dividemix', 'dataset': dataset, 'data_dir': 'place'}
    method = resolve(given, advice).method
    assert (method.mixture, method.alpha) == ('per_class', 0.5)
    asked = resolve(given | {'mixture': 'global', 'alpha': 4.0}, advice).method
    assert (asked.mixture, asked.alpha) == ('global', 4.0)


@pytest.mark.parametrize(
    ('dataset', 'alpha', 'lambda_u'),
    [
        ('digits', 0.5, 'auto'),
        ('fashion_mnist_symmetric_0.2', 0.5, 'auto'),
        ('cifar10_symmetric_0.2', 4.0, 'auto'),
        ('cifar10_uniform_0.5', 4.0, '25'),
        ('cifar100_uniform_0.2', 4.0, '25'),
        ('cifar10n_worse', 4.0, 'auto'),
        ('clothing1m', 0.5, '0'),
        ('webvisionmini', 0.5, '0'),
        ('fake', 4.0, 'auto'),
    ],
)
def test_named_sets_keep_their_presets(dataset, alpha, lambda_u):
    method = resolve({'method': 'dividemix', 'dataset': dataset}).method
    assert method.mixture == 'global'
    assert (method.alpha, method.lambda_u) == (alpha, lambda_u)


@pytest.fixture
def arrays(tmp_path, monkeypatch, tiny):
    """A file of images; the same classes have the same colors."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    colors = rng.integers(0, 256, (3, 1, 1, 3))
    noise = rng.normal(0, 60, (120, 16, 16, 3))
    images = np.clip(colors[labels] + noise, 0, 255).astype(np.uint8)
    np.savez(tmp_path / 'data.npz', x_train=images, y_train=labels)
    monkeypatch.chdir(tmp_path)


def forget(run, name):
    """Makes a run one of a version that did not have an option."""
    for path in (run / 'config.json', run / 'identity.json'):
        options = json.loads(path.read_text())
        del options[name]
        path.write_text(json.dumps(options))
    for path in map(str, (run / 'checkpoints').glob('*.npz')):
        content = checkpoint.read(path)
        del content['identity'][name]
        checkpoint.write(path, content)


def test_a_run_of_an_earlier_version_is_resumed_as_it_was(arrays, tmp_path):
    code, _, err = ieg(
        *('--data_dir=data.npz', '--method=dividemix', '--network_name=tiny'),
        *('--warm_up=1', '--precision=float32', '--lr_schedule=constant'),
        *('--max_epoch=2', '--run_name=run', '--checkpoint_path=.'),
        *('--mixture=global', '--alpha=4'),
    )
    assert code == 0, err
    run = tmp_path / 'npz-data' / 'run'
    forget(run, 'mixture')
    before = log(run)
    code, _, err = ieg('train', f'--run={run}', '--max_epoch=3')
    assert code == 0, err
    assert len(log(run)) == 3 and log(run)[:2] == before
    options = json.loads((run / 'config.json').read_text())
    assert (options['mixture'], options['alpha']) == ('global', 4.0)
