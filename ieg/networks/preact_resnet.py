"""The pre-activation ResNet-18 of DivideMix."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS


@NETWORKS.register('preact_resnet18')
def preact_resnet18(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    widths: tuple[int, int, int, int] = (64, 128, 256, 512),
) -> keras.Model:
    """Builds a stem and four stages of two pre-activation blocks.

    Source: DivideMix (ICLR 2020), its CIFAR experiments. Two things differ
    from the usual pre-activation ResNet: an identity skip carries
    ReLU(BN(h)), not h, and neither BN nor ReLU follows the last stage.
    11,171,274 parameters with 10 classes, 11,217,444 with 100.

    Args:
        widths: channels of the four stages; the first is also the stem's.
    """
    images = keras.Input(image_shape)
    x = layers.torch_conv(images, widths[0], 3, 'stem_conv', padding=1)
    x = layers.bn_relu(x, 'stem_bn')
    for stage, width in enumerate(widths, start=1):
        strides = 1 if stage == 1 else 2
        x = _block(x, width, strides, f'stage{stage}_block1')
        x = _block(x, width, 1, f'stage{stage}_block2')
    return layers.classify(images, x, num_classes, 'preact_resnet18')


def _block(
    x: keras.KerasTensor, width: int, strides: int, name: str
) -> keras.KerasTensor:
    """Returns two 3x3 convolutions of ReLU(BN(x)) plus a skip of the same."""
    a = layers.bn_relu(x, f'{name}_bn1')
    skip = a
    if strides > 1 or a.shape[-1] != width:
        skip = layers.torch_conv(a, width, 1, f'{name}_skip', strides=strides)
    x = layers.torch_conv(
        a, width, 3, f'{name}_conv1', strides=strides, padding=1
    )
    x = layers.bn_relu(x, f'{name}_bn2')
    x = layers.torch_conv(x, width, 3, f'{name}_conv2', padding=1)
    return keras.layers.Add(name=f'{name}_add')([x, skip])
