"""Trains image classifiers on noisy labels, and reports wrong labels."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from ieg.utils import moved

if TYPE_CHECKING:
    from ieg.estimator import NoisyLabelClassifier
    from ieg.label_issues.find import find_label_issues
    from ieg.label_issues.listing import read_issues
    from ieg.tracker import LabelTracker

__all__ = [
    'LabelTracker',
    'NoisyLabelClassifier',
    'find_label_issues',
    'read_issues',
]

# TensorFlow reads it on import. oneDNN doubles the speed of training on CPUs,
# but is off by default on CPUs with AVX2 only.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

__version__ = '0.1.0'

# Where they are. Only the estimator needs TensorFlow.
_MODULES = {
    'LabelTracker': 'ieg.tracker',
    'NoisyLabelClassifier': 'ieg.estimator',
    'find_label_issues': 'ieg.label_issues.find',
    'read_issues': 'ieg.label_issues.listing',
}


moved.install()


def __getattr__(name: str) -> Any:
    """Imports what is heavy when it is asked for."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == 'keras':
        return importlib.import_module('ieg.integrations.keras')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
