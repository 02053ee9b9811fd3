"""The methods: importing this package registers the built-in ones."""

from ieg.methods import dividemix, fsr, ieg, l2r, supervised

__all__ = ['dividemix', 'fsr', 'ieg', 'l2r', 'supervised']
