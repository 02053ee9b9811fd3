"""A plugin with perceptrons of several sizes, for studies on small images.

`--plugin=mlp --network_name=mlp256x4d` (with `scripts` as the working folder)
has four hidden layers of 256 units with BatchNorm; `d` stands for dropout of
one half. Names go from mlp32x2 to mlp256x4d.
"""

import functools

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS


def mlp(
    num_classes: int,
    image_shape: tuple[int, int, int],
    width: int,
    depth: int,
    dropout: float,
) -> keras.Model:
    """Returns images [b, H, W, channels] -> logits [b, num_classes]."""
    images = keras.Input(image_shape)
    x = keras.layers.Flatten()(images)
    for number in range(depth):
        x = layers.torch_dense(x, width, f'dense{number}')
        x = keras.layers.BatchNormalization(name=f'bn{number}')(x)
        x = keras.layers.ReLU(name=f'relu{number}')(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=number)(x)
    logits = layers.torch_dense(
        x, num_classes, 'logits', dtype=keras.config.floatx()
    )
    return keras.Model(images, logits)


for width in (32, 256):
    for depth in (2, 4):
        for dropout, suffix in ((0.0, ''), (0.5, 'd')):
            NETWORKS.register(f'mlp{width}x{depth}{suffix}')(
                functools.partial(
                    mlp, width=width, depth=depth, dropout=dropout
                )
            )
