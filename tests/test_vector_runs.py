"""Runs on vectors: from the file to the results."""

import json
import os

import numpy as np
import pytest
from command import assert_mistake, ieg
from vector_files import make_npz

from ieg import label_issues
from ieg.report import __main__ as report_main


@pytest.fixture(scope='module')
def npz(tmp_path_factory):
    return make_npz(tmp_path_factory.mktemp('vectors') / 'blobs.npz', views=2)


def test_a_run_with_the_options_that_suit_vectors(npz, tmp_path):
    code, out, err = ieg(
        '--dataset=npz',
        f'--data_dir={npz}',
        '--method=supervised',
        f'--checkpoint_path={tmp_path}',
        '--export=savedmodel,litert',
    )
    assert code == 0 and 'cannot be written' not in err
    assert '120 examples of 3 classes, 6 numbers each' in out
    folder = tmp_path / 'npz-blobs' / 'supervised_mlp_s1'
    config = json.loads((folder / 'config.json').read_text())
    assert config['learning_rate'] == 0.1
    assert config['weight_decay'] == 4e-4
    assert config['batch_size'] == 8
    assert config['max_epoch'] == 20
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['test_accuracy_last'] > 0.9
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    assert summary['label_issues']['roc_auc'] > 0.9
    assert len(rows) == 120
    for name in ('model.keras', 'model.tflite', 'savedmodel', 'report.html'):
        assert os.path.exists(folder / name)
    assert 'data:image' not in (folder / 'report.html').read_text('utf-8')


@pytest.mark.parametrize(
    'option, facts',
    [
        ('--flip=on', ['--flip=on', 'vectors']),
        ('--crop_padding=2', ['--crop_padding=2', 'vectors']),
        ('--scaling=unit', ['--scaling=unit', 'vectors']),
        ('--image_size=32', ['--image_size=32', 'npz']),
        ('--pretrained', ['--pretrained', 'vectors']),
        ('--network_name=cnn', ['cnn', 'vectors', 'linear']),
    ],
)
def test_options_for_images(npz, tmp_path, option, facts):
    result = ieg(
        '--dataset=npz',
        f'--data_dir={npz}',
        '--method=supervised',
        f'--checkpoint_path={tmp_path / "runs"}',
        option,
    )
    assert_mistake(result, *facts)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('name', ['linear', 'mlp'])
def test_networks_for_vectors_on_images(tmp_path, name):
    images = np.zeros((20, 8, 8), np.uint8)
    labels = np.arange(20) % 2
    path = tmp_path / 'images.npz'
    np.savez(path, x_train=images, y_train=labels)
    result = ieg(
        '--dataset=npz',
        f'--data_dir={path}',
        '--method=supervised',
        f'--checkpoint_path={tmp_path / "runs"}',
        f'--network_name={name}',
    )
    assert_mistake(result, name, 'images')


def numbered(path, count=90):
    """Writes vectors that begin with the number of their row; returns labels.

    The labels have no order, so rows of other examples have others.
    """
    labels = np.random.default_rng(0).permutation(np.arange(count) % 3)
    vectors = np.stack([np.arange(count), labels, -labels], axis=1)
    if path.suffix == '.npz':
        np.savez(path, x_train=vectors.astype(np.float32), y_train=labels)
    else:
        rows = np.column_stack([vectors, labels]).tolist()
        lines = [','.join(map(str, row)) for row in rows]
        path.write_text('\n'.join(['number,a,b,label', *lines]) + '\n')
    return labels


def labels_of(path):
    """Returns the label of each row of such a file, by its number."""
    if path.suffix == '.npz':
        with np.load(path) as file:
            x, y = file['x_train'], file['y_train']
        return dict(zip(x[:, 0].astype(int).tolist(), y.tolist(), strict=True))
    rows = [line.split(',') for line in path.read_text().splitlines()[1:]]
    return {int(row[0]): int(row[-1]) for row in rows}


@pytest.mark.parametrize('kind', ['npz', 'csv'])
def test_an_index_is_a_row_of_the_file_though_a_fifth_is_held_out(
    kind, tmp_path, capsys
):
    path = tmp_path / f'rows.{kind}'
    labels = numbered(path)
    code, _, err = ieg(
        f'--dataset={kind}',
        f'--data_dir={path}',
        '--method=supervised',
        '--max_epoch=1',
        '--valid_ratio=0.1',
        f'--checkpoint_path={tmp_path}',
    )
    assert code == 0, err
    (folder,) = tmp_path.glob('*/supervised_*_s1')
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    assert {*rows.split} == {'train', 'valid', 'test'}
    assert sorted(rows.index.tolist()) == list(range(90))
    assert [*map(int, rows.given)] == labels[rows.index].tolist()
    with np.load(folder / 'predictions.npz') as file:
        for name in ('train', 'valid', 'test'):
            own = file[f'{name}_indices']
            assert file[f'{name}_labels'].tolist() == labels[own].tolist()
    # One of each part is of another class, and one is left out.
    expected = dict(enumerate(labels.tolist()))
    table = ['split,index,given_label,corrected_label']
    for name in ('train', 'valid', 'test'):
        changed, gone = rows.index[rows.split == name][-2:].tolist()
        expected[changed] = (labels[changed] + 1) % 3
        del expected[gone]
        table.append(f'{name},{changed},{labels[changed]},{expected[changed]}')
        table.append(f'{name},{gone},{labels[gone]},-')
    corrected = tmp_path / 'corrected.csv'
    corrected.write_text('\n'.join(table))
    assert report_main.main([str(folder), f'--apply={corrected}']) == 0
    assert '3 labels corrected' in capsys.readouterr().out
    assert labels_of(tmp_path / f'rows-corrected.{kind}') == expected
