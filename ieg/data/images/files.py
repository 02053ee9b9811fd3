"""Images that stay encoded: read, decoded, cropped and resized by id.

All of it happens inside the graph of the input pipeline. An image depends on
its file and, in training, on its own seed; never on its batch.
"""

import concurrent.futures
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ieg.data.images.survey import Path, Survey, read_odd, survey
from ieg.errors import RunError
from ieg.ops import random as random_ops
from ieg.ops.tracing import expected
from ieg.utils.text import shown

# Tries to place a random area, as in torchvision.
ATTEMPTS = 10
# What a decoder reads around a crop: at the edge of what it decodes it
# interpolates colors otherwise than within an image.
_MARGIN = 2
# Pillow's weights of red, green and blue in grey, over 2**16.
_GREY = (19595, 38470, 7471)
# Files that are decoded by one call when they are checked.
_BLOCK = 64
# Files whose check takes long enough to be announced.
_MANY = 20_000
# Where there is less to look at than the start or the end of a file.
_BLANK = b'\0' * 8


@dataclasses.dataclass(frozen=True)
class Framing:
    """What of an image a network sees.

    Attributes:
        size: side of the square result, S, in pixels.
        channels: 3, or 1 for grey.
        crop: in training; 'area' is a rectangle of random area and aspect,
            'shift' a square at a random place.
        area: smallest and largest area of the rectangle over the image's.
        aspect: smallest and largest width of the rectangle over its height.
        fraction: side of the square over the short side of the image; also
            of the centre crop of evaluation.
        squares: whether Pillow makes all of it, see `SquareImages`.
    """

    size: int
    channels: int = 3
    crop: str = 'area'
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    fraction: float = 224 / 256
    squares: bool = False

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in (1, 3):
            raise ValueError(f'no size or channels of an image: {self}')
        if self.crop not in ('area', 'shift') or not 0 < self.fraction <= 1:
            raise ValueError(f'no such crop: {self}')
        for low, high in (self.area, self.aspect):
            if not 0 < low <= high:
                raise ValueError(f'limits that leave nothing: {self}')


