"""Runs that are killed at random moments end like those that were not.

The variable KILLS sets how many kills there are; 200 take about 20 minutes:

    KILLS=200 python -m pytest -s -m slow tests/training/test_kills.py
"""

import os

import kills
import pytest


@pytest.mark.slow
def test_kills_at_random_moments(tmp_path):
    number = int(os.environ.get('KILLS', '30'))
    count = kills.run(number, tmp_path)
    print(count.line())
    assert not count.wrong, '\n'.join(count.wrong)
    assert set(count.ends) == set(kills.CASES)
    assert count.kills.total() >= number
    # Of those that were not killed before they had begun to train.
    assert count.middle.total() >= number / 5
