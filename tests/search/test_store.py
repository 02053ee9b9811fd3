"""The folder of a search: what is written, and what survives damage."""

import os
import pathlib

import pytest

from ieg.errors import UsageError
from ieg.search.store import Result, Store, Trial
from ieg.utils.files import atomic_path

HEAD = {'search': 'keep_schedule', 'length': [2, 0]}
TRIALS = [
    Trial(str(number), 'search', {'learning_rate': 0.1 * number}, 1, [0.5])
    for number in range(3)
]


def filled(folder):
    made = Store(str(folder), HEAD, {})
    for number, trial in enumerate(TRIALS):
        made.append(trial, Result('done', 0.1 * number, 2, 1.5, 'so'))
    return made


def test_a_store_remembers(tmp_path):
    made = filled(tmp_path)
    again = Store(str(tmp_path), HEAD, {})
    assert again.results == made.results and again.trials == made.trials
    assert list(again.trials) == ['0', '1', '2']
    assert again.known(TRIALS[1]) == Result('done', 0.1, 2, 1.5, 'so')
    assert again.known(Trial('7', 'search', {}, 1)) is None
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'search.json', 'trials.jsonl'}


@pytest.mark.parametrize('cut', [1, 2, 40])
def test_a_line_that_was_cut_is_dropped(cut, tmp_path):
    filled(tmp_path)
    path = tmp_path / 'trials.jsonl'
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    again = Store(str(tmp_path), HEAD, {})
    # A line that lacks its end of line only is whole.
    assert len(again.trials) == (3 if cut == 1 else 2)
    text = path.read_text()
    assert text.endswith('\n') and content.decode().startswith(text)
    assert len(text.splitlines()) == len(again.trials)
    if cut > 1:
        again.append(TRIALS[2], Result('done', 0.2, 2, 1.5, 'so'))
    assert path.read_bytes() == content


def test_lines_that_are_no_text_are_dropped(tmp_path):
    filled(tmp_path)
    with open(tmp_path / 'trials.jsonl', 'ab') as file:
        file.write(b'\xff\xfe\x00')
    assert len(Store(str(tmp_path), HEAD, {}).trials) == 3


def test_what_a_kill_has_left_goes(tmp_path):
    with atomic_path(tmp_path / 'best.json') as temporary:
        left = pathlib.Path(temporary)
        left.touch()
    left.touch()
    filled(tmp_path)
    assert not left.exists()


@pytest.mark.parametrize('text', ['', '{"search": ', '7', '[1]', '\0'])
def test_a_damaged_head_is_a_mistake(text, tmp_path):
    filled(tmp_path)
    (tmp_path / 'search.json').write_text(text)
    with pytest.raises(UsageError, match='search.json cannot be read.* delete'):
        Store(str(tmp_path), HEAD, {})


def test_another_search_is_a_mistake(tmp_path):
    filled(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r'length .*\[2, 0\].*\[3, 0\]'):
        Store(str(tmp_path), HEAD | {'length': [3, 0]}, {})
    with pytest.raises(UsageError, match="method .*None.*'s2e'"):
        Store(str(tmp_path), HEAD | {'method': 's2e'}, {})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_an_option_that_an_older_search_does_not_know(tmp_path):
    filled(tmp_path)
    newer = HEAD | {'later': 1.0}
    assert len(Store(str(tmp_path), newer, {'later': 1.0}).trials) == 3
    with pytest.raises(UsageError, match='later .*2.0.*1.0'):
        Store(str(tmp_path), newer, {'later': 2.0})


def test_a_trial_of_other_options_is_a_mistake(tmp_path):
    filled(tmp_path)
    other = Trial('1', 'search', {'learning_rate': 0.3}, 1, [0.5])
    with pytest.raises(UsageError, match='trial 1 '):
        Store(str(tmp_path), HEAD, {}).known(other)


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path):
    (tmp_path / 'search').write_text('')
    with pytest.raises(UsageError, match='cannot be created'):
        Store(str(tmp_path / 'search'), HEAD, {})


def test_what_was_not_written_is_not_known(tmp_path):
    made = filled(tmp_path / 'search')
    os.remove(tmp_path / 'search' / 'trials.jsonl')
    os.mkdir(tmp_path / 'search' / 'trials.jsonl')
    late = Trial('9', 'search', {}, 1)
    with pytest.raises(OSError):
        made.append(late, Result('done', 1.0))
    assert '9' not in made.results


def test_checkpoints_of_a_recorded_trial_go(tmp_path):
    made = filled(tmp_path)
    folder = tmp_path / 'trial_1'
    (folder / 'checkpoints').mkdir(parents=True)
    (folder / 'log.jsonl').write_text('')
    made.tidy(TRIALS[1])
    made.tidy(TRIALS[2])
    assert [path.name for path in folder.iterdir()] == ['log.jsonl']
