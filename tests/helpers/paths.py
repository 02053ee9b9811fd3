"""Where the tests, what they read, and the package are."""

import os
import pathlib

TESTS = pathlib.Path(__file__).parents[1]
ROOT = TESTS.parent
GOLDEN = TESTS / 'golden'
PLUGINS = TESTS / 'plugins'
SHARED = ROOT.parent / 'shared' / 'data'
TFDS = pathlib.Path(os.environ.get('TFDS_DATA_DIR', SHARED / 'tfds'))
