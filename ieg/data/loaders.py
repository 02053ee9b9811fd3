"""Data sets of image files, large or the user's own, by name.

What a loader takes beside the folder it says by its parameters' names; what
it advises for options that nobody gave, by its attribute `advise`.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ieg.data import own, web_recipes, web_sets, webvision
from ieg.data.parts import Found, Source
from ieg.data.spec import TFDS_PREFIX
from ieg.errors import UsageError
from ieg.registry import DATASETS

# Headers that are read to find out how large images are.
_SAMPLE = 300


@dataclasses.dataclass(frozen=True)
class Advice:
    """Options for a data set that nobody knows before it is looked at.

    Attributes:
        values: options by name.
        sentence: what was seen.
    """

    values: dict[str, Any]
    sentence: str


def loader(base: str) -> Callable[..., Any]:
    """Returns the function that loads a data set.

    Raises:
        UsageError: there is none of this name.
    """
    if base.startswith(TFDS_PREFIX):
        return _of_tfds(base.removeprefix(TFDS_PREFIX))
    return DATASETS.get(base)


def advise(base: str, given: dict[str, Any]) -> Advice | None:
    """Looks at a data set, if it is one that has to be looked at.

    Args:
        base: its name.
        given: options that the user gave.

    Raises:
        UsageError: it cannot be read.
    """
    found = getattr(loader(base), 'advise', None)
    return found(given) if found else None


@DATASETS.register('folder')
def folder(
    data_dir: str | None, image_size: int = 0, probe_dir: str = ''
) -> Source:
    """Returns a user's class folders; see `own.read_folder`."""
    from ieg.data import image_sets

    found = own.read_folder(_path('folder', data_dir), probe_dir)
    return image_sets.own_source(found, image_size)


@DATASETS.register('csv')
def csv(data_dir: str | None, image_size: int = 0) -> Source:
    """Returns the images that a user's table lists; see `own.read_csv`."""
    from ieg.data import image_sets

    found = own.read_csv(_path('csv', data_dir))
    return image_sets.own_source(found, image_size)


@DATASETS.register('npz')
def npz(data_dir: str | None) -> Source:
    """Returns a user's arrays; see `own.read_npz`."""
    from ieg.data import image_sets

    return image_sets.of_arrays(own.read_npz(_path('npz', data_dir)))


_WANTED = {'folder': 'folder', 'csv': 'CSV file', 'npz': 'npz file'}


def _path(name: str, data_dir: str | None) -> str:
    """Returns where a user's data set is.

    Raises:
        UsageError: that is not given.
    """
    if not data_dir:
        raise UsageError(
            f'--dataset={name} needs --data_dir, the {_WANTED[name]} of your '
            'images.'
        )
    return os.path.expanduser(data_dir)


def _listing_advice(
    name: str, read: Callable[[str], Found]
) -> Callable[[dict[str, Any]], Advice]:
    def advice(given: dict[str, Any]) -> Advice:
        found = read(_path(name, given.get('data_dir')))
        paths, classes = found.parts['train'].paths, len(found.class_names)
        return _advice(name, paths, classes, given.get('image_size'))

    return advice


def _npz_advice(given: dict[str, Any]) -> Advice:
    found = own.read_npz(_path('npz', given.get('data_dir')))
    count, height, width, channels = found.parts['train'].images.shape
    return Advice(
        _schedule(min(height, width), count, channels),
        f'npz: {count} training images of {len(found.class_names)} classes, '
        f'{width} x {height} pixels.',
    )


folder.advise = _listing_advice('folder', own.read_folder)
csv.advise = _listing_advice('csv', own.read_csv)
npz.advise = _npz_advice


def _advice(
    name: str, paths: Sequence[str], num_classes: int, asked: int | None
) -> Advice:
    """Returns what suits image files."""
    from ieg.data.image_sets import usual_side
    from ieg.data.survey import survey

    places = np.linspace(0, len(paths) - 1, min(_SAMPLE, len(paths)))
    seen = survey([paths[int(place)] for place in places], full=False)
    if not seen.readable.any():
        path, reason = seen.problems[0]
        raise UsageError(
            f'None of the first {len(seen.readable)} files is an image; '
            f'{path}: {reason}.'
        )
    sizes = seen.sizes[seen.readable]
    height, width = np.median(sizes, axis=0).astype(int)
    side = asked or usual_side(sizes)
    values = {'image_size': side} | _schedule(side, len(paths), 3)
    return Advice(
        values,
        f'{name}: {len(paths)} training images of {num_classes} classes, '
        f'typically {width} x {height} pixels.',
    )


