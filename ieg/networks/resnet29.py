"""The bottleneck ResNet-29 of IEG."""

import functools

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS


@NETWORKS.register('resnet29')
def resnet29(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    width: int = 16,
    blocks: int = 3,
    first_relu: bool = True,
) -> keras.Model:
    """Builds three stages of pre-activation bottleneck blocks.

    Source: IEG (CVPR 2020), its CIFAR experiments. 840,730 parameters with
    10 classes, 863,860 with 100.

    Args:
        width: channels of the stem.
        blocks: blocks per stage; the depth is 9 * blocks + 2.
        first_relu: whether a ReLU precedes the first 1x1 convolution of a
            block. The reference means it to, but a slip removes it from all
            blocks; False repeats that.
    """
    images = keras.Input(image_shape)
    x = layers.bn_relu(_conv(images, width, 3, 'stem_conv'), 'stem_bn')
    for stage, (inner, outer) in enumerate(((1, 4), (4, 8), (8, 16)), start=1):
        for block in range(1, blocks + 1):
            name = f'stage{stage}_block{block}'
            a = skip = x
            # The stem has just normalized the very first block's input.
            if (stage, block) != (1, 1):
                a = _pre_activation(x, first_relu, f'{name}_bn1')
            if block == 1:
                if stage > 1:
                    a = layers.subsample(a, 2, f'{name}_subsample')
                    skip = layers.subsample(x, 2, f'{name}_skip_subsample')
                skip = _conv(skip, outer * width, 1, f'{name}_skip')
            a = _conv(a, inner * width, 1, f'{name}_conv1')
            a = layers.bn_relu(a, f'{name}_bn2')
            a = _conv(a, inner * width, 3, f'{name}_conv2')
            a = layers.bn_relu(a, f'{name}_bn3')
            a = _conv(a, outer * width, 1, f'{name}_conv3')
            x = keras.layers.Add(name=f'{name}_add')([a, skip])
    x = layers.global_mean(layers.bn_relu(x, 'last_bn'))
    logits = keras.layers.Dense(
        num_classes, name='logits', dtype=keras.config.floatx()
    )(x)
    return keras.Model(images, logits, name='resnet29')


NETWORKS.register('resnet29-reference')(
    functools.partial(resnet29, first_relu=False)
)


def _pre_activation(
    x: keras.KerasTensor, relu: bool, name: str
) -> keras.KerasTensor:
    """Returns BN(x), or ReLU(BN(x))."""
    if relu:
        return layers.bn_relu(x, name)
    return layers.FusedBatchNormalization(name=name)(x)


def _conv(
    x: keras.KerasTensor, filters: int, size: int, name: str
) -> keras.KerasTensor:
    """Convolves without bias; kernels start Glorot normal."""
    return keras.layers.Conv2D(
        filters,
        size,
        padding='same',
        use_bias=False,
        kernel_initializer='glorot_normal',
        name=name,
    )(x)
