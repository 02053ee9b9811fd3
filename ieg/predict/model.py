"""The exported model: uint8 images in, probabilities out; and its formats."""

import contextlib
import hashlib
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

import ieg
import ieg.networks  # noqa: F401  # Registers the layers of a file.
from ieg.data.augment.views import normalise
from ieg.data.images.files import Framing
from ieg.errors import UsageError
from ieg.features import backbones, embed
from ieg.networks.fields import Fields
from ieg.utils.files import (
    atomic_path,
    atomic_write,
    check_sums,
    from_json,
    open_regular,
    remove,
)

if TYPE_CHECKING:
    from ieg.data.dataset import Data
    from ieg.methods.base import Method
    from ieg.options import RunConfig

FILE, LABELS = 'model.keras', 'labels.txt'
_CLASS = 'Classifier'


@keras.saving.register_keras_serializable(package='ieg')
class Classifier(keras.Model):
    """Trained networks with their preprocessing, for prediction.

    Called with uint8 images [b, H, W, channels], vectors [b, d], texts [b] or
    rows of a table as strings [b, k], it returns float32 probabilities [b, C]:
    the softmax of the networks' summed logits, as in evaluation. The networks
    compute in the precision of their training. All arguments are in the saved
    file.

    With a backbone, the networks take its features: images, texts or rows go in
    all the same.

    Args:
        networks: networks, float images [b, H, W, channels] -> logits [b, C].
        image_shape: (H, W, channels); (d,) of vectors, (k,) of rows, () of
            texts.
        mean: mean per channel, of pixels in [0, 1]; per column of vectors or
            features.
        std: standard deviation, likewise.
        class_names: one name per class.
        dataset: the data set that the networks were trained on.
        framing: how image files are cropped, as `Framing` or its `size`,
            `channels` and `fraction`; None for networks that were trained on
            arrays, where files are resized as a whole.
        ieg_version: version of ieg that exported the model.
        backbone: images of 0 to 255 [b, H, W, 3] -> features [b, d], or
            `fields.Fields`; None for networks that see the images or vectors.
        columns: names of the d numbers of vectors, or of the k fields of rows;
            empty where they have none.
        **kwargs: arguments of `keras.Model`.
    """

    def __init__(
        self,
        networks: Sequence[keras.Model],
        image_shape: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str],
        dataset: str,
        framing: Framing | Mapping[str, Any] | None = None,
        ieg_version: str = ieg.__version__,
        backbone: keras.layers.Layer | None = None,
        columns: Sequence[str] = (),
        **kwargs: Any,
    ):
        # The networks have their own dtype policies.
        super().__init__(**{'dtype': 'float32', 'name': 'ieg', **kwargs})
        self.networks = list(networks)
        self.image_shape = tuple(image_shape)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.class_names = tuple(class_names)
        self.dataset = dataset
        if isinstance(framing, Mapping):
            framing = Framing(**framing)
        self.framing = framing
        self.ieg_version = ieg_version
        self.backbone = backbone
        self.columns = tuple(columns)
        self.built = True

    @property
    def fields(self) -> Fields | None:
        """What takes the fields of a table, texts or rows; None without."""
        return self.backbone if isinstance(self.backbone, Fields) else None

    @property
    def takes_vectors(self) -> bool:
        """Whether vectors go in, not images, texts or rows."""
        return len(self.image_shape) == 1 and self.fields is None

    @property
    def takes_images(self) -> bool:
        """Whether images go in."""
        return len(self.image_shape) == 3

    @property
    def input_dtype(self) -> str:
        """Type of what goes in."""
        if self.fields is not None:
            return 'string'
        return 'float32' if self.takes_vectors else 'uint8'

    def build(self, input_shape: Any = None) -> None:
        """Does nothing, because the networks are built."""
        self.built = True

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns probabilities, float32 [b, C]."""
        del training
        if self.backbone is not None:
            images = self.backbone(images, training=False)
        views = normalise(images, self)
        logits = [net(views, training=False) for net in self.networks]
        total = tf.add_n([tf.cast(part, tf.float32) for part in logits])
        return tf.nn.softmax(total)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, for JSON."""
        framing = self.framing and {
            'size': self.framing.size,
            'channels': self.framing.channels,
            'fraction': self.framing.fraction,
            'squares': self.framing.squares,
        }
        return {
            **super().get_config(),
            'networks': [
                keras.saving.serialize_keras_object(net)
                for net in self.networks
            ],
            'image_shape': list(self.image_shape),
            'mean': list(self.mean),
            'std': list(self.std),
            'class_names': list(self.class_names),
            'dataset': self.dataset,
            'framing': framing,
            'ieg_version': self.ieg_version,
            'columns': list(self.columns),
            'backbone': None
            if self.backbone is None
            else keras.saving.serialize_keras_object(self.backbone),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> 'Classifier':
        """Returns a model with new weights."""
        networks = [
            keras.saving.deserialize_keras_object(net)
            for net in config['networks']
        ]
        backbone = config.get('backbone')
        if backbone is not None:
            backbone = keras.saving.deserialize_keras_object(backbone)
        return cls(**{**config, 'networks': networks, 'backbone': backbone})

    def in_full_precision(self) -> 'Classifier':
        """Returns a copy whose networks compute in float32."""
        copy = Classifier.from_config(_as_float32(self.get_config()))
        for target, source in zip(copy.variables, self.variables, strict=True):
            target.assign(source.numpy())
        return copy


def _as_float32(config: Any) -> Any:
    """Returns a configuration with float32 in place of mixed precision."""
    if isinstance(config, list | tuple):
        return [_as_float32(part) for part in config]
    if not isinstance(config, dict):
        return config
    if config.get('class_name') == 'DTypePolicy':
        return config | {'config': {'name': 'float32'}}
    return {name: _as_float32(part) for name, part in config.items()}


def load(path: str) -> Classifier:
    """Loads an exported model.

    Args:
        path: path of the file, or of the run folder.

    Raises:
        UsageError: the file does not exist, is not an exported model, or
            cannot be loaded.
    """
    path = _file(os.path.expanduser(path))
    _check(path)
    try:
        return keras.saving.load_model(path, compile=False)
    # Keras raises many kinds of errors for damaged files and other versions.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f'the model {path} cannot be loaded ({reason[:200].rstrip(".")}): '
            'copy it again, give the module of its network with --plugin, or '
            'use the versions that it was written with.'
        ) from error


