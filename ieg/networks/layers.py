"""What the networks share: normalization, initializers, a check of sizes."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ieg.errors import UsageError
from ieg.ops import random as random_ops


def require_size(
    name: str,
    image_shape: tuple[int, int, int],
    min_size: int,
    instead: str = 'cnn',
) -> None:
    """Checks that a network has something left of an image at its end.

    Args:
        name: of the network.
        image_shape: (H, W, channels).
        min_size: fewest pixels of a side.
        instead: a network that takes smaller images.

    Raises:
        UsageError: a side has fewer.
    """
    height, width = image_shape[:2]
    if min(height, width) < min_size:
        raise UsageError(
            f'the network {name} needs images of at least {min_size}x'
            f'{min_size} pixels and these have {height}x{width}; use '
            f'--network_name={instead}.'
        )


def nested(network: keras.Model) -> list[keras.Layer]:
    """Returns the layers of a network in order, those of inner models too."""
    found: list[keras.Layer] = []
    for layer in network.layers:
        found.append(layer)
        if hasattr(layer, 'layers'):
            found += nested(layer)
    return found


@keras.saving.register_keras_serializable(package='ieg')
class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalization of images by TensorFlow's fused kernel.

    Keras 3 spells the formula out, which is up to twice as slow. Other
    differences: the moving variance takes the unbiased batch variance, as in
    PyTorch and TensorFlow 1, and the defaults are those of the references.

    Under `tf.distribute` each replica normalizes with its own batch and
    updates its own copy of the moving statistics, like the Keras layer.

    Args:
        momentum: share of the old moving statistics that an update keeps.
        epsilon: added to the variance.
    """

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the four vectors [C], never below float32."""

        def vector(
            name: str, initializer: str, trainable: bool
        ) -> keras.Variable:
            return self.add_weight(
                shape=(input_shape[-1],),
                name=name,
                initializer=initializer,
                trainable=trainable,
                autocast=False,
            )

        self.gamma = vector('gamma', 'ones', True)
        self.beta = vector('beta', 'zeros', True)
        self.moving_mean = vector('moving_mean', 'zeros', False)
        self.moving_variance = vector('moving_variance', 'ones', False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the normalized images [b, H, W, C], in their own dtype."""
        training = bool(training and self.trainable)
        # The fused op has no float64 kernel.
        normalize = _plain if inputs.dtype == tf.float64 else _fused
        outputs, mean, variance = normalize(
            inputs,
            tf.convert_to_tensor(self.gamma),
            tf.convert_to_tensor(self.beta),
            tf.convert_to_tensor(self.moving_mean),
            tf.convert_to_tensor(self.moving_variance),
            self.epsilon,
            training,
        )
        if training:
            for moving, batch in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                batch = tf.stop_gradient(batch)
                moved = moving * self.momentum + batch * (1.0 - self.momentum)
                # One bad batch would spoil inference for good.
                moving.assign(tf.where(tf.math.is_finite(batch), moved, moving))
        return outputs

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the images, unchanged."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            'momentum': self.momentum,
            'epsilon': self.epsilon,
        }


# Outputs, mean and variance; or gradients by x, gamma and beta.
Triple = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def _fused(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
    training: bool,
) -> Triple:
    """Normalizes by one op; float32 and, with float32 vectors, bfloat16.

    Forward mode (`tf.autodiff.ForwardAccumulator`) and double
    back-propagation through the op are right; see
    tests/networks/test_layers.py.
    The public `tf.compat.v1.nn.fused_batch_norm` would silently raise an
    epsilon of 1e-5 to 1.001e-5.

    Returns:
        outputs [b, H, W, C] and, when training, the mean [C] and the
        unbiased variance [C] of the batch.
    """
    if training:
        return _fused_training(x, gamma, beta, epsilon)
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=False,
    )[:3]


