"""Reports of folders that lack something, and of damaged ones."""

import itertools
import os
import re

import numpy as np
import pytest
from command import assert_mistake
from report_pages import (
    make_fresh,  # noqa: F401
    page_of,
)

from ieg import report
from ieg.errors import UsageError
from ieg.report import __main__ as report_main
from ieg.report import run

WORDS = {
    'summary.json': 'has not finished',
    'log.jsonl': 'no curves',
    'label_issues.csv': 'no suspects',
    'predictions.npz': 'no calibration',
    'memorization.json': 'does not recommend an epoch',
}
SECTIONS = ['curves', 'matrix', 'classes', 'reliability', 'suspects']


def assert_sections(seen, missing=()):
    """All sections are there and in the navigation, but for an empty one."""
    expected = SECTIONS.copy()
    if 'noise.npz' in missing:
        expected.remove('matrix')
    assert [one['id'] for one in seen.all('section')] == expected
    (contents,) = seen.all('nav')
    links = [one['href'] for one in contents['inside'] if one['tag'] == 'a']
    assert links == [f'#{name}' for name in expected]


@pytest.mark.parametrize('name', WORDS)
def test_what_is_missing_is_said(fresh, name):
    (fresh.folder / name).unlink()
    seen = page_of(fresh, fresh.data)
    assert not seen.wrong
    assert WORDS[name] in seen.text
    assert_sections(seen)


def test_a_run_that_has_just_begun(fresh):
    for name in WORDS:
        (fresh.folder / name).unlink()
    seen = page_of(fresh)
    assert not seen.wrong
    assert_sections(seen, WORDS)
    assert 'did not score individual labels' in seen.text


def test_a_line_that_the_run_is_writing_is_left_out(fresh):
    log = fresh.folder / 'log.jsonl'
    whole = log.read_text()
    log.write_text(whole + '{"epoch": 9')
    assert len(run.read(str(fresh.folder)).entries) == whole.count('\n')


@pytest.mark.parametrize('name', [*WORDS, 'config.json', 'identity.json'])
@pytest.mark.parametrize('kind', ['folder', 'pipe', 'broken link'])
def test_what_is_not_a_file_is_named(fresh, name, kind):
    path = fresh.folder / name
    path.unlink(missing_ok=True)
    if kind == 'folder':
        path.mkdir()
    elif kind == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to('nowhere')
    with pytest.raises(UsageError, match=re.escape(str(path))):
        run.read(str(fresh.folder))


def test_any_files_may_be_missing(fresh):
    texts = {name: (fresh.folder / name).read_bytes() for name in WORDS}
    for count in range(2, len(WORDS)):
        for missing in itertools.combinations(WORDS, count):
            for name in missing:
                (fresh.folder / name).unlink()
            seen = page_of(fresh)
            assert not seen.wrong
            assert_sections(seen, missing)
            for name in missing:
                (fresh.folder / name).write_bytes(texts[name])


def test_classes_without_names_are_numbers(fresh):
    for name in ('predictions.npz', 'label_issues.csv'):
        (fresh.folder / name).unlink()
    rows = page_of(fresh).rows('Noise matrix')
    assert [row[0] for row in rows] == ['0', '1', '2']


DAMAGE = {
    'config.json': ['{', '[]', '{"method": 3}', b'\xff'],
    'log.jsonl': ['{"epoch": 0}\n{\n', '{}', '[1]\n', b'\xff\xfe'],
    'summary.json': [
        '{',
        '[]',
        '{"seconds": "long"}',
        '{"label_issues": 3}',
        '{"label_issues": {"noise_rate": []}}',
        '{"label_issues": {"noise_rate_interval": [1]}}',
        '{"label_issues": {"near_duplicates": [1]}}',
        '{"label_issues": {"near_duplicates": {"groups": []}}}',
        '{"label_issues": {"outliers": "two"}}',
        '{"label_issues": {"noise_rate_interval": [0, "a"]}}',
    ],
    'memorization.json': ['{', '{"recommended_epoch": "last"}'],
    'noise.npz': ['', 'no archive'],
    'predictions.npz': ['', 'no archive'],
    'label_issues.csv': ['', 'a,b\n', b'\xff\0'],
}


@pytest.mark.parametrize(
    'name, content', [(k, v) for k, values in DAMAGE.items() for v in values]
)
def test_a_damaged_file_is_one_sentence(fresh, capsys, name, content):
    as_bytes = content if isinstance(content, bytes) else content.encode()
    (fresh.folder / name).write_bytes(as_bytes)
    code = report_main.main([str(fresh.folder)])
    assert_mistake((code, *capsys.readouterr()), name)
    assert not (fresh.folder / 'report.html').exists()


@pytest.mark.parametrize(
    'change',
    [
        {'class_names': None},
        {'test_logits': np.zeros((30, 2))},
        {'test_labels': np.full(30, 3)},
        {'train_labels': np.array([-1])},
        {'valid_labels': None},
        {'class_names': np.array(['a', 'b', 'c', 'd'])},
    ],
)
def test_predictions_that_do_not_fit_are_damaged(fresh, change):
    fresh.write_predictions(**change)
    with pytest.raises(UsageError, match='predictions.npz|summary.json'):
        run.read(str(fresh.folder))


@pytest.mark.parametrize('made', [False, True])
def test_a_folder_that_is_none_of_a_run(tmp_path, capsys, made):
    folder = tmp_path / 'none'
    if made:
        folder.mkdir()
    code = report_main.main([str(folder)])
    assert_mistake((code, *capsys.readouterr()), 'config.json', str(folder))


def test_a_report_that_cannot_be_written(fresh):
    (fresh.folder / 'report.html').unlink(missing_ok=True)
    (fresh.folder / 'report.html').mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        report.write(str(fresh.folder))
    assert caught.value.filename == str(fresh.folder / 'report.html')