def _schedule(side: int, count: int, channels: int) -> dict[str, Any]:
    """Returns network and length for images of some size."""
    if side < 32:
        network = 'lenet' if channels == 1 and side >= 28 else 'cnn'
    else:
        network = 'preact_resnet18' if side <= 64 else 'resnet50'
    # At least ten steps in an epoch, and some two million images in a run.
    batch = 64 if side <= 64 else 32
    while batch > 8 and count < 10 * batch:
        batch //= 2
    return {
        'network_name': network,
        # Some may be held out for tests, validation or a probe.
        'batch_size': max(1, min(batch, count // 2)),
        'max_epoch': int(np.clip(2_000_000 // count, 20, 100)),
        'learning_rate': 0.02,
        'lr_schedule': 'cosine_one',
    }


def _of_tfds(name: str) -> Callable[..., Any]:
    """Returns the loader of any TFDS set for image classification."""

    def load(data_dir: str | None, image_size: int = 0) -> Source:
        from ieg.data import any_tfds

        return any_tfds.source(name, data_dir, image_size)

    def advice(given: dict[str, Any]) -> Advice:
        from ieg.data import any_tfds

        folder = os.path.expanduser(given.get('data_dir', '')) or None
        count, classes, shape = any_tfds.facts(name, folder)
        side = given.get('image_size')
        if not side:
            side = 224 if shape is None else min(shape[:2])
        fixed = {} if shape is not None else {'image_size': side}
        channels = 3 if shape is None else shape[2]
        return Advice(
            fixed | _schedule(side, count, channels),
            f'{TFDS_PREFIX}{name}: {count} training images of {classes} '
            'classes'
            + (f', {shape[1]} x {shape[0]} pixels.' if shape else '.'),
        )

    load.advise = advice
    return load


# Where the IEG code base keeps its data sets, and TFDS.
_USUAL_PLACES = (
    'data/tensorflow_datasets',
    os.path.expanduser('~/tensorflow_datasets'),
)


def _web_set(
    read: Callable[..., Found],
    recipe: web_recipes.SetRecipe,
    data_dir: str | None,
    image_size: int,
    **options: Any,
) -> Source:
    """Returns a published set of image files."""
    from ieg.data import image_sets

    name = read.__name__
    places = [data_dir] if data_dir else [*_USUAL_PLACES]
    if not data_dir and 'TFDS_DATA_DIR' in os.environ:
        places.insert(0, os.environ['TFDS_DATA_DIR'])
    folder = next((p for p in places if os.path.isdir(p)), None)
    if folder is None:
        raise UsageError(
            f'the set {name} is not in {" or ".join(places)}; give its folder '
            'with --data_dir (it cannot be downloaded).'
        )
    found = read(folder, **options)
    return image_sets.web_source(found, recipe, image_size)


@DATASETS.register('webvisionmini')
def webvisionmini(
    data_dir: str | None,
    image_size: int = 0,
    use_imagenet_as_eval: bool = False,
) -> Source:
    """Returns mini-WebVision; see `webvision.webvisionmini`."""
    return _web_set(
        webvision.webvisionmini,
        web_recipes.WEBVISIONMINI,
        data_dir,
        image_size,
        use_imagenet_as_eval=use_imagenet_as_eval,
    )


def _register_web_set(name: str, recipe: web_recipes.SetRecipe) -> None:
    """Registers a set whose reader takes its folder only."""

    @DATASETS.register(name)
    def load(data_dir: str | None, image_size: int = 0) -> Source:
        return _web_set(getattr(web_sets, name), recipe, data_dir, image_size)


_register_web_set('clothing1m', web_recipes.CLOTHING1M)
_register_web_set('animal10n', web_recipes.ANIMAL10N)
_register_web_set('food101n', web_recipes.FOOD101N)
