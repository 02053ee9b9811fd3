"""Small searches: what the modules about them share.

Modules that use it ask for the fixture `tiny`.
"""

import contextlib
import io
import json

from ieg import config as ieg_config
from ieg.registry import SEARCHERS
from ieg.search import driver

DATA = {
    'dataset': 'fake_uniform_0.4',
    'network_name': 'tiny',
    'batch_size': 16,
    'valid_ratio': 0.2,
}
# With two epochs and a batch of 16 there are 16 keep schedules at most.
S2E = DATA | {
    'method': 's2e',
    'max_epoch': 2,
    'learning_rate': 0.01,
    'search_iterations': 2,
    'search_population': 3,
    'search_again': 2,
}
RUN = 'fake_uniform_0.4/s2e_tiny_s1'


def flags_of(options):
    return [f'--{name}={value}' for name, value in options.items()]


def resolve(path, **options):
    return ieg_config.resolve(options | {'checkpoint_path': str(path)})


def search(config):
    """Searches without showing anything."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return driver.search(config)


def records(path):
    """Returns the lines of trials.jsonl without times."""
    text = (path / 'search' / 'trials.jsonl').read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        del line['result']['seconds']
    return lines


def outcome(path):
    return json.loads((path / 'search' / 'best.json').read_text())


def results_of(path):
    return {x['trial']['name']: x['result'] for x in records(path / RUN)}


def make_searcher(name, dimension=12, population=8, seed=0, **options):
    return SEARCHERS.get(name)(dimension, population, seed, **options)
