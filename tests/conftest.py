"""Two logical CPUs before TensorFlow starts, and one strategy for all tests.

A process can have one mirrored strategy only.
"""

import os
import signal

from ieg.utils.cli import import_tensorflow

# Test processes share the cores; more threads would only wait for each other.
os.environ.setdefault('TF_NUM_INTRAOP_THREADS', '1')
os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores it for a command in the background, whose processes
    # inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
import_tensorflow()  # First, and without its notes.

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import small_network  # noqa: E402
import tensorflow as tf  # noqa: E402
from process import process_state  # noqa: E402

import ieg.experiment  # noqa: E402, F401
from ieg.data.augment import views  # noqa: E402
from ieg.registry import KEEP_SCHEDULES, NETWORKS  # noqa: E402
from ieg.training.devices import make_strategy, restoring  # noqa: E402

pytest_plugins = ['no_skips']
TWO_REPLICAS = make_strategy('mirrored', num_replicas=2)


@pytest.fixture(params=[1, 2], ids=['1 replica', '2 replicas'])
def strategy(request):
    """The default strategy, then two replicas on two logical CPUs."""
    return TWO_REPLICAS if request.param == 2 else tf.distribute.get_strategy()


@pytest.fixture
def two_replicas():
    return TWO_REPLICAS


def check_process():
    before = process_state()
    yield
    assert process_state() == before


# Fail a test that leaves the process in another state, and a module whose
# fixtures do.
nothing_leaks = pytest.fixture(autouse=True)(check_process)
no_fixture_leaks = pytest.fixture(autouse=True, scope='module')(check_process)


@pytest.fixture
def restored():
    """Restores what a test sets in its process, by `experiment.build`, say."""
    with restoring():
        yield


@pytest.fixture(scope='session')
def bfloat16():
    """Skips a test where oneDNN is kept from its instructions for bfloat16.

    TensorFlow chooses oneDNN by the processor and does not know of this
    variable; on a processor without them it does not choose oneDNN.
    """
    if 'AVX512' not in os.environ.get('ONEDNN_MAX_CPU_ISA', 'AVX512'):
        pytest.skip('ONEDNN_MAX_CPU_ISA leaves oneDNN without bfloat16')


@pytest.fixture
def precision(restored, request):
    """Returns a function that sets the precision until the test ends."""

    def choose(new_policy, new_floatx='float32'):
        if 'bfloat16' in new_policy:
            request.getfixturevalue('bfloat16')
        keras.config.set_floatx(new_floatx)
        keras.config.set_dtype_policy(new_policy)

    return choose


@pytest.fixture
def double(precision):
    precision('float64', 'float64')


@pytest.fixture
def constant_rate(monkeypatch):
    """Registers a keep schedule that is one number."""
    monkeypatch.setitem(
        KEEP_SCHEDULES._entries,
        'constant',
        lambda schedule, epochs, total: np.full(total, schedule.numbers[0]),
    )


@pytest.fixture(scope='module')
def tiny():
    """Registers a network that is quick to compile and returns its name.

    One convolution and BatchNorm, which is enough for the data set `fake`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS._entries, 'tiny', small_network.build)
        yield 'tiny'


@pytest.fixture
def op_by_op():
    """Returns a function that computes a view without XLA."""

    def compute(*args):
        tf.config.run_functions_eagerly(True)
        try:
            return views.VIEWS[args[0]](*args[1:])
        finally:
            tf.config.run_functions_eagerly(False)

    return compute
