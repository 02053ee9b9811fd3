"""Trains a method: the loop, its devices, checkpoints and log."""
