"""The methods: importing this package registers the built-in ones."""

from ieg.methods import dividemix, supervised

__all__ = ['dividemix', 'supervised']
