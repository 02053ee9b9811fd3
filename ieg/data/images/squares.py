"""Images as squares of one size, for networks that see each of them once.

Pillow decodes and scales all of them in whole numbers, so the pixels are the
same on every machine. A JPEG is decoded at the smallest of its scales (1/8 to
1) that has as many pixels as the square.
"""

import io
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from ieg.data.images import files, survey
from ieg.data.images.files import FileImages, Framing
from ieg.utils.text import shown

# What a JPEG can be scaled down by while it is decoded.
_SCALES = (8, 4, 2)


class Window(NamedTuple):
    """Part of an upright image, in pixels, which may be mirrored."""

    top: float
    left: float
    height: float
    width: float
    flip: bool = False


def squares(
    content: bytes, side: int, windows: Sequence[Window] = ()
) -> np.ndarray:
    """Returns the centre of an image, and other parts of it.

    It is decoded once; with windows at twice the scale, as they show less.

    Args:
        content: of the file.
        side: of the squares, S, in pixels.
        windows: v parts of the image besides its largest square in the centre.

    Returns:
        uint8 [1 + v, S, S, 3].

    Raises:
        Exception: of many kinds; it is not a whole image.
    """
    image = survey.open_image(io.BytesIO(content))
    turn = survey.orientation(image)
    height, width = size = survey.upright(image.size, turn)
    short = min(size)
    centre = Window((height - short) / 2, (width - short) / 2, short, short)
    shown = [centre, *windows]
    # Whatever the windows are, so that the centre does not depend on them.
    least = short / 2 if windows else short
    scale = next((s for s in _SCALES if s * side <= least), 1)
    if scale > 1:
        # Only a JPEG takes this as more than a hint.
        image.draft(None, (image.width // scale, image.height // scale))
    pixels = survey.turned(survey.flattened(image, 'RGB'), turn)
    # A side that the scale does not divide is rounded up.
    ratio = pixels.width / width, pixels.height / height
    return np.stack([_scaled(pixels, ratio, side, part) for part in shown])


def _scaled(
    image: Image.Image, ratio: tuple[float, float], side: int, part: Window
) -> np.ndarray:
    """Returns a part of an image as a square, uint8 [side, side, 3].

    Args:
        image: the whole.
        ratio: its width and height over those that the part is of.
        side: of the square.
        part: what to show.
    """
    wide, high = ratio
    box = (
        part.left * wide,
        part.top * high,
        min((part.left + part.width) * wide, image.width),
        min((part.top + part.height) * high, image.height),
    )
    square = image.resize((side, side), Image.Resampling.BILINEAR, box)
    if part.flip:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(square)


def windows(
    content: bytes, numbers: np.ndarray, framing: Framing
) -> list[Window]:
    """Returns random parts of an image, half of them mirrored.

    Args:
        content: of the file.
        numbers: int32 [v, 3], random ones: two for the place, one for the
            mirror.
        framing: gives the limits of area and aspect.

    Raises:
        Exception: of many kinds; it is not an image.
    """
    image = survey.open_image(io.BytesIO(content))
    size = survey.upright(image.size, survey.orientation(image))
    sizes = np.tile(np.array(size, np.int32), (len(numbers), 1))
    places = files.areas(sizes, numbers[:, :2], framing)
    return [
        Window(top, left, height, width, bool(number % 2))
        for (top, left, height, width), number in zip(
            places.tolist(), numbers[:, 2], strict=True
        )
    ]


class SquareImages:
    """Images in files, or encoded in memory, shown as centre squares.

    See `ieg.data.dataset.Images`; only outside of graphs, and without seeds.

    Args:
        paths_or_bytes: N file names, as `os.fsencode` takes them; or the
            encoded images.
        framing: gives the side.
        encoded: whether they are the images themselves.
    """

    array = None

    def __init__(
        self,
        paths_or_bytes: Sequence[str | bytes],
        framing: Framing,
        encoded: bool = False,
    ):
        self._sources = list(paths_or_bytes)
        self._encoded = encoded
        self.framing = framing
        self.shape: tuple[int, ...] = (framing.size, framing.size, 3)

    def __len__(self) -> int:
        return len(self._sources)

    def take(self, indices: np.ndarray) -> 'SquareImages':
        """Returns some of them, in that order."""
        taken = [self._sources[index] for index in np.asarray(indices).tolist()]
        return SquareImages(taken, self.framing, self._encoded)

    def content(self, number: int) -> bytes:
        """Returns the bytes of an image.

        Raises:
            OSError: its file cannot be read.
        """
        source = self._sources[number]
        if self._encoded:
            assert isinstance(source, bytes)
            return source
        with open(os.fsencode(source), 'rb') as file:
            return file.read()

    def problem(self, number: int, error: Exception) -> str:
        """Returns in a few words why an image could not be read."""
        return survey.reason(self._sources[number], error)

    def name(self, number: int) -> str:
        """Returns the printable path of a file, or the number of an image."""
        if self._encoded:
            return f'image {number}'
        return shown(os.fsdecode(self._sources[number]))

    def one(self, number: int) -> np.ndarray:
        """Returns a plain image, uint8 [S, S, 3].

        Raises:
            Exception: of many kinds; it cannot be decoded.
        """
        return squares(self.content(number), self.framing.size)[0]

    def fetch(
        self,
        ids: tf.Tensor | np.ndarray,
        seeds: tf.Tensor | np.ndarray | None = None,
    ) -> tf.Tensor:
        """Returns plain images; see `ieg.data.dataset.Images`.

        Raises:
            Exception: of many kinds; a file is gone, or no longer an image.
        """
        if seeds is not None:
            raise ValueError('these images are shown as they are')
        images = [self.one(number) for number in np.asarray(ids).tolist()]
        shape = (len(images), *self.shape)
        return tf.constant(np.array(images, np.uint8).reshape(shape))


def of_files(images: FileImages, framing: Framing) -> SquareImages:
    """Returns the same images, shown in another way."""
    return SquareImages(images.sources.tolist(), framing, images.is_encoded)