class FileImages:
    """Images in files, or encoded in memory; see `ieg.data.dataset.Images`.

    Args:
        paths_or_bytes: N file names as bytes; or the encoded images.
        odd: bool [N], those that Pillow must read; see `survey.Survey`.
        framing: what is shown of them.
        encoded: whether they are the images themselves.
    """

    def __init__(
        self,
        paths_or_bytes: Sequence[bytes] | np.ndarray,
        odd: np.ndarray,
        framing: Framing,
        encoded: bool = False,
    ):
        self.sources = np.empty(len(paths_or_bytes), object)
        self.sources[:] = paths_or_bytes
        self._odd = np.asarray(odd, bool)
        if len(self._odd) != len(self.sources):
            raise ValueError('`odd` is not of these images')
        self.is_encoded = encoded
        self._held: tuple[tf.Tensor, tf.Tensor] | None = None
        self.framing = framing
        self.array = None
        self.shape = (framing.size, framing.size, framing.channels)

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, indices: np.ndarray) -> 'FileImages':
        """Returns some of them, in that order."""
        return FileImages(
            self.sources[indices],
            self._odd[indices],
            self.framing,
            self.is_encoded,
        )

    def encoded(self, number: int) -> bytes:
        """Returns an image that is encoded in memory."""
        return self.sources[number]

    def fetch(
        self, ids: tf.Tensor | np.ndarray, seeds: tf.Tensor | np.ndarray | None
    ) -> tf.Tensor:
        """Returns a batch; see `ieg.data.dataset.Images`.

        Raises:
            tf.errors.OpError: a file is gone or no longer an image; the text
                has its name, unless the damage is in its middle.
        """
        ids = tf.convert_to_tensor(ids, tf.int64)
        reader = _reader(self.framing, self.is_encoded, seeds is not None)
        if seeds is None:
            seeds = tf.zeros([tf.shape(ids)[0], 2], tf.int32)
        images = reader(*self._tensors(), ids, tf.cast(seeds, tf.int32))
        images.set_shape([*ids.shape, *self.shape])
        return images

    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns sources and oddity, made when they are first needed."""
        if self._held is None:
            # Outside of any graph: inside, they would become part of it.
            with tf.init_scope(), tf.device('CPU:0'):
                sources = tf.constant(self.sources, tf.string)
                self._held = sources, tf.constant(self._odd)
        return self._held


@functools.cache
def _reader(
    framing: Framing, encoded: bool, random: bool
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns how images are read: one graph for all files and batches.

    Args:
        framing: what is shown of them.
        encoded: whether sources are the images themselves, or their paths.
        random: whether the seeds are used.

    Returns:
        (sources [N], oddity [N], ids [b], seeds [b, 2]) -> images uint8
        [b, S, S, channels].
    """

    def image(row: tuple[tf.Tensor, ...]) -> tf.Tensor:
        number, source, odd, seed = row
        content = source if encoded else tf.io.read_file(source)
        name = source
        if encoded:
            name = tf.strings.join(['image ', tf.strings.as_string(number)])
        return _image(content, odd, name, seed if random else None, framing)

    def batch(
        sources: tf.Tensor, odd: tf.Tensor, ids: tf.Tensor, seeds: tf.Tensor
    ) -> tf.Tensor:
        shape = (framing.size, framing.size, framing.channels)
        # No GPU has any of it.
        with tf.device('CPU:0'):
            return tf.map_fn(
                image,
                (ids, tf.gather(sources, ids), tf.gather(odd, ids), seeds),
                fn_output_signature=tf.TensorSpec(shape, tf.uint8),
                parallel_iterations=16,
            )

    signature = [
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([None], tf.bool),
        tf.TensorSpec([None], tf.int64),
        tf.TensorSpec([None, 2], tf.int32),
    ]
    return expected(
        tf.function(batch, input_signature=signature, autograph=False)
    )


def _image(
    content: tf.Tensor,
    odd: tf.Tensor,
    name: tf.Tensor,
    seed: tf.Tensor | None,
    framing: Framing,
) -> tf.Tensor:
    """Returns one image, uint8 [S, S, channels].

    Args:
        content: of the file.
        odd: whether Pillow must read it.
        name: path of the file, or number of the image, for messages.
        seed: int32 [2]; None for the crop of evaluation.
        framing: what is shown of it.
    """

    def pillow() -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.numpy_function(
            _read_odd, [content, name], tf.uint8, stateful=False
        )
        return image, tf.shape(image)

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        # It is decoded when it is known how much of it is needed.
        nothing = tf.zeros([0, 0, 3], tf.uint8)
        return nothing, tf.io.extract_jpeg_shape(content)

    def png() -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_png(content, 3)
        return image, tf.shape(image)

    def bmp() -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_bmp(content, 3)
        return image, tf.shape(image)

    kind = tf.where(odd, 0, _kind(content))
    image, shape = tf.switch_case(kind, [pillow, jpeg, png, bmp])
    size = tf.ensure_shape(shape, [3])[:2]
    window = _window(size, seed, framing)
    image = tf.cond(
        kind == 1,
        lambda: _decode_jpeg(content, size, window),
        lambda: _cut(tf.ensure_shape(image, [None, None, 3]), window),
    )
    if framing.channels == 1:
        image = _grey(image)
    return _resize(image, window[2:], framing.size)


def _read_odd(content: bytes, name: bytes) -> np.ndarray:
    try:
        return read_odd(content, 3)
    except Exception as error:
        # Surrogates would break the error that TensorFlow makes of it.
        printable = name.decode('utf-8', 'backslashreplace')
        raise ValueError(
            f'{printable} cannot be read as an image: {error}'
        ) from error


