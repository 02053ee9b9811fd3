"""A layer that shows whole images of one size to a network of another size."""

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package='ieg')
class WholeImage(keras.layers.Layer):
    """Scales images to a square of three channels, bilinear and smoothed.

    Two products with constant matrices, which every runtime has, and which
    give the weights that Pillow gives.

    Args:
        side: of the square, S.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**{'dtype': 'float32', 'trainable': False, **kwargs})
        self.side = side

    def build(self, input_shape: Any) -> None:
        """Computes the matrices for images [b, H, W, channels]."""
        _, height, width, _ = input_shape
        self._rows = _weights(height, self.side)
        self._columns = _weights(width, self.side)
        self.built = True

    def call(self, images: Any) -> Any:
        """Returns float32 [b, S, S, 3] of images [b, H, W, 1 or 3]."""
        x = keras.ops.cast(images, 'float32')
        # [b, channels, H, W]
        x = keras.ops.transpose(x, (0, 3, 1, 2))
        x = keras.ops.matmul(x, self._columns.T)
        x = keras.ops.matmul(self._rows, x)
        x = keras.ops.transpose(x, (0, 2, 3, 1))
        return keras.ops.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Returns the shape of the result."""
        return (input_shape[0], self.side, self.side, 3)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), 'side': self.side}


def _weights(length: int, side: int) -> np.ndarray:
    """Returns the share of each pixel in each scaled one, [side, length]."""
    step = length / side
    centres = (np.arange(side) + 0.5)[:, np.newaxis] * step
    away = np.abs(np.arange(length) + 0.5 - centres)
    # What grows is interpolated between neighbours.
    weights = np.maximum(0.0, 1.0 - away / max(step, 1.0))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)
