"""What is recorded of plugins."""

import os

import pytest

from ieg.utils import plugins


@pytest.mark.parametrize('text', ['[' * 10**5, '[]', '{"plugin": 3}', '{'])
def test_a_damaged_record_names_no_plugin(tmp_path, text):
    path = tmp_path / 'config.json'
    path.write_text(text)
    assert plugins.recorded(str(path)) == ''
    assert plugins.edited(str(path)) == []


def test_a_record_that_is_a_pipe_is_not_waited_for(tmp_path):
    path = str(tmp_path / 'config.json')
    os.mkfifo(path)
    assert plugins.recorded(path) == ''
