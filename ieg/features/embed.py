"""A data set of images becomes one of vectors, the features of a backbone."""

import dataclasses
import functools
import hashlib
import os
import sys
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from ieg.data import own
from ieg.data.dataset import (
    Advice,
    Images,
    Opened,
    Part,
    Preprocessing,
    Source,
)
from ieg.data.images.files import FileImages, Framing, progress_bar
from ieg.data.images.squares import SquareImages, of_files
from ieg.data.images.survey import Survey, survey
from ieg.data.vectors import Vectors
from ieg.errors import RunError, UsageError
from ieg.features import extract
from ieg.features.backbones import Backbone
from ieg.features.cache import Cache, Key, root
from ieg.features.extract import Features, Files, Rows
from ieg.networks.whole_image import WholeImage
from ieg.ops import tracing
from ieg.utils.text import counted

# The training examples of a data set that are used, int64 [n], ascending.
Chosen = Callable[[Source], np.ndarray]


def every(source: Source) -> np.ndarray:
    """Returns all training examples; a `Chosen`."""
    return np.arange(len(source.train))


def embed(
    opened: Opened,
    backbone: Backbone,
    views: int,
    cache_dir: str,
    seed: int,
    chosen: Chosen = every,
) -> Opened:
    """Returns a data set of images as one of features.

    Images in files are shown as the largest square in their centre, those of
    arrays as a whole. Names, labels and splits stay.

    Args:
        opened: images.
        backbone: makes features of them.
        views: number of random parts of each training image in a file whose
            features are stored besides those of its centre.
        cache_dir: where features are kept; '' for the usual folder.
        seed: of these parts.
        chosen: says which training examples are used. Where images are in
            memory, the features of others are zeros.

    Returns:
        Its `source` raises a UsageError where features cannot be used, and a
        RunError where they can no longer be written.
    """
    work = _Embedding(opened, backbone, views, cache_dir, seed, chosen)

    def advise(image_size: int) -> Advice:
        return work.advice

    return Opened(lambda image_size: work.source, advise)


def network_of(backbone: Backbone, shape: Sequence[int]) -> keras.Model:
    """Returns a network of images as a data set has them.

    Args:
        backbone: makes features of squares.
        shape: (H, W, channels) of the images.

    Returns:
        Images [b, H, W, channels] -> features [b, width].

    Raises:
        UsageError: they have other channels than grey or RGB.
    """
    if tuple(shape) == (backbone.side, backbone.side, 3):
        return backbone.network
    if shape[-1] not in (1, 3):
        raise UsageError(
            f'--backbone={backbone.name} takes images with 1 or 3 channels, '
            f'but these have {shape[-1]}: use --backbone=off.'
        )
    images = keras.Input(tuple(shape), name='images')
    squares = WholeImage(backbone.side, name='square')(images)
    return keras.Model(images, backbone.network(squares), name='backbone')


def framing_of(backbone: Backbone) -> Framing:
    """Returns how a backbone sees images in files."""
    return Framing(
        backbone.side, 3, area=own.OWN_AREA, fraction=1.0, squares=True
    )


def cache_of(
    backbone: Backbone, images: extract.Images, cache_dir: str, seed: int
) -> Cache:
    """Returns the cache of the features of images; see `embed`."""
    key = _key(backbone, images.framing, images.views, seed)
    return Cache(root(cache_dir), key, (1 + images.views, backbone.width))


def _key(backbone: Backbone, framing: str, views: int, seed: int) -> Key:
    return Key(backbone.sha256, backbone.side, framing, views, seed)