def inspect(
    paths: Sequence[Path],
    progress: Callable[[int], object] = lambda count: None,
) -> Survey:
    """Opens and decodes files once, as `FileImages` will.

    Those that TensorFlow refuses and Pillow reads are `odd`, too.

    Args:
        paths: of N files.
        progress: called with the number of files that were done.
    """
    # Headers are read before anything is done.
    with progress_bar(len(paths), 'Opening', len(paths) + 1) as bar:
        seen = survey(paths, full=False, progress=bar.update)
    plain = np.flatnonzero(seen.readable & ~seen.odd).tolist()
    sizes = np.zeros_like(seen.sizes)
    sizes[plain] = decoded_sizes([paths[i] for i in plain], progress)
    left = np.flatnonzero((sizes != seen.sizes).any(axis=1)).tolist()
    slow = survey([paths[i] for i in left])
    progress(len(paths) - len(plain))
    readable, odd = seen.readable.copy(), seen.odd.copy()
    readable[left] = odd[left] = slow.readable
    reasons = {os.fspath(p): why for p, why in seen.problems + slow.problems}
    return dataclasses.replace(
        seen,
        readable=readable,
        odd=odd,
        sizes=np.where(readable[:, np.newaxis], seen.sizes, 0),
        grey=seen.grey & readable,
        problems=[
            (paths[i], reasons[os.fspath(paths[i])])
            for i in np.flatnonzero(~readable).tolist()
        ],
    )


def progress_bar(
    total: int, what: str = 'Checking', announced: int = _MANY
) -> tqdm:
    """Returns a bar for work on files, one line if it is not a terminal.

    Args:
        total: number of files.
        what: is done to them.
        announced: the fewest files for which that line is printed.
    """
    if total >= announced and not sys.stderr.isatty():
        print(f'{what} {total:,} images.', file=sys.stderr, flush=True)
    return tqdm(
        total=total,
        desc=f'{what.lower()} images',
        unit=' images',
        file=sys.stderr,
        disable=None,
        delay=2,
        dynamic_ncols=True,
        leave=False,
    )


