"""Files of class folders that tests write, and what is read of them."""

import os

import pytest

from ieg.data.sets.folder import read_folder
from ieg.errors import UsageError


def write(root, *names):
    """Writes files; the bytes of each are its own."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(f'bytes of {path}'))
    return str(root)


def refusal(*args, **kwargs):
    """Returns the sentence that refuses a folder."""
    with pytest.raises(UsageError) as caught:
        read_folder(*args, **kwargs)
    return str(caught.value)


def labelled(root, listing, names):
    """Returns (path within the root, class) of each image."""
    return [
        (os.path.relpath(path, root), names[label])
        for path, label in zip(listing.paths, listing.labels, strict=True)
    ]
