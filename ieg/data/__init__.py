"""Data sets with noisy labels."""
