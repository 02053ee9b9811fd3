"""What the files at a place are, before TensorFlow is there."""

import pytest

from ieg.data import whereabouts
from ieg.errors import UsageError


@pytest.mark.parametrize(
    ('made', 'asked', 'kind'),
    [
        ('photos/cat/1.JPG', 'photos', 'folder'),
        ('photos/train/cat/1.png', 'photos', 'folder'),
        ('labels.CSV', 'labels.CSV', 'csv'),
        ('digits.npz', 'digits.npz', 'npz'),
        ('folder.csv/cat/1.png', 'folder.csv', None),
        ('photos/1.jpg', 'photos', None),
        ('cifar10/3.0.2/features.json', '.', None),
        ('x', 'x', None),
        ('x', 'nowhere', None),
        ('x', 'nowhere.npz', None),
    ],
)
def test_the_kind_of_data(tmp_path, monkeypatch, made, asked, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / made).touch()
    if kind:
        assert whereabouts.kind(asked) == kind
        whereabouts.check(kind, asked)
    else:
        with pytest.raises(UsageError, match=asked):
            whereabouts.kind(asked)


@pytest.mark.parametrize('base', ['folder', 'csv', 'npz'])
def test_a_wrong_place(tmp_path, base):
    wrong = tmp_path / 'x'
    if base == 'folder':
        wrong.touch()
    else:
        wrong.mkdir()
    for path in (wrong, tmp_path / 'none', None):
        with pytest.raises(UsageError, match=str(path or '--data_dir')):
            whereabouts.check(base, path and str(path))
    whereabouts.check('digits', None)
