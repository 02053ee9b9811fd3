"""Run folders whose labels a person corrects, and what is written then."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shlex

import numpy as np
import pytest
from loading import load
from PIL import Image

from ieg import experiment
from ieg.config import folder_of
from ieg.corrections import apply as apply_
from ieg.data import dataset as dataset_
from ieg.data.noise import labels as noise_labels
from ieg.data.spec import OWN
from ieg.errors import UsageError

HEADER = (
    'rank,index,path,split,given_label,suggested_label,score,margin,agreement,'
    'in_selection,is_issue,is_hard,corrected_label'
).split(',')


class Finished:
    """A run folder as a run leaves it, without the training."""

    def __init__(self, root, **options):
        options = {'method': 'supervised', 'checkpoint_path': str(root)} | {
            name: str(value) if name == 'data_dir' else value
            for name, value in options.items()
        }
        self.config, opened = experiment.configure(options)
        self.folder = folder_of(self.config)
        os.makedirs(self.folder)
        self.data = experiment.load_data(self.config, opened)
        if self.data.noise is not None:
            noise_labels.save(f'{self.folder}/noise.npz', self.data.noise)
        self.record()
        for name, content in (
            ('config.json', self.config.flat()),
            ('summary.json', {}),
        ):
            with open(os.path.join(self.folder, name), 'w') as file:
                json.dump(content, file)
        self.table = str(root / 'corrected.csv')

    def splits(self):
        """Returns the splits in label_issues.csv by name."""
        own = self.config.data.dataset.split('_')[0] in OWN
        names = ('train', 'valid', *(('test',) if own else ()))
        splits = {name: self.data.split(name) for name in names}
        return {name: split for name, split in splits.items() if split}

    def record(self):
        """Writes what `predictions.npz` has of the positions of examples."""
        splits = self.splits().items()
        indices = {f'{name}_indices': split.indices for name, split in splits}
        np.savez(f'{self.folder}/predictions.npz', **indices)

    def as_before(self):
        """Makes the run one of 0.1.0, which counted what was left."""
        changed = {
            name: dataclasses.replace(split, indices=split.places)
            for name, split in self.splits().items()
            if split.places is not None
        }
        self.data = dataclasses.replace(self.data, **changed)
        self.record()

    def rows(self):
        """Returns the rows of label_issues.csv, backwards."""
        names, found = self.data.class_names, []
        for split_name, split in self.splits().items():
            for place in range(len(split)):
                path = '' if split.names is None else split.names[place]
                label = names[split.labels[place]]
                row = [split.indices[place], path, split_name, label, label]
                found.append([*row, 0.5, 0.1, 1.0, '', 0, 0, ''])
        return [[rank, *row] for rank, row in enumerate(found[::-1], 1)]

    def correct(self, asked, delimiter=','):
        """Writes the table; `asked` is by split and index."""
        with open(self.table, 'w', newline='') as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(HEADER)
            for row in self.rows():
                row[-1] = asked.get((row[3], row[1]), '')
                writer.writerow(row)

    def apply(self, asked=None, output=None):
        """Returns the sentence; it must be one."""
        if asked is not None:
            self.correct(asked)
        said = apply_.apply(self.folder, self.table, output)
        assert said.endswith('.') and '\n' not in said
        return said

    def refusal(self, *args):
        with pytest.raises(UsageError) as caught:
            self.apply(*args)
        return str(caught.value)


def again(said, **options):
    """Loads what was written by the flags that the sentence names."""
    (flags,) = re.findall(r'train on it with (.*?)(?:; .*)?\.$', said)
    dataset, data_dir = (word.split('=', 1)[1] for word in shlex.split(flags))
    return load(dataset, data_dir=data_dir, **options)


def content(split):
    """Returns what tells each image from all others, wherever it is."""
    if split.names is None:
        return [image.tobytes() for image in split.images]
    return [pathlib.Path(name).read_bytes() for name in split.names]


def by_content(split, names, labels=None):
    """Returns the class of each image by what is in it."""
    labels = split.labels if labels is None else labels
    return {
        image: names[label]
        for image, label in zip(content(split), labels, strict=True)
    }


@pytest.fixture(autouse=True)
def undecoded(monkeypatch):
    """Small files are not decoded, which takes longer than all else."""
    monkeypatch.setattr(dataset_, '_HELD_SIDE', 0)


def write_image(path, *seed):
    """Writes an image that no other seed has."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(path)
