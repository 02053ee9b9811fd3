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
    'ieg.data.noise.labels',
    'ieg.data.noise.human',
    'ieg.data.noise.instance',
    'ieg.data.sets.folder',
    'ieg.data.checks',
    'ieg.data.sets.table',
    'ieg.data.sets.folder',
    'ieg.data.sets.npz',
    'ieg.data.dataset',
    'ieg.data.images.arrays',
    'ieg.corrections.writing',
    'ieg.data.images.survey',
    'ieg.utils.tables',
    'ieg.data.lists',
    'ieg.data.lists',
    'ieg.data.sets.clothing1m',
    'ieg.data.sets.webvision',
    'ieg.corrections.writing',
    'ieg.data.noise.matrices',
    'ieg.data.noise.samplers',
    'ieg.ops.metrics',
    'ieg.utils.randomness',
    'ieg.ops.mixture',
    'ieg.training.runlog',
    'ieg.ops.metrics',
    'ieg.methods.keep_schedules',
    'ieg.search.store',
    'ieg.search.summary',
    'ieg.search.searchers',
    'ieg.compare.comparison',
    'ieg.corrections.edits',
    'ieg.compare.plane',
    'ieg.run_folder',
    'ieg.label_issues.table',
    'ieg.report',
    'ieg.report.calibration',
    'ieg.report.charts',
    'ieg.report.classes',
    'ieg.report.run',
    'ieg.report.curves',
    'ieg.report.gallery',
    'ieg.report.head',
    'ieg.report.markup',
    'ieg.report.matrices',
    'ieg.report.page',
    'ieg.report.reliability',
    'ieg.report.script',
    'ieg.report.style',
    'ieg.report.suspects',
    'ieg.report.svg',
    'ieg.compare.regions',
    'ieg.compare.runs',
    'ieg.utils.cli',
    'ieg.compare',
    'ieg.diagnosis.facts',
    'ieg.diagnosis.verdicts',
    'ieg.doctor',
    'ieg.predict.inputs',
}
HEAVY = ('tensorflow', 'tensorflow_datasets', 'keras', 'absl')
MATHS = {
    'ieg.ops.losses',
    'ieg.ops.meta',
    'ieg.ops.optim',
    'ieg.ops.mixture',
    'ieg.methods.keep_schedules',
    'ieg.ops.metrics',
    'ieg.training.devices',
    'ieg.registry',
    'ieg.errors',
    'ieg.utils.randomness',
    'ieg.ops.random',
}
BASE = {
    'ieg.ops.random',
    'ieg.errors',
    'ieg.registry',
    'ieg.ops.losses',
}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {name_of(path): path for path in FILES}
PARENTS = {'ieg.methods.s2e': 'ieg.methods.coteaching'}


def allowed(module):
    """Returns the modules of the package that one may import, or a prefix."""
    if module in ('ieg.methods.keep_schedules', 'ieg.search.searchers'):
        return {'ieg.errors', 'ieg.utils.randomness', 'ieg.registry'}
    if module in PURE:
        # The package itself is light: it has a version, and imports what is
        # heavy when that is asked for.
        return (PURE | {'ieg'}) - {
            'ieg.ops.mixture',
            'ieg.ops.metrics',
            'ieg.methods.keep_schedules',
            'ieg.ops.metrics',
        }
    if module.startswith('ieg.predict'):
        # Data and networks, not what trains them.
        own = {'ieg', 'ieg.errors', 'ieg.predict.*'}
        return own | {'ieg.data.*', 'ieg.networks.*'}
    if module == 'ieg.predict.export':
        return {'ieg.data.*', 'ieg.methods.base', 'ieg.options'} | {
            'ieg.predict.*'
        }
    if module == 'ieg.config':
        return PURE | {'ieg.data', 'ieg.data.advice'}
    if module == 'ieg.ops.meta':
        return {'ieg.errors', 'ieg.ops.losses'}
    if module in MATHS or module == 'ieg.training.devices':
        return {'ieg.ops.random', 'ieg.errors', 'ieg.registry'}
    if module.startswith('ieg.networks'):
        return {
            'ieg.ops.random',
            'ieg.errors',
            'ieg.registry',
            'ieg.networks.*',
        }
    if module.startswith('ieg.data'):
        seeds = {'ieg.ops.random', 'ieg.utils.randomness'}
        return {'ieg.errors', 'ieg.registry', 'ieg.data.*'} | seeds
    if module == 'ieg.methods.base':
        return set()
    if module == 'ieg.methods.base':
        return BASE | {'ieg.methods.base'}
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
                'ieg.methods.recipes',
                'ieg.methods.reweighting',
            }
        )
    if module in ('ieg.memorization.probe', 'ieg.memorization.tracker'):
        # Draws that are the same in every run.
        return {
            'ieg.errors',
            'ieg.utils.randomness',
            'ieg.methods.base',
            'ieg.data.*',
            'ieg.training.*',
        }
    if module == 'ieg.training.callbacks':
        return BASE | {'ieg.ops.metrics', 'ieg.training.runlog'}
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
