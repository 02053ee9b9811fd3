"""LeNet for 28x28 grey images, as Me-Momentum uses it on MNIST."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS

# 12 -> 6 by pooling -> 2 by a 5x5 convolution -> 1 by pooling.
MIN_SIZE = 12


@NETWORKS.register('lenet')
def lenet(num_classes: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Builds two 5x5 convolutions and three dense layers.

    Source: Me-Momentum (ICCV 2021), its MNIST experiments. 61,706 parameters
    on [28, 28, 1] with 10 classes.

    Args:
        num_classes: number of logits.
        image_shape: (H, W, channels).

    Returns:
        model: images [b, H, W, channels] -> logits [b, num_classes].

    Raises:
        UsageError: nothing of the image is left before the dense layers.
    """
    layers.require_size('lenet', image_shape, MIN_SIZE)
    images = keras.Input(image_shape)
    x = images
    for number, (filters, padding) in enumerate(((6, 2), (16, 0)), start=1):
        name = f'conv{number}'
        x = layers.torch_conv(
            x, filters, 5, name, padding=padding, use_bias=True
        )
        x = keras.layers.ReLU(name=f'{name}_relu')(x)
        x = keras.layers.MaxPooling2D(2, name=f'{name}_pool')(x)
    x = keras.layers.Flatten(name='flatten')(x)
    for number, units in enumerate((120, 84), start=1):
        x = layers.torch_dense(x, units, f'fc{number}')
        x = keras.layers.ReLU(name=f'fc{number}_relu')(x)
    logits = layers.torch_dense(
        x, num_classes, 'logits', dtype=keras.config.floatx()
    )
    return keras.Model(images, logits, name='lenet')
