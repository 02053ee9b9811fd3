"""A small network for small images; seconds per epoch on a processor."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS


@NETWORKS.register('cnn')
def cnn(num_classes: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Builds four 3x3 convolutions with BN and ReLU, pooling after two.

    Takes images of any size; 44,874 parameters on 8x8 grey digits.

    Args:
        num_classes: number of logits.
        image_shape: (H, W, channels).

    Returns:
        model: images [b, H, W, channels] -> logits [b, num_classes].
    """
    images = keras.Input(image_shape)
    x = images
    for number, filters in enumerate((32, 32, 48, 48), start=1):
        x = layers.torch_conv(x, filters, 3, f'conv{number}', padding=1)
        x = layers.bn_relu(x, f'bn{number}')
        if number == 2:
            x = keras.layers.MaxPooling2D(2, padding='same', name='pool')(x)
    logits = layers.torch_dense(
        layers.global_mean(x),
        num_classes,
        'logits',
        dtype=keras.config.floatx(),
    )
    return keras.Model(images, logits, name='cnn')
