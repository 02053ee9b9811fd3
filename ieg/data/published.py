"""Published sets of image files: their lists, checks and preparation."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ieg.data.dataset import (
    FoundFiles,
    Listing,
    Look,
    Opened,
    Preprocessing,
    Source,
    fits_in_memory,
    hash_of_listings,
    open_listings,
    policy_for,
)
from ieg.data.images import other_files
from ieg.data.images.files import Framing, decoded_sizes, progress_bar
from ieg.data.images.survey import Survey, survey
from ieg.errors import UsageError
from ieg.registry import DATASETS
from ieg.utils.files import is_hidden, read_folder
from ieg.utils.text import shown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class SetRecipe:
    """How a set is usually trained on, and how large it is.

    Attributes:
        size: pixels of the sides of the square that a network sees.
        crop: 'area' for a random area and aspect of the training image;
            'shift' for a square of fixed size at a random place of it.
        fraction: of the short side that the crop of evaluation takes, and
            that of training with 'shift'; 1 for all of it.
        num_classes: classes.
        train_count: published number of training images.
        test_count: of test images.
        valid_count: of clean validation images.
        padding: pixels added on each side before the crop 'shift'.
        flip: whether training images are mirrored at random.
        mean: per channel, in units of pixels scaled to [0, 1]; by default that
            of ImageNet.
        std: per channel, in the same units.
    """

    size: int
    crop: str
    fraction: float
    num_classes: int
    train_count: int
    test_count: int
    valid_count: int = 0
    padding: int = 0
    flip: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def count_remarks(parts: Mapping[str, Listing], recipe: SetRecipe) -> list[str]:
    """Returns a remark for each part that has not its published size."""
    return [
        f'{count:,} {kind} images are published, here are {len(parts[part]):,}.'
        for part, kind, count in (
            ('train', 'training', recipe.train_count),
            ('valid', 'validation', recipe.valid_count),
            ('test', 'test', recipe.test_count),
        )
        if part in parts and len(parts[part]) != count
    ]


def require_classes(names: Sequence[str], recipe: SetRecipe, path: str) -> None:
    """Checks that a file names each class once.

    Raises:
        UsageError: it does not.
    """
    if len(set(names)) != recipe.num_classes or len(names) != len(set(names)):
        raise UsageError(
            f'{path} names {len(set(names))} different classes in '
            f'{len(names)} lines instead of {recipe.num_classes}: get the '
            'file again.'
        )


_SUFFIXES = ('.jpg', '.jpeg', '.png')


def require_folder(folder: str, name: str) -> None:
    """Checks that the folder of a set exists.

    Raises:
        UsageError: it does not.
    """
    if not os.path.isdir(folder):
        raise UsageError(
            f'there is no folder {folder} with {name}: give the one that '
            'holds it with --data_dir.'
        )


def find_file(folders: Sequence[str], name: str) -> str:
    """Returns the path of a file in the first of the folders that has it.

    Raises:
        UsageError: none has it.
    """
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    raise UsageError(
        f'the file {name} is missing: it is looked for in '
        f'{" and in ".join(folders)}.'
    )


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, each with its number from 1.

    Raises:
        UsageError: the file is not text.
    """
    try:
        # Some editors put a mark of the encoding in front.
        with open(path, encoding='utf-8-sig') as file:
            for number, line in enumerate(file, 1):
                line = line.strip()
                if line:
                    yield number, line
    except UnicodeDecodeError:
        raise UsageError(
            f'{path} is not a text file in UTF-8: get the list again.'
        ) from None


def wrong_line(path: str, number: int, line: str, what: str) -> UsageError:
    """Returns the error for a line that is not what it should be."""
    return UsageError(
        f'line {number} of {path} is {line!r} and not {what}: get the list '
        'again.'
    )


def read_labels(path: str, num_classes: int) -> Iterator[tuple[str, int]]:
    """Yields names and labels of lines `name label`.

    Raises:
        UsageError: a line is something else, or its label is not a class.
    """
    what = f'a name and a class from 0 to {num_classes - 1}'
    for number, line in read_lines(path):
        try:
            # From the right, as names of files may contain spaces.
            name, text = line.rsplit(None, 1)
            label = int(text)
        except ValueError:
            raise wrong_line(path, number, line, what) from None
        if not 0 <= label < num_classes:
            raise wrong_line(path, number, line, what)
        yield name, label


