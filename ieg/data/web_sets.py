"""Web images with labels nobody checked: the published sets and layouts.

WebVision (mini), Clothing1M, ANIMAL-10N and Food-101N. Their owners hand them
out on request, so nothing is downloaded: each reader takes the folder that
holds a set as it was published and names what is missing from it.
"""

import glob
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ieg.data import web_lists
from ieg.data.parts import Found, Listing
from ieg.data.web_recipes import (
    ANIMAL10N,
    CLOTHING1M,
    FOOD101N,
    SetRecipe,
    count_remarks,
)
from ieg.data.webvision import webvisionmini
from ieg.errors import UsageError

# Xiao et al. 2015.
_CLOTHES = (
    'T-shirt',
    'Shirt',
    'Knitwear',
    'Chiffon',
    'Sweater',
    'Hoodie',
    'Windbreaker',
    'Jacket',
    'Down Coat',
    'Suit',
    'Shawl',
    'Dress',
    'Vest',
    'Underwear',
)
# Song et al. 2019 (SELFIE).
_ANIMALS = (
    'Cat',
    'Lynx',
    'Wolf',
    'Coyote',
    'Cheetah',
    'Jaguar',
    'Chimpanzee',
    'Orangutan',
    'Hamster',
    'Guinea pig',
)


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
    web_lists.require_folder(data_dir, 'clothing1m')
    lists = [os.path.join(data_dir, 'annotations'), data_dir]
    images = os.path.join(data_dir, 'images')
    images = images if os.path.isdir(images) else data_dir
    noisy_path = web_lists.find_file(lists, 'noisy_label_kv.txt')
    clean_path = web_lists.find_file(lists, 'clean_label_kv.txt')
    noisy, clean = _read_kv(noisy_path), _read_kv(clean_path)
    parts, remarks = {}, []
    for part, file, labels, source in (
        ('train', 'noisy_train_key_list.txt', noisy, noisy_path),
        ('valid', 'clean_val_key_list.txt', clean, clean_path),
        ('test', 'clean_test_key_list.txt', clean, clean_path),
    ):
        keys = _read_keys(web_lists.find_file(lists, file), labels, source)
        parts[part], more = web_lists.keep_existing(
            images, keys, [labels[key] for key in keys], file
        )
        remarks += more
        if part == 'test':
            remarks += _confusion_remarks(noisy, clean, keys)
    parts |= _clean_training(lists, images, clean, clean_path)
    remarks += count_remarks(parts, CLOTHING1M)
    return Found(_clothes_names(lists), parts, tuple(remarks))


def _clean_training(
    lists: Sequence[str], images: str, clean: Mapping[str, int], source: str
) -> dict[str, Listing]:
    """Returns the clean training images as the part 'probe', if there are."""
    name = 'clean_train_key_list.txt'
    if not any(os.path.exists(os.path.join(p, name)) for p in lists):
        return {}
    keys = _read_keys(web_lists.find_file(lists, name), clean, source)
    labels = [clean[key] for key in keys]
    found, _ = web_lists.keep_existing(images, keys, labels, name)
    return {'probe': found}


def _read_kv(path: str) -> dict[str, int]:
    """Returns the labels by key."""
    labels = web_lists.read_labels(path, CLOTHING1M.num_classes)
    return {key.removeprefix('images/'): label for key, label in labels}


def _read_keys(path: str, labels: Mapping[str, int], source: str) -> list[str]:
    """Returns the keys of a list, after a check that all have labels.

    The reference code of Me-Momentum skips the label of a key that has none
    and keeps the key, so that all later labels belong to other images.
    """
    keys = []
    for number, line in web_lists.read_lines(path):
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
            names = tuple(line for _, line in web_lists.read_lines(path))
            _require_classes(names, CLOTHING1M, path)
            return names
    return _CLOTHES


def _require_classes(
    names: Sequence[str], recipe: SetRecipe, path: str
) -> None:
    """Checks that a file names each class once.

    Raises:
        UsageError: it does not.
    """
    if len(set(names)) != recipe.num_classes or len(names) != len(set(names)):
        raise UsageError(
            f'{path} names {len(set(names))} different classes in '
            f'{len(names)} lines instead of {recipe.num_classes}: get the '
            'file anew.'
        )


