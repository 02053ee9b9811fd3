"""Runs whose images become features first: files, arrays and known sets."""

import csv
import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import photographs
import pytest
import small_backbone
from command import assert_mistake, ieg
from paths import SHARED
from report_pages import Page, decoded
from scipy.special import softmax

from ieg import config as ieg_config
from ieg import experiment
from ieg import report as report_
from ieg.commandline import arguments
from ieg.data.dataset import Advice
from ieg.data.sets import toy
from ieg.features import cache, extract, names
from ieg.predict import model as predict_model
from ieg.predict.reading import look_at
from ieg.report import run as report_run

pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ impl:DeprecationWarning'
)
CLASSES = ('blue', 'green', 'red')


def coloured(number, label, **sizes):
    """Returns a picture whose colour says which class it is of."""
    pixels = photographs.pixels(number, **sizes).astype(int)
    pixels[..., 2 - label] = np.minimum(pixels[..., 2 - label] + 90, 255)
    return pixels.astype(np.uint8)


def write_folder(root, count=20):
    """Writes class folders, and two files that are no images."""
    for label, name in enumerate(CLASSES):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            image = coloured(count * label + number, label)
            kind = 'PNG' if number % 5 == 0 else 'JPEG'
            content = photographs.encoded(image, kind)
            (folder / f'{number}.{kind.lower()}').write_bytes(content)
    (root / 'red/text.jpg').write_bytes(b'This is no image.')
    content = (root / 'red/1.jpeg').read_bytes()
    (root / 'red/cut.jpeg').write_bytes(content[:-200])
    return root


class Made:
    """A folder of images, a backbone and a finished run on its features."""

    def __init__(self, path):
        self.path = path
        self.data = write_folder(path / 'photos')
        self.backbone = small_backbone.save(path / 'small.keras')
        self.options = (
            f'--data_dir={self.data}',
            f'--backbone={self.backbone}',
            f'--cache_dir={path / "cache"}',
            f'--checkpoint_path={path / "runs"}',
            '--max_epoch=2',
        )
        self.result = ieg(*self.options)
        self.run = path / 'runs/folder-photos/supervised_linear_s1'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp('made'))


@pytest.fixture
def nothing_is_computed(monkeypatch):
    """Fails where the network of a backbone is asked for features."""

    def refuse(*args):
        raise AssertionError('features are computed')

    monkeypatch.setattr(extract._Work, '_features', refuse)


def test_a_folder(made):
    code, out, err = made.result
    assert code == 0, err
    assert '--network_name=linear' in out and 'small.keras' in out
    summary = json.loads((made.run / 'summary.json').read_text())
    assert summary['test_accuracy_last'] > 0.6
    skipped = (made.run / 'skipped.csv').read_text()
    assert 'cut.jpeg' in skipped and 'text.jpg' in skipped
    # Whoever resumes it finds the same backbone from every folder.
    config = json.loads((made.run / 'config.json').read_text())
    assert config['backbone'] == made.backbone


def test_the_same_command_computes_nothing(made, monkeypatch):
    # But what can be decoded neither now nor then.
    seen = []
    real = extract._Work._features
    monkeypatch.setattr(
        extract._Work,
        '_features',
        lambda work, numbers: seen.append(len(numbers)) or real(work, numbers),
    )
    code, out, err = ieg(*made.options)
    assert code == 0, err
    assert 'nothing was trained' in out
    assert sum(seen) == 1


def test_the_run_folder_has_all_that_a_command_needs(made, capsys):
    code, out, err = ieg(f'--run={made.run}', '--mode=evaluation')
    assert code == 0, err
    summary = json.loads((made.run / 'summary.json').read_text())
    assert f'{summary["test_accuracy_last"]:.4f}' in out


def test_the_model_takes_images_and_says_what_the_run_said(made):
    """Up to the rounding of stored features."""
    model = predict_model.load(str(made.run))
    with open(made.run / 'label_issues.csv') as file:
        rows = [row for row in csv.DictReader(file) if row['split'] == 'test']
    rows.sort(key=lambda row: int(row['index']))
    inputs, problems = look_at([row['path'] for row in rows], model)
    assert problems == []
    pixels = inputs.fetch(range(len(rows)))
    assert pixels.dtype == np.uint8 and pixels.shape[1:] == (32, 32, 3)
    arrays = np.load(made.run / 'predictions.npz')
    expected = softmax(arrays['test_logits'], axis=1)
    said = model(pixels).numpy()
    np.testing.assert_allclose(said, expected, atol=2e-3)
    assert np.ptp(expected) > 0.3


def test_the_report_shows_the_images(made, nothing_is_computed):
    page = (made.run / 'report.html').read_text()
    count = page.count('data:image/')
    assert count > 10
    shutil.move(made.path / 'cache', made.path / 'elsewhere')
    try:
        code, _, err = report(made.run)
    finally:
        shutil.move(made.path / 'elsewhere', made.path / 'cache')
    assert code == 0, err
    page = (made.run / 'report.html').read_text()
    assert page.count('data:image/') == count


def report(folder):
    return ieg('report', str(folder))


