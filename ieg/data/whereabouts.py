"""Where a user's own images are, checked without TensorFlow."""

import os
import stat

from ieg.data.images.survey import EXTENSIONS
from ieg.errors import UsageError
from ieg.utils.files import walk
from ieg.utils.text import unreadable

# What each kind of a user's own images is.
_WANTED = {'folder': 'folder', 'csv': 'CSV file', 'npz': '.npz file'}
# Extension -> kind.
_FILES = {'.csv': 'csv', '.npz': 'npz'}


def kind(path: str) -> str:
    """Returns the data set that the files at a path are: folder, csv or npz.

    Args:
        path: as in `--data_dir`.

    Raises:
        UsageError: they are none of these, or do not exist.
    """
    place = os.path.expanduser(path)
    name = _FILES.get(os.path.splitext(place)[1].lower())
    if name or not os.path.isdir(place):
        check(name or 'folder', path)
        return name or 'folder'
    try:
        if any(
            file.lower().endswith(EXTENSIONS)
            for folder in walk(place, seen=set())
            if folder.path != place
            for file in folder.files
        ):
            return 'folder'
    except OSError as error:
        raise unreadable('folder', error.filename or path, error) from None
    raise UsageError(
        f'--data_dir={path} has no images in class folders: name the data set '
        'that it is of with --dataset.'
    )


def check(base: str, path: str | None) -> None:
    """Checks that a user's own images are where an option says.

    Args:
        base: data set without noise; those other than folder, csv and npz are
            not checked.
        path: as in `--data_dir`.

    Raises:
        UsageError: no path is given, or it is not that of such data.
    """
    if base not in _WANTED:
        return
    if not path:
        raise UsageError(
            f'--dataset={base} needs --data_dir, the {_WANTED[base]} of your '
            'images.'
        )
    place = os.path.expanduser(path)
    try:
        is_folder = stat.S_ISDIR(os.stat(place).st_mode)
        if is_folder != (base == 'folder'):
            raise IsADirectoryError if is_folder else NotADirectoryError
        if not os.access(place, os.R_OK):
            raise PermissionError
    except OSError as error:
        raise unreadable(_WANTED[base], place, error) from None
