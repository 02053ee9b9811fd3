"""Every network on small images."""

import numpy as np

from ieg.networks import create_network

IMAGE_SHAPES = {
    'lenet': (28, 28, 1),
    'cnn9': (32, 32, 3),
    'cnn': (8, 8, 1),
    'preact_resnet18': (32, 32, 3),
    'resnet18': (32, 32, 3),
    'resnet18-same': (32, 32, 3),
    'resnet34': (32, 32, 3),
    'resnet34-same': (32, 32, 3),
    'resnet29': (32, 32, 3),
    'resnet29-reference': (32, 32, 3),
    'wrn28-2': (32, 32, 3),
    'wrn28-10': (32, 32, 3),
    # These have a file of their own, test_applications.py.
    'alexnet': (32, 32, 3),
    'inception_resnet_v2': (75, 75, 3),
    'resnet50': (32, 32, 3),
    'resnet50v2': (32, 32, 3),
    'vgg19': (32, 32, 3),
    'vgg19_bn': (32, 32, 3),
}
NARROW = (4, 8, 16, 32)


def create(name, num_classes=10, **options):
    return create_network(name, num_classes, IMAGE_SHAPES[name], **options)


def images_for(name, batch=3):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (batch, *IMAGE_SHAPES[name])).astype('float32')
