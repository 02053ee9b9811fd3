"""Train image classifiers on badly labelled data, and find the bad labels."""

__version__ = '0.1.0'
