"""The scikit-learn estimator: what it takes, what it finds, where it fits."""

import copy
import io
import os
import pathlib
import pickle
import random
import signal
import subprocess
import sys
import time

import command
import ends
import keras
import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from text_files import people, reviews

import ieg
from ieg import NoisyLabelClassifier, label_issues
from ieg.corrections import apply
from ieg.registry import METHODS

SMALL = {'method': 'supervised', 'max_epoch': 12, 'image_shape': (8, 8)}


def network(num_classes, shape):
    """Returns a network that is quick to compile."""
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(32, 'relu'),
            keras.layers.Dense(num_classes, 'softmax'),
        ]
    )


def noisy_digits(count, rate=0.2):
    """Returns flat images, given labels, and which of them are wrong."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:count], labels[:count]
    rng = np.random.default_rng(1)
    wrong = rng.random(count) < rate
    given = np.where(wrong, (labels + rng.integers(1, 10, count)) % 10, labels)
    return images, given, wrong


# The first half is learnt from, and the second one predicted.
ALL = noisy_digits(600)
X, Y, WRONG = (values[:300] for values in ALL)
HALVES = [np.arange(300), np.arange(300, 600)]
NAMES = np.array([f'digit {label}' for label in range(10)])


def as_images(values):
    """Returns the pixels that the estimator makes of flat digits."""
    return np.rint(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)


@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
    """Fitted on the first half, in a folder that stays."""
    random.seed(5)
    np.random.seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist()
    policy = keras.config.dtype_policy().name
    estimator = NoisyLabelClassifier(
        **SMALL,
        run_dir=tmp_path_factory.mktemp('runs') / 'new',
        options={'weight_decay': np.float64(5e-4)},
    )
    estimator.fit(X, NAMES[Y])
    # Whoever calls it keeps numbers and precision.
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    assert keras.config.dtype_policy().name == policy
    return estimator


# What it finds out.


def test_what_a_fit_leaves(fitted):
    np.testing.assert_array_equal(fitted.classes_, NAMES)
    assert (fitted.n_features_in_, fitted.image_shape_) == (64, (8, 8, 1))
    assert [entry['epoch'] for entry in fitted.history_] == list(range(12))
    # Nothing was tested.
    assert not any('test_accuracy' in entry for entry in fitted.history_)
    low, high = fitted.noise_rate_interval_
    assert f'most {high:.1%}' in fitted.statement_[0]
    assert 0 <= low <= fitted.noise_rate_ <= high <= 1
    assert isinstance(fitted.model_, keras.Model)


def test_wrong_labels_are_found(fitted):
    rows = fitted.label_issues_.to_records(index=False)
    assert rows['rank'].tolist() == list(range(1, 301))
    np.testing.assert_array_equal(np.sort(rows['index']), np.arange(300))
    np.testing.assert_array_equal(rows['given_label'], NAMES[Y[rows['index']]])
    np.testing.assert_array_equal(
        fitted.quality_scores_[rows['index']], rows['score']
    )
    assert set(rows['suggested_label']) <= set(NAMES)
    # A fifth is held out, and judged after the others.
    assert (rows['split'] == ['train'] * 240 + ['valid'] * 60).all()
    assert roc_auc_score(WRONG, -fitted.quality_scores_) > 0.9
    train = rows['index'][:240]
    worst = train[: WRONG[train].sum()]
    assert WRONG[worst].mean() > 0.7


def test_predictions(fitted):
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (300, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    predicted = fitted.predict(X.reshape(-1, 8, 8))
    np.testing.assert_array_equal(predicted, NAMES[probabilities.argmax(1)])
    true = NAMES[load_digits().target[:300]]
    assert (predicted == true).mean() > 0.85
    assert fitted.score(X[:50], true[:50]) == np.mean(
        predicted[:50] == true[:50]
    )
    # One image is what many are.
    np.testing.assert_allclose(
        fitted.predict_proba(X[7:8]), probabilities[7:8], atol=1e-5
    )


def test_copies_of_a_fitted_one(fitted):
    expected = fitted.predict_proba(X[:20])
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.predict_proba(X[:20]), expected)
        assert other.noise_rate_ == fitted.noise_rate_
    assert not hasattr(clone(fitted), 'classes_')


def test_a_fit_of_the_same_gives_the_same(fitted):
    """Its labels are others in the same order, and its images are images."""
    estimator = clone(fitted).set_params(image_shape=None, run_dir=None)
    x, y = as_images(ALL[0]), 10 * ALL[1]
    found = cross_validate(
        estimator, x, y, cv=[HALVES], return_estimator=True, error_score='raise'
    )
    (again,) = found['estimator']
    probabilities = again.predict_proba(x[HALVES[1]])
    np.testing.assert_array_equal(
        probabilities, fitted.predict_proba(ALL[0][HALVES[1]])
    )
    predicted = again.classes_[probabilities.argmax(axis=1)]
    assert found['test_score'] == np.mean(predicted == y[HALVES[1]])


def check_cleanlab(y, wrong, probabilities, least):
    filters = pytest.importorskip('cleanlab.filter')
    rank = pytest.importorskip('cleanlab.rank')
    found = filters.find_label_issues(y, probabilities)
    # It finds most wrong labels, and of those that it finds many more are
    # wrong than of all.
    assert found[wrong].mean() > least[0]
    assert wrong[found].mean() > least[1]
    scores = rank.get_label_quality_scores(y, probabilities)
    assert roc_auc_score(wrong, -scores) > 0.88


@pytest.mark.extras
def test_cleanlab_takes_the_probabilities(fitted):
    x, y, wrong = (values[HALVES[1]] for values in ALL)
    # Measured: 64 % and 47 %.
    check_cleanlab(y, wrong, fitted.predict_proba(x), least=(0.55, 0.41))


@pytest.mark.extras
@pytest.mark.slow
def test_cleanlab_takes_the_probabilities_of_cross_validation():
    x, y, wrong = ALL
    estimator = NoisyLabelClassifier(**SMALL)
    probabilities = cross_val_predict(
        estimator, x, y, cv=[HALVES, HALVES[::-1]], method='predict_proba'
    )
    # Measured: 85 % and 56 %.
    check_cleanlab(y, wrong, probabilities, least=(0.75, 0.45))


def test_the_folder_that_stays_is_that_of_a_run(fitted):
    path = os.path.join(fitted.run_folder_, 'label_issues.csv')
    rows = label_issues.read(path)
    np.testing.assert_array_equal(rows.index, fitted.label_issues_['index'])
    table = ieg.read_issues(fitted.run_folder_)
    pd.testing.assert_frame_equal(
        table.drop(columns='path'), fitted.label_issues_
    )
    rows.corrected[:3] = rows.suggested[:3]
    label_issues.write(path, rows)
    said = apply.apply(fitted.run_folder_, path)
    (folder,) = os.listdir(fitted.run_dir)
    new = os.path.join(fitted.run_dir, folder, 'data-corrected.npz')
    assert said.startswith(f'{new} has 3 labels corrected and 0 examples left')
    with np.load(new) as found:
        np.testing.assert_array_equal(found['x_train'], as_images(X))
        names = found['class_names'][found['y_train']]
    given = NAMES[Y]
    given[rows.index[:3]] = rows.suggested[:3]
    np.testing.assert_array_equal(names, given)


# Runs that stay.

KILLED = """
import sys
import numpy as np
import ieg

