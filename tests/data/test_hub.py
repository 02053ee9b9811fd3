"""Data sets of Hugging Face and Parquet files, as tables of a user."""

import csv
import os

import numpy as np
import pytest
from command import assert_mistake, ieg
from PIL import Image

from ieg.data import hub
from ieg.errors import UsageError

CLASSES = ('cat', 'dog')


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    library = pytest.importorskip('datasets')
    monkeypatch.setattr(library.config, 'HF_DATASETS_CACHE', tmp_path / 'arrow')
    return library


def rows_of(table):
    with open(table.path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def images(library, folder, labels):
    """Writes two splits of images; returns their pixels by split."""
    features = library.Features(
        image=library.Image(),
        coarse=library.ClassLabel(names=['pet']),
        label=library.ClassLabel(names=list(CLASSES)),
    )
    pixels, rng = {}, np.random.default_rng(0)
    os.makedirs(folder, exist_ok=True)
    for split in ('train', 'validation'):
        shape = (len(labels), 6, 5, 3)
        pixels[split] = rng.integers(256, size=shape, dtype=np.uint8)
        columns = {
            'image': [Image.fromarray(one) for one in pixels[split]],
            'coarse': [0] * len(labels),
            'label': labels,
        }
        made = library.Dataset.from_dict(columns, features=features)
        made.to_parquet(folder / f'{split}.parquet')
    return pixels


@pytest.mark.extras
def test_images_become_files_and_a_table(datasets, tmp_path):
    labels = [0, 1, -1, 1]
    pixels = images(datasets, tmp_path / 'pets', labels)
    name = f'hf:{tmp_path}/pets'
    table = hub.read(name, str(tmp_path / 'cache'))
    assert os.path.basename(table.path) == 'pets.csv'
    rows = rows_of(table)
    # The only other split is for tests; one example of each has no label.
    assert [row['split'] for row in rows] == ['train'] * 3 + ['test'] * 3
    assert [row['label'] for row in rows[:3]] == ['cat', 'dog', 'dog']
    folder = os.path.dirname(table.path)
    for row, place in zip(rows[:3], (0, 1, 3), strict=True):
        image = np.array(Image.open(os.path.join(folder, row['path'])))
        np.testing.assert_array_equal(image, pixels['train'][place])
    said = ' '.join(table.remarks)
    assert "'coarse'" in said and '1 train example' in said
    before = os.stat(table.path)
    assert hub.read(name, str(tmp_path / 'cache')).path == table.path
    assert os.stat(table.path) == before


@pytest.mark.extras
def test_a_parquet_file_of_texts_becomes_a_table(datasets, tmp_path):
    texts = ['good, "really"', '=1+1', 'two\nlines', 'Ünïcode']
    columns = {'review': texts, 'stars': [1, 2, None, 4]}
    columns['label'] = ['pos', 'neg', None, 'pos']
    path = str(tmp_path / 'some reviews.parquet')
    datasets.Dataset.from_dict(columns).to_parquet(path)
    given = {'data_dir': path, 'cache_dir': str(tmp_path / 'cache')}
    replaced, _ = hub.replaced(given)
    assert replaced['dataset'] == 'csv'
    rows = rows_of(hub.Table(replaced['data_dir'], ()))
    assert [row['text'] for row in rows] == [texts[0], "'=1+1", texts[3]]
    assert [row['stars'] for row in rows] == ['1', '2', '4']


@pytest.mark.extras
def test_noise_stays_in_the_name(datasets, tmp_path):
    images(datasets, tmp_path / 'pets', [0, 1])
    dataset = f'hf:{tmp_path}/pets_symmetric_0.2'
    replaced, _ = hub.replaced({'dataset': dataset, 'cache_dir': str(tmp_path)})
    assert replaced['dataset'] == 'csv_symmetric_0.2'
    assert replaced['data_dir'].endswith('pets.csv')


@pytest.mark.extras
@pytest.mark.parametrize(
    'columns, word',
    [
        ({'text': ['a'], 'stars': [1]}, "'stars'"),
        ({'label': ['a'], 'tokens': [[1, 2]]}, "'tokens'"),
    ],
)
def test_columns_that_are_missing_are_named(datasets, tmp_path, columns, word):
    path = str(tmp_path / 'x.parquet')
    datasets.Dataset.from_dict(columns).to_parquet(path)
    with pytest.raises(UsageError, match=word):
        hub.read(path, str(tmp_path))


@pytest.mark.extras
def test_a_file_that_cannot_be_read_is_one_sentence(datasets, tmp_path):
    (tmp_path / 'x.parquet').write_text('no')
    for path in (tmp_path / 'x.parquet', tmp_path / 'y.parquet'):
        assert_mistake(ieg('audit', str(path)), path.name)


def test_what_names_no_data_is_a_mistake(tmp_path):
    assert_mistake(ieg('audit', 'hf:'), 'hf:')
    line = ('train', '--dataset=hf:beans', f'--data_dir={tmp_path}')
    assert_mistake(ieg(*line), '--data_dir', 'hf:beans')


def test_other_options_stay_as_they_are():
    given = {'dataset': 'mnist', 'data_dir': 'x.parquet'}
    assert hub.replaced(given) == (given, ())
