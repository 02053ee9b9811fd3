"""A scikit-learn classifier for images in arrays, and for vectors."""

import contextlib
import hashlib
import json
import logging
import os
import re
import reprlib
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ieg import label_issues, run_folder
from ieg.data.frames import Frame, is_frame
from ieg.data.images.arrays import Pixels
from ieg.data.matrix import Matrix, is_matrix
from ieg.errors import RunError, UsageError, unusable
from ieg.label_issues import ranking
from ieg.label_issues.listing import as_table
from ieg.utils import sources
from ieg.utils.files import atomic_open, atomic_write, check_local

if TYPE_CHECKING:
    from sklearn.utils import Tags


# Options that are parameters of the estimator, and options that it sets.
_PARAMETERS = (
    'method',
    'network_name',
    'max_epoch',
    'batch_size',
    'learning_rate',
    'valid_ratio',
    'seed',
)
_OCCUPIED = (
    *('dataset', 'data_dir', 'checkpoint_path', 'run', 'mode', 'restore_step'),
)
_BATCH = 256
# File of a network that was given as a model.
_NETWORK = 'network.keras'
# Characters of a text that are kept for the report.
_SHOWN = 500
Taken = Pixels | Matrix | Frame


class _Network(NamedTuple):
    """The network of a fit.

    Attributes:
        name: as `--network_name`; None leaves the choice to the command.
        sha256: of a file, a model, or what a function returned.
        model: the model.
    """

    name: str | None
    sha256: str = ''
    model: Any = None


