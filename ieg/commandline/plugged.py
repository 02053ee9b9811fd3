"""The options and names that there are, with those of plugins.

Without plugins, TensorFlow is not imported for it.
"""

import importlib
import os
from collections.abc import Sequence

from ieg.commandline import catalog
from ieg.commandline.catalog import Catalog
from ieg.utils import cli
from ieg.utils.plugins import names as imported
from ieg.utils.plugins import recorded


def known(argv: Sequence[str]) -> Catalog:
    """Returns the options and names for a command line.

    Args:
        argv: the name of the command, and its arguments. The plugins that it
            names are imported.

    Raises:
        UsageError: a plugin cannot be imported, or its options are impossible.
    """
    imported.clear()
    modules = _plugins(argv)
    if not modules:
        catalog.announce(catalog.shipped())
        return catalog.shipped()
    import_methods()
    for module in modules:
        cli.import_plugin(module)
    return catalog.current()


def import_methods() -> None:
    """Imports TensorFlow, and everything that registers a name."""
    cli.import_tensorflow()
    importlib.import_module('ieg.experiment')


def _plugins(argv: Sequence[str]) -> list[str]:
    """Returns the modules in --plugin, before any flag is defined.

    Without it, those that a run has recorded which --config or --run names.
    """
    given: dict[str, list[str]] = {'plugin': [], 'config': [], 'run': []}
    for place, text in enumerate(argv):
        name, equals, value = text.lstrip('-').partition('=')
        if text.startswith('-') and name in given:
            follows = argv[place + 1 : place + 2]
            given[name].append(value if equals else ''.join(follows))
    paths = given['config'] + [
        os.path.join(os.path.expanduser(folder), 'config.json')
        for folder in given['run']
    ]
    modules = given['plugin'] or map(recorded, paths[-1:])
    return [name for text in modules for name in text.split(',') if name]
