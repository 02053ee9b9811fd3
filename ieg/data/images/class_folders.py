"""Which files are images of which class and part, found without TensorFlow."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Mapping

from ieg.data.images import other_files
from ieg.data.images.survey import EXTENSIONS
from ieg.errors import UsageError
from ieg.utils import files
from ieg.utils.text import (
    counted,
    in_order,
    listed,
    normal,
    shown,
    unreadable,
)

# The part that a folder is of, by its name in lower case.
_PART_FOLDERS = {
    'train': 'train',
    'training': 'train',
    'test': 'test',
    'testing': 'test',
    'valid': 'valid',
    'val': 'valid',
    'validation': 'valid',
    'probe': 'probe',
}
# The words of a name such as 'images_train', 'trainSet' or 'test2017'.
_WORDS = re.compile('[A-Z]?[a-z]+|[A-Z]+')
# Parts that cannot do without images.
_NEEDED = ('train', 'probe')


@dataclasses.dataclass
class Notes:
    """Paths that are left out, by the reason why.

    Attributes:
        loose: files in no class folder.
        others: files that are not images that can be read.
        broken: links that lead nowhere, and the like.
        again: folders that a link leads back to.
        remarks: whole sentences about all else.
    """

    loose: list[str] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    broken: list[str] = dataclasses.field(default_factory=list)
    again: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)

    def sentences(self) -> list[str]:
        """Returns all remarks."""
        media, others = other_files.divided(self.others)
        reasons = (
            (self.loose, 'file', 'in no class folder'),
            (others, 'file', 'without the extension of an image'),
            (self.broken, 'link', 'to no file or folder'),
            (self.again, 'folder', 'that a link leads to again'),
        )
        remarks = [
            f'Not used: {counted(len(paths), noun)} {why}, such as '
            f'{paths[0]!r}.'
            for paths, noun, why in reasons
            if paths
        ]
        if media:
            remarks.append(
                f'Not used: {other_files.described(media)}, such as '
                f'{media[0]!r}; {other_files.ADVICE}.'
            )
        return self.remarks + remarks


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """The images of a folder, by their part and class.

    Attributes:
        folders: part -> the folder that has its class folders.
        images: part -> class -> sorted paths; as the folders are called.
        names: the classes that have training images, in order.
        notes: of what is left out, or read in a special way.
    """

    folders: dict[str, str]
    images: dict[str, dict[str, list[str]]]
    names: list[str]
    notes: 'Notes'


def find(data_dir: str, probe_dir: str = '') -> ClassFolders:
    """Finds images in class folders, as `ieg.data.sets.folder` describes.

    Args:
        data_dir: the folder.
        probe_dir: another one, whose class folders make the part 'probe'.

    Raises:
        UsageError: there is nothing to train on, or the parts do not fit.
    """
    notes = Notes()
    folders = part_folders(data_dir, notes)
    if probe_dir:
        _check_probe_dir(probe_dir, folders)
        folders['probe'] = probe_dir
    above = _identities_above(data_dir)
    images = {
        part: _images_by_class(folder, above, part in _NEEDED, notes)
        for part, folder in folders.items()
    }
    names = _class_names(images['train'], folders['train'], notes)
    return ClassFolders(folders, images, names, notes)


def _contents(
    path: str,
) -> tuple[dict[str, str], list[str], list[str]]:
    """Returns the folders by name, the files, and the broken links."""
    try:
        folder = files.read_folder(path)
    except OSError as error:
        raise unreadable('folder', path, error) from None
    by_name = {os.path.basename(inner): inner for inner in folder.folders}
    return by_name, folder.files, folder.others


def _identity(folder: str) -> tuple[int, int]:
    try:
        return files.identity(folder)
    except OSError as error:
        raise unreadable('folder', folder, error) from None


def _identities_above(folder: str) -> frozenset[tuple[int, int]]:
    """Returns those of a folder and of all that contain it.

    A link from a class to one of them would make all classes one.
    """
    path = os.path.realpath(folder)
    identities = {_identity(path)}
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        # Whoever may list a folder need not be allowed to see those above.
        with contextlib.suppress(UsageError):
            identities.add(_identity(path))
    return frozenset(identities)


def _part_of(name: str) -> str | None:
    """Returns the part that a name speaks of, if it is one."""
    if part := _PART_FOLDERS.get(name.lower()):
        return part
    words = [word.lower() for word in _WORDS.findall(name)]
    words += [word.removesuffix('set') for word in words]
    named = {_PART_FOLDERS[word] for word in words if word in _PART_FOLDERS}
    return named.pop() if len(named) == 1 else None


def _unwrapped(folder: str, notes: Notes) -> str:
    """Returns the folder of folders that is alone in a folder, or in that."""
    while True:
        folders, loose, _ = _contents(folder)
        images = [path for path in loose if path.lower().endswith(EXTENSIONS)]
        if len(folders) != 1 or images:
            return folder
        ((name, inner),) = folders.items()
        above = os.path.basename(os.path.normpath(folder))
        is_part = name.lower() in _PART_FOLDERS and name != above
        if is_part or os.path.islink(inner) or not _contents(inner)[0]:
            return folder
        notes.remarks.append(
            f'{inner} is read in place of {folder}, which has nothing else.'
        )
        folder = inner


def part_folders(data_dir: str, notes: Notes | None = None) -> dict[str, str]:
    """Returns the folder of each part, which has the class folders.

    Args:
        data_dir: see `read_folder`.
        notes: of what is left out, or read in a special way.

    Raises:
        UsageError: the folders do not fit.
    """
    notes = Notes() if notes is None else notes
    data_dir = _unwrapped(data_dir, notes)
    folders, loose, broken = _contents(data_dir)
    by_part = _parts_by_name(folders)
    used = {name for names in by_part.values() for name in names}
    others = [name for name in folders if name not in used]
    train = [folders[name] for name in by_part.get('train', ())]
    if not train or (others and not any(_contents(f)[0] for f in train)):
        plain = [n for n in folders if n.lower() not in _PART_FOLDERS]
        _check_classes_named_as_parts(data_dir, folders, plain, notes)
        _check_alike(data_dir, folders)
        return {'train': data_dir}
    guessed = any(n.lower() not in _PART_FOLDERS for n in used)
    if others and (guessed or len(by_part) == 1):
        _check_alike(data_dir, folders)
    for part, names in by_part.items():
        if len(names) > 1:
            raise UsageError(
                f'{data_dir} has {len(names)} folders of the {part} part, '
                f'{listed(names)}: merge or rename them.'
            )
    notes.loose += loose
    notes.broken += broken
    notes.remarks += [
        f'{folders[name]} is read as the {part} part.'
        for part, (name,) in by_part.items()
        if name.lower() not in _PART_FOLDERS
    ]
    if others:
        notes.remarks.append(
            f'{data_dir} has {counted(len(others), "folder")} next to that of '
            f'the training part, not used: {listed(others)}.'
        )
    return {
        part: _unwrapped(folders[name], notes)
        for part, (name,) in by_part.items()
    }


def _parts_by_name(folders: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns the names of the folders of each part.

    A name that only has the word of a part in it counts where it shares class
    folders with training images; 'freight_train' can be a class.
    """
    by_part: dict[str, list[str]] = {}
    hints: dict[str, list[str]] = {}
    for name in folders:
        if part := _part_of(name):
            exact = name.lower() in _PART_FOLDERS
            (by_part if exact else hints).setdefault(part, []).append(name)
    classes = {
        name: {*map(normal, _contents(_unwrapped(folders[name], Notes()))[0])}
        for name in folders
        if _part_of(name)
    }
    train = by_part.get('train') or hints.get('train', [])
    for part, names in hints.items():
        against = classes.keys() - train if part == 'train' else train
        alike = [
            n for n in names if any(classes[n] & classes[o] for o in against)
        ]
        if alike:
            by_part.setdefault(part, alike)
    return by_part