data = np.load(sys.argv[1])
ieg.NoisyLabelClassifier(
    'supervised',
    max_epoch=12,
    image_shape=(8, 8),
    run_dir=sys.argv[2],
    options={'weight_decay': 5e-4},
).fit(data['x'], data['y'])
"""


def run_folders(folder):
    """Returns the run folders of all fits in a folder."""
    return [path.parent for path in folder.glob('fit_*/*/*/config.json')]


@pytest.mark.slow
def test_a_killed_fit_resumes(fitted, tmp_path):
    np.savez(tmp_path / 'data.npz', x=X, y=NAMES[Y])
    arguments = (str(tmp_path / 'data.npz'), str(tmp_path / 'runs'))
    child = subprocess.Popen(
        [sys.executable, '-c', KILLED, *arguments],
        env=os.environ | {'PYTHONPATH': str(ROOT)},
    )
    while child.poll() is None and not [*tmp_path.rglob('ckpt-1[0-9].npz')]:
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    (folder,) = run_folders(tmp_path / 'runs')
    assert 0 < len(command.log(folder)) < 12
    again = clone(fitted).set_params(run_dir=tmp_path / 'runs')
    again.fit(X, NAMES[Y])
    assert again.run_folder_ == str(folder)
    whole = pathlib.Path(fitted.run_folder_)
    assert folder.parts[-3:] == whole.parts[-3:]
    found, expected = ends.end(folder), ends.end(whole)
    assert set(ends.differences(found, expected)) <= {'issues'}
    # Another test fills in corrected labels.
    pd.testing.assert_frame_equal(
        ieg.read_issues(folder), ieg.read_issues(whole)
    )


def test_a_finished_fit_is_not_trained_again(tmp_path, capsys):
    estimator = NoisyLabelClassifier(
        **SMALL | {'max_epoch': 1, 'verbose': 1},
        network=network,
        run_dir=tmp_path,
    )
    first = estimator.fit(X, Y).predict_proba(X)
    assert 'epoch 1/1' in capsys.readouterr().out
    np.testing.assert_array_equal(estimator.fit(X, Y).predict_proba(X), first)
    assert 'epoch 1/1' not in capsys.readouterr().out
    assert len(run_folders(tmp_path)) == 1
    # Other labels are another fit.
    estimator.fit(X, Y[::-1])
    assert len(run_folders(tmp_path)) == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize('verbose', ['auto', 0])
def test_progress_in_a_terminal(verbose, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stdout', terminal)
    estimator = NoisyLabelClassifier(
        **SMALL | {'max_epoch': 1, 'verbose': verbose}, network=network
    )
    estimator.fit(X, Y)
    assert ('epoch 1/1' in terminal.getvalue()) == (verbose == 'auto')


# Networks of the user.


# Keras saves with an old protocol of NumPy.
@pytest.mark.filterwarnings('ignore:__array__ impl:DeprecationWarning')
@pytest.mark.parametrize('kind', ['model', 'function'])
def test_a_network_of_the_user(kind, tmp_path):
    given = network(10, (8, 8, 1)) if kind == 'model' else network
    estimator = NoisyLabelClassifier(
        'supervised',
        max_epoch=15,
        image_shape=(8, 8),
        network=given,
        run_dir=tmp_path,
    )
    if kind == 'model':
        before = given.get_weights()
        # A search copies its parameters.
        estimator = clone(estimator)
    estimator.fit(X, Y)
    assert estimator.model_.networks[0].count_params() == 64 * 32 + 32 + 330
    assert roc_auc_score(WRONG, -estimator.quality_scores_) > 0.85
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        again.predict_proba(X), estimator.predict_proba(X)
    )
    if kind == 'function':
        return
    for one, other in zip(before, given.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Fitting again is the same fit.
    estimator.fit(X, Y)
    assert len(run_folders(tmp_path)) == 1


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'network': 'cnn'}, "got 'cnn'.*network_name"),
        ({'network': network, 'network_name': 'cnn'}, 'not both'),
        ({'network': lambda n, shape: 5}, '<lambda>.* is a int'),
        ({'network': lambda n, shape: network(3, shape)}, r'\[b, 3\]'),
        ({'network_name': 'nowhere.keras'}, 'nowhere.keras'),
    ],
)
def test_a_network_that_cannot_be_used_is_one_sentence(changes, words):
    estimator = NoisyLabelClassifier(**SMALL | changes)
    with pytest.raises(ValueError, match=words) as caught:
        estimator.fit(X, Y)
    assert '\n' not in str(caught.value)


# In scikit-learn.


SPARSE = 'check_estimator_sparse_array'
CHECKS = [
    name
    for name in (
        'check_parameters_default_constructible',
        'check_no_attributes_set_in_init',
        'check_get_params_invariance',
        'check_set_params',
        'check_do_not_raise_errors_in_init_or_set_param',
        'check_estimators_unfitted',
        'check_estimator_repr',
        'check_estimator_cloneable',
        'check_estimator_tags_renamed',
        'check_valid_tag_types',
        'check_requires_y_none',
        'check_complex_data',
        'check_fit1d',
        'check_estimators_empty_data_messages',
    )
    # Not every release has all of them.
    if hasattr(estimator_checks, name)
]


@pytest.mark.parametrize(
    'name',
    # Trains once for each kind of sparse arrays.
    [*CHECKS, pytest.param(SPARSE, marks=pytest.mark.slow)],
)
def test_checks_of_scikit_learn(name):
    estimator = NoisyLabelClassifier('supervised', max_epoch=1)
    getattr(estimator_checks, name)('NoisyLabelClassifier', estimator)


@pytest.mark.slow
# Of scikit-learn, where it looks at labels that are infinite.
@pytest.mark.filterwarnings('ignore:invalid value encountered in cast')
def test_all_checks_of_scikit_learn():
    estimator = NoisyLabelClassifier('supervised', max_epoch=8)
    # Arrays of other libraries (array_api) are not checked without a setting.
    estimator_checks.check_estimator(estimator, on_skip=None)


def test_data_frames_and_series():
    frame = pd.DataFrame(X[:, 20:40] - 8).rename(columns=str)
    estimator = NoisyLabelClassifier('supervised', max_epoch=1)
    estimator.fit(frame, pd.Series(NAMES[Y], index=np.arange(300)[::-1]))
    predicted = estimator.predict(frame)
    assert set(predicted) <= set(NAMES)
    assert set(estimator.label_issues_.given_label) == set(NAMES)
    swapped = frame[frame.columns[::-1]]
    with pytest.raises(ValueError, match="'19' where '0' was"):
        estimator.predict(swapped)


@pytest.mark.parametrize(
    ('changes', 'x', 'y', 'sentence'),
    [
        (
            {'image_shape': None},
            X.astype(np.uint8),
            Y,
            'X has 64 features per image',
        ),
        ({'image_shape': '8x8'}, X, Y, "image_shape='8x8' does not fit X"),
        ({'image_shape': (-8, -8)}, X, Y, r'image_shape=\(-8, -8\) does not'),
        ({'run_dir': __file__}, X, Y, 'run_dir=.* must be a folder'),
        ({'run_dir': 5}, X, Y, 'run_dir=5 must be a folder'),
        ({'options': 'seed'}, X, Y, "options must be a dict.*got 'seed'"),
        ({'options': {5: 1}}, X, Y, 'options has 5'),
        ({'options': {'momentum': None}}, X, Y, 'momentum must be a number'),
        ({'method': None}, X, Y, 'method must be a string, got None'),
        ({}, [['a']], Y, 'X must have numbers only'),
        ({'image_shape': (8, 9)}, X, Y, r'image_shape=\(8, 9\) does not fit X'),
        ({}, -X, Y, 'Negative values in X: -16 is not a pixel value'),
        ({}, np.where(X > 15, np.nan, X), Y, 'X contains NaN or infinity'),
        (
            {},
            17 * X,
            Y,
            'X has the value 272, but pixels are numbers from 0 to',
        ),
        ({}, X, Y[:-1], 'inconsistent numbers of samples'),
        ({}, X, X[:, 5] / 3, 'Unknown label type: continuous'),
        ({}, X, np.where(Y > 1, None, NAMES[Y]), 'y must have labels of one'),
        (
            {'image_shape': None},
            X / 1e-37,
            Y,
            'X has numbers up to 1.6e\\+38, which',
        ),
        ({}, X, Y * 0, 'at least 2 classes, got 1 class, 0'),
        ({'image_shape': (4, 4, 4)}, X, Y, 'X has images of 4 channels'),
        ({'method': 'divide'}, X, Y, "method 'divide'. Did you mean 'divid"),
        ({'batch_size': 500}, X, Y, '^batch_size=500 on 1 replicas'),
        ({'options': {'seed': 1}}, X, Y, "options has 'seed', which is a para"),
        (
            {'options': {'dataset': 'a'}},
            X,
            Y,
            "options has 'dataset', which",
        ),
        ({'options': {'lambda_u': '1'}}, X, Y, '^lambda_u is not used by meth'),
        ({'method': 'l2r'}, X, Y, "method='l2r' needs clean images"),
        (
            {'options': {'track_memorization': True}},
            X,
            Y,
            'track_memorization needs test images.* unlabeled_dir',
        ),
    ],
)
def test_mistakes_are_one_sentence(changes, x, y, sentence):
    estimator = NoisyLabelClassifier(**SMALL | changes)
    with pytest.raises(ValueError, match=sentence) as caught:
        estimator.fit(x, y)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('probe', 'sentence'),
    [
        ((X[:5], Y[:5]), 'the probe must have the classes of y'),
        ((X, Y + 1), 'the probe must have the classes of y'),
        ((X[:, 1:], Y), 'the probe has 63 features, but NoisyLabelClassifier'),
        (X, 'probe must be a pair'),
        ((X,), 'probe must be a pair'),
        (5, 'probe must be a pair.* got 5'),
        ((X, Y[1:]), 'inconsistent numbers of samples'),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(probe, sentence):
    with pytest.raises(ValueError, match=sentence):
        NoisyLabelClassifier(**SMALL).fit(X, Y, probe)


def test_it_must_be_fitted_first():
    with pytest.raises(NotFittedError):
        NoisyLabelClassifier(**SMALL).predict_proba(X)


LIGHT = 'import sys, ieg; assert not {"numpy", "tensorflow"} & {*sys.modules}'
ASKED = 'ieg.NoisyLabelClassifier; assert "tensorflow" not in sys.modules'


def test_the_package_is_light():
    subprocess.run([sys.executable, '-c', LIGHT], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Classifier'"):
        ieg.Classifier  # noqa: B018


@pytest.mark.slow
def test_the_estimator_needs_no_tensorflow_before_it_is_fitted():
    subprocess.run([sys.executable, '-c', f'{LIGHT}; {ASKED}'], check=True)


# All of it together.


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:__array__ impl:DeprecationWarning')
def test_pipelines_and_searches():
    estimator = NoisyLabelClassifier(**SMALL | {'max_epoch': 3})
    pipeline = make_pipeline(FunctionTransformer(lambda x: x / 16), estimator)
    scores = cross_val_score(pipeline, X, Y, cv=2, error_score='raise')
    assert scores.shape == (2,) and scores.min() > 0.2
    grid = {
        'learning_rate': np.array([1e-9, 0.05]),
        'options': [{'label_smoothing': 0.1}],
    }
    search = GridSearchCV(estimator, grid, cv=2, error_score='raise')
    search.fit(X, Y)
    assert search.best_params_['learning_rate'] == 0.05
    low, high = search.best_estimator_.noise_rate_interval_
    assert 0 <= low <= high <= 1
    assert search.best_estimator_.run_folder_ is None
    grid = {'network': [network, network(10, (8, 8, 1))]}
    search = GridSearchCV(estimator, grid, cv=2, error_score='raise')
    assert search.fit(X, Y).best_estimator_.score(X, Y) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize('method', sorted({*METHODS.names()} - {'elr'}))
def test_every_method(method, capsys):
    images, given, wrong = noisy_digits(400)
    clean = load_digits(return_X_y=True)
    probe = (clean[0][500:600], clean[1][500:600])
    options = {
        'dividemix': {'warm_up': 4},
        'fsr': {'meta_start_epoch': 2, 'queue_capacity': 100, 'queue_bs': 50},
        'me_momentum': {'outer_rounds': 1, 'inner_rounds': 1},
        's2e': {'search_iterations': 1, 'search_population': 2},
    }
    length = {'me_momentum': None, 'ieg': 16}
    estimator = NoisyLabelClassifier(
        method,
        max_epoch=length.get(method, 8),
        learning_rate=0.05,
        image_shape=(8, 8),
        valid_ratio=0.1,
        options=options.get(method),
    )
    estimator.fit(images, given, probe)
    assert capsys.readouterr() == ('', '')
    rows = estimator.label_issues_
    assert set(rows['split']) == {'train', 'valid'} and len(rows) == 400
    assert not np.isnan(estimator.quality_scores_).any()
    assert roc_auc_score(wrong, -estimator.quality_scores_) > 0.75
    assert estimator.score(*probe) > 0.5


def test_vectors():
    estimator = NoisyLabelClassifier('supervised', max_epoch=6)
    estimator.fit(X - 8, NAMES[Y])
    assert estimator.image_shape_ == (64,)
    assert estimator.n_features_in_ == 64
    clean = NAMES[load_digits().target[:600]]
    assert estimator.score(ALL[0][300:] - 8, clean[300:]) > 0.65
    assert roc_auc_score(WRONG, -estimator.quality_scores_) > 0.85
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(
        again.predict_proba(X - 8), estimator.predict_proba(X - 8)
    )
    with pytest.raises(ValueError, match='63 features.*expecting 64'):
        estimator.predict(X[:, 1:])


def test_texts(tmp_path):
    texts, given, true = reviews(tmp_path / 'reviews.csv', 200)
    options = {'method': 'supervised', 'run_dir': tmp_path}
    fitted = NoisyLabelClassifier(**options).fit(texts, given)
    assert np.mean(fitted.predict(texts) == true) > 0.75
    assert roc_auc_score(given == true, fitted.quality_scores_) > 0.9
    shares = fitted.predict_proba(pd.Series(texts[:7]))
    again = pickle.loads(pickle.dumps(fitted)).predict_proba(texts[:7])
    np.testing.assert_array_equal(again, shares)
    # The model takes the texts themselves, and the report shows them.
    rows = np.asarray(fitted.model_(keras.ops.convert_to_tensor(texts[:7])))
    np.testing.assert_allclose(rows, shares, atol=1e-6)
    page = os.path.join(fitted.run_folder_, 'report.html')
    with open(page, encoding='utf-8') as file:
        assert 'phone' in file.read()


def test_data_frames(tmp_path):
    people(tmp_path / 'people.csv')
    frame = pd.read_csv(tmp_path / 'people.csv').drop(columns='key')
    x, y = frame.drop(columns='label'), frame['label']
    fitted = NoisyLabelClassifier('supervised', max_epoch=5).fit(x, y)
    assert np.mean(fitted.predict(x) == y) > 0.8
    assert fitted.n_features_in_ == 2
    with pytest.raises(ValueError, match="no column 'color'"):
        fitted.predict(x[['age']])
    with pytest.raises(ValueError, match='different texts'):
        NoisyLabelClassifier().fit(['one', 'two'] * 10, [0, 1] * 10)
