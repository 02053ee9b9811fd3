"""Published command lines mean what they meant in 0.1.0, to the value."""

import json

import published_lines
import pytest

from ieg.commandline.arguments import renamed
from ieg.registry import introduced

# Options have their present names.
RECORDED = {
    line: renamed(options)
    for line, options in json.loads(
        published_lines.RECORDED.read_text()
    ).items()
}


def test_every_published_line_is_recorded():
    assert RECORDED.keys() == set(published_lines.LINES)


@pytest.mark.parametrize('line', RECORDED)
def test_a_published_line_keeps_its_meaning(line):
    config = published_lines.resolve(line)
    # An option that is newer must do what was done without it.
    parts = (config.run, config.data, config.train, config.search)
    newer = introduced(*map(type, (*parts, config.method)))
    expected = {n: newer[n] for n in config.flat()} | RECORDED[line]
    assert config.flat() == expected
