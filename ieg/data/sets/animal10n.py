"""ANIMAL-10N (Song et al. 2019)."""

import glob
import os

import numpy as np

from ieg.data import base
from ieg.data import lists as image_lists
from ieg.data.dataset import Found, Listing, Opened
from ieg.data.lists import IMAGENET_MEAN, IMAGENET_STD, SetRecipe, count_remarks
from ieg.errors import UsageError
from ieg.registry import DATASETS

# The crop of SSR, which pads 8 pixels; PLC only mirrors, SELFIE does nothing.
# No statistics are published.
RECIPE = SetRecipe(
    size=64,
    crop='shift',
    fraction=1.0,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    num_classes=10,
    train_count=50_000,
    test_count=5_000,
    padding=8,
)


# Song et al. 2019 (SELFIE).
_ANIMALS = (
    'Cat', 'Lynx', 'Wolf', 'Coyote', 'Cheetah', 'Jaguar', 'Chimpanzee',
    'Orangutan', 'Hamster', 'Guinea pig',
)  # fmt: skip


def animal10n(data_dir: str) -> Found:
    """Returns ANIMAL-10N (Song et al. 2019): five pairs of similar animals.

    Args:
        data_dir: has `training/` and `testing/` with the raw images, whose
            names begin with the label and '_'. The binary form of the set is
            refused: its description leaves the order of its bytes open.

    Raises:
        UsageError: a folder is missing or empty, or a name has no label.
    """
    image_lists.require_folder(data_dir, 'animal10n')
    parts = {}
    for part, name in (('train', 'training'), ('test', 'testing')):
        folder = os.path.join(data_dir, name)
        binaries = glob.glob('*.bin', root_dir=data_dir)
        if not os.path.isdir(folder) and binaries:
            raise UsageError(
                f'{os.path.join(data_dir, min(binaries))} is the binary form '
                'of animal10n, which is not read: take the raw images, with '
                'folders training and testing.'
            )
        images = image_lists.images_in(folder)
        if not images:
            raise UsageError(
                f'{folder} is missing or has no images: unpack the raw '
                'images of ANIMAL-10N there.'
            )
        labels = [_animal_label(folder, image) for image in images]
        paths = [os.path.join(folder, image) for image in images]
        parts[part] = Listing(paths, np.array(labels, np.int32))
    return Found(_ANIMALS, parts, tuple(count_remarks(parts, RECIPE)))


def _animal_label(folder: str, image: str) -> int:
    """Returns the label in the name of a file."""
    text, mark, _ = image.partition('_')
    if not mark or text not in set('0123456789'):
        raise UsageError(
            f'the name of {os.path.join(folder, image)} does not begin with '
            'a class from 0 to 9 and _: it is no image of ANIMAL-10N.'
        )
    return int(text)


@DATASETS.register('animal10n', takes=('image_size',))
def load(data_dir: str | None) -> Opened:
    """Opens the set in a folder; see `animal10n`."""
    return base.web_set(animal10n, RECIPE, data_dir)
