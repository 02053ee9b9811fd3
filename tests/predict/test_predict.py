"""Predictions of an exported model: those of evaluation, for any image."""

import csv
import io
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pictures import broken_files, only_for_pillow, picture, readable_files
from PIL import Image
from tiny_sets import make_folder

from ieg import config as ieg_config
from ieg import experiment
from ieg.data.images.survey import read_odd, survey
from ieg.data.sets.folder import read_folder
from ieg.errors import UsageError
from ieg.predict import __main__ as predict_main
from ieg.predict import inputs, reading
from ieg.predict import model as export
from ieg.predict.model import Classifier, load
from ieg.training.devices import restoring

pytestmark = pytest.mark.usefixtures('tiny')


@restoring()
def run(path, **options):
    """Returns the folder of a run with random weights, and its evaluation.

    Returns:
        The folder, the data, and the probabilities of the test images.
    """
    chosen = ieg_config.resolve(
        {
            'method': 'supervised',
            'network_name': 'tiny',
            'checkpoint_path': str(path),
            'batch_size': 8,
            'precision': 'float32',
            **options,
        }
    )
    built = experiment.build(chosen)
    os.makedirs(built.folder)
    rng = np.random.default_rng(0)
    (net,) = built.trainer.method.nets
    for variable in net.variables:
        shift = rng.normal(0.0, 1.0, variable.shape)
        positive = 'variance' in variable.path
        variable.assign(1 + shift**2 if positive else shift)
    # Each class is the most probable one of some image.
    bias = net.get_layer('logits').bias
    bias.assign(bias - evaluated(built).mean(axis=(0, 1)))
    assert not export.write(built.trainer.method, built.data, built.folder)
    found = tf.nn.softmax(evaluated(built).sum(axis=1)).numpy()
    return built.folder, built.data, found


