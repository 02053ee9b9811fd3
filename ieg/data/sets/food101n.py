"""Food-101N (Lee et al. 2018)."""

import os
from collections.abc import Mapping

import numpy as np

from ieg.data import published
from ieg.data.dataset import Found, FoundFiles, Listing

# PLC: short side 256, 224 pixels, here of a random area.
RECIPE = published.SetRecipe(
    size=224,
    crop='area',
    fraction=224 / 256,
    num_classes=101,
    train_count=310_009,
    test_count=25_250,
)


@published.web_set(RECIPE)
def food101n(data_dir: str) -> FoundFiles:
    """Returns Food-101N (Lee et al. 2018), with the test images of Food-101.

    Args:
        data_dir: has `meta/` and `images/` of Food-101N, there or in
            `Food-101N_release/`, and Food-101 (Bossard et al. 2014) in
            `food-101/`, inside of it or next to it.

    Raises:
        UsageError: a file is missing, or a list is damaged.
    """
    published.require_folder(data_dir, 'food101n')
    root = os.path.join(data_dir, 'Food-101N_release')
    root = root if os.path.isdir(root) else data_dir
    path = published.find_file([root], 'meta/classes.txt')
    names = tuple(line for _, line in _after_header(path))
    published.require_classes(names, RECIPE, path)
    classes = {name: label for label, name in enumerate(names)}
    train = _food_part(root, 'meta/imagelist.tsv', '', classes)
    parent = os.path.dirname(os.path.abspath(data_dir))
    places = [os.path.join(place, 'food-101') for place in (data_dir, parent)]
    test_list = published.find_file(places, 'meta/test.txt')
    food101 = os.path.dirname(os.path.dirname(test_list))
    test = _food_part(food101, 'meta/test.txt', '.jpg', classes)
    parts = {'train': train[0], 'test': test[0]}
    remarks = train[1] + test[1] + _verified_remarks(root)
    remarks += published.count_remarks(parts, RECIPE)
    return Found(names, parts, tuple(remarks))


def _after_header(path: str) -> list[tuple[int, str]]:
    """Returns lines with their numbers, without the header of Food-101N.

    PLC takes the header of the classes for a class and counts from 1.
    """
    lines = list(published.read_lines(path))
    return (
        lines[1:] if lines and lines[0][1].startswith('class_name') else lines
    )


def _food_part(
    root: str, file: str, suffix: str, classes: Mapping[str, int]
) -> tuple[Listing, list[str]]:
    """Returns the images of a list of lines `class/name`, and remarks."""
    path = published.find_file([root], file)
    names, labels = [], []
    for number, line in _after_header(path):
        label = classes.get(line.partition('/')[0])
        if label is None or '/' not in line:
            raise published.wrong_line(
                path, number, line, 'CLASS/IMAGE of a class in meta/classes.txt'
            )
        names.append(line + suffix)
        labels.append(label)
    return published.keep_existing(
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
                raise published.wrong_line(
                    path, number, line, 'CLASS/IMAGE, a tab, and 0 or 1'
                )
            answers.append(int(answer))
    if not answers:
        return []
    return [
        f'Of {len(answers):,} verified labels, {np.mean(answers):.2%} are '
        'right.'
    ]
