"""The data sets, one module each; importing this package registers them."""

from ieg.data.sets import (  # noqa: F401
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