def keep_existing(
    folder: str, names: Sequence[str], labels: Sequence[int], what: str
) -> tuple[Listing, list[str]]:
    """Leaves out files that do not exist.

    Images of the web vanish, and copies of the sets differ in a few files.

    Args:
        folder: that the names start from.
        names: of files, with '/' between folders.
        labels: of the files.
        what: where the names come from; for messages.

    Returns:
        Those that exist, in the order of the names, and a remark if any are
        missing.

    Raises:
        UsageError: there are no names, or more than half are missing.
    """
    exist = _exist(folder, names)
    missing = len(names) - int(exist.sum())
    if not len(names):
        raise UsageError(f'{what} names no image: get the set again.')
    first = names[int(exist.argmin())]
    if 2 * missing > len(names):
        raise UsageError(
            f'{missing:,} of the {len(names):,} images of {what} are missing, '
            f'the first is {os.path.join(folder, first)}: unpack the images '
            'there.'
        )
    remarks = [] if not missing else [
        f'{missing:,} of the {len(names):,} images of {what} are missing and '
        f'left out, the first is {first}.'
    ]  # fmt: skip
    chosen = np.flatnonzero(exist)
    paths = [os.path.join(folder, names[i]) for i in chosen.tolist()]
    return Listing(paths, np.asarray(labels, np.int32)[chosen]), remarks


