"""Any command line: it is understood, or refused in one line that says why."""

import odd_lines
import pytest
from hypothesis import HealthCheck, given, settings

COMMON = {
    'deadline': None,
    # The same lines each time.
    'derandomize': True,
    'database': None,
    'suppress_health_check': list(HealthCheck),
}


@pytest.fixture(scope='module', autouse=True)
def elsewhere(tmp_path_factory):
    folder = tmp_path_factory.mktemp('odd')
    odd_lines.prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def check(arguments):
    code, err = odd_lines.run(arguments)
    wrong = odd_lines.fault(arguments, code, err)
    assert not wrong, f'{wrong}: {arguments} -> {code}, {err}'


@settings(max_examples=40, **COMMON)
@given(odd_lines.line())
def test_odd_lines(arguments):
    check(arguments)


@pytest.mark.slow
@settings(max_examples=600, **COMMON)
@given(odd_lines.line())
def test_many_odd_lines(arguments):
    check(arguments)


@pytest.mark.slow
def test_each_option_with_each_odd_value():
    wrong = []
    for arguments in odd_lines.singles():
        code, err = odd_lines.run(arguments)
        fault = odd_lines.fault(arguments, code, err)
        if fault:
            wrong.append(f'{arguments[-1][:60]!r}: {fault}')
    assert not wrong, '\n'.join(wrong)
