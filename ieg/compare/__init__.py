"""Compares finished runs of one data set."""
