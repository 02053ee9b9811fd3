"""The methods: importing this package registers the built-in ones."""

from ieg.methods import dividemix, ieg, l2r, supervised

__all__ = ['dividemix', 'ieg', 'l2r', 'supervised']
