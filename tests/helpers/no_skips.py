"""The option `--no-skips`: a test or module that would be skipped fails.

`make test-extras` uses it, so that a missing package is noticed.
"""

from collections.abc import Generator
from typing import TypeVar

import pytest

Report = TypeVar('Report', pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--no-skips', action='store_true', help='Skipped tests fail.'
    )


def _without_skip(report: Report, config: pytest.Config) -> Report:
    # An expected failure (xfail) is reported as skipped, too.
    expected = hasattr(report, 'wasxfail')
    if report.skipped and config.getoption('no_skips') and not expected:
        path, line, reason = report.longrepr
        report.outcome = 'failed'
        report.longrepr = f'{path}:{line}: {reason}; --no-skips forbids it'
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skip((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skip((yield), collector.config)