class _Embedding:
    """The features of a data set, which are computed when they are needed.

    Args: see `embed`.
    """

    def __init__(
        self,
        opened: Opened,
        backbone: Backbone,
        views: int,
        cache_dir: str,
        seed: int,
        chosen: Chosen,
    ):
        self._opened = opened
        self._backbone = backbone
        self._views = views
        self._cache_dir = cache_dir
        self._seed = seed
        self._chosen = chosen
        self._framing = framing_of(backbone)
        self._has_reported = False
        self._of_arrays: extract.Network | None = None
        # Features of files by the name of their part, and rows by path.
        self._looked_at: dict[str, tuple[Features, dict[str, int]]] = {}

    @functools.cached_property
    def source(self) -> Source:
        """The data set, with vectors in place of images."""
        source = self._opened.looked_at(self._framing, self._look)
        framing = source.preprocessing.framing and self._framing
        chosen = self._chosen(source)
        parts = {**source.parts, **source.further}
        vectors = {
            name: self._vectors(name, part, chosen)
            for name, part in parts.items()
        }
        self._looked_at.clear()
        train = vectors['train'].take(chosen)
        # What the features depend on besides the images.
        shown = 'squares' if framing else 'arrays'
        text = f'{source.fingerprint} {self._key(shown, 0)}'
        return Source.of_parts(
            {
                name: dataclasses.replace(part, images=vectors[name])
                for name, part in parts.items()
            },
            class_names=source.class_names,
            preprocessing=Preprocessing.of_vectors(train, framing),
            published=source.published,
            remarks=source.remarks,
            skipped=source.skipped,
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            backbone=self._backbone.name,
        )

    @property
    def advice(self) -> Advice:
        """Options that suit the features."""
        train, width = self.source.train, self._backbone.width
        classes, name = len(self.source.class_names), self._backbone.name
        advice = own.of_vectors('', len(train), width, classes)
        sentence = (
            f'{counted(len(train), "training image")} of {classes} classes, '
            f'each as {width:,} features of the backbone {name}.'
        )
        return dataclasses.replace(advice, sentence=sentence)

    def _look(self, part: str, paths: Sequence[str]) -> Survey:
        """Finds out which files are images while their features are computed.

        See `ieg.data.dataset.Look`.
        """
        with progress_bar(len(paths)) as bar:
            seen = survey(paths, full=False, progress=bar.update)
        numbers = np.flatnonzero(seen.readable).tolist()
        images = SquareImages([paths[n] for n in numbers], self._framing)
        made = self._features(Files(images, self._views_of(part), self._seed))
        reasons = {os.fspath(path): why for path, why in seen.problems}
        rows = np.full(len(paths), -1)
        rows[numbers] = made.rows
        for number, why in made.problems.items():
            reasons[paths[numbers[number]]] = why
        readable = rows >= 0
        self._looked_at[part] = (
            made,
            dict(zip(paths, rows.tolist(), strict=True)),
        )
        return dataclasses.replace(
            seen,
            readable=readable,
            sizes=np.where(readable[:, np.newaxis], seen.sizes, 0),
            grey=seen.grey & readable,
            problems=[
                (paths[n], reasons[paths[n]])
                for n in np.flatnonzero(~readable).tolist()
            ],
        )

    def _vectors(self, name: str, part: Part, chosen: np.ndarray) -> Vectors:
        """Returns the features of a part."""
        images = part.images
        if isinstance(images, FileImages):
            images = of_files(images, self._framing)
        if self._looked_at and part.names is not None:
            # Images that are held out were among those of training.
            known = name if name in self._looked_at else 'train'
            made, places = self._looked_at[known]
            rows = np.array([places[path] for path in part.names], int)
        elif isinstance(images, SquareImages):
            made = self._features(
                Files(images, self._views_of(name), self._seed)
            )
            rows = made.rows
            for number, why in made.problems.items():
                raise RunError(
                    f'{images.name(number)} of the {name} part cannot be '
                    f'decoded: it {why}. Use --backbone=off.'
                )
        else:
            return self._of_array(
                images, chosen if name == 'train' else np.arange(len(images))
            )
        return Vectors(
            made.stored[rows, 0].astype(np.float32),
            made.stored[rows, 1:] if self._views_of(name) else None,
            pictures=images,
        )

    def _views_of(self, part: str) -> int:
        """Returns how many views are stored of the images of a part."""
        return self._views if part == 'train' else 0

    def _of_array(self, images: Images, chosen: np.ndarray) -> Vectors:
        """Returns the features of some images in memory, zeros for others.

        Raises:
            UsageError: there are no images, or views of them are asked for.
        """
        if images.array is None or images.array.ndim != 4:
            raise UsageError(
                f'--backbone={self._backbone.name} is for images, but the '
                'examples are vectors: leave it out.'
            )
        if self._views:
            raise UsageError(
                f'--feature_views={self._views} is for images in files, but '
                'these are arrays: leave it out.'
            )
        made = self._features(Rows(images.array, chosen))
        array = np.zeros((len(images), self._backbone.width), np.float32)
        array[chosen] = made.stored[made.rows, 0]
        return Vectors(array, pictures=images)

    def _features(self, images: extract.Images) -> Features:
        """Returns features, from the cache as far as possible."""
        backbone = self._backbone
        cache = cache_of(backbone, images, self._cache_dir, self._seed)
        if cache.obstacle:
            self._report(cache)
        name = os.path.basename(backbone.name)
        return extract.features(
            images, self._network(images), backbone.width, cache, name
        )

    def _network(self, images: extract.Images) -> extract.Network:
        """Returns the backbone as a function of such images."""
        if isinstance(images, Files):
            return self._backbone.compute
        # All parts have images of one shape.
        if self._of_arrays is None:
            network = network_of(self._backbone, images.shape)
            self._of_arrays = tracing.expected(
                tf.function(
                    lambda pixels: network(pixels, training=False),
                    input_signature=[
                        tf.TensorSpec((None, *images.shape), tf.uint8)
                    ],
                    autograph=False,
                    jit_compile=False,
                )
            )
        return self._of_arrays

    def _key(self, framing: str, views: int) -> Key:
        return _key(self._backbone, framing, views, self._seed)

    def _report(self, cache: Cache) -> None:
        """Says once that features are not kept.

        Raises:
            UsageError: a user has asked for the folder.
        """
        text = f'{cache.folder} cannot be written ({cache.obstacle})'
        if self._cache_dir:
            raise UsageError(
                f'--cache_dir={self._cache_dir}: {text}: choose another folder.'
            )
        if not self._has_reported:
            print(
                f'{text}, so features are computed again by every command: '
                'give another folder with --cache_dir.',
                file=sys.stderr,
                flush=True,
            )
        self._has_reported = True