def digest(path: str) -> str:
    """Returns the beginning of the SHA-256 of a model's file; see `load`."""
    with open_regular(_file(os.path.expanduser(path))) as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def _file(path: str) -> str:
    """Returns the path of the model file.

    Raises:
        UsageError: the file does not exist.
    """
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, 'saved_model.pb')):
            raise UsageError(
                f'{path} is a SavedModel, which does not define how to read '
                f'images: give {FILE} of the run instead.'
            )
        inner = os.path.join(path, FILE)
        if not os.path.isfile(inner):
            raise UsageError(
                f'the folder {path} has no {FILE}: give the folder of a '
                'finished run, or start the run again, which finishes it.'
            )
        check_sums(path, FILE)
        return inner
    if not os.path.exists(path):
        raise UsageError(f'there is no model {path}: check the path.')
    return path


def _check(path: str) -> None:
    """Raises UsageError if a file is not a model of this package."""
    if path.lower().endswith('.tflite'):
        raise UsageError(
            f'{path} is a LiteRT model, which does not define how to read '
            f'images: give {FILE} of the run instead.'
        )
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            config = from_json(archive.read('config.json'))
        name = config['registered_name']
    except OSError as error:
        raise UsageError(
            f'the model {path} cannot be read ({error.strerror}): check its '
            'permissions.'
        ) from error
    # Not a zip file, or one with other content.
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f'{path} is not a Keras model, or it is damaged: give {FILE} of a '
            'finished run.'
        ) from error
    if name != f'ieg>{_CLASS}':
        raise UsageError(
            f'{path} is a Keras model of another program, which does not '
            f'define how to read images: give {FILE} of a finished run.'
        )
    if not path.endswith('.keras'):
        raise UsageError(
            f'{path} must end in .keras, because Keras does not read it '
            'otherwise: rename it.'
        )


def to_bytes(model: keras.Model) -> bytes:
    """Returns the content of the file of a Keras model."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, FILE)
        with _quiet():
            model.save(path)
        with open(path, 'rb') as file:
            return file.read()


def from_bytes(content: bytes) -> 'Classifier':
    """Returns the exported model whose file has this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, FILE)
        with open(path, 'wb') as file:
            file.write(content)
        return load(path)


def kinds(run: 'RunConfig') -> tuple[str, ...]:
    """Returns the formats of `--export`, in addition to `model.keras`."""
    return tuple(kind for kind in run.export.split(',') if kind)


def write(
    method: 'Method', data: 'Data', folder: str, kinds: Sequence[str] = ()
) -> list[str]:
    """Writes `model.keras`, and `savedmodel/` or `model.tflite` for `kinds`.

    A format that cannot be written does not end the run. An older file of that
    name is removed, because it would have other weights.

    Args:
        method: the trained method.
        data: the data it was trained on.
        folder: the run folder.
        kinds: any of 'savedmodel' and 'litert'.

    Returns:
        A sentence for each file that could not be written.
    """
    path = os.path.join(folder, FILE)
    remarks = attempt(path, save_model, method, data, path)
    for kind in kinds:
        name, save = KINDS[kind]
        target = os.path.join(folder, name)
        remarks += (
            [f'{target} is not written without {path}.']
            if remarks and not os.path.exists(path)
            else attempt(target, _convert, save, path, target)
        )
    return remarks


def _convert(
    save: Callable[[Classifier, str], None], source: str, target: str
) -> None:
    save(load(source), target)


