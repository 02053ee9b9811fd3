"""What a run sets in its process."""

import keras
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled


def process_state():
    """Returns what a run sets in its process and later tests would inherit."""
    return {
        'policy': keras.config.dtype_policy().name,
        'format of images': keras.config.image_data_format(),
        'floatx': keras.config.floatx(),
        'graph optimizer': tf.config.optimizer.get_experimental_options(),
        'deterministic': is_op_determinism_enabled(),
    }