def _fused_training(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> Triple:
    """Normalizes with the statistics of the batch.

    The gradients are TensorFlow's. The gradient of the gradient, which meta-
    learning needs, is not: TensorFlow spells it out in some twenty passes over
    the images, where most of it is the fused gradient once more.
    """

    @tf.custom_gradient
    def normalize(
        x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor
    ) -> tuple[Triple, Callable[..., Sequence[tf.Tensor]]]:
        empty = tf.zeros([0], gamma.dtype)
        outputs, mean, variance, *saved = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=gamma,
            offset=beta,
            mean=empty,
            variance=empty,
            epsilon=epsilon,
            is_training=True,
        )

        def gradient(
            upstream: tf.Tensor, *unused: tf.Tensor
        ) -> Sequence[tf.Tensor]:
            # Statistics carry no gradient.
            del unused
            backward = _fused_gradient(mean, variance, saved, epsilon)
            return backward(upstream, x, gamma)

        return (outputs, mean, variance), gradient

    return normalize(x, gamma, beta)


def _fused_gradient(
    mean: tf.Tensor,
    variance: tf.Tensor,
    saved: Sequence[tf.Tensor],
    epsilon: float,
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Triple]:
    """Returns the gradient of `_fused_training` as a function."""

    def fused(upstream: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor) -> Triple:
        return tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=upstream,
            x=x,
            scale=gamma,
            reserve_space_1=saved[0],
            reserve_space_2=saved[1],
            reserve_space_3=saved[2],
            epsilon=epsilon,
            is_training=True,
        )[:3]

    @tf.custom_gradient
    def backward(
        upstream: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor
    ) -> tuple[Triple, Callable[..., list[tf.Tensor]]]:
        def gradient(
            d_x: tf.Tensor, d_gamma: tf.Tensor, d_beta: tf.Tensor
        ) -> list[tf.Tensor]:
            # The gradient by x is linear in `upstream`, and symmetric.
            count = tf.cast(tf.size(x) / tf.size(mean), mean.dtype)
            biased = variance * tf.maximum(count - 1.0, 1.0) / count
            scale = d_gamma * tf.math.rsqrt(biased + epsilon)
            direct = fused(d_x, x, gamma)[0]
            direct += x * tf.cast(scale, x.dtype)
            direct += tf.cast(d_beta - mean * scale, x.dtype)
            with tf.GradientTape() as tape:
                tape.watch([x, gamma])
                spelled_out = _plain_gradient(upstream, x, gamma, epsilon)
            others = tape.gradient(
                spelled_out, [x, gamma], [d_x, d_gamma, d_beta]
            )
            return [direct, *others]

        return fused(upstream, x, gamma), gradient

    return backward


def _plain_gradient(
    upstream: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, epsilon: float
) -> Triple:
    """Returns the gradients by x, gamma and beta by elementary ops."""
    upstream = tf.cast(upstream, gamma.dtype)
    mean, variance = tf.nn.moments(tf.cast(x, gamma.dtype), [0, 1, 2])
    inverse = tf.math.rsqrt(variance + epsilon)
    normal = (tf.cast(x, gamma.dtype) - mean) * inverse
    d_gamma = tf.reduce_sum(upstream * normal, [0, 1, 2])
    d_beta = tf.reduce_sum(upstream, [0, 1, 2])
    count = tf.cast(tf.size(x) / tf.size(mean), gamma.dtype)
    d_x = upstream - (d_beta + normal * d_gamma) / count
    return tf.cast(gamma * inverse * d_x, x.dtype), d_gamma, d_beta


def _plain(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
    training: bool,
) -> Triple:
    """Does the same as `_fused` by elementary ops, in any precision."""
    unbiased = variance
    if training:
        mean, variance = tf.nn.moments(x, [0, 1, 2])
        count = tf.cast(tf.size(x) / tf.size(mean), x.dtype)
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return (x - mean) * scale + beta, mean, unbiased


