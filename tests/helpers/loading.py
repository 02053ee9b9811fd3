"""Loads data sets for tests, by the few options that a test is about."""

import dataclasses

from ieg.data import load as data_load
from ieg.options import DataConfig, RunConfig

_RUN = {field.name for field in dataclasses.fields(RunConfig)}
_SHORT = {'probe_ratio': 'probe_dataset_hold_ratio'}


def load(dataset, *, seed=0, frozen=None, opened=None, **options):
    """Returns a data set; options have the names of flags."""
    options = {_SHORT.get(name, name): value for name, value in options.items()}
    run = {name: options.pop(name) for name in _RUN & options.keys()}
    return data_load.load(
        DataConfig(dataset=str(dataset), **options),
        RunConfig(**run),
        seed,
        opened,
        frozen,
    )
