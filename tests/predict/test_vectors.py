"""Predictions for vectors: arrays, tables, and what a model cannot take."""

import csv
import io

import numpy as np
import pytest
from tiny_sets import picture
from vector_files import WIDTH, blobs

from ieg import config as ieg_config
from ieg import experiment
from ieg.predict import __main__ as predict_main
from ieg.predict import model as export
from ieg.training.devices import restoring

NAMES = ('red', 'green', 'blue')
X = blobs(20, seed=3)[0]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The folder of a run on a table, and probabilities of X."""
    folder = tmp_path_factory.mktemp('table')
    x, given, _ = blobs()
    names = [f'f{n}' for n in range(WIDTH)]
    lines = [','.join([*names, 'label'])]
    for row, label in zip(x, given, strict=True):
        lines.append(','.join([*map(repr, row.tolist()), NAMES[label]]))
    path = folder / 'table.csv'
    path.write_text('\n'.join(lines))
    with restoring():
        config, opened = experiment.configure(
            {
                'dataset': 'csv',
                'data_dir': str(path),
                'method': 'supervised',
                'checkpoint_path': str(folder / 'runs'),
            }
        )
        built = experiment.build(config, opened=opened)
        target = folder / 'run'
        target.mkdir()
        assert not export.write(built.trainer.method, built.data, str(target))
        model = export.load(str(target))
    assert model.columns == tuple(names)
    return str(target), model(X).numpy()


def command(capsys, *arguments):
    """Returns the exit code, the rows, and what is on standard error."""
    code = predict_main.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, list(csv.DictReader(io.StringIO(out))), err


def check(capsys, folder, expected, path, place):
    code, rows, err = command(capsys, folder, path, '--batch_size=7')
    assert (code, err) == (0, '')
    assert [row['path'] for row in rows] == [
        f'{path}{place}[{n}]' for n in range(len(X))
    ]
    classes = sorted(NAMES)
    found = [classes.index(row['label']) for row in rows]
    np.testing.assert_array_equal(found, expected.argmax(1))
    shares = [float(row['probability']) for row in rows]
    np.testing.assert_allclose(shares, expected.max(1), rtol=1e-5)


def test_arrays(run, tmp_path, capsys):
    np.save(tmp_path / 'x.npy', X.astype(np.float64))
    check(capsys, *run, tmp_path / 'x.npy', '')
    views = np.stack([X, X], axis=1)
    np.savez(tmp_path / 'x.npz', a=X, y=np.arange(20), views_train=views)
    check(capsys, *run, tmp_path / 'x.npz', '[a]')


def test_tables_by_the_names_of_columns(run, tmp_path, capsys):
    names = [f'F{n}' for n in range(WIDTH)][::-1]
    lines = ['id;' + ';'.join(names)]
    for number, row in enumerate(X):
        lines.append(f'{number};' + ';'.join(map(repr, row[::-1].tolist())))
    path = tmp_path / 'x.csv'
    path.write_text('\n'.join(lines))
    check(capsys, *run, path, '')


def bad_files(folder):
    """Writes inputs that do not fit; returns paths and what is to be said."""
    np.save(folder / 'wide.npy', np.zeros((4, 7), np.float32))
    yield folder / 'wide.npy', ['wide.npy', '7 numbers', f'takes {WIDTH}']
    np.save(folder / 'nan.npy', np.full((4, WIDTH), np.nan))
    yield folder / 'nan.npy', ['nan.npy', 'nan', 'row 0', 'column 0']
    np.save(folder / 'images.npy', np.zeros((4, 8, 8), np.uint8))
    yield folder / 'images.npy', ['images.npy', 'image', f'{WIDTH} numbers']
    picture(0, 0).save(folder / 'a.png')
    yield folder / 'a.png', ['a.png', 'image', f'{WIDTH} numbers']
    (folder / 'lacks.csv').write_text('f0,f1,f2,f3,f5\n1,2,3,4,5\n')
    yield folder / 'lacks.csv', ['lacks.csv', "no column 'f4'"]
    (folder / 'twice.csv').write_text('f0,f1,f2,f3,f4,f5,f1\n1,2,3,4,5,6,7\n')
    yield folder / 'twice.csv', ['twice.csv', "2 columns 'f1'"]
    np.save(folder / 'whole.npy', np.zeros((4, WIDTH), int))
    yield folder / 'whole.npy', ['whole.npy', 'int64', 'vectors floating']
    np.save(folder / 'none.npy', np.zeros((0, WIDTH)))
    yield folder / 'none.npy', ['none.npy', f'(0, {WIDTH})', 'vectors']
    (folder / 'empty.csv').write_text('f0,f1,f2,f3,f4,f5\n')
    yield folder / 'empty.csv', ['empty.csv', 'no rows']
    (folder / 'text.csv').write_text('f0,f1,f2,f3,f4,f5\n1,2,3,4,5,six\n')
    yield folder / 'text.csv', ['text.csv', "'six'", 'line 2', "'f5'"]
    np.savez(folder / 'labels.npz', y=np.arange(3))
    yield folder / 'labels.npz', ['labels.npz', 'vectors']


def test_inputs_that_do_not_fit(run, tmp_path, capsys):
    for path, facts in bad_files(tmp_path):
        code, rows, err = command(capsys, run[0], path)
        assert (code, rows) == (2, []), path
        (line,) = err.splitlines()
        for fact in facts:
            assert fact in line


@pytest.mark.usefixtures('tiny')
def test_vectors_for_a_model_of_images(tmp_path, capsys):
    with restoring():
        config = ieg_config.resolve(
            {
                'dataset': 'fake',
                'method': 'supervised',
                'network_name': 'tiny',
                'checkpoint_path': str(tmp_path),
            }
        )
        built = experiment.build(config)
        assert not export.write(built.trainer.method, built.data, str(tmp_path))
    np.save(tmp_path / 'x.npy', X)
    code, _, err = command(capsys, tmp_path, tmp_path / 'x.npy')
    assert code == 2 and 'x.npy has vectors [20, 6]' in err
