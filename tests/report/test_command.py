"""The command that writes a report: its data, its other work, mistakes."""

import subprocess
import sys

import numpy as np
import pytest
from command import assert_mistake
from report_files import Run
from report_pages import (
    Page,
    assert_pictures,
    make_fresh,  # noqa: F401
)

from ieg import config as ieg_config
from ieg import experiment
from ieg.corrections import apply as apply_
from ieg.report import __main__ as report_main


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """A run on digits whose data can be loaded again."""
    root = tmp_path_factory.mktemp('digits')
    config = ieg_config.resolve(
        {
            'dataset': 'digits_symmetric_0.4',
            'method': 'supervised',
            'train_examples': 100,
            'valid_ratio': 0.2,
            'checkpoint_path': str(root / 'runs'),
        }
    )
    data = experiment.load_data(config)
    run = Run(root / 'run', data.class_names, train=60, valid=20)
    held = {}
    for name in run.splits:
        split = data.split(name)
        held[name] = zip(split.indices, split.labels, strict=True)
    index, given = zip(*(next(held[s]) for s in run.issues.split), strict=True)
    names = np.array(data.class_names, object)
    run.write_issues(index=np.array(index), given=names[list(given)])
    run.write_json('config.json', config.flat())
    return run, data


def test_the_command_shows_the_images_of_the_run(digits, capsys):
    run, data = digits
    assert report_main.main([str(run.folder)]) == 0
    path = run.folder / 'report.html'
    assert capsys.readouterr().out.strip() == str(path)
    seen = Page(path.read_text())
    assert len(seen.cards) > 20
    assert_pictures(seen, data)


def test_the_command_does_without_data(fresh, capsys):
    fresh.write_json(
        'config.json',
        {
            'method': 'supervised',
            'dataset': 'folder',
            'data_dir': str(fresh.folder / 'gone'),
        },
    )
    assert report_main.main([str(fresh.folder)]) == 0
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert 'images' in line and str(fresh.folder / 'gone') in line
    text = Page((fresh.folder / 'report.html').read_text()).text
    assert ' '.join(line.split()) in text


def test_corrections_are_applied(fresh, monkeypatch, capsys):
    asked = []

    def apply(*arguments):
        asked.append(arguments)
        return 'Written: nothing.'

    monkeypatch.setattr(apply_, 'apply', apply)
    folder = str(fresh.folder)
    assert report_main.main([folder, '--apply=c.csv']) == 0
    assert report_main.main([folder, '--apply', 'c.csv', '--output=o']) == 0
    assert asked == [(folder, 'c.csv', None), (folder, 'c.csv', 'o')]
    assert capsys.readouterr().out == 'Written: nothing.\n' * 2
    assert not (fresh.folder / 'report.html').exists()


@pytest.mark.parametrize(
    'arguments, word',
    [
        ([], 'run'),
        (['a', 'b'], 'b'),
        (['a', '--output=o'], '--apply'),
        (['a', '--aply=o'], '--aply'),
    ],
)
def test_mistakes_of_the_command_line(capsys, arguments, word):
    code = report_main.main(arguments)
    assert_mistake((code, *capsys.readouterr()), word)


def test_a_report_needs_no_tensorflow(fresh):
    code = (
        'import sys; from ieg import report; '
        'report.write(sys.argv[1]); '
        'print(*{name.split(".")[0] for name in sys.modules})'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(fresh.folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(done.stdout.split())
    assert 'jinja2' in loaded
    assert not loaded & {'tensorflow', 'tensorflow_datasets', 'keras', 'absl'}
