"""Views of images: crops, flips and augmentation policies."""
