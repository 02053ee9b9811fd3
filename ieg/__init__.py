"""Trains image classifiers on noisy labels, and reports wrong labels."""

import os
from typing import Any

from ieg.utils import moved

# TensorFlow reads it on import. oneDNN doubles the speed of training on CPUs,
# but is off by default on CPUs with AVX2 only.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

__version__ = '0.1.0'


moved.install()


def __getattr__(name: str) -> Any:
    """Imports what is heavy when it is asked for."""
    if name == 'NoisyLabelClassifier':
        from ieg.estimator import NoisyLabelClassifier

        return NoisyLabelClassifier
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
