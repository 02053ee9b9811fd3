"""Two logical CPUs before TensorFlow starts, and one strategy for all tests.

A process can have one mirrored strategy only.
"""

import os

from ieg.main import import_tensorflow

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
import_tensorflow()  # First, and without its notes.

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

import ieg.experiment  # noqa: E402, F401
from ieg.training.distribution import make_strategy  # noqa: E402

TWO_REPLICAS = make_strategy('mirrored', num_replicas=2)


@pytest.fixture(params=[1, 2], ids=['1 replica', '2 replicas'])
def strategy(request):
    """The default strategy, then two replicas on two logical CPUs."""
    return TWO_REPLICAS if request.param == 2 else tf.distribute.get_strategy()


@pytest.fixture
def two_replicas():
    return TWO_REPLICAS


@pytest.fixture
def precision():
    """Returns a function that sets the precision until the test ends."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()

    def choose(new_policy, new_floatx='float32'):
        keras.config.set_floatx(new_floatx)
        keras.config.set_dtype_policy(new_policy)

    yield choose
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
