"""Exported networks: what is in their file, and images for them."""