def _check_alike(data_dir: str, folders: Mapping[str, str]) -> None:
    """Checks that the class folders are not the parts of something else.

    Raises:
        UsageError: all of them have the same folders.
    """
    inner = [set(_contents(folder)[0]) for folder in folders.values()]
    if len(inner) < 2 or len(common := set.intersection(*inner)) < 2:
        return
    raise UsageError(
        f'{data_dir} has {listed(in_order(folders))}, which all have the '
        f'folders {listed(in_order(common))}: if these are the classes, call '
        "the outer ones 'train', 'test' and 'valid'; if the outer ones are, "
        f'put them into {os.path.join(data_dir, "train")}.'
    )


def _check_probe_dir(probe_dir: str, folders: Mapping[str, str]) -> None:
    """Checks that a probe set is the only one, and no part of the training.

    Raises:
        UsageError: it is not.
    """
    if 'probe' in folders:
        raise UsageError(
            f'there are two probe sets, {folders["probe"]} and {probe_dir}: '
            'remove one, or leave --probe_dir out.'
        )
    probe = os.path.realpath(probe_dir)
    for part, folder in folders.items():
        other = os.path.realpath(folder)
        if os.path.commonpath([other, probe]) == other:
            raise UsageError(
                f'the probe set {probe_dir} lies in {folder}, which is the '
                f'{part} part: move it to a folder elsewhere.'
            )


