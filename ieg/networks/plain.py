"""Plain stacks of convolutions: small ones, LeNet, AlexNet and VGG-19."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS


@NETWORKS.register('cnn')
def cnn(num_classes: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Builds four 3x3 convolutions with BN and ReLU, pooling after two.

    Takes images of any size; 44,874 parameters on 8x8 grey digits.
    """
    images = keras.Input(image_shape)
    x = images
    for number, filters in enumerate((32, 32, 48, 48), start=1):
        x = layers.torch_conv(x, filters, 3, f'conv{number}', padding=1)
        x = layers.bn_relu(x, f'bn{number}')
        if number == 2:
            x = keras.layers.MaxPooling2D(2, padding='same', name='pool')(x)
    return layers.classify(images, x, num_classes, 'cnn')


@NETWORKS.register('lenet')
def lenet(num_classes: int, image_shape: tuple[int, int, int]) -> keras.Model:
    """Builds two 5x5 convolutions and three dense layers.

    Source: Me-Momentum (ICCV 2021), its MNIST experiments. 61,706 parameters
    on [28, 28, 1] with 10 classes.

    Raises:
        UsageError: nothing of the image is left before the dense layers.
    """
    # 12 -> 6 by pooling -> 2 by a 5x5 convolution -> 1 by pooling.
    layers.require_size('lenet', image_shape, 12)
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


@NETWORKS.register('alexnet')
def alexnet(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    widths: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256),
) -> keras.Model:
    """Builds five convolutions with ReLU, pooling after three of them.

    Source: the convolutions of "One weird trick" (Krizhevsky 2014) with the
    paddings and the head of W. Yang's pytorch-classification, the common
    AlexNet for CIFAR: neither hidden dense layers nor dropout. The
    susceptibility paper (ICLR 2023) names AlexNet without saying which.
    Larger images are averaged over space before the logits. Without
    normalization it wants a learning rate of 0.01 or less. 2,472,266
    parameters with 10 classes.

    Args:
        widths: output channels of the convolutions.

    Raises:
        UsageError: nothing of the image is left after the last pooling.
    """
    # 29 -> 8 by the first convolution -> 4 -> 2 -> 1 by poolings.
    layers.require_size('alexnet', image_shape, 29)
    images = keras.Input(image_shape)
    x = images
    for number, (filters, size) in enumerate(
        zip(widths, (11, 5, 3, 3, 3), strict=True), start=1
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
        if number in (1, 2, 5):
            x = keras.layers.MaxPooling2D(2, name=f'{name}_pool')(x)
    return layers.classify(images, x, num_classes, 'alexnet')


@NETWORKS.register('vgg19_bn')
def vgg19_bn(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    widths: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512),
) -> keras.Model:
    """Builds sixteen 3x3 convolutions with BN and ReLU, and five poolings.

    Source: the CIFAR-10 experiments of the susceptibility paper (ICLR 2023).
    The logits follow at once. The papers on Animal-10N put two hidden dense
    layers of 4096 units with dropout in between, which this has not: larger
    images are averaged over space instead. 20,040,522 parameters with 10
    classes.

    Args:
        widths: channels of the convolutions before each pooling.

    Raises:
        UsageError: nothing of the image is left after the last pooling.
    """
    # Five poolings halve the image.
    layers.require_size('vgg19_bn', image_shape, 32)
    images = keras.Input(image_shape)
    x = images
    for block, (filters, depth) in enumerate(
        zip(widths, (2, 2, 4, 4, 4), strict=True), start=1
    ):
        for number in range(1, depth + 1):
            name = f'block{block}_conv{number}'
            # A bias before BN changes nothing, but the reference has it.
            x = layers.torch_conv(x, filters, 3, name, padding=1, use_bias=True)
            x = layers.bn_relu(x, f'block{block}_bn{number}')
        x = keras.layers.MaxPooling2D(2, name=f'block{block}_pool')(x)
    return layers.classify(images, x, num_classes, 'vgg19_bn')
