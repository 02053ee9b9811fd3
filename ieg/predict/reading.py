"""Reads images for an exported model, exactly as its evaluation did.

For models of image files, `ieg.data.images.files` does the same as in
evaluation. For models of arrays, whole images are resized.
"""

import concurrent.futures
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import tensorflow as tf
from PIL import Image

from ieg.data.images.files import FileImages
from ieg.data.images.survey import read_odd, survey
from ieg.errors import UsageError
from ieg.predict.inputs import Array
from ieg.predict.model import Classifier
from ieg.utils.text import shown

# Files between two updates of the progress bar.
_BLOCK = 256

_Argument = TypeVar('_Argument')
_Result = TypeVar('_Result')


class Inputs(Protocol):
    """Images for a model.

    Attributes:
        names: names of N images.
    """

    names: list[str]

    def fetch(self, places: Sequence[int]) -> np.ndarray:
        """Returns images, uint8 [b, H, W, channels].

        Args:
            places: positions of b images.

        Raises:
            Exception: one of them can no longer be read.
        """
        ...


class Files:
    """Images in files; see `Inputs`.

    Args:
        paths: paths of N readable files.
        odd: bool [N], see `survey`.
        model: the model.
    """

    def __init__(
        self, paths: Sequence[str], odd: np.ndarray, model: Classifier
    ):
        self.names = [shown(path) for path in paths]
        self._paths = paths
        self._shape = model.image_shape
        self._framed = None
        if model.framing is None:
            self._pool = concurrent.futures.ThreadPoolExecutor()
        else:
            encoded = [os.fsencode(path) for path in paths]
            self._framed = FileImages(encoded, odd, model.framing)

    def fetch(self, places: Sequence[int]) -> np.ndarray:
        """See `Inputs`."""
        if self._framed is not None:
            return self._framed.fetch(np.asarray(places), None).numpy()
        paths = [self._paths[place] for place in places]
        return np.stack(list(self._pool.map(self._whole, paths)))

    def _whole(self, path: str) -> np.ndarray:
        height, width, channels = self._shape
        return resized(read_odd(path, channels), height, width)


class Pixels:
    """Images of an array; see `Inputs`.

    Images of the network's size are used as they are, others as if they were
    files.

    Args:
        array: the images.
        model: the model.
    """

    def __init__(self, array: Array, model: Classifier):
        self.names = list(array.names())
        self._images = array.images
        self._shape = model.image_shape
        self._framed = None
        if model.framing is not None and not self._fits():
            encoded = [_png(image) for image in array.images]
            odd = np.zeros(len(encoded), bool)
            self._framed = FileImages(encoded, odd, model.framing, True)

    def _fits(self) -> bool:
        return self._images.shape[1:] == self._shape

    def fetch(self, places: Sequence[int]) -> np.ndarray:
        """See `Inputs`."""
        if self._framed is not None:
            return self._framed.fetch(np.asarray(places), None).numpy()
        images = self._images[np.asarray(places)]
        if self._fits():
            return images
        height, width, channels = self._shape
        mode = 'L' if channels == 1 else 'RGB'
        return np.stack(
            [
                resized(
                    np.asarray(_picture(image).convert(mode)).reshape(
                        *image.shape[:2], channels
                    ),
                    height,
                    width,
                )
                for image in images
            ]
        )


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _png(image: np.ndarray) -> bytes:
    """Returns an image [h, w, channels] as a PNG file."""
    content = io.BytesIO()
    _picture(image).save(content, 'PNG', compress_level=1)
    return content.getvalue()


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns a whole image uint8 [h, w, channels] in another size."""
    if image.shape[:2] == (height, width):
        return image
    picture = _picture(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(height, width, image.shape[-1])


def look_at(
    paths: Sequence[str],
    model: Classifier,
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[Files, list[tuple[str, str]]]:
    """Opens files once, to find those that are images.

    Args:
        paths: paths of the files.
        model: the model.
        progress: called with the number of files that were opened since the
            last call.

    Returns:
        The images, and (path, reason) of each unreadable file.
    """
    kept: list[str] = []
    odd: list[np.ndarray] = []
    problems: list[tuple[str, str]] = []
    for start in range(0, len(paths), _BLOCK):
        block = paths[start : start + _BLOCK]
        seen = survey(block)
        places = np.flatnonzero(seen.readable)
        kept += [block[place] for place in places.tolist()]
        odd.append(seen.odd[places])
        problems += [
            (shown(os.fsdecode(path)), why) for path, why in seen.problems
        ]
        progress(len(block))
    flags = np.concatenate(odd) if odd else np.zeros(0, bool)
    return Files(kept, flags, model), problems


def predictions(
    model: Classifier,
    inputs: Inputs,
    batch_size: int,
    problems: list[tuple[str, str]],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields names and probabilities of images, batch by batch.

    While the model computes a batch, the next one is read.

    Args:
        model: the model.
        inputs: N images.
        batch_size: images per batch.
        problems: receives (name, reason) of images that can no longer be read.

    Yields:
        Names [b], and probabilities float32 [b, C].
    """
    shape = (None, *model.image_shape)
    run = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
        autograph=False,
    )
    count = len(inputs.names)
    batches = [
        range(start, min(start + batch_size, count))
        for start in range(0, count, batch_size)
    ]
    fetch = functools.partial(_fetch, inputs)
    for places, images, lost in _ahead(fetch, batches):
        problems += lost
        if places:
            names = [inputs.names[place] for place in places]
            yield names, run(images).numpy()


def _ahead(
    function: Callable[[_Argument], _Result], arguments: Sequence[_Argument]
) -> Iterator[_Result]:
    """Yields results in order, computing the next one in the background."""
    with concurrent.futures.ThreadPoolExecutor(1) as worker:
        waiting = None
        for argument in arguments:
            following = worker.submit(function, argument)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _fetch(
    inputs: Inputs, places: Sequence[int]
) -> tuple[list[int], np.ndarray | None, list[tuple[str, str]]]:
    """Returns the places of readable images, their pixels, and problems."""
    try:
        return list(places), inputs.fetch(places), []
    # A decoder refuses a file that Pillow accepts, or it is gone: try each one.
    except Exception:
        kept, images, lost = [], [], []
    for place in places:
        try:
            images.append(inputs.fetch([place]))
            kept.append(place)
        except Exception:
            lost.append((inputs.names[place], 'cannot be read'))
    return kept, np.concatenate(images) if images else None, lost


def check_takes_files(model: Classifier) -> None:
    """Raises UsageError if a model does not take images of 1 or 3 channels."""
    channels = model.image_shape[-1]
    if channels not in (1, 3):
        raise UsageError(
            'the model must take images with 1 or 3 channels, but takes '
            f'{channels} channels.'
        )