def test_labels_can_be_corrected(made, tmp_path, nothing_is_computed):
    path = made.run / 'label_issues.csv'
    with open(path) as file:
        rows = list(csv.DictReader(file))
    other = 'red' if rows[0]['given_label'] == 'blue' else 'blue'
    rows[0]['corrected_label'] = other
    table = tmp_path / 'corrected.csv'
    with open(table, 'w') as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    output = tmp_path / 'better'
    code, out, err = ieg(
        'report', str(made.run), f'--apply={table}', f'--output={output}'
    )
    assert code == 0, err
    name = pathlib.Path(rows[0]['path']).stem
    assert any(p.stem.startswith(name) for p in (output / other).iterdir())


def test_another_backbone_is_another_run(made, tmp_path):
    other = small_backbone.save(tmp_path / 'other.keras', seed=1)
    options = [o for o in made.options if not o.startswith('--backbone')]
    code, _, err = ieg(*options, f'--backbone={other}')
    assert code == 2
    assert 'backbone' in err.splitlines()[-1] and 'changed' in err
    # The same weights elsewhere are the same.
    moved = shutil.copy(made.backbone, tmp_path / 'moved.keras')
    code, out, err = ieg(*options, f'--backbone={moved}')
    assert code == 0, err
    assert 'nothing was trained' in out


def test_added_images_cost_only_themselves(made, tmp_path, monkeypatch):
    data = shutil.copytree(made.data, tmp_path / 'photos')
    content = photographs.encoded(coloured(900, 0))
    (data / 'blue/new.jpeg').write_bytes(content)
    seen = []
    real = extract.Files.decode
    monkeypatch.setattr(
        extract.Files,
        'decode',
        lambda files, numbers: seen.extend(numbers) or real(files, numbers),
    )
    code, _, err = ieg(
        f'--data_dir={data}',
        *made.options[1:3],
        f'--checkpoint_path={tmp_path}',
        '--max_epoch=1',
    )
    assert code == 0, err
    # It, and the one that is damaged.
    assert len(seen) == 2


def assert_pictures(folder, images):
    """All sections of a report that show examples show their images.

    Args:
        folder: of a run on features of arrays.
        images: of each part, by their index.
    """
    run = report_run.read(str(folder))
    issues = run.issues
    assert issues is not None
    # Whatever was found.
    train = np.flatnonzero(issues.split == 'train')
    pair, last = train[[0, 7]], train[-3:]
    group = np.full(len(issues), np.nan)
    group[pair] = 1
    run = dataclasses.replace(
        run,
        issues=dataclasses.replace(
            issues,
            duplicate_group=group,
            outlier_score=np.arange(len(issues), dtype=float),
            is_outlier=np.isin(np.arange(len(issues)), last),
        ),
    )
    data = experiment.load_pictures(arguments.read_run(str(folder)))
    page = Page(report_.render(run, data))
    assert not page.wrong and 'There are no images' not in page.text
    for name, count in (
        ('suspects', len(page.cards)),
        ('duplicates', len(pair)),
        ('outliers', len(last)),
    ):
        section = page.one('section', id=name)
        # The items of examples, which a group has inside its own.
        shown = [
            one
            for one in section['inside']
            if one['tag'] == 'li'
            and not any(inner['tag'] == 'li' for inner in one['inside'])
        ]
        assert len(shown) == count > 1
        for one in shown:
            (image,) = [o for o in one['inside'] if o['tag'] == 'img']
            _, pixels = decoded(image['src'])
            index = int(image['alt'].split()[1].strip(','))
            part = 'test' if '(held out)' in one['text'] else 'train'
            assert np.array_equal(pixels, images[part][index].squeeze())


@pytest.mark.parametrize('channels', [1, 3])
def test_arrays(made, tmp_path, channels):
    images = np.stack(
        [coloured(n, n % 3, height=20, width=28) for n in range(60)]
    )
    if channels == 1:
        images = images.mean(axis=-1).astype(np.uint8)
    path = tmp_path / 'data.npz'
    labels = np.arange(60) % 3
    np.savez(
        path,
        x_train=images[12:],
        y_train=labels[12:],
        x_test=images[:12],
        y_test=labels[:12],
    )
    options = (
        f'--data_dir={path}',
        *made.options[1:3],
        f'--checkpoint_path={tmp_path}',
        '--max_epoch=2',
        '--export=litert',
    )
    assert_mistake(ieg(*options, '--feature_views=2'), '--feature_views')
    code, _, err = ieg(*options)
    assert code == 0, err
    run = tmp_path / 'npz-data/supervised_linear_s1'
    model = predict_model.load(str(run))
    assert model.image_shape == (20, 28, channels)
    arrays = np.load(run / 'predictions.npz')
    pixels = images[:12].reshape(12, 20, 28, channels)
    expected = softmax(arrays['test_logits'], axis=1)
    np.testing.assert_allclose(model(pixels).numpy(), expected, atol=2e-3)
    assert (run / 'model.tflite').exists()
    assert (run / 'report.html').read_text().count('data:image/') > 5
    assert_pictures(run, {'train': images[12:], 'test': images[:12]})