def _check_classes_named_as_parts(
    data_dir: str, folders: Mapping[str, str], others: list[str], notes: Notes
) -> None:
    """Checks folders that are classes, but named as parts are.

    Args:
        data_dir: the folder that they are in.
        folders: all in it, by name.
        others: names of those not named as parts.
        notes: of what is read as a class.

    Raises:
        UsageError: there are parts, but none to train on.
    """
    classes = {normal(name) for name in others}
    for name in sorted(set(folders) - set(others)):
        inner = {normal(inner) for inner in _contents(folders[name])[0]}
        if not others or classes & inner:
            raise UsageError(
                f"{data_dir} has a folder {name!r}, but none called 'train' "
                'with class folders in it: put the class folders of the '
                "training images into 'train'."
            )
        notes.remarks.append(
            f'{folders[name]} is read as the class {name!r} and not as a part '
            "of the data, since there are no class folders in a folder 'train'."
        )


def _images_by_class(
    folder: str,
    above: frozenset[tuple[int, int]],
    needed: bool,
    notes: Notes,
) -> dict[str, list[str]]:
    """Returns the paths of the images in each class folder, by its name.

    Args:
        folder: of one part.
        above: folders not to be read; see `_identities_above`.
        needed: whether it has to have class folders. Images of a test set
            without labels often lie in no class folder.
        notes: of what is left out.
    """
    folders, loose, broken = _contents(folder)
    names: dict[str, str] = {}
    for name in folders:
        twin = names.setdefault(normal(name), name)
        if twin != name:
            raise UsageError(
                f'{folder} has two folders {shown(name)!r} whose names differ '
                'only in spaces or in how Unicode writes them: merge or rename '
                'them.'
            )
    if loose and not folders and needed:
        raise UsageError(
            f'{folder} has {counted(len(loose), "file")}, but no class '
            'folders: put the images of each class into a folder of its own.'
        )
    notes.loose += loose
    notes.broken += broken
    seen = above | {_identity(folder)}
    return {
        name: _images_below(path, set(seen), notes)
        for name, path in folders.items()
    }


def _images_below(
    folder: str, seen: set[tuple[int, int]], notes: Notes
) -> list[str]:
    """Returns the sorted paths of the images at any depth of a folder.

    Args:
        folder: of a class.
        seen: folders not to be read; those read are added.
        notes: of what is left out.
    """
    images: list[str] = []
    try:
        for inner in files.walk(folder, seen=seen):
            notes.again += [inner.path] * inner.is_repeated
            notes.broken += inner.others
            for path in inner.files:
                is_image = path.lower().endswith(EXTENSIONS)
                (images if is_image else notes.others).append(path)
    except OSError as error:
        raise unreadable('folder', error.filename or folder, error) from None
    return sorted(images)


def _class_names(
    images: Mapping[str, list[str]], folder: str, notes: Notes
) -> list[str]:
    """Returns the classes that have training images, in order.

    Raises:
        UsageError: there are less than two.
    """
    names = in_order(name for name, paths in images.items() if paths)
    empty = in_order(name for name, paths in images.items() if not paths)
    if not names:
        media, others = other_files.divided(notes.others)
        found = other_files.described(media) if media else ''
        if others:
            found = found or counted(len(others), 'other file')
            found += f', such as {(media or others)[0]!r}'
        raise UsageError(
            f'there are no images in class folders of {folder} '
            f'({", ".join(EXTENSIONS)}){f", only {found}" if found else ""}: '
            'put the images of each class into a folder of its own there'
            f'{f"; {other_files.ADVICE}" if media else ""}.'
        )
    if len(names) == 1:
        rest = f' (and nothing in {listed(empty)})' if empty else ''
        raise UsageError(
            f'{folder} has images of only the class {names[0]!r}{rest}: add '
            'another class, or give the folder that the class folders are in.'
        )
    if empty:
        notes.remarks.append(
            f'{folder} has {counted(len(empty), "class folder")} without '
            f'images, not used: {listed(empty)}.'
        )
    return names