class NoisyLabelClassifier(ClassifierMixin, BaseEstimator):
    """Learns to classify images or vectors with partly wrong labels.

    A fit is equivalent to a run of the `ieg` command on the same data: it has
    the same options, presets and results for a seed, and the same list of label
    issues. Settings of the whole process (precision, seeds, deterministic
    kernels) are restored at its end; threads and logical devices are not
    changed.

    Args:
        method: learning algorithm, as `--method`.
        network_name: network, as `--network_name`; None chooses one for the
            size of the images.
        max_epoch: number of epochs; None chooses it by method and data.
        batch_size: examples per step; None chooses it by method and data.
        learning_rate: initial learning rate; None chooses it by method and
            data.
        valid_ratio: share of the images to hold out, with their given labels,
            which tell how many labels are wrong; these are scored, too. None
            for 0.1, 0.2 of fewer than 500, 0 of fewer than 250. Vectors are
            judged by folds and need none, but for methods that choose by
            validation (me_momentum and s2e: 0.1).
        image_shape: (H, W) or (H, W, channels) of flat images; None for images
            that are not flat, and for vectors.
        seed: seed of all random numbers.
        options: further options by the names of their flags.
        run_dir: folder in which each fit has a run folder, see `run_folder_`;
            None keeps no files. The same fit (data, parameters, network)
            called again resumes where it was interrupted, with the same
            result; one that was finished is not trained again.
        verbose: 1 prints a line per epoch, and a progress bar in a terminal; 0
            prints nothing; 'auto' is 1 in a terminal or notebook.
        network: a keras.Model, or a function (number of classes, shape of an
            example) that returns one, in place of `network_name`. It gives
            logits; a softmax at its end is left out. The model itself is not
            trained: the networks of a method are copies that start from its
            weights, and all but the first draw those of the last layer. A
            function is called for each network.

    Attributes:
        classes_: the sorted classes, [C].
        n_features_in_: number of values per image or vector.
        image_shape_: (H, W, channels); (d,) of vectors.
        model_: Keras model, uint8 images [b, H, W, channels], float32 vectors
            [b, d] or strings [b, k] of k columns -> probabilities [b, C]; see
            `ieg.predict.model.Classifier`.
        label_issues_: pandas.DataFrame, one row per example, the most
            suspicious first. Columns: rank (from 1), index (row of X), split
            ('train' or 'valid'), given_label, suggested_label, score (as
            `quality_scores_`), margin, agreement, in_selection (NaN if the
            method does not select), is_issue, is_hard, mark ('certain',
            'likely', 'possible' or '').
        quality_scores_: [n], quality of each given label in [0, 1], in the
            order of X. A low score means that the label is probably wrong; NaN
            means that the run did not use the example.
        noise_rate_: share of wrong labels if they are as common among hard
            examples as among easy ones; None if the networks are too weak to
            tell, or too few examples were held out.
        noise_rate_interval_: (low, high): at least and at most this share is
            wrong; None if no examples were held out.
        statement_: how many labels are wrong, and how far to trust the marked
            ones; a list of sentences.
        history_: the log, one dictionary per epoch.
        run_folder_: the run folder, or None.
    """

    def __init__(
        self,
        method: str = 'dividemix',
        network_name: str | None = None,
        max_epoch: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        valid_ratio: float | None = None,
        image_shape: tuple[int, ...] | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        run_dir: str | os.PathLike | None = None,
        verbose: int | str = 'auto',
        network: Any = None,
    ):
        self.method = method
        self.network_name = network_name
        self.max_epoch = max_epoch
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.valid_ratio = valid_ratio
        self.image_shape = image_shape
        self.seed = seed
        self.options = options
        self.run_dir = run_dir
        self.verbose = verbose
        self.network = network

    def __sklearn_tags__(self) -> 'Tags':
        """Returns the tags: images without negative values, or vectors."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = self.image_shape is not None
        tags.input_tags.sparse = self.image_shape is None
        return tags

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        probe: tuple[Any, Any] | None = None,
    ) -> 'NoisyLabelClassifier':
        """Trains on images or vectors and their given labels.

        Args:
            X: vectors [n, d], any numbers but uint8, without `image_shape`; a
                sparse matrix of more than 256 columns is reduced to so many by
                scikit-learn's TruncatedSVD, with a warning. Or texts [n], or a
                data frame with columns of numbers, categories or texts (`text`)
                that may have missing values; each becomes numbers, and what
                hardly repeats is left out, with a warning. Or images
                [n, H, W] or [n, H, W, channels] with 1 or 3 channels, or flat
                [n, d] with `image_shape`. uint8 pixels are used as they are.
                For other types, white is the smallest of 1, 16 (as in
                scikit-learn's digits) and 255 that no value exceeds; pixels
                are scaled to 255 and rounded to uint8.
            y: labels [n] of any type that scikit-learn supports for classes.
            probe: examples and their correct labels, at least one of each
                class, for methods that need clean examples (ieg, l2r).

        Returns:
            The estimator.

        Raises:
            ValueError: images, labels or options are invalid.
            RuntimeError: the training cannot continue.
        """
        if y is None:
            raise ValueError(
                f'{type(self).__name__} requires y to be passed, but the '
                'target y is None.'
            )
        taken: Taken
        if is_frame(X, self.image_shape):
            with as_in_scikit_learn():
                taken = Frame.learnt(X)
        elif is_matrix(X, self.image_shape):
            taken = Matrix.learnt(X, self.seed)
        else:
            taken = Pixels.learnt(X, self.image_shape)
        images = _arrays(taken, X)
        codes = self._codes(y)
        check_consistent_length(images, codes)
        arrays: dict[str, Any] = {
            'x_train': images,
            'y_train': codes,
            'class_names': np.array(_names(self.classes_)),
            # Nothing is held out for tests.
            'x_test': images[:0],
            'y_test': codes[:0],
        }
        if isinstance(taken, Frame) and self.run_dir is not None:
            arrays['text_train'] = np.array(taken.texts(X), f'U{_SHOWN}')
        if probe is not None:
            if not (isinstance(probe, tuple | list) and len(probe) == 2):
                raise ValueError(
                    'probe must be a pair of images and labels, (X_probe, '
                    f'y_probe), got {reprlib.repr(probe)}.'
                )
            arrays |= self._probe(taken, *probe)
        self._taken = taken
        self.image_shape_ = taken.shape
        self.n_features_in_ = taken.width
        with as_in_scikit_learn(), own_process():
            with (
                self._network(taken.shape) as network,
                self._folder(arrays, network) as folder,
            ):
                trained = self._train(arrays, network, folder)
                self._learn(trained, len(images))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns probabilities [n, C], in the order of `classes_`.

        Args:
            X: images as in `fit`, on the same scale; or vectors.

        Raises:
            ValueError: their shape or scale differs from those of `fit`, or
                the names of their columns or the order of these.
        """
        check_is_fitted(self)
        if isinstance(self._taken, Frame):
            images = self._taken.fields(X)
        else:
            images = _arrays(self._taken, X)
        batches = [
            np.asarray(self.model_(images[start : start + _BATCH]))
            for start in range(0, len(images), _BATCH)
        ]
        probabilities = np.concatenate(batches).astype(np.float64)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Returns the most probable class [n] of each example.

        Args:
            X: see `predict_proba`.
        """
        places = self.predict_proba(X).argmax(axis=1)
        return self.classes_[places]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if 'model_' in state:
            # It imports TensorFlow, which nothing needs before a fit.
            from ieg.predict import model

            state['model_'] = model.to_bytes(state['model_'])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if 'model_' in state:
            from ieg.predict import model

            state = {**state, 'model_': model.from_bytes(state['model_'])}
        super().__setstate__(state)

    # Steps of a fit.

    def _codes(self, y: Any) -> np.ndarray:
        """Sets the classes and returns the place of each label, int64 [n]."""
        y = column_or_1d(y, warn=True)
        try:
            check_classification_targets(y)
            self.classes_, codes = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise ValueError(
                'y must have labels of one type, without missing values '
                f'({error}).'
            ) from error
        if len(self.classes_) < 2:
            raise ValueError(
                'y must have at least 2 classes, got 1 class, '
                f'{self.classes_.tolist()[0]!r}.'
            )
        return codes.astype(np.int64)

    def _probe(
        self,
        taken: Taken,
        X: Any,  # noqa: N803
        y: Any,
    ) -> dict[str, np.ndarray]:
        """Returns the arrays of clean examples and their classes."""
        images = _arrays(taken, X, 'the probe')
        y = column_or_1d(y, warn=True)
        check_consistent_length(images, y)
        places = {name: i for i, name in enumerate(self.classes_.tolist())}
        codes = [places.get(name) for name in y.tolist()]
        if None in codes or len(set(codes)) < len(places):
            raise ValueError(
                f'the probe must have the classes of y, '
                f'{self.classes_.tolist()}, got {np.unique(y).tolist()}.'
            )
        return {'x_probe': images, 'y_probe': np.array(codes)}

    @contextlib.contextmanager
    def _network(self, shape: tuple[int, ...]) -> Iterator['_Network']:
        """Yields the network that `network` stands for.

        Args:
            shape: of an example.

        Raises:
            ValueError: it is not a network, or `network_name` is given, too.
            UsageError: the network cannot be used.
        """
        import keras

        from ieg.networks import foreign

        name = self.network_name
        if self.network is None:
            digest = ''
            if isinstance(name, str) and sources.is_file(name):
                digest = foreign.file_hash(name)
            yield _Network(name, digest)
            return
        if name is not None:
            raise ValueError('give network or network_name, not both.')
        count = len(self.classes_)
        if isinstance(self.network, keras.Model):
            model = foreign.usable(self.network, count, shape, 'network')
            yield _Network(_NETWORK, foreign.model_hash(model), model)
        elif callable(self.network):
            with foreign.given(self.network) as name:
                keras.utils.set_random_seed(0)
                model = foreign.build(name, count, shape)
                yield _Network(name, foreign.model_hash(model))
        else:
            raise ValueError(
                'network must be a keras.Model, or a function (num_classes, '
                f'shape) that returns one, got {reprlib.repr(self.network)}; '
                'names are for network_name.'
            )

    @contextlib.contextmanager
    def _folder(
        self, arrays: Mapping[str, Any], network: '_Network'
    ) -> Iterator[str]:
        """Yields a folder for a run, removed at the end without `run_dir`."""
        if self.run_dir is None:
            with tempfile.TemporaryDirectory(prefix='ieg_') as folder:
                yield folder
            return
        check_local(self.run_dir, 'run_dir=')
        options = self._given(network.name)
        digest = hashlib.sha256(
            json.dumps([options, network.sha256], default=repr).encode()
        )
        for name, array in arrays.items():
            digest.update(f'{name} {array.dtype} {array.shape} '.encode())
            digest.update(np.ascontiguousarray(array).data)
        try:
            root = os.path.abspath(os.path.expanduser(self.run_dir))
            folder = os.path.join(
                os.fsdecode(root), f'fit_{digest.hexdigest()[:16]}'
            )
            os.makedirs(folder, exist_ok=True)
        except (OSError, TypeError) as error:
            raise ValueError(
                f'run_dir={self.run_dir!r} must be a folder that can be '
                f'written ({error}).'
            ) from error
        yield folder

    def _train(
        self, arrays: Mapping[str, Any], network: '_Network', folder: str
    ) -> str:
        """Trains, or resumes that, in a folder; returns the run folder."""
        from ieg import experiment
        from ieg.predict import model

        path = os.path.join(folder, 'data.npz')
        given = self._given(network.name)
        if not os.path.exists(path):
            with atomic_open(path, 'wb') as file:
                np.savez(file, **arrays)
        if network.model is not None:
            given['network_name'] = os.path.join(folder, _NETWORK)
            if not os.path.exists(given['network_name']):
                content = model.to_bytes(network.model)
                atomic_write(given['network_name'], content)
        given |= {'data_dir': path, 'checkpoint_path': folder}
        config, opened = experiment.configure(given)
        if isinstance(self._taken, Frame):
            from ieg.data import own

            assert opened is not None
            opened = own.encoded(opened, self._taken.encoding)
        check_replicas(config.run.num_replicas)
        if config.data.probe_dataset_hold_ratio and 'x_probe' not in arrays:
            raise ValueError(
                f'method={self.method!r} needs clean images: pass some to fit '
                'as probe=(X_probe, y_probe).'
            )
        shows = self._shows()
        if config.search.search:
            from ieg.search import driver

            with contextlib.nullcontext() if shows else silence():
                config = driver.search(config, opened=opened)
        summary = experiment.train(
            config, progress=sys.stdout if shows else False, opened=opened
        )
        folder = summary['folder']
        if not os.path.exists(os.path.join(folder, 'model.keras')):
            raise RunError(' '.join(summary['not_written']))
        return folder

    def _shows(self) -> bool:
        """Returns whether progress is printed."""
        if self.verbose != 'auto':
            return bool(self.verbose)
        module = type(sys.stdout).__module__
        return sys.stdout is not None and (
            sys.stdout.isatty() or module.startswith('ipykernel')
        )

    def _given(self, network_name: str | None) -> dict[str, Any]:
        """Returns the options of the equivalent command, but for its places.

        Raises:
            ValueError: `options` has an option that is set elsewhere.
        """
        options = {} if self.options is None else self.options
        if not isinstance(options, Mapping):
            raise ValueError(
                'options must be a dictionary of options by name, got '
                f'{reprlib.repr(options)}.'
            )
        for name in options:
            if not isinstance(name, str):
                raise ValueError(f'options has {name!r}, not a name.')
            if name in _PARAMETERS:
                raise ValueError(
                    f'options has {name!r}, which is a parameter of '
                    f'{type(self).__name__}: pass it as {name}=...'
                )
            if name in _OCCUPIED:
                raise ValueError(
                    f'options has {name!r}, which '
                    f'{type(self).__name__} sets: remove it.'
                )
        parameters = self.get_params(deep=False)
        parameters['network_name'] = network_name
        given = {
            name: parameters[name]
            for name in _PARAMETERS
            if parameters[name] is not None or name in ('method', 'seed')
        }
        given |= {'distribution_strategy': 'default'} | dict(options)
        given['dataset'] = 'npz'
        # A grid of parameters often has numbers of NumPy.
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in given.items()
        }

    def _learn(self, folder: str, count: int) -> None:
        """Sets the attributes from the files of a run."""
        from ieg.predict import model

        self.run_folder_ = None if self.run_dir is None else folder
        self.model_ = model.load(folder)
        with open(os.path.join(folder, 'log.jsonl'), encoding='utf-8') as file:
            self.history_ = [json.loads(line) for line in file]
        path = os.path.join(folder, run_folder.SUMMARY)
        figures = run_folder.read_object(path)['label_issues']
        self.noise_rate_ = figures['noise_rate']
        interval = figures['noise_rate_interval']
        self.noise_rate_interval_ = interval and tuple(interval)
        said = ranking.statement(figures)
        self.statement_ = [_without_dashes(sentence) for sentence in said]
        rows = label_issues.read(os.path.join(folder, 'label_issues.csv'))
        self.label_issues_ = _table(rows, self.classes_)
        self.quality_scores_ = np.full(count, np.nan)
        self.quality_scores_[rows.index] = rows.score


def _arrays(
    taken: Taken,
    X: Any,  # noqa: N803
    name: str = 'X',
) -> np.ndarray:
    """Returns images uint8 [n, H, W, channels], or vectors float32 [n, d]."""
    if isinstance(taken, Matrix | Frame):
        return taken.vectors(X, name)
    return taken.images(X, name)


def _names(classes: np.ndarray) -> list[str]:
    """Returns a name for each class that is valid in all files."""
    names = [str(name) for name in classes.tolist()]
    usable = all(name == name.strip() and name.isprintable() for name in names)
    alike = {unicodedata.normalize('NFC', name) for name in names}
    if usable and '' not in names and len(alike) == len(names):
        return names
    return [str(place) for place in range(len(names))]


def _table(rows: label_issues.Issues, classes: np.ndarray) -> pd.DataFrame:
    """Returns label issues with the labels that `fit` received."""
    table = as_table(rows).drop(columns='path')
    places = {name: place for place, name in enumerate(_names(classes))}
    for column in ('given_label', 'suggested_label'):
        table[column] = classes[[places[name] for name in table[column]]]
    return table


# An environment variable that TensorFlow reads on import.
LOG_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'


@contextlib.contextmanager
def as_in_scikit_learn() -> Iterator[None]:
    """Raises the errors of scikit-learn, which name parameters, not flags."""
    try:
        yield
    except UsageError as error:
        raise ValueError(_without_dashes(error)) from error
    except RunError as error:
        raise RuntimeError(_without_dashes(error)) from error
    except OSError as error:
        if sentence := unusable(error):
            raise RuntimeError(str(sentence)) from error
        raise


def _without_dashes(error: Exception | str) -> str:
    return re.sub(r'(?<![\w-])--(?=[a-z])', '', str(error))


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """Imports TensorFlow and restores the settings of the process at the end.

    Other threads wait for their turn. See `ieg.training.devices.restoring`.
    """
    from absl import logging as absl_logging

    from ieg.utils.cli import ONE_AT_A_TIME, import_tensorflow

    with ONE_AT_A_TIME:
        level = os.environ.get(LOG_LEVEL)
        verbosity = absl_logging.get_verbosity()
        try:
            import_tensorflow()
            from ieg.training.devices import restoring

            with restoring(), _without_warnings():
                yield
        finally:
            absl_logging.set_verbosity(verbosity)
            if level is None:
                os.environ.pop(LOG_LEVEL, None)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps TensorFlow from warning that each fit compiles its own steps."""
    logger = logging.getLogger('tensorflow')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_replicas(count: int) -> None:
    """Checks that the process has enough logical CPUs.

    Args:
        count: value of `--num_replicas`.

    Raises:
        ValueError: the process has fewer.
    """
    import tensorflow as tf

    if count > len(tf.config.list_logical_devices('CPU')):
        raise ValueError(
            f'num_replicas={count} needs as many logical CPUs, but a fit does '
            'not change the devices of the process: call tf.config.'
            'set_logical_device_configuration before TensorFlow starts, or '
            'leave it out.'
        )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Suppresses printed output."""
    with (
        open(os.devnull, 'w', errors='replace') as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
