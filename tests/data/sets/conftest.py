"""Folders of images, for all readers of them."""

import pytest
from own_files import write


@pytest.fixture
def pets(tmp_path):
    """Two classes with an image each."""
    write(tmp_path, 'cat/1.jpg', 'dog/1.jpg')
    return tmp_path


@pytest.fixture
def split(tmp_path):
    """Two classes in a training and a test part."""
    write(
        tmp_path,
        *('train/cat/1.jpg', 'train/cat/2.jpg', 'train/dog/3.jpg'),
        *('test/cat/4.jpg', 'test/dog/5.jpg'),
    )
    return tmp_path
