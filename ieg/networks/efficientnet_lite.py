"""EfficientNet-Lite: EfficientNet without squeeze-excitation, with ReLU6.

Source: the models that TensorFlow's TPU repository published in 2020. Only for
fixed weights: a normalization with fixed statistics is a linear map of each
channel, so it is part of the convolution before it, and the network has none.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

EPSILON = 1e-3
# Channels of the first and the last map, whatever the size.
_STEM, WIDTH = 32, 1280


class Stage(NamedTuple):
    """Blocks that share a resolution.

    Attributes:
        blocks: how many, at depth 1.
        kernel: side of the depthwise kernel.
        stride: of the first block.
        expansion: channels within a block, as a multiple of its input's.
        filters: channels after each block, at width 1.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


@dataclasses.dataclass(frozen=True)
class Size:
    """One of the sizes of the network.

    Attributes:
        side: of its images, in pixels.
        width: multiple of the channels.
        depth: multiple of the blocks.
    """

    side: int
    width: float
    depth: float


SIZES = {
    'lite0': Size(224, 1.0, 1.0),
    'lite1': Size(240, 1.0, 1.1),
    'lite2': Size(260, 1.1, 1.2),
}


def efficientnet_lite(size: Size) -> keras.Model:
    """Builds the network up to its features, in float32.

    Layers have the names of the PyTorch package `efficientnet-lite-pytorch`,
    without their dots and leading underscores.

    Args:
        size: an entry of `SIZES`.

    Returns:
        model: images of 0 to 255 [b, side, side, 3] -> the mean over space of
        the last map [b, 1280].
    """
    images = keras.Input((size.side, size.side, 3), name='images')
    x = keras.layers.Rescaling(1 / 127.5, -1.0, dtype='float32')(images)
    x = _convolution(x, _STEM, 3, 2, 'conv_stem', relu=True)
    number = 0
    for stage in _STAGES:
        for index in range(_blocks(stage, size)):
            filters = _filters(stage, size)
            stride = stage.stride if index == 0 else 1
            x = _block(x, stage, filters, stride, f'blocks{number}')
            number += 1
    x = _convolution(x, WIDTH, 1, 1, 'conv_head', relu=True)
    x = keras.layers.GlobalAveragePooling2D(name='features', dtype='float32')(x)
    return keras.Model(images, x, name='backbone')


def _blocks(stage: Stage, size: Size) -> int:
    # Those of the first and the last stage are the same in all sizes.
    if stage in (_STAGES[0], _STAGES[-1]):
        return stage.blocks
    return math.ceil(stage.blocks * size.depth)


def _filters(stage: Stage, size: Size) -> int:
    """Returns a multiple of 8 that is not below 0.9 of the scaled number."""
    wanted = stage.filters * size.width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _block(
    x: keras.KerasTensor, stage: Stage, filters: int, stride: int, name: str
) -> keras.KerasTensor:
    """Expands, filters each channel, projects, and adds where shapes agree."""
    before = x
    if stage.expansion > 1:
        inner = x.shape[-1] * stage.expansion
        x = _convolution(x, inner, 1, 1, f'{name}_expand_conv', relu=True)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding='same',
        activation='relu6',
        name=f'{name}_depthwise_conv',
        dtype='float32',
    )(x)
    x = _convolution(x, filters, 1, 1, f'{name}_project_conv', relu=False)
    if before.shape == x.shape:
        x = keras.layers.Add(name=f'{name}_add', dtype='float32')([x, before])
    return x


def _convolution(
    x: keras.KerasTensor,
    filters: int,
    kernel: int,
    stride: int,
    name: str,
    relu: bool,
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        filters,
        kernel,
        stride,
        padding='same',
        activation='relu6' if relu else None,
        name=name,
        dtype='float32',
    )(x)


def assign(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Gives a model the weights of the PyTorch package.

    Args:
        model: of `efficientnet_lite`.
        tensors: `_conv_stem.weight` etc., [out, in, height, width], and the
            four vectors of each normalization. What comes after the features
            is not used.

    Raises:
        KeyError: one is missing.
        ValueError: one has another shape.
    """
    for layer in model.layers:
        if not layer.weights:
            continue
        convolution, normalization = _torch_names(layer.name)
        kernel = tensors[f'{convolution}.weight'].astype(np.float64)
        scale, offset, mean, variance = (
            tensors[f'{normalization}.{part}'].astype(np.float64)
            for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        scale /= np.sqrt(variance + EPSILON)
        kernel = (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0)
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = kernel.swapaxes(2, 3)
        layer.set_weights([kernel, offset - mean * scale])


def _torch_names(layer: str) -> tuple[str, str]:
    """Returns the names of a convolution and of the normalization after it."""
    if layer in ('conv_stem', 'conv_head'):
        return f'_{layer}', '_bn0' if layer == 'conv_stem' else '_bn1'
    block, _, kind = layer.partition('_')
    prefix = f'_blocks.{block.removeprefix("blocks")}.'
    order = ('expand_conv', 'depthwise_conv', 'project_conv')
    return f'{prefix}_{kind}', f'{prefix}_bn{order.index(kind)}'
