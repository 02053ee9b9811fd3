"""Nine convolutions with channel dropout, the network of Co-teaching."""

import keras

from ieg.errors import UsageError
from ieg.networks import layers
from ieg.registry import NETWORKS

# 28 -> 14 -> 7 by pooling -> 5 -> 3 -> 1 by convolutions without padding.
MIN_SIZE = 28
WIDTHS = (128, 128, 128, 256, 256, 256, 512, 256, 128)
DROPOUT_MODES = ('off', 'train_only', 'always')
DROPOUT_RATE = 0.25


@NETWORKS.register('cnn9', takes=('dropout_mode',))
def cnn9(
    num_classes: int,
    image_shape: tuple[int, int, int],
    dropout_mode: str = 'train_only',
    widths: tuple[int, ...] = WIDTHS,
) -> keras.Model:
    """Builds three blocks of three 3x3 convolutions with BN and LeakyReLU.

    Source: Co-teaching (NeurIPS 2018). 4,434,570 parameters on [32, 32, 3]
    with 10 classes.

    The reference calls dropout without saying whether it trains, so what it
    does depends on the version of PyTorch. The modes are

    - off: no dropout at all. So it was in PyTorch 0.3, which the reference
      names; the published numbers were probably made this way, although the
      paper speaks of dropout.
    - train_only: dropout in training and not in inference, as the paper
      describes it.
    - always: dropout in inference too, as the reference does in PyTorch 1.0
      and later. Evaluation is then random.

    Args:
        dropout_mode: off, train_only or always.
        widths: output channels of the nine convolutions.

    Raises:
        UsageError: nothing of the image is left after the last block, or
            the mode is unknown.
    """
    layers.require_size('cnn9', image_shape, MIN_SIZE)
    if dropout_mode not in DROPOUT_MODES:
        raise UsageError(
            f'the network cnn9 has no dropout_mode {dropout_mode!r}; it has '
            f'{", ".join(DROPOUT_MODES)}.'
        )
    images = keras.Input(image_shape)
    x = images
    for number, filters in enumerate(widths, start=1):
        # A bias before BN changes nothing, but the reference has it.
        x = layers.torch_conv(
            x,
            filters,
            3,
            f'conv{number}',
            padding=1 if number <= 6 else 0,
            use_bias=True,
        )
        x = layers.FusedBatchNormalization(name=f'bn{number}')(x)
        x = keras.layers.LeakyReLU(
            negative_slope=0.01, name=f'bn{number}_leaky_relu'
        )(x)
        if number in (3, 6):
            block = number // 3
            x = keras.layers.MaxPooling2D(2, name=f'pool{block}')(x)
            if dropout_mode != 'off':
                x = layers.ChannelDropout(
                    DROPOUT_RATE,
                    always=dropout_mode == 'always',
                    name=f'dropout{block}',
                )(x)
    return layers.classify(images, x, num_classes, 'cnn9')
