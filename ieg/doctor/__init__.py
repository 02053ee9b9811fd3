"""Checks an installation: versions, devices, data sets, a short training."""
