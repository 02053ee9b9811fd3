"""Networks: functions from (number of classes, image shape) to a model.

A network maps float images [b, H, W, channels] to logits [b, num_classes].
It computes in the precision of the global policy, but the logits come in full
precision. Layers carry fixed names, so that the variables of two copies have
the same paths.
"""

from typing import Any

import keras

from ieg.networks import applications as _applications  # noqa: F401
from ieg.networks import cnn9 as _cnn9  # noqa: F401
from ieg.networks import plain as _plain  # noqa: F401
from ieg.networks import preact_resnet as _preact_resnet  # noqa: F401
from ieg.networks import resnet as _resnet  # noqa: F401
from ieg.networks import resnet29 as _resnet29  # noqa: F401
from ieg.networks import wrn as _wrn  # noqa: F401
from ieg.registry import NETWORKS


def create_network(
    name: str,
    num_classes: int,
    image_shape: tuple[int, int, int],
    **options: Any,
) -> keras.Model:
    """Builds a network with fresh weights.

    Args:
        name: a name in `NETWORKS`.
        num_classes: number of logits.
        image_shape: (H, W, channels).
        **options: keyword arguments of the network's own builder.

    Returns:
        model: float images [b, H, W, channels] -> logits [b, num_classes] in
        the default float type, also under a mixed precision policy.

    Raises:
        UsageError: the network is unknown, or cannot take the images.
    """
    return NETWORKS.get(name)(num_classes, image_shape, **options)
