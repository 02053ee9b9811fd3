"""Names of networks of others, without TensorFlow."""

import pytest

from ieg.errors import UsageError
from ieg.registry import NETWORKS
from ieg.utils import sources


@pytest.mark.parametrize(
    ('name', 'label', 'recorded'),
    [
        ('cnn', 'cnn', 'cnn'),
        ('my/net v2.keras', 'net-v2', 'network/net v2.keras'),
        ('hf://keras/vit', 'vit', 'hf://keras/vit'),
        ('nets:small', 'nets-small', 'nets:small'),
        ('__main__:a.<locals>.b', '__main__-a.-locals-.b', None),
    ],
)
def test_a_run_has_its_name(name, label, recorded):
    assert sources.label(name) == label
    assert sources.recorded(name) == (recorded or name)


@pytest.mark.parametrize(
    ('name', 'word'),
    [
        ('nowhere/net.keras', 'nowhere/net.keras does not exist'),
        ('./net.h5', 'net.h5 does not exist'),
        ('nets:', 'module:function'),
        ('a b:c', 'module:function'),
        ('hf://vit', 'hf://ORG/REPO'),
        ('https://a/b.keras', 'https'),
        ('cn', "'cnn'.*FILE.keras, hf://ORG/REPO, module:function"),
    ],
)
def test_an_impossible_name_is_one_sentence(name, word):
    with pytest.raises(UsageError, match=word):
        NETWORKS.check(name)


def test_a_file_must_be_one_of_keras(tmp_path):
    path = tmp_path / 'net.h5'
    path.write_bytes(b'')
    with pytest.raises(UsageError, match=r'--network_name=.*\.keras'):
        NETWORKS.check(str(path))


def test_a_copy_is_found_in_its_folder(tmp_path):
    (tmp_path / 'network').mkdir()
    path = tmp_path / 'network' / 'net.keras'
    path.write_bytes(b'')
    folder = str(tmp_path)
    assert sources.found('network/net.keras', folder) == str(path)
    for name in ('network/other.keras', 'cnn'):
        assert sources.found(name, folder) == name
