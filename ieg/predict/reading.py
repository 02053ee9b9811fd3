"""Images as an exported model takes them: the pixels of evaluation.

Whatever a run on files does to an image for evaluation, `data.files` does it
here too. Models of array data sets resize whole images.
"""

import concurrent.futures
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from PIL import Image

from ieg.data.images.files import FileImages
from ieg.data.images.survey import read_odd, survey
from ieg.errors import UsageError
from ieg.predict.inputs import Array
from ieg.predict.model import Classifier
from ieg.utils.text import shown

# Files that are looked at before the bar moves.
_BLOCK = 256


class Inputs(Protocol):
    """Images that a model can take.

    Attributes:
        names: of N images.
    """

    names: list[str]

    def fetch(self, places: Sequence[int]) -> np.ndarray:
        """Returns images, uint8 [b, H, W, channels].

        Raises:
            Exception: of any kind; one of them cannot be read any more.
        """
        ...


class Files:
    """Images in files; see `Inputs`.

    Args:
        paths: of files that have been found readable, N.
        odd: bool [N], as `survey` says.
        model: that takes them.
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

    Those of the network's size are taken as they are, others as if they were
    in files.

    Args:
        array: the images.
        model: that takes them.
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
    """Returns an image [h, w, channels] as a file that is read like others."""
    content = io.BytesIO()
    _picture(image).save(content, 'PNG', compress_level=1)
    return content.getvalue()


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns an image uint8 [h, w, channels] in another size, all of it."""
    if image.shape[:2] == (height, width):
        return image
    picture = _picture(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(height, width, image.shape[-1])


def look_at(
    paths: Sequence[str],
    model: Classifier,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[Files, list[tuple[str, str]]]:
    """Opens files once, to find out which of them are images.

    Args:
        paths: of files.
        model: that is to take them.
        progress: is told how many more were looked at.

    Returns:
        The images, and (path, reason) of each file that is none.
    """
    kept, odd, problems = [], [], []
    for start in range(0, len(paths), _BLOCK):
        block = paths[start : start + _BLOCK]
        seen = survey(block)
        places = np.flatnonzero(seen.readable)
        kept += [block[place] for place in places]
        odd.append(seen.odd[places])
        problems += [(shown(path), why) for path, why in seen.problems]
        progress(len(block))
    return Files(kept, np.concatenate(odd or [[]]), model), problems


def predictions(
    model: Classifier,
    inputs: Inputs,
    batch_size: int,
    problems: list[tuple[str, str]],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields names and probabilities of images, batch by batch.

    While the model works on a batch, the next one is read.

    Args:
        model: the model.
        inputs: what it takes, N.
        batch_size: images at a time.
        problems: gets (name, reason) of what cannot be read any more.

    Returns:
        Names [b], and float32 [b, C].
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
    function: Callable[[Any], Any], arguments: Sequence[Any]
) -> Iterator[Any]:
    """Yields results in order, and works on the next one meanwhile."""
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
    """Returns which images could be read, they, and what the others lack."""
    try:
        return list(places), inputs.fetch(places), []
    # A decoder refuses what Pillow took, or a file is gone: which one is it?
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
    """Raises UsageError for a model of other channels than grey or colours."""
    channels = model.image_shape[-1]
    if channels not in (1, 3):
        raise UsageError(
            f'the model takes images with {channels} channels, which no image '
            'file has.'
        )
