"""Compiled functions that are made again and again of the same code."""

from typing import Any


def expected(function: Any) -> Any:
    """Returns a `tf.function` that may be one of many of the same code.

    TensorFlow counts traces by code and advises against many on standard error,
    but each step, split, fold, model and backbone has its own. The attribute
    has no effect where TensorFlow does not know it.
    """
    function._omit_frequent_tracing_warning = True
    return function
