"""Clothing1M (Xiao et al. 2015)."""

import os
from collections.abc import Mapping, Sequence

from ieg.data import base
from ieg.data import lists as image_lists
from ieg.data.dataset import Found, Listing, Opened
from ieg.data.lists import SetRecipe, count_remarks, require_classes
from ieg.errors import UsageError
from ieg.registry import DATASETS

# DivideMix, PES, DISC and SSR; the statistics are those of the set.
RECIPE = SetRecipe(
    size=224,
    crop='shift',
    fraction=224 / 256,
    mean=(0.6959, 0.6537, 0.6371),
    std=(0.3113, 0.3192, 0.3214),
    num_classes=14,
    train_count=1_000_000,
    test_count=10_526,
    valid_count=14_313,
)


# Xiao et al. 2015.
_CLOTHES = (
    'T-shirt', 'Shirt', 'Knitwear', 'Chiffon', 'Sweater', 'Hoodie',
    'Windbreaker', 'Jacket', 'Down Coat', 'Suit', 'Shawl', 'Dress', 'Vest',
    'Underwear',
)  # fmt: skip


def clothing1m(data_dir: str) -> Found:
    """Returns Clothing1M (Xiao et al. 2015).

    Training images have noisy labels only; 'valid' and 'test' are clean. The
    clean training images are the probe of methods that need one; others, such
    as DivideMix and Me-Momentum, do not see them.

    Args:
        data_dir: has `images/0` to `images/9` (or `0` to `9`), and the lists,
            each there or in `annotations/`. Keys may begin with `images/`.

    Raises:
        UsageError: a file is missing, or a list is damaged.
    """
    image_lists.require_folder(data_dir, 'clothing1m')
    lists = [os.path.join(data_dir, 'annotations'), data_dir]
    images = os.path.join(data_dir, 'images')
    images = images if os.path.isdir(images) else data_dir
    noisy_path = image_lists.find_file(lists, 'noisy_label_kv.txt')
    clean_path = image_lists.find_file(lists, 'clean_label_kv.txt')
    noisy, clean = _read_kv(noisy_path), _read_kv(clean_path)
    parts, remarks = {}, []
    for part, file, labels, source in (
        ('train', 'noisy_train_key_list.txt', noisy, noisy_path),
        ('valid', 'clean_val_key_list.txt', clean, clean_path),
        ('test', 'clean_test_key_list.txt', clean, clean_path),
    ):
        keys = _read_keys(image_lists.find_file(lists, file), labels, source)
        parts[part], more = image_lists.keep_existing(
            images, keys, [labels[key] for key in keys], file
        )
        remarks += more
        if part == 'test':
            remarks += _confusion_remarks(noisy, clean, keys)
    parts |= _clean_training(lists, images, clean, clean_path)
    remarks += count_remarks(parts, RECIPE)
    return Found(_clothes_names(lists), parts, tuple(remarks))


def _clean_training(
    lists: Sequence[str], images: str, clean: Mapping[str, int], source: str
) -> dict[str, Listing]:
    """Returns the clean training images as the part 'probe', if there are."""
    name = 'clean_train_key_list.txt'
    if not any(os.path.exists(os.path.join(p, name)) for p in lists):
        return {}
    keys = _read_keys(image_lists.find_file(lists, name), clean, source)
    labels = [clean[key] for key in keys]
    listing, _ = image_lists.keep_existing(images, keys, labels, name)
    return {'probe': listing}


def _read_kv(path: str) -> dict[str, int]:
    """Returns the labels by key."""
    labels = image_lists.read_labels(path, RECIPE.num_classes)
    return {key.removeprefix('images/'): label for key, label in labels}


def _read_keys(path: str, labels: Mapping[str, int], source: str) -> list[str]:
    """Returns the keys of a list, after a check that all have labels.

    The reference code of Me-Momentum skips the label of a key that has none
    and keeps the key, so that all later labels belong to other images.
    """
    keys = []
    for number, line in image_lists.read_lines(path):
        key = line.removeprefix('images/')
        if key not in labels:
            raise UsageError(
                f'{line!r} in line {number} of {path} has no label in '
                f'{source}: get both files anew.'
            )
        keys.append(key)
    return keys


def _confusion_remarks(
    noisy: Mapping[str, int], clean: Mapping[str, int], test: Sequence[str]
) -> list[str]:
    """Returns the measured noise of images that have both labels.

    As the authors estimate it (Xiao et al. 2015), without the test images.
    """
    both = (noisy.keys() & clean.keys()).difference(test)
    if not both:
        return []
    wrong = sum(noisy[key] != clean[key] for key in both)
    return [
        f'Of {len(both):,} images with a noisy and a clean label, '
        f'{wrong / len(both):.2%} of the noisy labels are wrong.'
    ]


def _clothes_names(lists: Sequence[str]) -> tuple[str, ...]:
    """Returns the class names of the file if there is one, else the usual.

    Raises:
        UsageError: the file has another number of them.
    """
    for folder in lists:
        path = os.path.join(folder, 'category_names_eng.txt')
        if os.path.isfile(path):
            names = tuple(line for _, line in image_lists.read_lines(path))
            require_classes(names, RECIPE, path)
            return names
    return _CLOTHES


@DATASETS.register('clothing1m', takes=('image_size',))
def load(data_dir: str | None) -> Opened:
    """Opens the set in a folder; see `clothing1m`."""
    return base.web_set(clothing1m, RECIPE, data_dir)
