"""The methods: importing this package registers the built-in ones."""

from ieg.methods import (
    coteaching,
    dividemix,
    fsr,
    ieg,
    l2r,
    me_momentum,
    s2e,
    supervised,
)

__all__ = [
    'coteaching',
    'dividemix',
    'fsr',
    'ieg',
    'l2r',
    'me_momentum',
    's2e',
    'supervised',
]
