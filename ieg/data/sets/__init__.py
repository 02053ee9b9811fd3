"""The data sets, one module each; importing it registers them."""

import dataclasses
import glob
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ieg.data.advice import Advice
from ieg.data.dataset import Found
from ieg.data.lists import SetRecipe
from ieg.data.sets.animal10n import RECIPE, animal10n
from ieg.data.sets.clothing1m import RECIPE, clothing1m
from ieg.data.sets.food101n import RECIPE, food101n
from ieg.data.sets.tfds import any_set
from ieg.data.sets.webvision import RECIPE, webvisionmini
from ieg.data.spec import TFDS_PREFIX
from ieg.registry import DATASETS

RECIPES: dict[str, SetRecipe] = {
    'webvisionmini': RECIPE,
    'clothing1m': RECIPE,
    'animal10n': RECIPE,
    'food101n': RECIPE,
}


# The sets by name.
READERS: dict[str, Callable[..., Found]] = {
    'webvisionmini': webvisionmini,
    'clothing1m': clothing1m,
    'animal10n': animal10n,
    'food101n': food101n,
}


def loader(base: str) -> Callable[..., Any]:
    """Returns the function that loads a data set.

    Raises:
        UsageError: there is none of this name.
    """
    if base.startswith(TFDS_PREFIX):
        return any_set(base.removeprefix(TFDS_PREFIX))
    return DATASETS.get(base)


def advise(base: str, given: dict[str, Any]) -> Advice | None:
    """Looks at a data set, if it is one that has to be looked at.

    Args:
        base: its name.
        given: options that the user gave.

    Raises:
        UsageError: it cannot be read.
    """
    found = getattr(loader(base), 'advise', None)
    return found(given) if found else None
