"""Noisy labels of a request that is written in one line."""

from ieg.data.noise import labels as noise_labels
from ieg.data.noise.labels import Request


def corrupt(labels, *request, images=None, order=None, **named):
    """Draws noisy labels; `request` and `named` are fields of `Request`."""
    asked = Request(*request, **named)
    return noise_labels.corrupt(labels, asked, images, order)