def animal10n(data_dir: str) -> Found:
    """Returns ANIMAL-10N (Song et al. 2019): five pairs of similar animals.

    Args:
        data_dir: has `training/` and `testing/` with the raw images, whose
            names begin with the label and '_'. The binary form of the set is
            refused: its description leaves the order of its bytes open.

    Raises:
        UsageError: a folder is missing or empty, or a name has no label.
    """
    web_lists.require_folder(data_dir, 'animal10n')
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
        images = web_lists.images_in(folder)
        if not images:
            raise UsageError(
                f'{folder} is missing or has no images: unpack the raw '
                'images of ANIMAL-10N there.'
            )
        labels = [_animal_label(folder, image) for image in images]
        paths = [os.path.join(folder, image) for image in images]
        parts[part] = Listing(paths, np.array(labels, np.int32))
    return Found(_ANIMALS, parts, tuple(count_remarks(parts, ANIMAL10N)))


def _animal_label(folder: str, image: str) -> int:
    """Returns the label in the name of a file."""
    text, mark, _ = image.partition('_')
    if not mark or text not in set('0123456789'):
        raise UsageError(
            f'the name of {os.path.join(folder, image)} does not begin with '
            'a class from 0 to 9 and _: it is no image of ANIMAL-10N.'
        )
    return int(text)


def food101n(data_dir: str) -> Found:
    """Returns Food-101N (Lee et al. 2018), with the test images of Food-101.

    Args:
        data_dir: has `meta/` and `images/` of Food-101N, there or in
            `Food-101N_release/`, and Food-101 (Bossard et al. 2014) in
            `food-101/`, inside of it or beside it.

    Raises:
        UsageError: a file is missing, or a list is damaged.
    """
    web_lists.require_folder(data_dir, 'food101n')
    root = os.path.join(data_dir, 'Food-101N_release')
    root = root if os.path.isdir(root) else data_dir
    path = web_lists.find_file([root], 'meta/classes.txt')
    names = tuple(line for _, line in _after_header(path))
    _require_classes(names, FOOD101N, path)
    classes = {name: label for label, name in enumerate(names)}
    train = _food_part(root, 'meta/imagelist.tsv', '', classes)
    beside = os.path.dirname(os.path.abspath(data_dir))
    places = [os.path.join(place, 'food-101') for place in (data_dir, beside)]
    test_list = web_lists.find_file(places, 'meta/test.txt')
    food101 = os.path.dirname(os.path.dirname(test_list))
    test = _food_part(food101, 'meta/test.txt', '.jpg', classes)
    parts = {'train': train[0], 'test': test[0]}
    remarks = train[1] + test[1] + _verified_remarks(root)
    remarks += count_remarks(parts, FOOD101N)
    return Found(names, parts, tuple(remarks))


def _after_header(path: str) -> list[tuple[int, str]]:
    """Returns lines with their numbers, without the header of Food-101N.

    PLC takes the header of the classes for a class and counts from 1.
    """
    lines = list(web_lists.read_lines(path))
    return (
        lines[1:] if lines and lines[0][1].startswith('class_name') else lines
    )


def _food_part(
    root: str, file: str, suffix: str, classes: Mapping[str, int]
) -> tuple[Listing, list[str]]:
    """Returns the images of a list of lines `class/name`, and remarks."""
    path = web_lists.find_file([root], file)
    names, labels = [], []
    for number, line in _after_header(path):
        label = classes.get(line.partition('/')[0])
        if label is None or '/' not in line:
            raise web_lists.wrong_line(
                path, number, line, 'CLASS/IMAGE of a class in meta/classes.txt'
            )
        names.append(line + suffix)
        labels.append(label)
    return web_lists.keep_existing(
        os.path.join(root, 'images'), names, labels, path
    )


def _verified_remarks(root: str) -> list[str]:
    """Returns what people found who looked at some of the labels."""
    answers = []
    for part in ('train', 'val'):
        path = os.path.join(root, 'meta', f'verified_{part}.tsv')
        if not os.path.isfile(path):
            continue
        for number, line in _after_header(path):
            answer = line.rpartition('\t')[2]
            if answer not in ('0', '1'):
                raise web_lists.wrong_line(
                    path, number, line, 'CLASS/IMAGE, a tab, and 0 or 1'
                )
            answers.append(int(answer))
    if not answers:
        return []
    return [
        f'Of {len(answers):,} verified labels, {np.mean(answers):.2%} are '
        'right.'
    ]


# The sets by name.
READERS: dict[str, Callable[..., Found]] = {
    'webvisionmini': webvisionmini,
    'clothing1m': clothing1m,
    'animal10n': animal10n,
    'food101n': food101n,
}
