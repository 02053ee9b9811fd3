"""Wide residual networks in the variant of the AutoAugment repository."""

import functools

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS

STEM_WIDTH = 16
BLOCKS_PER_STAGE = 4


def _wrn(
    num_classes: int, image_shape: tuple[int, int, int], factor: int
) -> keras.Model:
    """Builds a WRN-28 with `factor` times the channels of a ResNet.

    Source: the wide ResNet of AutoAugment (Cubuk et al. 2019), which IEG
    (CVPR 2020) took over: no skip has weights, and besides the skip of each
    block one leads past each stage and one past all three. `wrn28-10` is the
    network of IEG's best CIFAR results: 36,220,634 parameters with 10 classes,
    36,278,324 with 100; `wrn28-2` has a fifth of its channels.
    """
    images = keras.Input(image_shape)
    stem = x = _conv(images, STEM_WIDTH, 1, 'stem_conv')
    for stage, strides in enumerate((1, 2, 2), start=1):
        width = STEM_WIDTH * factor * 2 ** (stage - 1)
        before = x
        for block in range(1, BLOCKS_PER_STAGE + 1):
            x = _block(
                x,
                width,
                strides if block == 1 else 1,
                f'stage{stage}_block{block}',
                activate_skip=(stage, block) == (1, 1),
            )
        x = _add(x, before, strides, f'stage{stage}')
    x = _add(x, stem, 4, 'all_stages')
    x = layers.global_mean(layers.bn_relu(x, 'last_bn'))
    bound = num_classes**-0.5
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        name='logits',
        dtype=keras.config.floatx(),
    )(x)
    return keras.Model(images, logits, name=f'wrn28-{factor}')


for _factor in (2, 10):
    NETWORKS.register(f'wrn28-{_factor}')(
        functools.partial(_wrn, factor=_factor)
    )


def _block(
    x: keras.KerasTensor,
    width: int,
    strides: int,
    name: str,
    activate_skip: bool,
) -> keras.KerasTensor:
    """Returns BN-ReLU-3x3 twice, plus a skip of x or of ReLU(BN(x))."""
    a = layers.bn_relu(x, f'{name}_bn1')
    skip = a if activate_skip else x
    a = _conv(a, width, strides, f'{name}_conv1')
    a = layers.bn_relu(a, f'{name}_bn2')
    a = _conv(a, width, 1, f'{name}_conv2')
    return _add(a, skip, strides, name)


def _conv(
    x: keras.KerasTensor, filters: int, strides: int, name: str
) -> keras.KerasTensor:
    """Convolves 3x3 without bias; kernels start N(0, 2 / (9 filters))."""
    stddev = (2 / (9 * filters)) ** 0.5
    return keras.layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding='same',
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
        name=name,
    )(x)


def _add(
    x: keras.KerasTensor, skip: keras.KerasTensor, strides: int, name: str
) -> keras.KerasTensor:
    """Adds to x the skip, pooled by `strides` and given as many channels.

    The new channels are zeros, half of them on either side.
    """
    if strides > 1:
        skip = keras.layers.AveragePooling2D(
            strides, padding='same', name=f'{name}_pool'
        )(skip)
    missing = x.shape[-1] - skip.shape[-1]
    if missing:
        skip = keras.ops.pad(
            skip, ((0, 0), (0, 0), (0, 0), (missing // 2, missing // 2))
        )
    return keras.layers.Add(name=f'{name}_add')([x, skip])
