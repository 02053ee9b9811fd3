"""Old names of modules, which plugins may still import in this release."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Sequence

# The old name of a module -> where its contents are now.
MOVED = {
    'ieg.data.autoaugment': 'ieg.data.augment.policies',
    'ieg.data.image_ops': 'ieg.data.augment.image_ops',
    'ieg.data.sources': 'ieg.data.dataset',
    'ieg.data.views': 'ieg.data.augment.views',
    'ieg.draws': 'ieg.ops.random',
    'ieg.methods.contracts': 'ieg.methods.base',
    'ieg.randomness': 'ieg.utils.randomness',
    'ieg.serving': 'ieg.predict',
    'ieg.serving.classifier': 'ieg.predict.model',
    'ieg.training.confusion': 'ieg.ops.metrics',
    'ieg.training.keep': 'ieg.methods.keep_schedules',
    'ieg.training.losses': 'ieg.ops.losses',
    'ieg.training.meta': 'ieg.ops.meta',
    'ieg.training.metrics': 'ieg.ops.metrics',
    'ieg.training.mixture': 'ieg.ops.mixture',
    'ieg.training.optim': 'ieg.ops.optim',
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name and warns of it."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns how to import an old name, None for all other names."""
        if fullname not in MOVED:
            return None
        is_package = any(name.startswith(f'{fullname}.') for name in MOVED)
        return importlib.machinery.ModuleSpec(
            fullname, self, is_package=is_package
        )

    def exec_module(self, module: types.ModuleType) -> None:
        """Fills a module with the contents of the one that replaces it."""
        new = MOVED[module.__name__]
        warnings.warn(
            f'{module.__name__} is now {new}; the old name will be removed in '
            'the next release.',
            DeprecationWarning,
            stacklevel=2,
        )
        contents = vars(importlib.import_module(new))
        vars(module).update(
            (name, value)
            for name, value in contents.items()
            if not name.startswith('__')
        )


def install() -> None:
    """Makes old names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
