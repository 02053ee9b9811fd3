"""Who may import whom; the architecture in one table."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted((ROOT / 'ieg').rglob('*.py'))
MAX_LINES = 400

# Modules that run without TensorFlow, Keras and absl.
PURE = {
    'ieg.errors',
    'ieg.registry',
    'ieg.options',
    'ieg.data.spec',
    'ieg.data.noise',
    'ieg.data.human_labels',
    'ieg.data.instance',
    'ieg.data.own',
    'ieg.data.own_checks',
    'ieg.data.own_csv',
    'ieg.data.own_folder',
    'ieg.data.own_npz',
    'ieg.data.parts',
    'ieg.data.pixels',
    'ieg.data.corrected',
    'ieg.data.survey',
    'ieg.data.tables',
    'ieg.data.web_lists',
    'ieg.data.web_recipes',
    'ieg.data.web_sets',
    'ieg.data.webvision',
    'ieg.data.written',
    'ieg.data.matrices',
    'ieg.data.samplers',
    'ieg.training.metrics',
    'ieg.randomness',
    'ieg.training.mixture',
    'ieg.training.runlog',
    'ieg.training.confusion',
    'ieg.training.keep',
    'ieg.search.store',
    'ieg.search.report',
    'ieg.search.searchers',
    'ieg.analysis.comparison',
    'ieg.analysis.edits',
    'ieg.analysis.plane',
    'ieg.analysis.records',
    'ieg.analysis.issues',
    'ieg.analysis.report',
    'ieg.analysis.report.calibration',
    'ieg.analysis.report.charts',
    'ieg.analysis.report.classes',
    'ieg.analysis.report.contents',
    'ieg.analysis.report.curves',
    'ieg.analysis.report.gallery',
    'ieg.analysis.report.head',
    'ieg.analysis.report.markup',
    'ieg.analysis.report.matrices',
    'ieg.analysis.report.page',
    'ieg.analysis.report.reliability',
    'ieg.analysis.report.script',
    'ieg.analysis.report.style',
    'ieg.analysis.report.suspects',
    'ieg.analysis.report.svg',
    'ieg.analysis.regions',
    'ieg.analysis.runs',
    'ieg.commands',
    'ieg.compare',
    'ieg.diagnosis.facts',
    'ieg.diagnosis.verdicts',
    'ieg.doctor',
    'ieg.serving.listing',
}
HEAVY = ('tensorflow', 'tensorflow_datasets', 'keras', 'absl')
MATHS = {
    'ieg.training.losses',
    'ieg.training.meta',
    'ieg.training.optim',
    'ieg.training.mixture',
    'ieg.training.keep',
    'ieg.training.confusion',
    'ieg.training.sums',
    'ieg.registry',
    'ieg.errors',
    'ieg.randomness',
    'ieg.draws',
}
BASE = {
    'ieg.draws',
    'ieg.errors',
    'ieg.registry',
    'ieg.training.losses',
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {name_of(path): path for path in FILES}
PARENTS = {'ieg.methods.s2e': 'ieg.methods.coteaching'}


def allowed(module):
    """Returns the modules of the package that one may import, or a prefix."""
    if module in ('ieg.training.keep', 'ieg.search.searchers'):
        return {'ieg.errors', 'ieg.randomness', 'ieg.registry'}
    if module in PURE:
        # The package itself is light: it has a version, and imports what is
        # heavy when that is asked for.
        return (PURE | {'ieg'}) - {
            'ieg.training.mixture',
            'ieg.training.metrics',
            'ieg.training.keep',
            'ieg.training.confusion',
        }
    if module.startswith('ieg.serving'):
        # Data and networks, not what trains them.
        own = {'ieg', 'ieg.errors', 'ieg.serving.*'}
        return own | {'ieg.data.*', 'ieg.networks.*'}
    if module == 'ieg.export':
        return {'ieg.data.*', 'ieg.methods.base', 'ieg.options'} | {
            'ieg.serving.*'
        }
    if module == 'ieg.config':
        return PURE | {'ieg.data', 'ieg.data.loaders'}
    if module == 'ieg.training.meta':
        return {'ieg.errors', 'ieg.training.losses'}
    if module in MATHS or module == 'ieg.training.distribution':
        return {'ieg.draws', 'ieg.errors', 'ieg.registry'}
    if module.startswith('ieg.networks'):
        return {'ieg.draws', 'ieg.errors', 'ieg.registry', 'ieg.networks.*'}
    if module.startswith('ieg.data'):
        seeds = {'ieg.draws', 'ieg.randomness'}
        return {'ieg.errors', 'ieg.registry', 'ieg.data.*'} | seeds
    if module == 'ieg.methods.contracts':
        return set()
    if module == 'ieg.methods.base':
        return BASE | {'ieg.methods.contracts'}
    if module == 'ieg.methods':
        return {'ieg.methods.*'}
    if module.startswith('ieg.methods.'):
        own = {f'{module}_options', PARENTS.get(module, module)}
        return (
            MATHS
            | own
            | {
                'ieg.methods.base',
                'ieg.methods.recipes',
                'ieg.methods.web_recipes',
                'ieg.methods.reweighting',
            }
        )
    if module in ('ieg.training.probing', 'ieg.training.tracking'):
        # Draws that are the same in every run.
        return {
            'ieg.errors',
            'ieg.randomness',
            'ieg.methods.base',
            'ieg.data.*',
            'ieg.training.*',
        }
    if module == 'ieg.training.callbacks':
        return BASE | {'ieg.training.metrics', 'ieg.training.runlog'}
    if module.startswith('ieg.training'):
        return {
            'ieg.errors',
            'ieg.methods.base',
            'ieg.data.*',
            'ieg.training.*',
        }
    return {'ieg.*'}


def imports(path):
    """Returns the full names of everything that a file imports, anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f'relative import in {path}'
            for alias in node.names:
                full = f'{node.module}.{alias.name}'
                # `from ieg.training import losses` is of the module losses.
                found.add(full if full in MODULES else node.module)
    return found


def fits(name, patterns):
    return any(
        name == p or (p.endswith('.*') and f'{name}.'.startswith(p[:-1]))
        for p in patterns
    )


@pytest.mark.parametrize('module', MODULES)
def test_a_module_imports_only_what_its_layer_may(module):
    own = {n for n in imports(MODULES[module]) if n.split('.')[0] == 'ieg'}
    wrong = {n for n in own if not fits(n, allowed(module))}
    assert not wrong


@pytest.mark.parametrize('module', sorted(PURE))
def test_a_pure_module_needs_no_tensorflow(module):
    found = {name.split('.')[0] for name in imports(MODULES[module])}
    assert not found & set(HEAVY)


def test_options_are_known_without_tensorflow():
    found = {name.split('.')[0] for name in imports(MODULES['ieg.config'])}
    assert not found & (set(HEAVY) - {'absl'})


def test_only_the_configuration_and_the_command_know_flags():
    users = {
        m for m, p in MODULES.items() if any('absl' in n for n in imports(p))
    }
    assert users == {'ieg.config', 'ieg.main'}


@pytest.mark.parametrize('module', MODULES)
def test_a_module_stays_short(module):
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES


def test_a_forbidden_import_would_be_seen(tmp_path):
    path = tmp_path / 'bad.py'
    path.write_text('from ieg import experiment\nfrom ieg.data import load\n')
    found = imports(path)
    assert found == {'ieg.experiment', 'ieg.data'}
    assert not any(fits(n, allowed('ieg.methods.new')) for n in found)
