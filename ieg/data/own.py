"""Readers of a user's own images: class folders, a CSV file, arrays.

Each of them only finds out what there is and checks it; nobody decodes an
image here. Whatever is wrong raises `UsageError`; whatever a user should know
is a remark.
"""

from ieg.data.own_csv import read_csv
from ieg.data.own_folder import read_folder
from ieg.data.own_npz import ArrayPart, Arrays, read_npz

__all__ = ['ArrayPart', 'Arrays', 'read_csv', 'read_folder', 'read_npz']
