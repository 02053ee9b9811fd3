"""Networks: functions from (number of classes, shape of examples) to a model.

A network maps float images [b, H, W, channels], or vectors [b, d], to logits
[b, num_classes].
It computes in the precision of the global policy, but the logits come in full
precision. Layers carry fixed names, so that the variables of two copies have
the same paths.
"""

from typing import Any

import keras

from ieg.errors import UsageError
from ieg.networks import applications as _applications  # noqa: F401
from ieg.networks import cnn9 as _cnn9  # noqa: F401
from ieg.networks import foreign, vectors
from ieg.networks import plain as _plain  # noqa: F401
from ieg.networks import preact_resnet as _preact_resnet  # noqa: F401
from ieg.networks import resnet as _resnet  # noqa: F401
from ieg.networks import resnet29 as _resnet29  # noqa: F401
from ieg.networks import whole_image as _whole_image  # noqa: F401
from ieg.networks import wrn as _wrn  # noqa: F401
from ieg.registry import NETWORKS


def create_network(
    name: str,
    num_classes: int,
    image_shape: tuple[int, ...],
    number: int = 0,
    **options: Any,
) -> keras.Model:
    """Builds a network with fresh weights, or those of its file or preset.

    Args:
        name: a name in `NETWORKS`, or of another one, see `foreign`.
        num_classes: number of logits.
        image_shape: (H, W, channels); (d,) of vectors.
        number: of the network in its method.
        **options: keyword arguments of the network's own builder.

    Returns:
        A model from a batch of float images or vectors to logits [b,
        num_classes] in the default float type, also under a mixed precision
        policy.

    Raises:
        UsageError: the network is unknown, or cannot take the images.
    """
    check_kind(name, len(image_shape) == 1)
    if NETWORKS.is_other(name):
        return foreign.build(name, num_classes, image_shape, number)
    return NETWORKS.get(name)(num_classes, image_shape, **options)


def check_kind(name: str, are_vectors: bool) -> None:
    """Checks that a network takes vectors, or images.

    Networks of others may take both.

    Raises:
        UsageError: it takes the other ones.
    """
    if name in vectors.NAMES and not are_vectors:
        raise UsageError(
            f'the network {name} is for vectors, but the examples are images: '
            'choose another --network_name.'
        )
    is_ours = not NETWORKS.is_other(name) and _is_ours(name)
    if are_vectors and is_ours and name not in vectors.NAMES:
        raise UsageError(
            f'the network {name} is for images, but the examples are vectors: '
            f'use --network_name={" or ".join(vectors.NAMES)}.'
        )


def _is_ours(name: str) -> bool:
    """Returns whether a network is of this package, not of a plugin."""
    build = NETWORKS.get(name)
    # Some are partial functions.
    build = getattr(build, 'func', build)
    return getattr(build, '__module__', '').startswith(__name__)
