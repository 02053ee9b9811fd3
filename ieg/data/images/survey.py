"""Image files as Pillow sees them: which can be read, and how large they are.

Pillow is the judge of what an image is; TensorFlow decodes most files faster
and to the same pixels, and those where it would not are `odd`.
"""

import concurrent.futures
import contextlib
import dataclasses
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

# Imported by name: Pillow would import all of its readers to find them.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from ieg.data.images import other_files

EXTENSIONS = (
    '.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp', '.tif', '.tiff',
)  # fmt: skip


FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM')
# Pillow only warns of more, up to twice as many.
MAX_PIXELS = 89_478_485

Path = str | bytes | os.PathLike[str]
_MODES = {
    *('1', 'L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'RGBX'),
    *('CMYK', 'YCbCr', 'HSV', 'I', 'I;16', 'I;16L', 'I;16B', 'I;16N', 'F'),
}
_GREY = {'1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16L', 'I;16B', 'I;16N', 'F'}
_ALPHA = {'LA', 'La', 'PA', 'RGBA', 'RGBa'}
_ORIENTATION = 0x0112
# What the orientations 2 to 8 of EXIF need to be upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
# Pillow's names of what pixels are in files that TensorFlow reads equally.
_PLAIN = {'PNG': ('1', 'L;2', 'L;4', 'L', 'RGB'), 'BMP': ('BGR',)}
_UNKNOWN = 'is not an image of a known format'
# Files per task of the thread pool.
_BLOCK = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What is known of N files.

    Attributes:
        readable: bool [N].
        odd: bool [N], images that TensorFlow would not read as `read_odd`
            does: turned by EXIF, transparent, with a palette, of more than 8
            bits per channel, CMYK, of other formats than JPEG, PNG and BMP.
            False where unreadable.
        sizes: int32 [N, 2], height and width in pixels, upright; 0 where
            unreadable.
        grey: bool [N], images without color channels.
        problems: the unreadable files in order, and why in a few words.
    """

    readable: np.ndarray
    odd: np.ndarray
    sizes: np.ndarray
    grey: np.ndarray
    problems: list[tuple[Path, str]]


@dataclasses.dataclass(frozen=True)
class _Facts:
    height: int = 0
    width: int = 0
    odd: bool = False
    grey: bool = False
    problem: str = ''


class _Unusable(Exception):
    """An image that Pillow may know but that cannot be used here."""


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silences Pillow, in the whole process.

    It warns of much that it reads, and a program may make warnings errors.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module=r'PIL\.')
        yield


def survey(
    paths: Sequence[Path],
    full: bool = True,
    threads: int | None = None,
    progress: Callable[[int], object] = lambda count: None,
) -> Survey:
    """Opens files; whatever is wrong with one is noted and never raised.

    Pillow's warnings are off for the whole process while this runs.

    Args:
        paths: of N files.
        full: decode the images, which finds those that are cut off; without
            it only their headers are read.
        threads: that work at a time; None for one per core.
        progress: called with the number of files that were done.

    Returns:
        What is known of them, in the same order.
    """
    facts: list[_Facts] = []
    # Once for all threads, which share the filters.
    with without_warnings():
        pool = concurrent.futures.ThreadPoolExecutor(
            threads or os.cpu_count() or 1
        )
        try:
            blocks = [
                paths[start : start + _BLOCK]
                for start in range(0, len(paths), _BLOCK)
            ]
            for block in pool.map(lambda b: _examine_all(b, full), blocks):
                facts.extend(block)
                progress(len(block))
        finally:
            pool.shutdown(cancel_futures=True)
    return Survey(
        readable=np.array([not f.problem for f in facts], bool),
        odd=np.array([f.odd for f in facts], bool),
        sizes=np.array([(f.height, f.width) for f in facts], np.int32).reshape(
            -1, 2
        ),
        grey=np.array([f.grey for f in facts], bool),
        problems=[
            (path, f.problem)
            for path, f in zip(paths, facts, strict=True)
            if f.problem
        ],
    )


def _examine_all(paths: Iterable[Path], full: bool) -> list[_Facts]:
    return [_examine(path, full) for path in paths]


def _examine(path: Path, full: bool) -> _Facts:
    """Returns what is known of a file; never raises."""
    try:
        status = os.stat(path)
        # To open a pipe would wait for a writer.
        if not stat.S_ISREG(status.st_mode):
            folder = stat.S_ISDIR(status.st_mode)
            return _Facts(problem='is a folder' if folder else 'is not a file')
        if not status.st_size:
            return _Facts(problem='is empty')
        with open(path, 'rb') as file:
            return _facts(open_image(file), full)
    except Exception as error:
        return _Facts(problem=reason(path, error))


def _facts(image: ImageFile.ImageFile, full: bool) -> _Facts:
    turn = orientation(image)
    odd = turn != 1 or not _is_plain(image)
    height, width = upright(image.size, turn)
    grey = image.mode in _GREY
    if full:
        # Of a JPEG, an eighth of each side, for which all of it is read.
        image.draft(None, (1, 1))
        if odd:
            flattened(image, 'RGB')
        else:
            image.load()
    return _Facts(height, width, odd, grey)


def reason(path: Path, error: Exception) -> str:
    """Returns in a few words why a file could not be read."""
    match error:
        case _Unusable():
            return str(error)
        case FileNotFoundError() if os.path.islink(path):
            return 'is a link to nothing'
        case FileNotFoundError():
            return 'does not exist'
        case PermissionError():
            return 'may not be read'
        case UnidentifiedImageError():
            name = other_files.kind(os.fsdecode(path))
            return f'{name}s are not read' if name else _UNKNOWN
        case Image.DecompressionBombError():
            return _too_large()
        case OSError() if error.errno is not None:
            return os.strerror(error.errno)
        case _:
            return 'is cut off or damaged'


def _too_large() -> str:
    return f'has more than {MAX_PIXELS / 1e6:.0f} million pixels'


def open_image(file: BinaryIO) -> ImageFile.ImageFile:
    """Returns an image of which only the header has been read."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise _Unusable(_too_large())
    if not image.width * image.height:
        raise _Unusable('has no pixels')
    if image.mode not in _MODES:
        raise _Unusable(f'has colors of the kind {image.mode}')
    return image


def orientation(image: Image.Image) -> int:
    """Returns EXIF's orientation, 1 to 8; 1 where it is not to be had."""
    # EXIF behind the pixels of a PNG would have all of it read.
    if image.format == 'PNG' and 'exif' not in image.info:
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return turn if turn in _UPRIGHT else 1


def upright(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Returns height and width of an upright image.

    Args:
        size: width and height as they are stored.
        turn: EXIF's orientation.
    """
    width, height = size
    return (width, height) if turn in _SIDEWAYS else (height, width)


def turned(image: Image.Image, turn: int) -> Image.Image:
    """Returns an image upright, which has EXIF's orientation `turn`."""
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def _is_plain(image: ImageFile.ImageFile) -> bool:
    """Returns whether TensorFlow decodes an upright image to its pixels."""
    if 'transparency' in image.info:
        return False
    if image.format in ('JPEG', 'MPO'):
        return image.mode in ('L', 'RGB')
    return _layout(image) in _PLAIN.get(image.format or '', ())


def _layout(image: ImageFile.ImageFile) -> str:
    """Returns Pillow's name of how pixels are stored."""
    args = image.tile[0][3] if image.tile else ''
    return args[0] if isinstance(args, tuple) else args or ''


def read_odd(content_or_path: bytes | Path, channels: int) -> np.ndarray:
    """Returns an image upright, opaque, and of 8 bits per channel.

    Transparent pixels are put on white; of an animation the first frame is
    taken. Grey of 16 bits is divided by 257. Floats are taken as 0..1, if
    none is larger, else as 0..255.

    Args:
        content_or_path: the encoded image as bytes, or the path of a file as
            anything else.
        channels: 3, or 1 for grey.

    Returns:
        uint8 [h, w, channels].

    Raises:
        Exception: of many kinds; no such file, or not a whole image.
    """
    file: BinaryIO
    if isinstance(content_or_path, bytes):
        file = io.BytesIO(content_or_path)
    else:
        file = open(content_or_path, 'rb')
    with file:
        opened = open_image(file)
        # Before the pixels, as in the survey.
        turn = orientation(opened)
        image = flattened(opened, 'L' if channels == 1 else 'RGB')
    image = turned(image, turn)
    return np.array(image).reshape(image.height, image.width, channels)


def flattened(image: Image.Image, mode: str) -> Image.Image:
    """Returns an image in the mode 'L' or 'RGB', on white."""
    if image.mode.startswith('I') or image.mode == 'F':
        image = Image.fromarray(_to_bytes(np.asarray(image)))
    elif image.mode in _ALPHA or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(white, image)
    elif image.mode in ('P', 'CMYK', 'YCbCr', 'HSV', 'RGBX'):
        # There is no direct way to grey from some of them.
        image = image.convert('RGB')
    return image.convert(mode)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Returns uint8 [h, w] of integers 0..65535, or of floats."""
    if values.dtype.kind == 'f':
        values = np.nan_to_num(values.astype(np.float64))
        values = values * 255 if values.max() <= 1 else values
    else:
        values = values / 257
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
