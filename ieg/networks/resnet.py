"""The post-activation ResNet-18 and ResNet-34 for 32x32 images."""

import functools
from collections.abc import Sequence

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS

WIDTHS = (64, 128, 256, 512)


@NETWORKS.register('resnet18')
def resnet18(
    num_classes: int,
    image_shape: tuple[int, int, int],
    stem_padding: int = 0,
    widths: tuple[int, int, int, int] = WIDTHS,
) -> keras.Model:
    """Builds a stem and four stages of two blocks.

    Source: Me-Momentum (ICCV 2021), its CIFAR-10 experiments. Its stem does
    not pad, so 32x32 images are 30x30 in the first stage. 11,173,962
    parameters with 10 classes, 11,220,132 with 100.

    Args:
        stem_padding: zeros around the image; 1 keeps its size, as usual.
        widths: channels of the four stages; the first is also the stem's.

    Raises:
        UsageError: nothing of the image is left after the stem.
    """
    return _resnet(
        num_classes, image_shape, stem_padding, widths, (2, 2, 2, 2), 'resnet18'
    )


@NETWORKS.register('resnet34')
def resnet34(
    num_classes: int,
    image_shape: tuple[int, int, int],
    stem_padding: int = 0,
    widths: tuple[int, int, int, int] = WIDTHS,
) -> keras.Model:
    """Builds the same with stages of three, four, six and three blocks.

    Source: Me-Momentum, its CIFAR-100 experiments. 21,282,122 parameters with
    10 classes, 21,328,292 with 100.
    """
    return _resnet(
        num_classes, image_shape, stem_padding, widths, (3, 4, 6, 3), 'resnet34'
    )


# With the usual stem, which keeps the image's size, as in the CIFAR-N protocol.
for _network in (resnet18, resnet34):
    NETWORKS.register(f'{_network.__name__}-same')(
        functools.partial(_network, stem_padding=1)
    )


def _resnet(
    num_classes: int,
    image_shape: tuple[int, int, int],
    stem_padding: int,
    widths: Sequence[int],
    blocks: Sequence[int],
    name: str,
) -> keras.Model:
    """Builds a ResNet with `blocks` of `widths` channels in its stages."""
    # The 3x3 stem takes two pixels; later convolutions leave at least one.
    min_size = 3 - 2 * stem_padding
    layers.require_size(name, image_shape, min_size, instead=f'{name}-same')
    images = keras.Input(image_shape)
    x = layers.torch_conv(
        images, widths[0], 3, 'stem_conv', padding=stem_padding
    )
    x = layers.bn_relu(x, 'stem_bn')
    for stage, (width, count) in enumerate(
        zip(widths, blocks, strict=True), start=1
    ):
        for block in range(1, count + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            x = _block(x, width, strides, f'stage{stage}_block{block}')
    return layers.classify(images, x, num_classes, name)


def _block(
    x: keras.KerasTensor, width: int, strides: int, name: str
) -> keras.KerasTensor:
    """Returns ReLU of two 3x3 convolutions with BN plus a skip of x."""
    skip = x
    if strides > 1 or x.shape[-1] != width:
        skip = layers.torch_conv(x, width, 1, f'{name}_skip', strides=strides)
        skip = layers.FusedBatchNormalization(name=f'{name}_skip_bn')(skip)
    x = layers.torch_conv(
        x, width, 3, f'{name}_conv1', strides=strides, padding=1
    )
    x = layers.bn_relu(x, f'{name}_bn1')
    x = layers.torch_conv(x, width, 3, f'{name}_conv2', padding=1)
    x = layers.FusedBatchNormalization(name=f'{name}_bn2')(x)
    x = keras.layers.Add(name=f'{name}_add')([x, skip])
    return keras.layers.ReLU(name=f'{name}_relu')(x)
