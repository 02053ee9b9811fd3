"""VGG-19 with normalisation, for small images and training from scratch."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS

# Five poolings halve the image.
MIN_SIZE = 32
WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = (2, 2, 4, 4, 4)


@NETWORKS.register('vgg19_bn')
def vgg19_bn(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    widths: tuple[int, int, int, int, int] = WIDTHS,
) -> keras.Model:
    """Builds sixteen 3x3 convolutions with BN and ReLU, and five poolings.

    Source: the CIFAR-10 experiments of the susceptibility paper (ICLR 2023).
    The logits follow at once. The papers on Animal-10N put two hidden dense
    layers of 4096 units with dropout in between, which this has not: larger
    images are averaged over space instead. 20,040,522 parameters with 10
    classes.

    Args:
        num_classes: number of logits.
        image_shape: (H, W, channels).
        widths: channels of the convolutions before each pooling.

    Returns:
        model: images [b, H, W, channels] -> logits [b, num_classes].

    Raises:
        UsageError: nothing of the image is left after the last pooling.
    """
    layers.require_size('vgg19_bn', image_shape, MIN_SIZE)
    images = keras.Input(image_shape)
    x = images
    for block, (filters, depth) in enumerate(
        zip(widths, DEPTHS, strict=True), start=1
    ):
        for number in range(1, depth + 1):
            name = f'block{block}_conv{number}'
            # A bias before BN changes nothing, but the reference has it.
            x = layers.torch_conv(x, filters, 3, name, padding=1, use_bias=True)
            x = layers.bn_relu(x, f'block{block}_bn{number}')
        x = keras.layers.MaxPooling2D(2, name=f'block{block}_pool')(x)
    logits = layers.torch_dense(
        layers.global_mean(x),
        num_classes,
        'logits',
        dtype=keras.config.floatx(),
    )
    return keras.Model(images, logits, name='vgg19_bn')
