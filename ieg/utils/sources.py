"""Networks that users name by a file, a preset or a function.

This module imports neither TensorFlow nor Keras: names are checked before those
are loaded.
"""

import importlib.util
import os
import re

from ieg.errors import UsageError
from ieg.utils.files import check_local

HUB, FILE = 'hf://', '.keras'
# Folder of a run that keeps the file of its network.
KEPT = 'network'


def is_hub(name: str) -> bool:
    """Returns whether a name is that of a preset of Hugging Face."""
    return name.startswith(HUB)


def is_file(name: str) -> bool:
    """Returns whether a name is the path of a file."""
    return not is_hub(name) and (name.endswith(FILE) or os.path.sep in name)


def is_function(name: str) -> bool:
    """Returns whether a name is that of a function, 'module:function'."""
    return ':' in name and not is_hub(name) and not is_file(name)


def is_foreign(name: str) -> bool:
    """Returns whether a name stands for a network that is not registered."""
    return is_hub(name) or is_file(name) or is_function(name)


def check(name: str) -> None:
    """Checks a foreign name as far as that takes no file's content.

    Raises:
        UsageError: the name is impossible, the file is not there, or the
            package that reads from Hugging Face is not installed.
    """
    if is_hub(name):
        check_hub(name, 'network')
    elif is_file(name):
        check_file(name, 'network', '--network_name=')
    # Functions that Python has named have brackets: '<lambda>'.
    elif not re.fullmatch(r'[\w.]+:[\w.<>]+', name):
        raise UsageError(
            f'--network_name={name} must have the form module:function.'
        )


def check_hub(name: str, what: str) -> None:
    """Checks the name of a preset, and that it can be read.

    Args:
        name: hf://ORG/REPO.
        what: it is to be, for messages.

    Raises:
        UsageError: the name is impossible, or a package is not installed.
    """
    if not re.fullmatch(r'hf://[\w.-]+/[\w.-]+', name):
        raise UsageError(
            f'the {what} {name} must have the form hf://ORG/REPO, such as '
            'hf://keras/resnet_18_imagenet.'
        )
    packages = ('keras_hub', 'huggingface_hub')
    if not all(importlib.util.find_spec(module) for module in packages):
        raise UsageError(
            f'the {what} {name} needs packages that are not installed: run '
            '`pip install keras-hub huggingface-hub`.'
        )


def check_file(name: str, what: str, flag: str) -> None:
    """Checks that the file of a Keras model is there.

    Args:
        name: path of the file.
        what: it is to be, for messages.
        flag: precedes the path in messages.

    Raises:
        UsageError: it is not.
    """
    check_local(name, flag)
    path = os.path.expanduser(name)
    if not os.path.isfile(path):
        raise UsageError(
            f'{flag}{name}: {path} does not exist: check the path.'
        )
    if not name.endswith(FILE):
        raise UsageError(
            f'{flag}{name} must be a Keras file that ends in {FILE}: save '
            f'the model with model.save("{what}{FILE}").'
        )


def recorded(name: str) -> str:
    """Returns what the files of a run call a network: a file by its copy."""
    return f'{KEPT}/{os.path.basename(name)}' if is_file(name) else name


def found(name: str, folder: str) -> str:
    """Returns the name of a network that a file in a folder has recorded.

    Args:
        name: see `recorded`.
        folder: may have the copy.
    """
    path = os.path.join(folder, name)
    is_copy = name.startswith(f'{KEPT}/') and os.path.isfile(path)
    return path if is_copy else name


def label(name: str) -> str:
    """Returns a network's part of the name of a run folder."""
    if not is_foreign(name):
        return name
    stem = name if is_function(name) else os.path.basename(name)
    return re.sub(r'[^\w.-]+', '-', stem.removesuffix(FILE)).strip('-')
