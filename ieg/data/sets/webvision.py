"""WebVision mini, in the layouts of its owners and of the reference code."""

import glob
import os
from collections.abc import Sequence

from ieg.data import base, lists
from ieg.data.dataset import Found, Listing, Opened
from ieg.data.lists import IMAGENET_MEAN, IMAGENET_STD, SetRecipe, count_remarks
from ieg.errors import UsageError
from ieg.registry import DATASETS

# DivideMix since 2020: short side 320, random area, 299 pixels. The reference
# IEG code sees 224 pixels and evaluates on 224 / 256 of the short side.
RECIPE = SetRecipe(
    size=299,
    crop='area',
    fraction=299 / 320,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    num_classes=50,
    train_count=65_944,
    test_count=2_500,
)


_WEBVISION_CLASSES = 1000
_TRAIN_LIST = 'info/train_filelist_google.txt'
_VALID_LIST = 'info/val_filelist.txt'
# Where the class folders of the reference IEG code may lie: the folder itself,
# --dataset_dir of that code or its TFDS folder.
_TFDS_FOLDERS = (
    '',
    'webvisionmini-google',
    'image_label_folder/webvisionmini-google',
    'tensorflow_datasets/webvisionmini-google',
    'tensorflow_datasets/image_label_folder/webvisionmini-google',
)
_IMAGENET_FOLDERS = ('imagenet/val', 'imagenet', 'ILSVRC2012/val')
# The second is the name in the reference IEG code: 10 images of each class.
_PROBE_FOLDERS = ('probe', 'probe_500')
_IMAGENET = """
n01440764 tench; n01443537 goldfish; n01484850 great white shark;
n01491361 tiger shark; n01494475 hammerhead; n01496331 electric ray;
n01498041 stingray; n01514668 cock; n01514859 hen; n01518878 ostrich;
n01530575 brambling; n01531178 goldfinch; n01532829 house finch;
n01534433 junco; n01537544 indigo bunting; n01558993 robin; n01560419 bulbul;
n01580077 jay; n01582220 magpie; n01592084 chickadee; n01601694 water ouzel;
n01608432 kite; n01614925 bald eagle; n01616318 vulture;
n01622779 great grey owl; n01629819 European fire salamander;
n01630670 common newt; n01631663 eft; n01632458 spotted salamander;
n01632777 axolotl; n01641577 bullfrog; n01644373 tree frog;
n01644900 tailed frog; n01664065 loggerhead; n01665541 leatherback turtle;
n01667114 mud turtle; n01667778 terrapin; n01669191 box turtle;
n01675722 banded gecko; n01677366 common iguana; n01682714 American chameleon;
n01685808 whiptail; n01687978 agama; n01688243 frilled lizard;
n01689811 alligator lizard; n01692333 Gila monster; n01693334 green lizard;
n01694178 African chameleon; n01695060 Komodo dragon;
n01697457 African crocodile
"""
# The first 50 classes of ILSVRC-2012, which are those of WebVision mini.
SYNSETS, IMAGENET_NAMES = zip(
    *(entry.split(maxsplit=1) for entry in _IMAGENET.strip().split(';')),
    strict=True,
)
_CLASS_BY_NAME = {name.lower(): i for i, name in enumerate(IMAGENET_NAMES)}


def webvisionmini(data_dir: str, use_imagenet_as_eval: bool = False) -> Found:
    """Returns WebVision mini (Jiang et al. 2018): 50 classes of WebVision 1.0.

    The 50 classes are the first of ILSVRC-2012. Training images come from
    Google, test images are WebVision's own validation images.

    Args:
        data_dir: has `info/`, `google/` and `val_images_256/` as WebVision
            1.0 was published; or class folders in `train/` and `val/`, as
            the reference IEG code (Zhang et al. 2020) gives TFDS, there or in
            `webvisionmini-google/`. Class folders are called by number,
            synset or name. Folders `probe/` or `probe_500/` with class
            folders are the part 'probe'.
        use_imagenet_as_eval: adds the part 'imagenet', validation images of
            ILSVRC-2012 in class folders in `imagenet/val`, `imagenet` or
            `ILSVRC2012/val`, of which these 50 classes are taken.

    Raises:
        UsageError: a file or folder is missing, or a list is damaged.
    """
    lists.require_folder(data_dir, 'webvisionmini')
    names: Sequence[str]
    if os.path.isdir(os.path.join(data_dir, 'info')):
        root, names = data_dir, IMAGENET_NAMES
        parts, remarks = _webvision_lists(data_dir)
    else:
        root = _webvision_folder(data_dir)
        parts, names = _webvision_folders(root)
        remarks = []
    roots = [data_dir] if root == data_dir else [data_dir, root]
    probe = _first_with_folders(roots, _PROBE_FOLDERS)
    if probe:
        parts['probe'] = _imagenet_folders(probe)
    if use_imagenet_as_eval:
        folder = _first_with_folders(roots, _IMAGENET_FOLDERS)
        if not folder:
            raise UsageError(
                f'--use_imagenet_as_eval needs class folders in '
                f'{os.path.join(data_dir, _IMAGENET_FOLDERS[0])}, named by '
                'class number or synset, with the validation images of '
                'ILSVRC-2012.'
            )
        parts['imagenet'] = _imagenet_folders(folder)
    if set(parts) & {'imagenet', 'probe'}:
        _require_imagenet_names(names, root)
    remarks += count_remarks(parts, RECIPE)
    return Found(tuple(names), parts, tuple(remarks))


