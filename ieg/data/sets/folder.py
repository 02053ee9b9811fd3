"""Images in class folders."""

import itertools
from collections.abc import Mapping

import numpy as np

from ieg.data.dataset import Found, FoundFiles, Listing, Opened
from ieg.data.images import class_folders
from ieg.data.own import (
    check_classes,
    leave_out_copies,
    open_own,
    own_path,
)
from ieg.errors import UsageError, nearest
from ieg.registry import DATASETS
from ieg.utils.text import in_order, listed, normal, shown, tidy


def read_folder(data_dir: str, probe_dir: str = '') -> FoundFiles:
    """Finds images in class folders.

    The class folders lie in `data_dir`, or, if there is a folder `train` (or
    `training`) in it, in that and in those of the other parts: `test` (or
    `testing`), `valid` (`val`, `validation`) and `probe`, in any case of
    letters. A folder `train` without folders in it, next to others that are no
    parts, is a class of that name. Other names with such a word in them
    (`training_set`, `images_val`) are of parts where the same class folders lie
    in several; and a folder with nothing but one folder of folders is passed.

    Images may lie at any depth of a class folder, and links are followed; a
    folder is read once per class, and never if it contains `data_dir`. Hidden
    files are passed over. The training images are in the order of their
    classes (see `in_order`), and of their paths within.

    Args:
        data_dir: the folder.
        probe_dir: another one, whose class folders make the part 'probe'.

    Returns:
        The images; paths begin with `data_dir` as given. Bytes of file names
        that are not UTF-8 are surrogates in them, as everywhere in Python.

    Raises:
        UsageError: there is nothing to train on, or the parts do not fit.
    """
    found = class_folders.find(data_dir, probe_dir)
    names, folders, notes = found.names, found.folders, found.notes
    parts = {
        part: _listing(by_class, names, folders[part], folders['train'])
        for part, by_class in found.images.items()
    }
    for part in ('test', 'valid'):
        if part in parts and not len(parts[part]):
            del parts[part]
            notes.remarks.append(
                f'{folders[part]} has no images in class folders, so there is '
                f'no {part} part.'
            )
    parts, remarks = leave_out_copies(parts, names)
    class_names = tuple(tidy(shown(name)) or shown(name) for name in names)
    remarks += check_classes(class_names, parts, folders)
    return Found(class_names, parts, (*notes.sentences(), *remarks))


def _listing(
    images: Mapping[str, list[str]],
    names: list[str],
    folder: str,
    train_folder: str,
) -> Listing:
    """Returns the images of one part with their labels.

    Raises:
        UsageError: there are images of a class without training images.
    """
    by_name = {normal(name): paths for name, paths in images.items() if paths}
    unknown = in_order(by_name.keys() - set(map(normal, names)))
    if unknown:
        raise UsageError(
            f'{folder} has images of {listed(unknown)}, of which '
            f'{train_folder} has none: rename or remove the class folder, or '
            f'add training images.{nearest(unknown[0], names)}'
        )
    by_label = [by_name.get(normal(name), []) for name in names]
    labels = np.repeat(
        np.arange(len(names)), [len(paths) for paths in by_label]
    )
    paths = list(itertools.chain.from_iterable(by_label))
    return Listing(paths, labels.astype(np.int32))


@DATASETS.register('folder', takes=('image_size', 'probe_dir'))
def load(data_dir: str | None, probe_dir: str = '') -> Opened:
    """Opens a user's class folders; see `read_folder`."""
    files = read_folder(own_path('folder', data_dir), probe_dir)
    return open_own('folder', files)
