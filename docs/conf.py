"""Settings of Sphinx. `make docs` builds the pages and fails on a warning."""

import os

import ieg

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # The API imports it.

project = 'ieg'
author = 'The ieg authors'
release = ieg.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.napoleon',
]
exclude_patterns = ['_build']
html_theme = 'alabaster'
html_theme_options = {
    'description': 'Learning with noisy labels in TensorFlow and Keras',
}

# Links to headings (page.md#heading) need anchors.
myst_heading_anchors = 3

# Types stand in signatures; keep those of our own modules short.
autodoc_typehints_format = 'short'
autodoc_member_order = 'bysource'
napoleon_numpy_docstring = False
napoleon_use_ivar = True