def _webvision_lists(data_dir: str) -> tuple[dict[str, Listing], list[str]]:
    """Returns the parts of the layout of WebVision 1.0, and remarks."""
    parts, remarks = {}, []
    for part, file, folder in (
        ('train', _TRAIN_LIST, data_dir),
        ('test', _VALID_LIST, os.path.join(data_dir, 'val_images_256')),
    ):
        path = lists.find_file([data_dir], file)
        names, labels = [], []
        for name, label in lists.read_labels(path, _WEBVISION_CLASSES):
            if label < RECIPE.num_classes:
                names.append(name)
                labels.append(label)
        parts[part], more = lists.keep_existing(folder, names, labels, file)
        remarks += more
    return parts, remarks


def _webvision_folder(data_dir: str) -> str:
    """Returns the folder that has `train/` and `val/`.

    Raises:
        UsageError: there is none.
    """
    found = _first_with_folders([data_dir], _TFDS_FOLDERS, 'train')
    if found:
        return found
    # What TFDS 2 makes of the folders; newer versions cannot read it.
    pattern = os.path.join('**', '*.tfrecord*')
    for folder in _TFDS_FOLDERS:
        inner = os.path.join(data_dir, folder)
        records = folder and glob.glob(pattern, root_dir=inner, recursive=True)
        if records:
            raise UsageError(
                f'{os.path.join(inner, min(records))} is a file of records '
                'of TFDS: unpack its images into train/CLASS/ and val/CLASS/.'
            )
    raise UsageError(
        f'{data_dir} has neither {_TRAIN_LIST} (WebVision 1.0) nor class '
        'folders in train and val, nor in webvisionmini-google/train.'
    )


def _webvision_folders(root: str) -> tuple[dict[str, Listing], Sequence[str]]:
    """Returns the parts of class folders, and the class names.

    Raises:
        UsageError: a class is missing, or the classes of the parts differ.
    """
    count = RECIPE.num_classes
    train, valid = (os.path.join(root, part) for part in ('train', 'val'))
    folders = lists.folders_in(train)
    if not lists.folders_in(valid):
        raise UsageError(
            f'{valid} is missing or has no class folders: put the validation '
            'images of WebVision there.'
        )
    if all(_imagenet_class(f) is not None for f in folders):
        parts = {
            'train': _imagenet_folders(train),
            'test': _imagenet_folders(valid),
        }
        return parts, IMAGENET_NAMES
    # Names of somebody's own: numbered as TFDS does.
    classes = {name: label for label, name in enumerate(folders)}
    others = set(lists.folders_in(valid)) ^ set(folders)
    if len(folders) != count or others:
        raise UsageError(
            f'{train} and {valid} must have folders of the same {count} '
            f'classes, but there are {len(folders)} and '
            f'{len(lists.folders_in(valid))}, and {len(others)} are in '
            'one of them only.'
        )
    parts = {
        'train': lists.read_class_folders(train, classes, count),
        'test': lists.read_class_folders(valid, classes, count),
    }
    return parts, folders


def _imagenet_folders(folder: str) -> Listing:
    """Lists class folders that are named after classes of ILSVRC-2012.

    DivideMix names them by number, SSR by synset. TFDS sorts numbers as text
    (0, 1, 10, ...); here the number is the class.

    Raises:
        UsageError: a folder is named in another way, or a class is missing.
    """
    classes = {}
    for name in lists.folders_in(folder):
        label = _imagenet_class(name)
        if label is None:
            raise UsageError(
                f'{os.path.join(folder, name)} is not named after a class: '
                'a number (0), a synset (n01440764) or a name (tench) is '
                'needed.'
            )
        classes[name] = label
    return lists.read_class_folders(folder, classes, RECIPE.num_classes)


def _imagenet_class(folder: str) -> int | None:
    """Returns the class of ILSVRC-2012 that a folder is named after.

    Args:
        folder: a number, a synset or one of `IMAGENET_NAMES`.

    Returns:
        The class if it is one of the first 50; else 50 or more, or None for a
        name that says nothing.
    """
    if folder.isascii() and folder.isdigit():
        return int(folder)
    if folder in SYNSETS:
        return SYNSETS.index(folder)
    if folder[:1] == 'n' and len(folder) == 9 and folder[1:].isdigit():
        return len(SYNSETS)
    name = folder.replace('_', ' ').lower()
    return _CLASS_BY_NAME.get(name)


def _require_imagenet_names(names: Sequence[str], root: str) -> None:
    """Checks that the classes are known by their names in ImageNet.

    Raises:
        UsageError: they cannot.
    """
    if names != IMAGENET_NAMES:
        raise UsageError(
            f'the class folders in {os.path.join(root, "train")} are not '
            'named after classes of ILSVRC-2012, so its images cannot be '
            'matched to them: rename them to numbers or synsets.'
        )


def _first_with_folders(
    roots: Sequence[str], folders: Sequence[str], inner: str = ''
) -> str | None:
    """Returns the first of some folders that has folders (in `inner`)."""
    for root in roots:
        for folder in folders:
            # Without a slash at the end where a part is empty.
            path = os.path.join(root, folder) if folder else root
            look = os.path.join(path, inner) if inner else path
            if lists.folders_in(look):
                return path
    return None


@DATASETS.register(
    'webvisionmini', takes=('image_size', 'use_imagenet_as_eval')
)
def load(data_dir: str | None, use_imagenet_as_eval: bool = False) -> Opened:
    """Opens mini-WebVision; see `webvisionmini`."""
    return base.web_set(
        webvisionmini,
        RECIPE,
        data_dir,
        use_imagenet_as_eval=use_imagenet_as_eval,
    )
