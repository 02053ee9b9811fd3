"""Tiny data sets in exactly the published layouts, with real JPEG files.

The picture of a class is a coarse mosaic of its own colours under noise, so a
small network can learn it; sizes and aspects differ. All is the same on every
call. As a command: `python tests/helpers/tiny_sets.py NAME FOLDER`.
"""

import importlib.util
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image


def read_synsets() -> list[str]:
    """Returns the first 50 classes of ILSVRC-2012, from a file of TFDS.

    Not from the package, whose own list is under test; and found without the
    import of TFDS, which takes seconds.
    """
    spec = importlib.util.find_spec('tensorflow_datasets')
    folder = pathlib.Path(spec.origin).parent / 'image_classification'
    text = (folder / 'imagenet_resized_labels.txt').read_text()
    return sorted(text.split())[:50]


SYNSETS = read_synsets()
SIZES = ((48, 48), (72, 48), (48, 64), (96, 56), (40, 80))
CLOTHES = (
    'T-shirt,Shirt,Knitwear,Chiffon,Sweater,Hoodie,Windbreaker,Jacket,'
    'Down Coat,Suit,Shawl,Dress,Vest,Underwear'
).split(',')
NOISE = 0.25


def picture(label: int, number: int, size=None) -> Image.Image:
    """Returns a picture of a class; `number` sets its noise and its size."""
    colours = np.random.default_rng(1000 + label).integers(0, 256, (3, 3, 3))
    mosaic = Image.fromarray(colours.astype(np.uint8))
    size = size or SIZES[number % len(SIZES)]
    pixels = np.asarray(mosaic.resize(size, Image.Resampling.BILINEAR))
    rng = np.random.default_rng([label, number])
    noise = rng.normal(0.0, 16.0, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


class Writer:
    """Writes pictures below a folder, and labels with some of them wrong."""

    def __init__(self, folder, num_classes: int, noise: float = NOISE):
        self.folder = pathlib.Path(folder)
        self._num_classes = num_classes
        self._noise = noise
        self._rng = np.random.default_rng(7)
        self._count = 0

    def image(self, name: str, label: int, size=None) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(label, self._count, size).save(path, quality=90)
        self._count += 1

    def text(self, name: str, lines: Sequence[str]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(''.join(f'{line}\n' for line in lines), 'utf-8')

    def given(self, label: int) -> int:
        """Returns the label, or one of the other classes at the rate."""
        if self._rng.random() >= self._noise:
            return label
        others = self._num_classes - 1
        return (label + 1 + int(self._rng.integers(others))) % (others + 1)


def make_webvision(folder, per_class: int = 4) -> dict[str, int]:
    """WebVision 1.0: lists in `info/`, with classes beyond the first 50.

    Returns:
        The true classes of the training images by name.
    """
    writer = Writer(folder, 50)
    train, valid, true = ['google/q0999/far.jpg 999'], ['val999.jpg 999'], {}
    # Interleaved: a list need not be sorted by class.
    for number in range(per_class):
        for label in range(50):
            given = writer.given(label)
            name = f'google/q{given:04d}/{label}_{number}.jpg'
            writer.image(name, label)
            train.append(f'{name} {given}')
            true[name] = label
    for number in range(2 * 50):
        writer.image(f'val_images_256/val{number:06d}.jpg', number % 50)
        valid.append(f'val{number:06d}.jpg {number % 50}')
    writer.text('info/train_filelist_google.txt', train)
    writer.text('info/val_filelist.txt', valid)
    writer.text('info/synsets.txt', [f'{name} ...' for name in SYNSETS])
    return true


def make_webvision_tfds(
    folder, per_class: int = 4, names: Sequence[str] = SYNSETS
) -> dict[str, int]:
    """The folders of the reference IEG code, with a probe.

    Args:
        folder: to write into.
        per_class: training images.
        names: of the class folders, in the order of the classes.

    Returns:
        The true classes of the training images by name.
    """
    writer = Writer(folder, 50)
    root, true = 'webvisionmini-google', {}
    for label in range(50):
        for number in range(per_class):
            given = names[writer.given(label)]
            name = f'{root}/train/{given}/{label}_{number}.jpg'
            writer.image(name, label)
            true[name] = label
        for part in ('val', 'probe_500'):
            for number in range(2):
                name = f'{root}/{part}/{names[label]}/{number}.jpg'
                writer.image(name, label)
    return true


def make_imagenet_val(
    folder, names: Sequence[str] = SYNSETS, inner: str = 'imagenet/val'
) -> None:
    """Validation images of ILSVRC-2012, two of each class and of another."""
    writer = Writer(folder, 50)
    other = '50' if names[0] == '0' else 'n01698640'
    for label, name in enumerate([*names, other]):
        for number in range(2):
            file = f'ILSVRC2012_val_{2 * label + number:08d}.JPEG'
            writer.image(f'{inner}/{name}/{file}', label)


def make_clothing1m(
    folder, per_class: int = 6, annotations: bool = True, prefix: bool = True
) -> dict[str, int]:
    """Clothing1M: key lists and key-value lists.

    Args:
        folder: to write into.
        per_class: training images.
        annotations: whether the lists are in `annotations/`.
        prefix: whether the keys begin with `images/`.

    Returns:
        The true classes of the training images by key.
    """
    writer = Writer(folder, 14)
    keys: dict[str, list[str]] = {}
    noisy, clean, true = [], [], {}
    start = 'images/' if prefix else ''

    def add(part: str, label: int, number: int) -> str:
        name = f'{number}/{label}/{part},{number}.jpg'
        writer.image(f'images/{name}', label)
        keys.setdefault(part, []).append(start + name)
        return start + name

    for label in range(14):
        for number in range(per_class):
            key = add('noisy_train', label, number)
            noisy.append(f'{key} {writer.given(label)}')
            true[key] = label
        for part in ('clean_train', 'clean_val', 'clean_test'):
            for number in range(2):
                key = add(part, label, number)
                clean.append(f'{key} {label}')
                if part != 'clean_test':
                    noisy.append(f'{key} {writer.given(label)}')
    inner = 'annotations/' if annotations else ''
    for part, lines in keys.items():
        writer.text(f'{inner}{part}_key_list.txt', lines)
    # In another order than the keys.
    writer.text(f'{inner}noisy_label_kv.txt', noisy[::-1])
    writer.text(f'{inner}clean_label_kv.txt', clean[::-1])
    writer.text(f'{inner}category_names_eng.txt', CLOTHES)
    return true


def make_animal10n(folder, per_class: int = 6) -> dict[str, int]:
    """ANIMAL-10N: raw images, 64 pixels, with the label in their names.

    Returns:
        The true classes of the training images by name.
    """
    writer = Writer(folder, 10)
    true = {}
    for label in range(10):
        for number in range(per_class):
            name = f'{writer.given(label)}_img_{10 * number + label}.jpg'
            writer.image(f'training/{name}', label, (64, 64))
            true[name] = label
        for number in range(2):
            name = f'testing/{label}_img_{number}.jpg'
            writer.image(name, label, (64, 64))
    return true


def make_food101n(folder, per_class: int = 3) -> dict[str, int]:
    """Food-101N, and `food-101` with the test images in the same folder.

    Returns:
        The true classes of the training images by name.
    """
    writer = Writer(folder, 101)
    classes = [f'dish_{label:03d}' for label in range(101)]
    images, test, true = [], [], {}
    answers: dict[str, list[str]] = {'train': [], 'val': []}
    for label, dish in enumerate(classes):
        for number in range(per_class):
            given = writer.given(label)
            name = f'{classes[given]}/{label}_{number}.jpg'
            writer.image(f'images/{name}', label)
            images.append(name)
            true[name] = label
            if number < 2:
                part = ('train', 'val')[number]
                answers[part].append(f'{name}\t{int(given == label)}')
        writer.image(f'food-101/images/{dish}/{label}.jpg', label)
        test.append(f'{dish}/{label}')
    writer.text('meta/classes.txt', ['class_name', *classes])
    writer.text('meta/imagelist.tsv', ['class_name/key', *images])
    for part, lines in answers.items():
        header = 'class_name/key\tverification_label'
        writer.text(f'meta/verified_{part}.tsv', [header, *lines])
    writer.text('food-101/meta/test.txt', test)
    return true


def make_folder(
    folder,
    classes: Sequence[str] = ('cat', 'dog', 'élan', 'fox'),
    per_class: int = 8,
    noise: float = NOISE,
    splits: Sequence[str] = ('train', 'test'),
) -> dict[str, int]:
    """Class folders below one folder per split; wrong labels in the first.

    Args:
        folder: to write into.
        classes: names of the class folders, sorted.
        per_class: images in each split.
        noise: share of wrong labels.
        splits: none of them for class folders right below `folder`.

    Returns:
        The true classes of the images by name.
    """
    writer = Writer(folder, len(classes), noise)
    true = {}
    for split in splits or ('',):
        for label in range(len(classes)):
            for number in range(per_class):
                noisy = split == '' or split == splits[0]
                given = writer.given(label) if noisy else label
                start = f'{split}/' if split else ''
                name = f'{start}{classes[given]}/{label}_{number}.jpg'
                writer.image(name, label)
                true[name] = label
    return true


def make_csv(
    folder,
    classes: Sequence[str] = ('cat', 'dog', 'élan', 'fox'),
    per_class: int = 8,
    noise: float = NOISE,
    clean: bool = True,
    splits: Sequence[str] = ('train', 'test'),
) -> dict[str, int]:
    """`labels.csv` with `images/`; wrong labels in the first split.

    Args:
        folder: to write into.
        classes: names of the classes.
        per_class: images in each split.
        noise: share of wrong labels.
        clean: whether there is a column `clean_label`.
        splits: none of them for a file without the column `split`.

    Returns:
        The true classes of the images by name.
    """
    writer = Writer(folder, len(classes), noise)
    header = ['path', 'label']
    header += ['clean_label'] * clean + ['split'] * bool(splits)
    lines, true = [','.join(header)], {}
    for split in splits or ('all',):
        for label in range(len(classes)):
            for number in range(per_class):
                noisy = not splits or split == splits[0]
                given = writer.given(label) if noisy else label
                name = f'images/{split}_{label}_{number}.jpg'
                writer.image(name, label)
                row = [name, classes[given]]
                row += [classes[label]] * clean + [split] * bool(splits)
                lines.append(','.join(row))
                true[name] = label
    writer.text('labels.csv', lines)
    return true


MAKERS = {
    'webvision': make_webvision,
    'webvision_tfds': make_webvision_tfds,
    'imagenet_val': make_imagenet_val,
    'clothing1m': make_clothing1m,
    'animal10n': make_animal10n,
    'food101n': make_food101n,
    'folder': make_folder,
    'csv': make_csv,
}


class Made:
    """The sets, each made once when it is asked for.

    Call it with a name in `MAKERS` for the folder, which must not be changed,
    and the true classes.
    """

    def __init__(self, root: pathlib.Path):
        self._root = root
        self._true = {}

    def __call__(self, name: str) -> tuple[pathlib.Path, dict[str, int]]:
        folder = self._root / name
        if name not in self._true:
            self._true[name] = MAKERS[name](folder)
        return folder, self._true[name]

    def copy(self, name: str, parent: pathlib.Path) -> pathlib.Path:
        """Returns the folder of a copy whose lists may be changed."""
        source = self(name)[0]
        return shutil.copytree(source, parent / name, copy_function=_copy)


def _copy(source: str, target: str) -> None:
    """Copies lists; images, which nobody changes, are only linked."""
    if source.endswith(('.jpg', '.JPEG')):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


if __name__ == '__main__':
    if len(sys.argv) != 3 or sys.argv[1] not in MAKERS:
        sys.exit(f'usage: tiny_sets.py {"|".join(MAKERS)} FOLDER')
    MAKERS[sys.argv[1]](sys.argv[2])