def evaluated(built):
    """Returns the logits of the test images [N, n, C]."""
    return built.trainer.score('logits_step', split='test')['logits']


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A folder whose test images are of every readable and broken kind."""
    root = tmp_path_factory.mktemp('photos')
    make_folder(str(root), per_class=4)
    readable_files(root / 'test' / 'cat')
    only_for_pillow(root / 'test' / 'cat')
    (root / 'test' / 'dog' / 'deeper').mkdir()
    broken_files(root / 'test' / 'dog' / 'deeper')
    return root


@pytest.fixture(scope='module')
def of_files(photos, tmp_path_factory):
    """A run whose images stay in files, and are cropped when they are read."""
    path = tmp_path_factory.mktemp('runs')
    options = {'dataset': 'folder', 'data_dir': str(photos), 'image_size': 72}
    return run(path, **options)


@pytest.fixture(scope='module')
def of_digits(tmp_path_factory):
    """A run on arrays, and its test images as files."""
    folder, data, found = run(tmp_path_factory.mktemp('d'), dataset='digits')
    images = tmp_path_factory.mktemp('images')
    for number, image in enumerate(data.test.images):
        Image.fromarray(image[..., 0]).save(images / f'{number:03d}.png')
    return folder, data, found, images


def command(capsys, *arguments):
    """Returns the exit code, the rows, and what is on standard error."""
    code = predict_main.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, list(csv.DictReader(io.StringIO(out))), err


def mistake(capsys, *arguments):
    """Returns the sentence that refuses arguments."""
    code, rows, err = command(capsys, *arguments)
    assert code == 2 and rows == []
    (line,) = err.splitlines()
    assert line.startswith('ieg: ')
    return line


def assert_same(rows, class_names, expected):
    """Checks rows against the probabilities of evaluation."""
    best = expected.argmax(axis=1)
    assert len(set(best)) > 1
    assert [row['label'] for row in rows] == [class_names[b] for b in best]
    found = np.array([float(row['probability']) for row in rows])
    np.testing.assert_allclose(found, expected.max(axis=1), atol=1e-5)


def evaluated_paths(root):
    """Returns the test images of a folder in the order of evaluation."""
    paths = read_folder(str(root)).parts['test'].paths
    return [paths[n] for n in np.flatnonzero(survey(paths).readable)]


def test_files_of_every_kind_are_predicted_as_in_evaluation(
    photos, of_files, capsys
):
    folder, data, expected = of_files
    assert data.test.images is None
    code, rows, err = command(capsys, folder, photos / 'test')
    assert code == 0
    by_path = {row['path']: row for row in rows}
    paths = evaluated_paths(photos)
    assert sorted(by_path) == sorted(paths) == list(by_path)
    assert_same([by_path[p] for p in paths], data.class_names, expected)
    (line,) = err.splitlines()
    assert line.startswith('ieg: Skipped 1')
    assert 'deeper/cut.jpg is cut off or damaged' in line


def test_files_of_a_run_that_held_them_in_memory(photos, tmp_path, capsys):
    folder, data, expected = run(
        tmp_path, dataset='folder', data_dir=str(photos), image_size=24
    )
    assert data.test.images is not None
    paths = evaluated_paths(photos)
    code, rows, _ = command(capsys, folder, *paths)
    assert code == 0 and [row['path'] for row in rows] == paths
    assert_same(rows, data.class_names, expected)


def test_files_of_a_run_on_arrays(of_digits, capsys):
    folder, data, expected, images = of_digits
    code, rows, err = command(capsys, folder, images, '--batch_size=99')
    assert (code, err) == (0, '')
    assert [row['path'] for row in rows] == sorted(map(str, images.iterdir()))
    assert_same(rows, data.class_names, expected)


@pytest.mark.parametrize('form', ['npy', 'flat.npy', 'npz'])
def test_arrays(of_digits, tmp_path, capsys, form):
    folder, data, expected, _ = of_digits
    path, images = tmp_path / f'x.{form}', data.test.images
    name = str(path)
    if form == 'npz':
        names = np.array(['a', None], object)
        np.savez(path, x=images, y=data.test.labels, names=names)
        name += '[x]'
    else:
        np.save(path, images[..., 0] if form == 'flat.npy' else images)
    code, rows, _ = command(capsys, folder, path)
    assert code == 0
    assert rows[7]['path'] == f'{name}[7]'
    assert_same(rows, data.class_names, expected)


def test_arrays_of_another_size_are_treated_like_files(
    photos, of_files, tmp_path, capsys
):
    folder, data, expected = of_files
    paths = [p for p in evaluated_paths(photos) if '/cat/' in p]
    same = [p for p in paths if read_odd(p, 3).shape == (40, 60, 3)]
    path = tmp_path / 'x.npy'
    np.save(path, np.stack([read_odd(p, 3) for p in same]))
    _, by_file, _ = command(capsys, folder, *same)
    _, by_array, _ = command(capsys, folder, path)
    assert len(by_array) == len(same) > 10
    for one, other in zip(by_file, by_array, strict=True):
        assert {**one, 'path': ''} == {**other, 'path': ''}


def test_colour_and_size_are_changed_for_a_model_of_small_grey_images(
    of_digits, tmp_path, capsys
):
    folder = of_digits[0]
    picture().save(tmp_path / 'large.png')
    np.save(tmp_path / 'large.npy', np.asarray(picture())[np.newaxis])
    # Of three dimensions that end in colours: one image.
    np.save(tmp_path / 'one.npy', np.asarray(picture()))
    names = ('large.png', 'large.npy', 'one.npy')
    _, rows, _ = command(capsys, folder, *(tmp_path / n for n in names))
    grey = picture().convert('L').resize((8, 8), Image.Resampling.BILINEAR)
    pixels = np.asarray(grey).reshape(1, 8, 8, 1)
    expected = float(np.max(load(folder)(pixels)))
    found = [float(row['probability']) for row in rows]
    np.testing.assert_allclose(found, [expected] * 3, atol=1e-6)


def test_more_than_one_class(of_digits, tmp_path, capsys):
    folder, data, expected, images = of_digits
    output = tmp_path / 'out.csv'
    code, rows, _ = command(
        capsys, folder, images, '--top=3', f'--output={output}'
    )
    assert code == 0 and rows == []
    assert os.listdir(tmp_path) == ['out.csv']
    text = output.read_text('utf-8')
    assert text.splitlines()[0] == (
        'path,label,probability,label_2,probability_2,label_3,probability_3'
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    order = np.sort(expected, axis=1)[:, ::-1]
    for place, end in enumerate(('', '_2', '_3')):
        found = [float(row[f'probability{end}']) for row in rows]
        np.testing.assert_allclose(found, order[:, place], atol=1e-5)
    assert all(row['label'] != row['label_2'] for row in rows)


def test_of_equal_classes_the_first_counts():
    equal = np.full((1, 3), 1 / 3, np.float32)
    ((_, first, _, second, _),) = predict_main.rows(['x'], equal, 'abc', 2)
    assert (first, second) == ('a', 'b')


def test_many_examples_are_announced_where_there_is_no_terminal(
    of_digits, tmp_path, capsys, monkeypatch
):
    folder, _, expected, images = of_digits
    monkeypatch.setattr(predict_main, '_MANY', len(expected))
    output = tmp_path / 'out.csv'
    code, _, err = command(capsys, folder, images, f'--output={output}')
    announced, written = err.splitlines()
    assert code == 0 and f'{len(expected)} examples' in announced
    assert f'{len(expected)} predictions to {output}' in written
    _, _, err = command(capsys, folder, images / '000.png')
    assert err == ''


def test_names_with_spaces_and_letters_of_any_kind(of_digits, tmp_path, capsys):
    names = ['a b.png', 'ünï, "図".png', os.fsdecode(b'\xff.png')]
    for name in names:
        picture('L').save(tmp_path / 'image.png')
        os.rename(tmp_path / 'image.png', tmp_path / name)
    code, rows, _ = command(capsys, of_digits[0], tmp_path)
    assert code == 0
    found = {os.path.basename(row['path']) for row in rows}
    assert found == {'a b.png', 'ünï, "図".png', r'\xff.png'}
    output = tmp_path / 'out.csv'
    assert command(capsys, of_digits[0], tmp_path, f'--output={output}')[0] == 0
    assert pd.read_csv(output).path.tolist() == [row['path'] for row in rows]
    assert output.read_bytes().startswith(b'\xef\xbb\xbfpath,')


def test_a_path_is_not_a_formula(of_digits, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture('L').save('=1+1.png')
    code, (row,), _ = command(capsys, of_digits[0], '=1+1.png')
    assert code == 0 and row['path'] == "'=1+1.png"


@pytest.mark.parametrize('kind', ['device', 'pipe', 'link'])
def test_the_output_is_never_replaced_by_a_file(
    of_digits, tmp_path, capsys, kind
):
    picture('L').save(tmp_path / 'image.png')
    output, target = tmp_path / 'output', tmp_path / 'target'
    read: list[str] = []
    if kind == 'device':
        output = pathlib.Path(os.devnull)
    elif kind == 'pipe':
        os.mkfifo(output)
    else:
        output.symlink_to('target')
        target.write_text('old')
    before = output.lstat()
    reader = threading.Thread(target=lambda: read.append(output.read_text()))
    if kind == 'pipe':
        reader.start()
    arguments = (of_digits[0], tmp_path / 'image.png', f'--output={output}')
    assert command(capsys, *arguments)[0] == 0
    if kind == 'pipe':
        reader.join()
    after = output.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    if kind == 'link':
        read.append(target.read_text())
    assert [text[:11] for text in read] == ['path,label,'] * (kind != 'device')


def test_nothing_but_broken_files(of_digits, tmp_path, capsys):
    (tmp_path / 'a.png').write_text('no image')
    output = tmp_path / 'out.csv'
    code, _, err = command(capsys, of_digits[0], tmp_path, f'--output={output}')
    assert code == 1 and not output.exists()
    (line,) = err.splitlines()
    assert 'None of the 1 images' in line and 'a.png' in line


@pytest.mark.parametrize('kind', ['of_files', 'of_digits'])
def test_a_file_that_goes_in_between_is_left_out(kind, tmp_path, request):
    model = load(request.getfixturevalue(kind)[0])
    paths = [str(tmp_path / f'{number}.png') for number in range(5)]
    for path in paths:
        picture().save(path)
    files, problems = reading.look_at(paths, model)
    os.remove(paths[1])
    os.truncate(paths[3], 50)
    found = list(reading.predictions(model, files, 2, problems))
    assert [n for names, _ in found for n in names] == paths[::2]
    assert problems == [(p, 'cannot be read') for p in paths[1::2]]
    assert sum(len(values) for _, values in found) == 3


def test_the_model_is_named_wrongly(of_digits, tmp_path, capsys):
    images = of_digits[3]
    assert 'there is no model' in mistake(capsys, tmp_path / 'no', images)
    assert 'no model.keras' in mistake(capsys, tmp_path, images)
    (tmp_path / 'text.keras').write_text('no model')
    line = mistake(capsys, tmp_path / 'text.keras', images)
    assert 'text.keras is not a Keras model' in line


def write_arrays(folder):
    """Writes files that hold no images; returns words about them."""
    np.save(folder / 'floats.npy', np.zeros((2, 8, 8, 1), np.float32))
    np.save(folder / 'flat.npy', np.zeros((2, 64), np.uint8))
    np.save(folder / 'deep.npy', np.zeros((2, 8, 8, 4), np.uint8))
    np.save(folder / 'none.npy', np.zeros((0, 8, 8, 1), np.uint8))
    np.save(folder / 'objects.npy', np.array([None]))
    np.savez(folder / 'labels.npz', y=np.zeros(3, np.int64))
    (folder / 'text.npy').write_text('text')
    (folder / 'text.npz').write_text('text')
    whole = (folder / 'labels.npz').read_bytes()
    (folder / 'cut.npz').write_bytes(whole[: len(whole) // 2])
    (folder / 'empty').mkdir()
    (folder / 'empty' / 'notes.txt').write_text('nothing')
    return {
        'floats.npy': 'got float32',
        'flat.npy': 'got [2, 64]',
        'deep.npy': 'got [2, 8, 8, 4]',
        'none.npy': 'got [0, 8, 8, 1]',
        'objects.npy': 'cannot be read as arrays',
        'labels.npz': 'no array of images',
        'text.npy': 'cannot be read as arrays',
        'text.npz': 'cannot be read as arrays',
        'cut.npz': 'cannot be read as arrays',
        'gone.npy': 'there is no file of arrays',
        'empty': 'has no images',
        'gone': 'there is no file or folder',
    }


def test_the_images_are_named_wrongly(tmp_path, capsys):
    # The model is not looked at before that.
    for name, words in write_arrays(tmp_path).items():
        line = mistake(capsys, 'no model', tmp_path / name)
        assert words in line and name in line


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--top=0'], "positive integer, got '0'"),
        (['--top=11'], '--top=11 must be at most the 10 classes'),
        (['--batch_size=x'], "positive integer, got 'x'"),
        (['--colour=red'], '--colour=red'),
        (['--output=/nowhere/at/all.csv'], '--output=/nowhere/at/all.csv'),
        (['--output=.'], '--output=. cannot be written'),
        (['--plugin=no_such_module'], '--plugin=no_such_module'),
    ],
)
def test_an_option_is_wrong(of_digits, capsys, arguments, words):
    folder, _, _, images = of_digits
    assert words in mistake(capsys, folder, images / '000.png', *arguments)


def test_arguments_are_missing(capsys):
    assert 'required: images' in mistake(capsys, 'model.keras')


def test_a_model_of_channels_that_no_file_has():
    model = Classifier([], (8, 8, 4), (0,) * 4, (1,) * 4, ['a', 'b'], 'x')
    with pytest.raises(UsageError, match='4 channels'):
        reading.check_takes_files(model)


def test_folders_are_read_at_any_depth_once(tmp_path):
    for name in ('b.png', 'a/z.jpg', 'a/b/c.PNG', '.hidden.png', 'x.txt'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    (tmp_path / 'a' / 'again').symlink_to(tmp_path)
    for name in ('.hidden', '@eaDir', '__MACOSX'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'd.png').write_bytes(b'')
    root, text = str(tmp_path), str(tmp_path / 'x.txt')
    expected = [f'{root}/{n}' for n in ('a/b/c.PNG', 'a/z.jpg', 'b.png')]
    assert inputs.find([root]) == [expected]
    # What is named itself is tried, whatever it is called.
    again = [text, f'{root}/b.png', root, f'{root}/./b.png']
    assert inputs.find(again) == [[text, expected[2], *expected[:2]]]


def test_files_and_arrays_keep_their_order(tmp_path):
    np.save(tmp_path / 'x.npy', np.zeros((2, 4, 4), np.uint8))
    for name in 'ab':
        (tmp_path / f'{name}.png').write_bytes(b'')
    names = ('b.png', 'x.npy', 'a.png')
    first, array, last = inputs.find([str(tmp_path / n) for n in names])
    assert (first, last) == ([f'{tmp_path}/b.png'], [f'{tmp_path}/a.png'])
    assert list(array.names()) == [f'{tmp_path}/x.npy[{n}]' for n in (0, 1)]
    assert array.images.shape == (2, 4, 4, 1)


@pytest.mark.slow
def test_the_command_and_a_reader_who_has_enough(of_digits, tmp_path):
    folder, _, expected, images = of_digits
    start = [sys.executable, '-m', 'ieg.predict', folder, str(images)]
    text = subprocess.run(start, capture_output=True, check=True).stdout
    assert len(text.splitlines()) == 1 + len(expected)
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 0
