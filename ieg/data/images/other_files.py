"""Files of photographs, videos and documents that are not read as images."""

import collections
import os
from collections.abc import Iterable

from ieg.utils.text import counted

ADVICE = 'convert photographs to JPEG or PNG to include them'
# What files are called that have an extension.
_EXTENSIONS = {
    'HEIC file': ('.heic', '.heif', '.hif'),
    'AVIF file': ('.avif',),
    'JPEG XL file': ('.jxl',),
    'RAW file': (
        '.3fr', '.arw', '.cr2', '.cr3', '.crw', '.dng', '.erf', '.nef', '.nrw',
        '.orf', '.pef', '.raf', '.raw', '.rw2', '.sr2', '.srf', '.srw', '.x3f',
    ),
    'PDF file': ('.pdf',),
    'Photoshop file': ('.psb', '.psd'),
    'SVG file': ('.svg', '.svgz'),
    'video': (
        '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4',
        '.mpeg', '.mpg', '.mts', '.webm', '.wmv',
    ),
}  # fmt: skip
_KINDS = {
    extension: kind
    for kind, extensions in _EXTENSIONS.items()
    for extension in extensions
}


def kind(path: str) -> str:
    """Returns what the extension of a path says, such as 'RAW file', or ''."""
    return _KINDS.get(os.path.splitext(path)[1].lower(), '')


def divided(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns the paths that have a kind, and the others."""
    known: list[str] = []
    others: list[str] = []
    for path in paths:
        (known if kind(path) else others).append(path)
    return known, others


def described(paths: Iterable[str]) -> str:
    """Returns how many there are of each kind: '2 HEIC files and 1 video'."""
    counts = collections.Counter(filter(None, map(kind, paths)))
    *first, last = [
        counted(count, name) for name, count in counts.most_common()
    ]
    return f'{", ".join(first)} and {last}' if first else last
