"""Tracks how easily networks learn random labels."""
