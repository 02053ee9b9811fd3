"""Images as an exported model takes them: the pixels of evaluation.

Files become images as `data.images.files` makes them for evaluation. Models of
array data sets resize whole images.
"""

import concurrent.futures
import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from ieg.data.images.files import FileImages, inspect
from ieg.data.images.squares import SquareImages
from ieg.data.images.survey import read_odd
from ieg.data.sets.columns import read_features, read_fields
from ieg.data.vectors import checked
from ieg.errors import UsageError
from ieg.networks.fields import NumberField
from ieg.ops import tracing
from ieg.predict.inputs import Array, Group, Table
from ieg.predict.model import Classifier
from ieg.utils.text import listed, shown


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Images or vectors that a model can take.

    Attributes:
        names: of N examples.
        fetch: places [b] -> images, uint8 [b, H, W, channels], or vectors,
            float32 [b, d]; raises an exception of any kind where one of them
            can no longer be read.
    """

    names: Sequence[str]
    fetch: Callable[[Sequence[int]], np.ndarray]

    def __len__(self) -> int:
        return len(self.names)


def of_files(
    paths: Sequence[str], odd: np.ndarray, model: Classifier
) -> Inputs:
    """Returns images in files.

    Args:
        paths: of files that have been found readable, N.
        odd: bool [N], as `inspect` says.
        model: that takes them.
    """
    names = [shown(path) for path in paths]
    pool = concurrent.futures.ThreadPoolExecutor()
    if model.framing is not None and model.framing.squares:
        squares = SquareImages(paths, model.framing)
        return Inputs(
            names, lambda places: np.stack([*pool.map(squares.one, places)])
        )
    if model.framing is not None:
        encoded = [os.fsencode(path) for path in paths]
        return _framed(names, FileImages(encoded, odd, model.framing))
    height, width, channels = model.image_shape

    def whole(place: int) -> np.ndarray:
        return resized(read_odd(paths[place], channels), height, width)

    return Inputs(names, lambda places: np.stack([*pool.map(whole, places)]))


def of_array(array: Array, model: Classifier) -> Inputs:
    """Returns images of an array.

    Those of the network's size are taken as they are, others as if they were
    in files.

    Args:
        array: the images.
        model: that takes them.
    """
    if array.images.ndim == 2:
        raise UsageError(
            f'{array.name} has vectors {list(array.images.shape)}, but the '
            f'model takes images {list(model.image_shape)}.'
        )
    names, images = list(array.names()), array.images
    height, width, channels = model.image_shape
    if images.shape[1:] == model.image_shape:
        return Inputs(names, lambda places: images[np.asarray(places)])
    if model.framing is not None:
        encoded = [_png(image) for image in images]
        if model.framing.squares:
            return _framed(names, SquareImages(encoded, model.framing, True))
        odd = np.zeros(len(encoded), bool)
        return _framed(names, FileImages(encoded, odd, model.framing, True))

    def whole(place: int) -> np.ndarray:
        picture = _picture(images[place])
        pixels = np.asarray(picture.convert('L' if channels == 1 else 'RGB'))
        pixels = pixels.reshape(picture.height, picture.width, channels)
        return resized(pixels, height, width)

    return Inputs(names, lambda places: np.stack([*map(whole, places)]))


def of_vectors(group: Group, model: Classifier) -> Inputs:
    """Returns vectors of an array or a table.

    Args:
        group: what was found.
        model: that takes vectors.

    Raises:
        UsageError: they are of another width, or not finite; or they are
            images.
    """
    (width,) = model.image_shape
    if isinstance(group, Table):
        name = shown(group.path)
        array = Array(name, read_features(group.path, model.columns))
    elif isinstance(group, Array) and group.images.ndim == 2:
        array = group
    else:
        name = group.name if isinstance(group, Array) else shown(group[0])
        raise UsageError(
            f'{name} is an image, but the model takes vectors of {width} '
            'numbers: give a table, or an array [N, d].'
        )
    if array.images.shape[1] != width:
        raise UsageError(
            f'{array.name} has vectors of {array.images.shape[1]} numbers, but '
            f'the model takes {width}.'
        )
    vectors = checked(array.images, array.name)
    return Inputs(
        list(array.names()), lambda places: vectors[np.asarray(places)]
    )


def of_fields(group: Group, model: Classifier) -> Inputs:
    """Returns texts or rows of a table.

    Args:
        group: what was found.
        model: that takes them.

    Raises:
        UsageError: it is not a table, or lacks a column.
    """
    assert model.fields is not None
    if not isinstance(group, Table):
        name = group.name if isinstance(group, Array) else shown(group[0])
        raise UsageError(
            f'{name} is not a table, but the model takes the columns '
            f'{listed(model.columns)}: give a CSV file.'
        )
    are_numbers = [
        isinstance(column, NumberField) for column in model.fields.columns
    ]
    columns = dict(zip(model.columns, are_numbers, strict=True))
    rows = read_fields(group.path, columns)
    if not model.image_shape:
        rows = rows[:, 0]
    name = shown(group.path)
    names = [f'{name}[{number}]' for number in range(len(rows))]
    return Inputs(names, lambda places: rows[np.asarray(places)])


def _framed(names: Sequence[str], images: FileImages | SquareImages) -> Inputs:
    """Returns images that are cropped and resized as in the evaluation."""
    return Inputs(
        names, lambda places: images.fetch(np.asarray(places), None).numpy()
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
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[Inputs, list[tuple[str, str]]]:
    """Opens files once, to find out which of them are images.

    Args:
        paths: of files.
        model: that is to take them.
        progress: gets how many more were looked at.

    Returns:
        The images, and (path, reason) of each file that is none.
    """
    seen = inspect(paths, progress)
    places = np.flatnonzero(seen.readable).tolist()
    problems = [(shown(os.fsdecode(path)), why) for path, why in seen.problems]
    inputs = of_files([paths[i] for i in places], seen.odd[places], model)
    return inputs, problems


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
    run = tracing.expected(
        tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec(shape, model.input_dtype)],
            autograph=False,
        )
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
    """Raises UsageError for a model of other channels than grey or colors."""
    if not model.takes_images:
        return
    channels = model.image_shape[-1]
    if channels not in (1, 3):
        raise UsageError(
            f'the model takes images with {channels} channels, which no image '
            'file has.'
        )