def bn_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Returns ReLU(BN(x)), [b, H, W, C]."""
    x = FusedBatchNormalization(name=name)(x)
    return keras.layers.ReLU(name=f'{name}_relu')(x)


@keras.saving.register_keras_serializable(package='ieg')
class ChannelDropout(keras.layers.Layer):
    """Dropout of whole channels, other ones for each image and replica.

    Keras' SpatialDropout2D draws the same mask on every replica, and other
    masks with XLA than without.

    Args:
        rate: probability that a channel is zeroed; the others are divided by
            1 - rate.
        always: drop in inference too.
    """

    def __init__(self, rate: float, always: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = rate
        self.always = always
        self.input_spec = keras.layers.InputSpec(ndim=4)
        # Without a name the paths would count the generators of the process.
        self.seed_generator = keras.random.SeedGenerator(
            name=f'{self.name}_seed'
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns images [b, H, W, C] with some channels zeroed."""
        if not (training or self.always):
            return inputs
        # Keras counts in int64 because of where TensorFlow places variables.
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        context = tf.distribute.get_replica_context()
        # There is none under the scope of a strategy outside of its `run`.
        replica = 0 if context is None else context.replica_id_in_sync_group
        shape = tf.shape(inputs)
        numbers = random_ops.uniform(
            [shape[0], 1, 1, shape[3]], random_ops.fold_in(seed, replica)
        )
        kept = tf.cast(numbers >= self.rate, inputs.dtype)
        return inputs * (kept / (1.0 - self.rate))

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the images, unchanged."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            'rate': self.rate,
            'always': self.always,
        }


def torch_uniform(fan_in: int) -> keras.initializers.Initializer:
    """PyTorch's default for kernels and biases: uniform, +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5
    return keras.initializers.RandomUniform(-bound, bound)


def torch_conv(
    x: keras.KerasTensor,
    filters: int,
    size: int,
    name: str,
    strides: int = 1,
    padding: int = 0,
    use_bias: bool = False,
) -> keras.KerasTensor:
    """Convolves like PyTorch: its padding and its initial weights.

    Args:
        x: images [b, H, W, C].
        filters: number of output channels.
        size: height and width of the kernel.
        name: name of the layer.
        strides: step in both directions.
        padding: rows and columns of zeros added on *every* side.
            TensorFlow's 'same' would pad a 3x3 convolution with stride 2 at
            the bottom and on the right only, which gives other numbers.
        use_bias: whether to add a bias.

    Returns:
        images [b, H', W', filters].
    """
    if size == 1 and strides > 1:
        x, strides = subsample(x, strides, f'{name}_subsample'), 1
    same = padding == size // 2 and strides == 1
    if padding and not same:
        x = keras.layers.ZeroPadding2D(padding, name=f'{name}_pad')(x)
    fan_in = size * size * x.shape[-1]
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding='same' if same else 'valid',
        use_bias=use_bias,
        kernel_initializer=torch_uniform(fan_in),
        bias_initializer=torch_uniform(fan_in),
        name=name,
    )(x)


def subsample(
    x: keras.KerasTensor, strides: int, name: str
) -> keras.KerasTensor:
    """Keeps every `strides`-th row and column of images [b, H, W, C].

    Before a 1x1 convolution this replaces its stride. TensorFlow 2.21 with
    oneDNN returns a wrong kernel gradient for a strided 1x1 convolution of
    few channels (4 on AVX2).
    """
    return keras.layers.AveragePooling2D(1, strides=strides, name=name)(x)


def torch_dense(
    x: keras.KerasTensor, units: int, name: str, dtype: str | None = None
) -> keras.KerasTensor:
    """Returns x [b, n] times a matrix plus a bias, initialized as PyTorch.

    Args:
        x: features [b, n].
        units: number of outputs.
        name: name of the layer.
        dtype: precision of the layer; None means the global policy.
    """
    fan_in = x.shape[-1]
    return keras.layers.Dense(
        units,
        kernel_initializer=torch_uniform(fan_in),
        bias_initializer=torch_uniform(fan_in),
        name=name,
        dtype=dtype,
    )(x)


def global_mean(x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the mean over space [b, C] of images [b, H, W, C].

    It belongs to the head, so it is computed in full precision.
    """
    return keras.layers.GlobalAveragePooling2D(
        name='mean', dtype=keras.config.floatx()
    )(x)


def classify(
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    num_classes: int,
    name: str,
) -> keras.Model:
    """Returns the network with a dense layer on the mean over space.

    Args:
        images: its input.
        features: [b, H', W', channels] made of them.
        num_classes: number of logits.
        name: of the network.
    """
    logits = torch_dense(
        global_mean(features),
        num_classes,
        'logits',
        dtype=keras.config.floatx(),
    )
    return keras.Model(images, logits, name=name)
