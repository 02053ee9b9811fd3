"""AlexNet in its usual form for CIFAR."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS

# 29 -> 8 by the first convolution -> 4 -> 2 -> 1 by poolings.
MIN_SIZE = 29
WIDTHS = (64, 192, 384, 256, 256)
SIZES = (11, 5, 3, 3, 3)
POOLED = (1, 2, 5)


@NETWORKS.register('alexnet')
def alexnet(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    widths: tuple[int, int, int, int, int] = WIDTHS,
) -> keras.Model:
    """Builds five convolutions with ReLU, pooling after three of them.

    Source: the convolutions of "One weird trick" (Krizhevsky 2014) with the
    paddings and the head of W. Yang's pytorch-classification, the common
    AlexNet for CIFAR: neither hidden dense layers nor dropout. The
    susceptibility paper (ICLR 2023) names AlexNet without saying which.
    Larger images are averaged over space before the logits. Without
    normalisation it wants a learning rate of 0.01 or less. 2,472,266
    parameters with 10 classes.

    Args:
        num_classes: number of logits.
        image_shape: (H, W, channels).
        widths: output channels of the convolutions.

    Returns:
        model: images [b, H, W, channels] -> logits [b, num_classes].

    Raises:
        UsageError: nothing of the image is left after the last pooling.
    """
    layers.require_size('alexnet', image_shape, MIN_SIZE)
    images = keras.Input(image_shape)
    x = images
    for number, (filters, size) in enumerate(
        zip(widths, SIZES, strict=True), start=1
    ):
        name = f'conv{number}'
        x = layers.torch_conv(
            x,
            filters,
            size,
            name,
            strides=4 if number == 1 else 1,
            padding=size // 2,
            use_bias=True,
        )
        x = keras.layers.ReLU(name=f'{name}_relu')(x)
        if number in POOLED:
            x = keras.layers.MaxPooling2D(2, name=f'{name}_pool')(x)
    logits = layers.torch_dense(
        layers.global_mean(x),
        num_classes,
        'logits',
        dtype=keras.config.floatx(),
    )
    return keras.Model(images, logits, name='alexnet')
