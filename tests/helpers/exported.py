"""What exported models say of images."""

import warnings

import numpy as np
import tensorflow as tf


def said(model, images):
    return np.asarray(model(images))


def lite(path, images):
    """Returns what a LiteRT model says of images."""
    with warnings.catch_warnings():
        # TensorFlow's own reader, which only the tests use.
        warnings.filterwarnings('ignore', '.*tf.lite.Interpreter')
        reader = tf.lite.Interpreter(str(path))
    (entry,), (exit_,) = reader.get_input_details(), reader.get_output_details()
    assert entry['dtype'] == np.uint8
    reader.resize_tensor_input(entry['index'], images.shape)
    reader.allocate_tensors()
    reader.set_tensor(entry['index'], images)
    reader.invoke()
    return reader.get_tensor(exit_['index'])
