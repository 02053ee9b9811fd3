"""Old names of modules still work, with a warning."""

import importlib
import sys

import pytest

from ieg.utils.moved import MOVED

PLUGIN = """
from ieg.methods.base import Method
from ieg.registry import METHODS
from ieg.training import losses
from ieg.data.sources import Arrays
from ieg.data.views import VIEWS
import ieg.serving.classifier
"""


@pytest.fixture(autouse=True)
def forgotten():
    """Imports under old names happen anew, and leave nothing behind."""
    for name in MOVED:
        sys.modules.pop(name, None)
    yield
    for name in MOVED:
        sys.modules.pop(name, None)


@pytest.mark.parametrize('old', sorted(MOVED))
def test_an_old_name_is_the_new_module_with_a_warning(old):
    with pytest.warns(DeprecationWarning) as caught:
        module = importlib.import_module(old)
    assert MOVED[old] in str(caught[-1].message)
    new = importlib.import_module(MOVED[old])
    public = {n: v for n, v in vars(new).items() if not n.startswith('_')}
    assert public.items() <= vars(module).items()
    assert new.__spec__.name == new.__name__ == MOVED[old]


def test_a_plugin_of_the_last_release_imports(tmp_path, monkeypatch):
    (tmp_path / 'old_plugin.py').write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(DeprecationWarning) as caught:
        plugin = importlib.import_module('old_plugin')
    # The warning names the line that the plugin's author has to change.
    assert {w.filename for w in caught} >= {str(tmp_path / 'old_plugin.py')}
    from ieg.data.augment.views import VIEWS
    from ieg.data.dataset import Arrays

    assert plugin.Arrays is Arrays and plugin.VIEWS is VIEWS


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('ieg.training.nothing')
