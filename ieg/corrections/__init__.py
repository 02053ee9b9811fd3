"""Writes corrected copies of data sets."""