def _exist(folder: str, names: Sequence[str]) -> np.ndarray:
    """Returns which of the files exist, bool [N]; lists each folder once."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name.rpartition('/')[0], []).append(place)
    exist = np.zeros(len(names), bool)
    for inner, members in places.items():
        there = _contents(os.path.join(folder, inner))
        exist[members] = [names[i].rpartition('/')[2] in there for i in members]
    return exist


def _contents(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def images_in(folder: str) -> list[str]:
    """Returns the names of the image files in a folder, sorted."""
    return sorted(
        name
        for name in _contents(folder)
        if name.lower().endswith(_SUFFIXES) and not is_hidden(name)
    )


def folders_in(folder: str) -> list[str]:
    """Returns the names of the folders in a folder, sorted."""
    if not os.path.isdir(folder):
        return []
    return [os.path.basename(path) for path in read_folder(folder).folders]


def read_class_folders(
    folder: str, classes: dict[str, int], num_classes: int
) -> Listing:
    """Lists the images of class folders, class by class, sorted by name.

    Args:
        folder: that has the class folders.
        classes: by the names of the class folders.
        num_classes: further classes are ignored; these must all be there.

    Raises:
        UsageError: a class has no folder, or no folder has images.
    """
    absent = sorted(set(range(num_classes)) - set(classes.values()))
    if absent:
        raise UsageError(
            f'{folder} has no folder for class {absent[0]}: {num_classes} '
            'class folders are needed.'
        )
    paths, labels = [], []
    for name in sorted(classes, key=lambda name: (classes[name], name)):
        if classes[name] < num_classes:
            inner = os.path.join(folder, name)
            images = images_in(inner)
            paths += [os.path.join(inner, image) for image in images]
            labels += [classes[name]] * len(images)
    if not paths:
        raise UsageError(
            f'the class folders in {folder} hold no .jpg, .jpeg or .png files.'
        )
    return Listing(paths, np.array(labels, np.int32))


def decoded(part: str, paths: Sequence[str]) -> Survey:
    """Returns what is known of files, after decoding all of them; a `Look`.

    TensorFlow reads what it can, turned by EXIF or not, as the figures of these
    sets are known; Pillow reads the rest.
    """
    del part
    with progress_bar(len(paths)) as bar:
        sizes = decoded_sizes(paths, bar.update)
    refused = np.flatnonzero(~sizes.all(axis=1)).tolist()
    seen = survey([paths[i] for i in refused])
    readable, odd = np.ones(len(paths), bool), np.zeros(len(paths), bool)
    readable[refused] = odd[refused] = seen.readable
    return Survey(
        readable, odd, sizes, np.zeros(len(paths), bool), seen.problems
    )


def web_source(
    found: FoundFiles,
    recipe: SetRecipe,
    image_size: int,
    framing: Framing | None = None,
    look: Look = decoded,
) -> Source:
    """Returns a published set of JPEG files as a data set.

    Files that are not images are left out, with a remark.

    Args:
        found: the files.
        recipe: of the set.
        image_size: side of the square that a network sees; 0 as usual.
        framing: what is shown of the images; None as usual.
        look: finds out which of them are images.

    Raises:
        UsageError: no image of a part is left.
    """
    listings, skipped = _readable(found, look)
    side = image_size or recipe.size
    small = image_size and image_size != recipe.size
    usual = Framing(
        side,
        3,
        crop=recipe.crop,
        # The usual one of a size that is not the set's.
        fraction=224 / 256 if small and side > 64 else recipe.fraction,
    )
    held = framing is None and fits_in_memory(usual, listings)
    framing = framing or usual
    return Source.of_parts(
        open_listings(listings, framing, held),
        class_names=found.class_names,
        preprocessing=Preprocessing(
            padding=(recipe.padding or side // 8) if held else 0,
            flip=recipe.flip,
            mean=recipe.mean,
            std=recipe.std,
            policy=policy_for(side),
            framing=framing,
        ),
        remarks=(*found.remarks, *remarks_on_skipped(found, skipped)),
        skipped=tuple(skipped),
        fingerprint=hash_of_listings(listings),
    )


def _readable(
    found: FoundFiles, look: Look
) -> tuple[dict[str, Listing], list[tuple[str, str]]]:
    """Returns the images among the files, and (path, reason) of the others.

    Raises:
        UsageError: no image of a part is left.
    """
    listings: dict[str, Listing] = {}
    skipped: list[tuple[str, str]] = []
    for part, listing in found.parts.items():
        seen = look(part, listing.paths)
        skipped += shown_problems(seen)
        if len(seen.problems) == len(listing):
            raise UsageError(
                f'None of the {len(listing):,} {part} images can be read; '
                f'{skipped[-1][0]}: {skipped[-1][1]}.'
            )
        whole = dataclasses.replace(listing, odd=seen.odd)
        kept = np.flatnonzero(seen.readable)
        listings[part] = whole.take(kept) if len(seen.problems) else whole
    return listings, skipped


def shown_problems(seen: Survey) -> list[tuple[str, str]]:
    """Returns (printable path, reason) of each file that is not an image."""
    return [(shown(os.fsdecode(path)), why) for path, why in seen.problems]


def remarks_on_skipped(
    found: FoundFiles, skipped: Sequence[tuple[str, str]]
) -> list[str]:
    """Returns a remark if files are left out, which are (path, reason)."""
    media, _ = other_files.divided(path for path, _ in skipped)
    hint = f' ({other_files.described(media)})' if media else ''
    return [
        f'{len(skipped)} of {sum(map(len, found.parts.values()))} files are '
        f'left out, because they are not images{hint}; the first is {path}: '
        f'{reason}'
        for path, reason in skipped[:1]
    ]


# Where the IEG code base keeps its data sets, and TFDS.
_USUAL_PLACES = (
    'data/tensorflow_datasets',
    os.path.expanduser('~/tensorflow_datasets'),
)


Reader = TypeVar('Reader', bound=Callable[..., FoundFiles])


def web_set(recipe: SetRecipe, *options: str) -> Callable[[Reader], Reader]:
    """Registers a published set of image files under the name of its reader.

    Args:
        recipe: of the set.
        *options: keywords of the reader that the data set takes.

    Returns:
        A decorator of the reader: folder -> what is in it.
    """

    def register(read: Reader) -> Reader:
        name = read.__name__

        @DATASETS.register(name, takes=('image_size', *options))
        def load(data_dir: str | None, **chosen: Any) -> Opened:
            found = read(_folder_of(name, data_dir), **chosen)
            return Opened(
                lambda side: web_source(found, recipe, side),
                look=lambda framing, look: web_source(
                    found, recipe, framing.size, framing, look
                ),
            )

        return read

    return register


def _folder_of(name: str, data_dir: str | None) -> str:
    """Returns the folder of a set, by default in one of the usual places.

    Raises:
        UsageError: it is not there.
    """
    places = [data_dir] if data_dir else [*_USUAL_PLACES]
    if not data_dir and 'TFDS_DATA_DIR' in os.environ:
        places.insert(0, os.environ['TFDS_DATA_DIR'])
    folder = next((p for p in places if os.path.isdir(p)), None)
    if folder is None:
        raise UsageError(
            f'the set {name} is not in {" or ".join(places)}; give its folder '
            'with --data_dir (it cannot be downloaded).'
        )
    return folder
