"""Sums of tensors in one order, so that equal runs give equal numbers."""

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import backprop


def fix_order() -> None:
    """Makes this process add tensors two at a time, from now on.

    TensorFlow's `AddN` of three or more begins with whichever one's memory is
    free, which depends on the timing of threads, deterministic kernels or not.
    It stands where a gradient tape meets a tensor that was used three times
    (once and in two ways by a convolution, under forward mode through a
    residual network), and where the graph optimizer merges additions. There
    is no public switch for the former.
    """
    tf.config.optimizer.set_experimental_options(
        {'arithmetic_optimization': False}
    )
    space = backprop._default_vspace._replace(aggregate_fn=_aggregate)
    pywrap_tfe.TFE_Py_RegisterVSpace(space)


def _aggregate(gradients: Sequence[Any]) -> Any:
    """Returns the sum of what a tape found for one tensor."""
    if all(isinstance(gradient, tf.Tensor) for gradient in gradients):
        return functools.reduce(tf.add, gradients)
    return backprop._aggregate_grads(gradients)
