"""The option `--no-skips` of the test suite."""

import functools
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import pytest
from paths import TESTS

BODIES = {
    'test': """
        import pytest
        def test_it():
            pytest.importorskip('no_such_package')
    """,
    'mark': """
        import pytest
        @pytest.mark.skipif(True, reason='no_such_package is missing')
        def test_it():
            pass
    """,
    'module': """
        import pytest
        pytest.importorskip('no_such_package')
        def test_it():
            pass
    """,
    'xfail': """
        import pytest
        @pytest.mark.xfail
        def test_it():
            assert False
    """,
}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Returns a function: arguments -> exit code, and report by kind."""
    folder = tmp_path_factory.mktemp('suite')
    for kind, body in BODIES.items():
        path = folder / f'test_{kind}.py'
        path.write_text(textwrap.dedent(body))

    @functools.cache
    def get(*arguments):
        process = subprocess.run(
            [
                *(sys.executable, '-m', 'pytest', '-p', 'no_skips'),
                *('--continue-on-collection-errors', '--junitxml=report.xml'),
                *(*arguments, '.'),
            ],
            cwd=folder,
            env={'PYTHONPATH': str(TESTS / 'helpers')},
            capture_output=True,
        )
        cases = ElementTree.parse(folder / 'report.xml').iter('testcase')
        reports = {}
        for case in cases:
            # A module has its name there, a test that of its module here.
            name = case.get('classname') or case.get('name')
            (reports[name.removeprefix('test_')],) = case
        return process.returncode, reports

    return get


@pytest.mark.parametrize('kind', BODIES)
def test_a_skip_fails_where_skips_are_forbidden(run, kind):
    code, reports = run()
    assert code == 0 and reports.keys() == BODIES.keys()
    assert reports[kind].tag == 'skipped'
    code, reports = run('--no-skips')
    assert code == 1 and reports.keys() == BODIES.keys()
    if kind == 'xfail':
        assert reports[kind].tag == 'skipped'
    else:
        assert reports[kind].tag in ('failure', 'error')
        assert 'no_such_package' in reports[kind].text