def test_a_known_set_has_the_recipe_of_vectors(made, tmp_path):
    code, out, err = ieg(
        '--dataset=digits_symmetric_0.4',
        '--method=supervised',
        *made.options[1:3],
        f'--checkpoint_path={tmp_path}',
        '--max_epoch=2',
        '--train_examples=200',
    )
    assert code == 0, err
    folder = tmp_path / 'digits_symmetric_0.4/supervised_mlp_s1'
    config = json.loads((folder / 'config.json').read_text())
    assert (config['network_name'], config['lr_schedule']) == (
        'mlp',
        'cosine_one',
    )
    summary = json.loads((folder / 'summary.json').read_text())
    assert 0.3 < summary['noise_rate_realised'] < 0.5
    assert (folder / 'report.html').read_text().count('data:image/') > 5
    assert_pictures(folder, {'train': toy.digits('').train_images})


@pytest.mark.slow
def test_human_labels(made, tmp_path):
    if not (SHARED / 'tfds/cifar10').is_dir():
        pytest.skip('the shared data are not here')
    code, _, err = ieg(
        '--dataset=cifar10n_worse',
        f'--data_dir={SHARED / "tfds"}',
        f'--human_labels={SHARED / "cifar_n/cifar10n.npz"}',
        '--method=supervised',
        *made.options[1:3],
        f'--checkpoint_path={tmp_path}',
        '--max_epoch=1',
        '--train_examples=2000',
    )
    assert code == 0, err
    (path,) = tmp_path.rglob('summary.json')
    summary = json.loads(path.read_text())
    assert abs(summary['noise_rate_realised'] - 0.40) < 0.03
    assert summary['test_accuracy_last'] > 0.15


# What cannot be asked for.


def test_mistakes(made, tmp_path):
    base = (f'--data_dir={made.data}', '--max_epoch=1')
    lite = (*base, f'--backbone={made.backbone}')
    assert_mistake(ieg(*base, '--backbone=lite9'), 'lite9', 'lite0')
    assert_mistake(ieg(*lite, '--image_size=64'), '--image_size', 'off')
    assert_mistake(ieg(*lite, '--network_name=cnn'), 'cnn', 'linear')
    assert_mistake(
        ieg(*base, '--backbone=off', '--feature_views=2'),
        '--feature_views',
        '--backbone',
    )
    missing = tmp_path / 'missing.keras'
    assert_mistake(ieg(*base, f'--backbone={missing}'), str(missing))
    vectors = tmp_path / 'vectors.npz'
    np.savez(vectors, x_train=np.eye(20), y_train=np.arange(20) % 2)
    assert_mistake(
        ieg(f'--data_dir={vectors}', f'--backbone={made.backbone}'),
        '--backbone',
        'vectors',
    )


def test_a_folder_that_cannot_be_written(made, tmp_path):
    place = tmp_path / 'a_file'
    place.write_text('')
    options = [o for o in made.options if not o.startswith('--cache_dir')]
    assert_mistake(ieg(*options, f'--cache_dir={place}'), str(place))


def test_the_usual_folder_that_cannot_be_written(made, tmp_path, monkeypatch):
    (tmp_path / 'ieg').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    options = [o for o in made.options if not o.startswith('--cache_dir')]
    code, out, err = ieg(*options)
    assert code == 0, err
    assert 'nothing was trained' in out
    assert err.count('--cache_dir') == 1 and str(tmp_path / 'ieg') in err


# What auto means.


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'dataset': 'folder'}, names.AUTO),
        ({'dataset': 'csv', 'method': 'auto'}, names.AUTO),
        ({'dataset': 'npz', 'network_name': 'mlp'}, names.AUTO),
        ({'dataset': 'folder', 'method': 'supervised'}, names.OFF),
        ({'dataset': 'folder', 'network_name': 'resnet50'}, names.OFF),
        ({'dataset': 'folder', 'image_size': 64}, names.OFF),
        ({'dataset': 'folder', 'pretrained': True}, names.OFF),
        ({'dataset': 'folder', 'crop_padding': 2}, names.OFF),
        ({'dataset': 'cifar10_symmetric_0.4'}, names.OFF),
        ({'dataset': 'tfds:rock_paper_scissors'}, names.OFF),
        ({}, names.OFF),
        ({'dataset': 'cifar10', 'backbone': 'lite0'}, 'lite0'),
        ({'dataset': 'folder', 'backbone': 'off'}, names.OFF),
    ],
)
def test_auto(given, expected):
    assert ieg_config.backbone(given) == expected


def test_training_on_pixels_says_that_there_is_another_way(made, tiny):
    advice = ieg_config.resolve(
        {'dataset': 'folder', 'method': 'supervised'},
        Advice({'network_name': 'tiny'}, ''),
    ).advice
    assert '--backbone=lite0' in advice


def test_size_of_the_cache(made):
    held = cache.size(cache.root(str(made.path / 'cache')))
    assert held.files >= 1 and held.size > 60 * small_backbone.WIDTH * 2
    assert os.path.isdir(cache.root(str(made.path / 'cache')))