def attempt(
    path: str, save: Callable[..., object], *arguments: Any
) -> list[str]:
    """Calls `save`; if it fails, removes `path` and returns a sentence.

    Args:
        path: path of the file or folder that `save` writes.
        save: the function.
        *arguments: its arguments.
    """
    try:
        save(*arguments)
    # Converters raise many kinds of errors for the networks of a plugin.
    except Exception as error:
        remove(path)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # That of the operating system is without the path.
        why = getattr(error, 'strerror', None) or lines[0][:300].rstrip('.')
        return [
            f'{path} cannot be written ({why}). Run the '
            'same command again to retry from the last checkpoint.'
        ]
    return []


def save_model(
    method: 'Method', data: 'Data', path: str, framing: Framing | None = None
) -> None:
    """Writes the networks used for evaluation, with preprocessing.

    See `Classifier` for the inputs and outputs of the model.
    `load` reads it, and so does `keras.saving.load_model` once this module is
    imported.

    Args:
        method: the trained method, on any number of replicas.
        data: the data it was trained on.
        path: path of the file; must end in '.keras'.
        framing: how files become images; None for that of the data.

    Raises:
        OSError: the file cannot be written.
    """
    preprocessing = data.preprocessing
    backbone, shape = None, data.image_shape
    vectors = data.train.vectors
    if vectors is not None and vectors.encoding is not None:
        backbone = vectors.encoding.layer()
        shape = backbone.shape
    if data.backbone:
        shape = data.picture_shape
        backbone = embed.network_of(backbones.load(data.backbone), shape)
    model = Classifier(
        method.evaluated_networks,
        image_shape=shape,
        mean=preprocessing.mean,
        std=preprocessing.std,
        class_names=data.class_names,
        dataset=str(data.spec),
        framing=framing or preprocessing.framing,
        backbone=backbone,
        columns=_columns(data),
    )
    with atomic_path(path, '.keras') as temporary, _quiet():
        model.save(temporary)


def _columns(data: 'Data') -> tuple[str, ...]:
    """Returns the names of the numbers that a model takes, where known."""
    # With a backbone, images go in.
    vectors = None if data.backbone else data.train.vectors
    return () if vectors is None else vectors.columns


def save_savedmodel(model: Classifier, folder: str) -> None:
    """Writes a TensorFlow SavedModel, which needs neither ieg nor Keras.

    `tf.saved_model.load(folder).serve(images)` gives the probabilities. The
    names of the classes are in `assets.extra/labels.txt`, one per line.

    Args:
        model: see `load`.
        folder: path of the folder; replaced if it exists.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_path(folder) as temporary, _quiet():
        model.export(
            temporary,
            format='tf_saved_model',
            verbose=False,
            input_signature=_signature(model),
        )
        extra = os.path.join(temporary, 'assets.extra')
        os.mkdir(extra)
        atomic_write(os.path.join(extra, LABELS), _labels(model))
        # Renaming cannot replace a folder that is not empty.
        remove(os.path.realpath(folder))


def save_litert(model: Classifier, path: str) -> None:
    """Writes a LiteRT (TensorFlow Lite) model of built-in operations.

    It computes in float32: LiteRT has no bfloat16. The file can also be read as
    a zip archive with `labels.txt`, the names of the classes, one per line.

    Args:
        model: see `load`.
        path: path of the file; must end in '.tflite'.

    Raises:
        OSError: the file cannot be written.
        Exception: the converter does not support the networks.
    """
    if model.fields is not None:
        raise ValueError('LiteRT has no built-in operations for texts')
    model = model.in_full_precision()
    with atomic_path(path, '.tflite') as temporary, _quiet():
        model.export(
            temporary,
            format='litert',
            verbose=False,
            input_signature=_signature(model),
            target_spec={'supported_ops': [tf.lite.OpsSet.TFLITE_BUILTINS]},
        )
        # As in LiteRT metadata, an archive follows the model in its file.
        with zipfile.ZipFile(temporary, 'a') as archive:
            archive.writestr(LABELS, _labels(model))


# --export -> name in the run folder, and function.
KINDS: dict[str, tuple[str, Callable[[Classifier, str], None]]] = {
    'savedmodel': ('savedmodel', save_savedmodel),
    'litert': ('model.tflite', save_litert),
}


def _labels(model: Classifier) -> str:
    """Returns the names of the classes in order, one per line."""
    names = (' '.join(name.split()) for name in model.class_names)
    return ''.join(f'{name}\n' for name in names)


def _signature(model: Classifier) -> list[keras.InputSpec]:
    shape = (None, *model.image_shape)
    name = 'vectors' if model.takes_vectors else 'images'
    if model.fields is not None:
        name = 'rows' if model.image_shape else 'texts'
    return [keras.InputSpec(shape=shape, dtype=model.input_dtype, name=name)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses a warning of NumPy that Keras causes."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            'ignore', '__array__ impl', category=DeprecationWarning
        )
        yield
