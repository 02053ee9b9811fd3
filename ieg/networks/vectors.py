"""Networks for vectors: a linear one, and one hidden layer."""

import keras

from ieg.networks import layers
from ieg.registry import NETWORKS

# Those that take vectors [b, d], and no images.
NAMES = ('linear', 'mlp')
WIDTH, DROPOUT = 512, 0.5


@NETWORKS.register('linear')
def linear(num_classes: int, shape: tuple[int, ...]) -> keras.Model:
    """Builds one dense layer: multinomial logistic regression."""
    vectors = keras.Input(shape)
    logits = layers.torch_dense(
        vectors, num_classes, 'logits', dtype=keras.config.floatx()
    )
    return keras.Model(vectors, logits, name='linear')


@NETWORKS.register('mlp')
def mlp(num_classes: int, shape: tuple[int, ...]) -> keras.Model:
    """Builds a hidden layer of 512 units with BN, ReLU and dropout of half."""
    vectors = keras.Input(shape)
    x = layers.torch_dense(vectors, WIDTH, 'hidden')
    # The layers of images see one pixel.
    x = keras.layers.Reshape((1, 1, WIDTH), name='pixel')(x)
    x = layers.bn_relu(x, 'bn')
    x = layers.ChannelDropout(DROPOUT, name='dropout')(x)
    return layers.classify(vectors, x, num_classes, 'mlp')
