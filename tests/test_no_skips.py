"""The option `--no-skips` of the test suite."""

import subprocess
import sys

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


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'no_skips', *arguments, '.'],
        cwd=folder,
        env={'PYTHONPATH': str(TESTS / 'helpers')},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize('kind', BODIES)
def test_a_skip_fails_where_skips_are_forbidden(tmp_path, kind):
    lines = BODIES[kind].splitlines()
    text = '\n'.join(line[8:] for line in lines)
    (tmp_path / 'test_one.py').write_text(f'{text}\n')
    allowed, forbidden = run(tmp_path), run(tmp_path, '--no-skips')
    # A module that is skipped leaves no test, which has a code of its own.
    assert allowed.returncode == (5 if kind == 'module' else 0)
    if kind == 'xfail':
        assert forbidden.returncode == 0
    else:
        assert forbidden.returncode in (1, 2)
        assert 'no_such_package' in forbidden.stdout
