"""Models of keras-hub that are quick to compute."""


def small_resnet():
    """Returns a ResNet with a single block."""
    import keras_hub

    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type='basic_block',
    )
