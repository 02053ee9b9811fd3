"""The networks for ImageNet-size images that Keras ships with weights.

`keras.applications` gives topology, layer names and weights. Two things are
changed:

- Normalization is fused and moves its statistics with momentum 0.9, with
  and without ImageNet weights: the references are PyTorch networks, whose
  default this is and which train every layer. Keras has 0.99.
- The head is that of the other networks: mean over space and logits in full
  precision.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import keras

from ieg.errors import UsageError
from ieg.networks import layers
from ieg.registry import NETWORKS


@dataclasses.dataclass(frozen=True)
class Application:
    """A network of `keras.applications`, with our normalization and head.

    Attributes:
        name: of the network.
        build: the function of `keras.applications`.
        pretrained_scaling: the scale on which its ImageNet weights expect RGB
            images: 'caffe' is 0 to 255 minus the means (123.68, 116.779,
            103.939), 'symmetric' is -1 to 1. Without those weights any scale
            will do.
        min_size: smallest height and width of an image, in pixels.
    """

    name: str
    build: Callable[..., keras.Model]
    pretrained_scaling: str
    min_size: int = 32

    def __call__(
        self,
        num_classes: int,
        image_shape: tuple[int, int, int],
        pretrained: bool = False,
    ) -> keras.Model:
        """Builds the network.

        Args:
            num_classes: number of logits.
            image_shape: (H, W, channels).
            pretrained: start from weights trained on ImageNet; the images must
                then be on the scale `pretrained_scaling`.

        Returns:
            model: images [b, H, W, channels] -> logits [b, num_classes].

        Raises:
            UsageError: the images are too small, or there are no ImageNet
                weights, for this number of channels or on this machine.
        """
        channels = image_shape[2]
        layers.require_size(self.name, image_shape, self.min_size)
        if pretrained and channels != 3:
            raise UsageError(
                f'the ImageNet weights of the network {self.name} take images '
                f'with 3 channels and these have {channels}; use '
                '--nopretrained.'
            )
        x = keras.Input(image_shape)
        if pretrained and self.pretrained_scaling == 'caffe':
            # The weights come from Caffe, which reads BGR.
            x = keras.ops.flip(x, axis=-1)
        if pretrained:
            base = _load_pretrained(self.build, x, self.name)
        else:
            base = self.build(include_top=False, weights=None, input_tensor=x)
        base = with_fused_normalization(base, image_shape, pretrained)
        return layers.classify(
            base.inputs[0], base.outputs[0], num_classes, self.name
        )


APPLICATIONS = (
    # For Clothing1M and Food-101N. The papers take torchvision's
    # post-activation ResNet-50 (v1.5), which differs: there the second
    # convolution of a block has the stride, not the first, and convolutions
    # have no bias. 23,555,082 parameters with 10 classes, 23,563,278 with 14.
    Application('resnet50', keras.applications.ResNet50, 'caffe'),
    # Pre-activation. Not quite the ResNet-50 of IEG's WebVision experiments,
    # which has no biases, the stride in the first block of a stage and momentum
    # 0.997. 23,539,850 parameters with 10 classes.
    Application('resnet50v2', keras.applications.ResNet50V2, 'symmetric'),
    # The papers train it on mini-WebVision. It has the scale of each
    # normalization that Keras leaves out and DivideMix (ICLR 2020) has; it
    # starts at 1. Of fewer pixels nothing is left after the last reduction.
    # 54,383,314 parameters with 50 classes.
    Application(
        'inception_resnet_v2',
        keras.applications.InceptionResNetV2,
        'symmetric',
        min_size=75,
    ),
    # Without normalization and without hidden dense layers. To train from
    # scratch take `vgg19_bn`. 20,029,514 parameters with 10 classes.
    Application('vgg19', keras.applications.VGG19, 'caffe'),
)
for _network in APPLICATIONS:
    NETWORKS.register(_network.name, takes=('pretrained',))(_network)
# The scale that the ImageNet weights of a network need.
PRETRAINED_SCALING = {n.name: n.pretrained_scaling for n in APPLICATIONS}


def _load_pretrained(
    build: Callable[..., keras.Model], x: keras.KerasTensor, name: str
) -> keras.Model:
    """Returns the network on the tensor x, with ImageNet weights.

    Raises:
        UsageError: they can be neither found nor downloaded.
    """
    file = f'{name}_weights_tf_dim_ordering_tf_kernels_notop.h5'
    try:
        return build(include_top=False, weights='imagenet', input_tensor=x)
    # Keras raises a bare Exception when a download fails.
    except Exception as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        home = os.environ.get('KERAS_HOME', os.path.join('~', '.keras'))
        raise UsageError(
            f'the ImageNet weights of the network {name} cannot be loaded '
            f'({reason}); connect to the internet, copy the file to '
            f'{os.path.join(home, "models", file)}, or use --nopretrained.'
        ) from error


def with_fused_normalization(
    base: keras.Model, image_shape: tuple[int, int, int], keep_weights: bool
) -> keras.Model:
    """Returns a copy of a network with `layers.FusedBatchNormalization`.

    Args:
        base: a network of `keras.applications`.
        image_shape: (H, W, channels).
        keep_weights: copy the weights too; otherwise they are drawn again.
    """
    pairs: list[tuple[Any, Any]] = []

    def copy(operation: Any) -> Any:
        config = operation.get_config()
        kind = type(operation).__name__.lower()
        # Names that Keras made up count the layers of the process.
        if operation.name.replace('_', '').startswith(kind):
            config['name'] = f'{kind}{len(pairs)}'
        if isinstance(operation, keras.layers.BatchNormalization):
            copied = layers.FusedBatchNormalization(
                epsilon=operation.epsilon, name=config['name']
            )
        else:
            copied = type(operation).from_config(config)
        pairs.append((operation, copied))
        return copied

    def call(operation: Any, *inputs: Any, **unused: Any) -> Any:
        # Keras' normalization is called with a mask, ours has none.
        del unused
        return operation(*inputs)

    copied = keras.models.clone_model(
        base,
        input_tensors=keras.tree.map_structure(
            lambda tensor: keras.Input(image_shape), base.input
        ),
        clone_function=copy,
        call_function=call,
    )
    for old, new in pairs if keep_weights else ():
        # The flip of the channels is no layer.
        if isinstance(old, keras.Layer):
            targets = {variable.name: variable for variable in new.variables}
            for variable in old.variables:
                targets[variable.name].assign(variable)
    return copied
