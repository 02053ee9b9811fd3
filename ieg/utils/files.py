"""Writes files so that none is left half written."""

import os


def write_atomically(path: str, text: str) -> None:
    """Writes a text file beside its place, then renames it into place.

    It is always UTF-8; what cannot be, as in some file names, is escaped.
    """
    beside = f'{path}.tmp'
    with open(beside, 'w', encoding='utf-8', errors='backslashreplace') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
