"""The methods: importing this package registers the built-in ones."""

from ieg.methods import (  # noqa: F401
    coteaching,
    dividemix,
    fsr,
    ieg,
    l2r,
    me_momentum,
    s2e,
    supervised,
)