def decoded_sizes(
    paths: Sequence[Path],
    progress: Callable[[int], object] = lambda count: None,
) -> np.ndarray:
    """Returns the sizes of images as TensorFlow decodes them.

    Args:
        paths: of N files.
        progress: called with the number of files that were done.

    Returns:
        Height and width in pixels, int32 [N, 2]; 0 where it refuses a file.
    """
    sizes = [np.zeros((0, 2), np.int32)]
    blocks = [
        [*map(os.fsencode, paths[start : start + _BLOCK])]
        for start in range(0, len(paths), _BLOCK)
    ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in pool.map(_sizes, blocks):
            sizes.append(block)
            progress(len(block))
    return np.concatenate(sizes)


def _sizes(paths: list[bytes]) -> np.ndarray:
    """Returns the sizes of a few images; see `decoded_sizes`."""
    try:
        # To open a pipe would wait for a writer.
        if not all(map(os.path.isfile, paths)):
            raise FileNotFoundError
        return _size_reader()(tf.constant(paths, tf.string)).numpy()
    except (tf.errors.OpError, OSError):
        if len(paths) == 1:
            return np.zeros((1, 2), np.int32)
    half = len(paths) // 2
    return np.concatenate([_sizes(paths[:half]), _sizes(paths[half:])])


@functools.cache
def _size_reader() -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns (paths [n]) -> sizes int32 [n, 2], all from whole images."""

    def size(path: tf.Tensor) -> tf.Tensor:
        content = tf.io.read_file(path)

        def jpeg() -> tf.Tensor:
            # All of the file is read for an eighth of each side, too.
            small = tf.io.decode_jpeg(content, 3, ratio=8)
            shape = tf.io.extract_jpeg_shape(content)
            # The graph would drop what nothing depends on.
            fits = tf.shape(small)[:2] == (shape[:2] + 7) // 8
            return tf.where(tf.reduce_all(fits), shape, 0)

        shape = tf.switch_case(
            _kind(content),
            [
                lambda: tf.zeros([3], tf.int32),
                jpeg,
                lambda: tf.shape(tf.io.decode_png(content, 3)),
                lambda: tf.shape(tf.io.decode_bmp(content, 3)),
            ],
        )
        return tf.ensure_shape(shape, [3])[:2]

    def sizes(paths: tf.Tensor) -> tf.Tensor:
        with tf.device('CPU:0'):
            return tf.map_fn(
                size,
                paths,
                fn_output_signature=tf.TensorSpec([2], tf.int32),
                parallel_iterations=1,
            )

    return tf.function(
        sizes,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def lost(paths: Sequence[Path]) -> RunError | None:
    """Returns the error for the first file that cannot be read, if any."""
    seen = inspect(paths)
    if not seen.problems:
        return None
    path, reason = seen.problems[0]
    return RunError(
        f'{shown(os.fsdecode(path))} can no longer be read ({reason}). Put it '
        'back as it was, and run the same command again to resume.'
    )


def _kind(content: tf.Tensor) -> tf.Tensor:
    """Returns which reader an image needs, int32.

    A JPEG or PNG without its end is one for Pillow, whose error can name the
    file, where TensorFlow's cannot.
    """
    padded = tf.strings.join([_BLANK, content, _BLANK])
    start = tf.strings.substr(padded, 8, 4)
    end = tf.strings.substr(padded, -16, 8)
    jpeg = (tf.strings.substr(start, 0, 3) == b'\xff\xd8\xff') & (
        tf.strings.substr(end, 6, 2) == b'\xff\xd9'
    )
    png = (start == b'\x89PNG') & (end == b'IEND\xaeB`\x82')
    bmp = tf.strings.substr(start, 0, 2) == b'BM'
    return tf.where(jpeg, 1, tf.where(png, 2, tf.where(bmp, 3, 0)))


def _window(
    size: tf.Tensor, seed: tf.Tensor | None, framing: Framing
) -> tf.Tensor:
    """Returns what to show of an image.

    Args:
        size: height and width, int32 [2].
        seed: int32 [2]; None for the crop of evaluation.
        framing: of the images.

    Returns:
        Top, left, height and width, int32 [4].
    """
    if seed is not None and framing.crop == 'area':
        return _area(size, seed, framing)
    short = tf.cast(tf.reduce_min(size), tf.float32)
    side = tf.cast(tf.round(short * framing.fraction), tf.int32)
    sides = tf.repeat(tf.maximum(side, 1), 2)
    room = size - sides
    if seed is None:
        place = room // 2
    else:
        place = _place(random_ops.uniform([2], seed), room)
    return tf.concat([place, sides], 0)


def _place(numbers: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """Returns random whole numbers 0..room."""
    return tf.cast(numbers * tf.cast(room + 1, tf.float32), tf.int32)


def _area(size: tf.Tensor, seed: tf.Tensor, framing: Framing) -> tf.Tensor:
    """Returns a window of random area and aspect.

    That of torchvision's RandomResizedCrop, as networks for PyTorch are
    trained: the area is uniform and the aspect log-uniform, and if no attempt
    fits into the image, it is the largest centre crop of an allowed aspect.
    TensorFlow's `sample_distorted_bounding_box` draws aspects uniformly, then
    heights, which favours small areas, and falls back to the whole image.
    """
    numbers = random_ops.uniform([ATTEMPTS + 1, 2], seed)
    real = tf.cast(size, tf.float32)
    low, high = framing.area
    areas = (low + numbers[:-1, :1] * (high - low)) * tf.reduce_prod(real)
    low, high = np.log(framing.aspect).astype(np.float32)
    logs = low + numbers[:-1, 1:] * (high - low)
    # Of width over height, so heights get less of it.
    tries = tf.sqrt(areas * tf.exp(logs * [-1.0, 1.0]))
    low, high = framing.aspect
    most = tf.minimum(real, real[::-1] * [1 / low, high])
    most = tf.maximum(most, 1.0)[tf.newaxis]
    sides = tf.cast(tf.round(tf.concat([tries, most], 0)), tf.int32)
    # The last one always does.
    fits = tf.reduce_all((sides >= 1) & (sides <= size), axis=1)
    first = tf.argmax(tf.cast(fits, tf.int32), output_type=tf.int32)
    room = size - sides[first]
    place = tf.where(first < ATTEMPTS, _place(numbers[-1], room), room // 2)
    return tf.concat([place, sides[first]], 0)


def areas(sizes: np.ndarray, seeds: np.ndarray, framing: Framing) -> np.ndarray:
    """Returns windows of random area and aspect in images.

    Args:
        sizes: height and width of n images, int32 [n, 2].
        seeds: int32 [n, 2].
        framing: gives the limits of both.

    Returns:
        Top, left, height and width, int32 [n, 4].
    """
    return _areas(framing)(sizes, seeds).numpy()


@functools.cache
def _areas(framing: Framing) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
    """Returns `areas` as one graph for all numbers of images."""

    def batch(sizes: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        with tf.device('CPU:0'):
            return tf.map_fn(
                lambda row: _area(row[0], row[1], framing),
                (sizes, seeds),
                fn_output_signature=tf.TensorSpec([4], tf.int32),
            )

    signature = [tf.TensorSpec([None, 2], tf.int32)] * 2
    return tf.function(batch, input_signature=signature, autograph=False)


def _cut(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns what a window shows of an image."""
    top, left, height, width = tf.unstack(window)
    return tf.slice(image, [top, left, 0], [height, width, 3])


def _decode_jpeg(
    content: tf.Tensor, size: tf.Tensor, window: tf.Tensor
) -> tf.Tensor:
    """Returns the same as decoding all of it would, at less cost."""
    place = tf.maximum(window[:2] - _MARGIN, 0)
    end = tf.minimum(window[:2] + window[2:] + _MARGIN, size)
    image = tf.image.decode_and_crop_jpeg(
        content,
        tf.concat([place, end - place], 0),
        3,
        dct_method='INTEGER_ACCURATE',
    )
    return _cut(image, tf.concat([window[:2] - place, window[2:]], 0))


def _grey(image: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [h, w, 1] of [h, w, 3], as Pillow does."""
    weighed = tf.cast(image, tf.int32) * _GREY
    total = tf.reduce_sum(weighed, -1, keepdims=True) + 2**15
    return tf.cast(total // 2**16, tf.uint8)


def _resize(image: tf.Tensor, sides: tf.Tensor, size: int) -> tf.Tensor:
    """Returns an image as a square, bilinear and smoothed as Pillow does.

    What grows needs no smoothing, which costs more than the rest.

    Args:
        image: uint8 [h, w, channels].
        sides: h and w, int32 [2].
        size: of the square.
    """
    square = [size, size]

    def sampled() -> tf.Tensor:
        return tf.raw_ops.ResizeBilinear(
            images=image[tf.newaxis], size=square, half_pixel_centers=True
        )

    def smoothed() -> tf.Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=image[tf.newaxis],
            size=square,
            scale=size / tf.cast(sides, tf.float32),
            translation=[0.0, 0.0],
            kernel_type='triangle',
            antialias=True,
        )

    def scaled() -> tf.Tensor:
        shrinks = tf.reduce_any(sides > size)
        return tf.cast(
            tf.round(tf.cond(shrinks, smoothed, sampled))[0], tf.uint8
        )

    result = tf.cond(tf.reduce_all(sides == size), lambda: image, scaled)
    return tf.ensure_shape(result, [size, size, image.shape[-1]])
