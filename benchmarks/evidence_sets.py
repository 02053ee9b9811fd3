"""Data sets with known true labels for the guard of the evidence."""

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from ieg.data.noise import kinds
from ieg.data.noise.human import HUMAN_SETS
from ieg.data.sets import tfds

Arrays = dict[str, np.ndarray]
# Of the package: name here -> kind and rate.
DRAWN = {
    'sym20': ('symmetric', 0.2),
    'sym40': ('symmetric', 0.4),
    'pair20': ('pairflip', 0.2),
    'pair40': ('pairflip', 0.4),
    'asym20': ('asymmetric', 0.2),
    'asym40': ('asymmetric', 0.4),
    'inst20': ('instance', 0.2),
}
MADE = ('none', *list(DRAWN)[:4], 'inst20', 'bound20', 'swap5')
HUMAN = ('none', 'aggre', 'worse')
# The classes that swap5 confuses; cats and dogs in CIFAR-10.
SWAPPED = (3, 5)
TRAIN, TEST = 5000, 1000


def labels(arrays: Arrays, noise: str, seed: int) -> np.ndarray:
    """Returns given labels, int [n].

    Args:
        arrays: of a set; `noise` is the name of one of them for human labels.
        noise: see `MADE`; in `bound20` the fifth of the images whose class is
            least clear to a model of the true labels get its second class.
        seed: of the labels.
    """
    clean, x = arrays['y_train'], arrays['x_train']
    state, count = np.random.default_rng(seed), len(clean)
    classes = int(clean.max()) + 1
    if noise in arrays:
        return arrays[noise]
    if noise == 'none':
        return clean
    if noise == 'inst20':
        return kinds.instance(x, clean, 0.2, classes, state)
    if noise == 'bound20':
        return boundary(x, clean, count // 5)
    if noise == 'swap5':
        rows = np.flatnonzero(np.isin(clean, SWAPPED))
        rows = state.choice(rows, count // 20, replace=False)
        given = clean.copy()
        given[rows] = sum(SWAPPED) - clean[rows]
        return given
    kind, rate = DRAWN[noise]
    matrix = getattr(kinds, kind)(rate, classes, 'mnist')
    passed = matrix.cumsum(axis=1)[clean] <= state.random(count)[:, np.newaxis]
    return np.minimum(passed.sum(axis=1), classes - 1)


def boundary(x: np.ndarray, clean: np.ndarray, count: int) -> np.ndarray:
    """Returns labels of which `count` are wrong, where classes are alike."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    flat = x.reshape(len(x), -1).astype(np.float32)
    width = min(100, flat.shape[1] - 1)
    model = make_pipeline(
        PCA(width, whiten=True, random_state=0), LogisticRegression(C=0.1)
    )
    said = cross_val_predict(model, flat, clean, method='predict_proba')
    rows = np.arange(len(clean))
    own, said[rows, clean] = said[rows, clean], -1
    unclear = np.argsort(own - said.max(axis=1), kind='stable')[:count]
    given = clean.copy()
    given[unclear] = said[unclear].argmax(axis=1)
    return given


def digits(
    deviation: float = 0.0, pixels: bool = False, count: int = 1500
) -> Arrays:
    """Returns scikit-learn's digits, with pixel noise, or as images."""
    from sklearn.datasets import load_digits

    content, rng = load_digits(), np.random.default_rng(0)
    order = rng.permutation(len(content.target))
    x, y = content.images[order] / 16, content.target[order]
    x = x + deviation * rng.normal(size=x.shape)
    if pixels:
        x = np.rint(255 * x.clip(0, 1)).astype(np.uint8)
    else:
        x = x.reshape(len(x), -1).astype(np.float32)
    parts = {'x_train': x[:count], 'y_train': y[:count]}
    return parts | {'x_test': x[1500:], 'y_test': y[1500:]}


def cancer() -> Arrays:
    """Returns scikit-learn's table of breast cancers: 30 numbers each."""
    from sklearn.datasets import load_breast_cancer

    content = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(content.target))
    x = content.data[order].astype(np.float32)
    y = content.target[order]
    parts = {'x_train': x[:400], 'y_train': y[:400]}
    return parts | {'x_test': x[400:], 'y_test': y[400:]}


def kept(name: str, make: Callable[[], Arrays], cache: str) -> Arrays:
    """Returns arrays from the file `name` in a folder, or makes them."""
    path = os.path.join(cache, f'{name}.npz')
    if not os.path.exists(path):
        os.makedirs(cache, exist_ok=True)
        np.savez(path, **make())
    with np.load(path) as file:
        return dict(file)


def published(name: str, asked: argparse.Namespace) -> Arrays:
    """Returns some images of a set of TFDS, with labels of CIFAR-10N."""

    def make() -> Arrays:
        builder, arrays = tfds.tfds_builder(name, asked.data_dir), {}
        x, y, numbers = tfds.numbered(builder)
        rows = np.random.default_rng(0).permutation(len(y))[:TRAIN]
        arrays |= {'x_train': x[rows], 'y_train': y[rows]}
        if name == 'cifar10':
            human, _ = tfds.read_human_labels(
                'cifar10n', asked.human, asked.data_dir
            )
            for kind in ('aggre', 'worse', 'random2'):
                (key,) = HUMAN_SETS['cifar10n'].variants[kind].keys
                arrays[kind] = human[key][numbers[rows]].astype(np.int32)
        x, y = tfds.tfds_split(builder, 'test')
        return arrays | {'x_test': x[:TEST], 'y_test': y[:TEST]}

    return kept(name, make, asked.cache)


def features(name: str, asked: argparse.Namespace) -> Arrays:
    """Returns the same as features of EfficientNet-Lite0."""
    arrays = published(name, asked)

    def shown(images: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        from ieg.features import backbones

        network = backbones.load('lite0')
        done = []
        for block in np.split(images, np.arange(16, len(images), 16)):
            large = tf.image.resize(block, network.image_shape[:2], 'bicubic')
            large = tf.clip_by_value(tf.round(large), 0, 255)
            done.append(network.compute(tf.cast(large, tf.uint8)).numpy())
        return np.concatenate(done)

    def make() -> Arrays:
        return {part: shown(arrays[part]) for part in ('x_train', 'x_test')}

    made = kept(f'{name}_lite0', make, asked.cache)
    return arrays | {part: made[part] for part in ('x_train', 'x_test')}


def mnist(asked: argparse.Namespace, pixels: bool) -> Arrays:
    """Returns 3,000 images of MNIST, or their pixels as vectors."""
    arrays = published('mnist', asked)
    for part in ('x_train', 'y_train'):
        arrays[part] = arrays[part][:3000]
    if not pixels:
        for part in ('x_train', 'x_test'):
            flat = arrays[part].reshape(len(arrays[part]), -1)
            arrays[part] = flat.astype(np.float32) / 255
    return arrays


def small_cifar(asked: argparse.Namespace) -> Arrays:
    """Returns images of CIFAR-10 at 16 x 16."""
    arrays = published('cifar10', asked)
    for part in ('x_train', 'x_test'):
        blocks = arrays[part].reshape(-1, 16, 2, 16, 2, 3)
        arrays[part] = np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8)
    return arrays


@dataclasses.dataclass(frozen=True)
class Set:
    """A data set of the guard.

    Attributes:
        arrays: returns x_train, y_train (true classes), x_test, y_test, and
            human labels by name.
        noises: kinds of noise.
        networks: their names; the last one is the usual one.
        methods: see `evidence.METHODS`.
        epochs: of a run; None for the default of the package.
    """

    arrays: Callable[[argparse.Namespace], Arrays]
    noises: tuple[str, ...] = MADE
    networks: tuple[str, ...] = ('linear', 'mlp')
    methods: tuple[str, ...] = ('ce', 'gce', 'coteaching')
    epochs: int | None = None


SETS = {
    'digits': Set(lambda _: digits()),
    'digits_noisy': Set(lambda _: digits(0.8)),
    'cancer': Set(lambda _: cancer(), ('none', 'sym20', 'inst20')),
    'hopeless': Set(lambda _: digits(2.0), ('none', 'sym20')),
    'digits_pixels': Set(
        lambda _: digits(pixels=True),
        networks=('cnn',),
        methods=('ce', 'gce', 'coteaching', 'dividemix'),
        epochs=20,
    ),
    'digits_few': Set(
        lambda _: digits(pixels=True, count=500),
        networks=('cnn',),
        methods=('ce', 'gce', 'coteaching', 'dividemix'),
    ),
    'mnist': Set(lambda asked: mnist(asked, False), networks=('mlp',)),
    'mnist_pixels': Set(
        lambda asked: mnist(asked, True), networks=('lenet',), epochs=12
    ),
    'cifar10': Set(
        lambda asked: features('cifar10', asked), (*MADE, 'aggre', 'worse')
    ),
    'cifar10_pixels': Set(
        small_cifar, (*MADE, 'aggre', 'worse'), ('cnn',), epochs=12
    ),
}
# No constant of the package was chosen by these.
UNSEEN = {
    'mnist_asym': dataclasses.replace(
        SETS['mnist'], noises=('asym20', 'asym40')
    ),
    'cifar10_random2': dataclasses.replace(
        SETS['cifar10'], noises=('random2',)
    ),
    'cifar100': Set(
        lambda asked: features('cifar100', asked), ('none', 'sym20')
    ),
}
SETS |= UNSEEN


@functools.lru_cache(maxsize=4)
def arrays_of(name: str, data_dir: str, human: str, cache: str) -> Arrays:
    """Returns the arrays of a set."""
    asked = argparse.Namespace(data_dir=data_dir, human=human, cache=cache)
    return SETS[name].arrays(asked)
