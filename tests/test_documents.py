"""README and docs: links lead somewhere, options and methods exist."""

import re

import pytest
from paths import ROOT

from ieg.commandline import catalog
from ieg.registry import METHODS

PAGES = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md']
PAGES += [f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md')]
PAGES += ['scripts/README.md', 'benchmarks/README.md']

# Flags of other commands, of example plug-ins, and two of IEG's own command
# line that the pages declare as missing.
OTHERS = {'config', 'help', 'helpfull', 'plugin', 'apply', 'output', 'check'}
OTHERS |= {'time_budget', 'clear_cache', 'seeds', 'once', 'sample', 'reviewed'}
# Of benchmarks.
OTHERS |= {'images', 'megapixels', 'human', 'sets', 'results', 'most', 'rates'}
OTHERS |= {'bonus', 'elr_lambda', 'meta_partial_level', 'ds_include_metadata'}
# The changelog may name options that are gone; benchmarks have their own.
OF_THE_COMMAND = [p for p in PAGES if not re.search('CHANGE|bench', p)]


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r'(?s)```.*?```', '', (ROOT / page).read_text())
    for link in re.findall(r'\]\(([^)#]+)', text):
        if not link.startswith('https://'):
            assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize('page', OF_THE_COMMAND)
def test_options_and_methods_exist(page):
    text = (ROOT / page).read_text()
    flags = set(re.findall(r'(?<![\w-])--([a-z_]+)(?![\w-])', text))
    assert flags <= {*catalog.shipped().options(), *OTHERS}
    methods = set(re.findall(r'--method=([a-z]\w*)', text))
    assert methods <= {*METHODS.names(), 'auto', 'elr', 'confident'}
