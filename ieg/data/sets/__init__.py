"""The data sets, one module each; importing this package registers them."""

from collections.abc import Callable
from typing import Any

from ieg.data.advice import Advice
from ieg.data.lists import SetRecipe
from ieg.data.sets import (
    animal10n,
    clothing1m,
    folder,
    food101n,
    npz,
    table,
    tfds,
    toy,
    webvision,
)
from ieg.data.spec import TFDS_PREFIX
from ieg.registry import DATASETS

__all__ = [
    'animal10n',
    'clothing1m',
    'folder',
    'food101n',
    'npz',
    'table',
    'tfds',
    'toy',
    'webvision',
]

RECIPES: dict[str, SetRecipe] = {
    'webvisionmini': webvision.RECIPE,
    'clothing1m': clothing1m.RECIPE,
    'animal10n': animal10n.RECIPE,
    'food101n': food101n.RECIPE,
}


def loader(base: str) -> Callable[..., Any]:
    """Returns the function that loads a data set.

    Raises:
        UsageError: there is none of this name.
    """
    if base.startswith(TFDS_PREFIX):
        return tfds.any_set(base.removeprefix(TFDS_PREFIX))
    return DATASETS.get(base)


def advise(base: str, given: dict[str, Any]) -> Advice | None:
    """Looks at a data set, if it is one that has to be looked at.

    Args:
        base: its name.
        given: options that the user gave.

    Raises:
        UsageError: it cannot be read.
    """
    advice = getattr(loader(base), 'advise', None)
    return advice(given) if advice else None
