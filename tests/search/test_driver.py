"""The driver of a search, with made-up trials: stages, ranks, going on."""

import contextlib
import io
import json

import elr  # noqa: F401  # A plugin.
import pytest
from command import ieg
from searching import RUN, S2E, flags_of, outcome, records, resolve, search

from ieg.errors import RunError, UsageError
from ieg.search import driver, runner, store
from ieg.search.store import Result, Store
from ieg.utils import plugins

pytestmark = pytest.mark.usefixtures('tiny')


@pytest.fixture
def made_up(monkeypatch):
    """Returns a dictionary to fill: name of a trial -> its result."""
    results = {}

    class Runner:
        def __init__(self, config, opened, interrupt):
            pass

        def facts(self):
            return runner.Facts(2, 16, 13)

        def seconds(self):
            return 4000

        def run(self, trials):
            for trial, _ in trials:
                yield trial, results.get(trial.name, Result('done', 0.5))

        def close(self):
            pass

    monkeypatch.setattr(driver, 'Runner', Runner)
    return results


OPTIONS = S2E | {'search': 'tau_multiplier:0..3', 'searcher': 'random'}


def test_trials_without_an_end_rank_below_all_others(made_up, tmp_path):
    made_up['0'] = Result('failed', store.LOWEST, remark='why')
    made_up['1'] = Result('stopped', 0.9 - 1)
    made_up['2'] = Result('refused', store.LOWEST)
    made_up['3'] = Result('done', 0.0)
    made_up['4'] = Result('done', 0.7)
    made_up['6'] = Result('done', 0.6)
    # The best one was lucky.
    made_up['4_again'] = Result('done', 0.1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        driver.search(resolve(tmp_path, **OPTIONS))
    found = outcome(tmp_path / RUN)
    assert found['trial'] == '6' and found['scores'] == [0.6, 0.5]
    rows = [line.split()[0] for line in out.getvalue().splitlines()[1:-1]]
    assert rows == ['4', '6', '5', '3']
    last = out.getvalue().splitlines()[-1]
    assert last == '9 trials: 1 failed, 1 stopped, 1 refused, 6 done'


def test_a_search_that_is_stopped_has_recorded_its_options_and_plugins(
    made_up, tmp_path, monkeypatch
):
    monkeypatch.setattr(plugins, 'names', ['elr'])
    for number in range(7):
        made_up[str(number)] = Result('failed', store.LOWEST, remark='why')
    with pytest.raises(RunError, match='why'):
        search(resolve(tmp_path, **OPTIONS))
    options = json.loads((tmp_path / RUN / 'config.json').read_text())
    assert options['search'] == OPTIONS['search']
    assert options['plugin'] == 'elr' and 'elr' in options['plugin_sha256']


def test_a_search_without_an_end_is_one_sentence(made_up, tmp_path):
    for number in range(7):
        made_up[str(number)] = Result('failed', store.LOWEST, remark='why')
    code, _, err = ieg(*flags_of(OPTIONS), f'--checkpoint_path={tmp_path}')
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith('ieg: No trial') and last.endswith('why')
    assert 'about 22.2 h with the final training' in err


def test_a_full_disk_ends_a_search_that_resumes(made_up, tmp_path, monkeypatch):
    def write(*arguments):
        raise OSError(28, 'No space left on device', 'some file')

    with monkeypatch.context() as patch:
        patch.setattr(Store, 'append', write)
        with pytest.raises(OSError, match='some file'):
            search(resolve(tmp_path, **OPTIONS))
    assert records(tmp_path / RUN) == []
    search(resolve(tmp_path, **OPTIONS))


def test_a_search_can_become_longer(made_up, tmp_path):
    search(resolve(tmp_path, **OPTIONS))
    longer = OPTIONS | {'search_iterations': 3}
    search(resolve(tmp_path, **longer))
    names = [x['trial']['name'] for x in records(tmp_path / RUN)]
    assert names[-3:] == ['7', '8', '9'] and len(names) == 12
    # But not once its outcome is trained.
    (tmp_path / RUN / 'checkpoints').mkdir()
    with pytest.raises(UsageError, match='--search_iterations=3'):
        search(resolve(tmp_path, **OPTIONS))
    search(resolve(tmp_path, **longer))


@pytest.mark.parametrize('searcher', ['betanes', 'reference', 'random'])
def test_all_searchers_go_on_from_the_record(searcher, made_up, tmp_path):
    for number in range(9):
        made_up[str(number)] = Result('done', (number * 7 % 5) / 5)
    options = S2E | {'searcher': searcher, 'search_iterations': 2}
    for path in (tmp_path / 'whole', tmp_path / 'cut'):
        search(resolve(path, **options))
    record = tmp_path / 'cut' / RUN / 'search' / 'trials.jsonl'
    text = record.read_text()
    for cut in (len(text) // 4, len(text) // 2, len(text) - 3):
        record.write_text(text[:cut])
        search(resolve(tmp_path / 'cut', **options))
        assert record.read_text() == text
    whole = tmp_path / 'whole' / RUN / 'search' / 'trials.jsonl'
    assert text == whole.read_text()
