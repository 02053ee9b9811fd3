"""Class folders of several parts: copies in two of them, and probe sets."""

import os

import pytest
from own_files import labelled, refusal, write

from ieg.data import own
from ieg.data.sets.folder import read_folder


def test_training_copies_of_test_images_are_left_out(split):
    test = split / 'test' / 'cat' / '4.jpg'
    (split / 'train' / 'cat' / 'link.jpg').symlink_to(test)
    (split / 'train' / 'dog' / 'copy.png').write_bytes(test.read_bytes())
    found = read_folder(str(split))
    assert labelled(split, found.parts['train'], found.class_names) == [
        ('train/cat/1.jpg', 'cat'),
        ('train/cat/2.jpg', 'cat'),
        ('train/dog/3.jpg', 'dog'),
    ]
    assert len(found.parts['test']) == 2
    assert found.remarks == (
        'Left out of training: 2 images that the test part has, too, byte for '
        f"byte, such as '{split}/train/cat/link.jpg'.",
    )


def test_copies_in_valid_count_and_in_probe_do_not(split):
    image = (split / 'train' / 'cat' / '1.jpg').read_bytes()
    write(split, 'valid/dog/1.jpg', 'probe/dog/1.jpg')
    copies = [split / part / 'cat' / '1.jpg' for part in ('valid', 'probe')]
    for path in copies:
        path.parent.mkdir()
    copies[1].write_bytes(image)
    write(split, 'valid/cat/2.jpg')
    assert len(read_folder(str(split)).parts['train']) == 3
    copies[1].unlink()
    write(split, 'probe/cat/3.jpg')
    copies[0].write_bytes(image)
    assert len(read_folder(str(split)).parts['train']) == 2


@pytest.mark.parametrize('part', ['valid', 'test'])
def test_a_probe_image_must_not_be_measured_on(split, part):
    write(split, 'probe/cat/1.jpg', 'probe/dog/2.jpg', f'{part}/dog/8.jpg')
    image = (split / part / 'dog' / '8.jpg').read_bytes()
    (split / 'probe' / 'dog' / '2.jpg').write_bytes(image)
    message = refusal(str(split))
    assert f'are in the {part} part' in message and 'probe/dog/2.jpg' in message


def test_class_whose_images_are_all_copies(split):
    image = (split / 'train' / 'dog' / '3.jpg').read_bytes()
    (split / 'test' / 'dog' / '5.jpg').write_bytes(image)
    message = refusal(str(split))
    assert "all training images of 'dog' are in the test part" in message


def test_files_alike_in_part_are_no_copies(split, monkeypatch):
    """Of one size, and one with the same middle; empty ones are no images."""
    size = 3 * own._SAMPLE_BYTES
    original = bytes(size)
    (split / 'test' / 'cat' / '4.jpg').write_bytes(original)
    (split / 'train' / 'cat' / '1.jpg').write_bytes(original[:-1] + b'x')
    (split / 'train' / 'cat' / '2.jpg').write_bytes(b'\1' * size)
    for name in ('test/dog/5.jpg', 'train/dog/3.jpg'):
        (split / name).write_bytes(b'')
    hashed = []
    digest = own._digest
    monkeypatch.setattr(
        own,
        '_digest',
        lambda path: hashed.append(os.path.basename(path)) or digest(path),
    )
    found = read_folder(str(split))
    assert len(found.parts['train']) == 3 and found.remarks == ()
    # Whole files are read only where nothing else tells them apart.
    assert sorted(hashed) == ['1.jpg', '4.jpg']


def test_file_that_cannot_be_compared_is_no_copy(split, monkeypatch):
    image = (split / 'test' / 'dog' / '5.jpg').read_bytes()
    (split / 'train' / 'dog' / '3.jpg').write_bytes(image)

    def denied(path):
        raise PermissionError(13, 'no')

    monkeypatch.setattr(own, '_sample', denied)
    assert len(read_folder(str(split)).parts['train']) == 3


def test_probe_dir(pets, tmp_path_factory):
    probe = tmp_path_factory.mktemp('probe')
    write(probe, 'dog/1.jpg', 'dog/2.jpg', 'cat/1.jpg')
    found = read_folder(str(pets), str(probe))
    assert found.parts['probe'].labels.tolist() == [0, 1, 1]
    write(probe, 'bird/1.jpg')
    message = refusal(str(pets), str(probe))
    assert f"{probe} has images of 'bird', of which {pets} has none" in message


@pytest.mark.parametrize('own', [False, True])
def test_probe_needs_every_class(split, tmp_path_factory, own):
    probe = split / 'probe' if own else tmp_path_factory.mktemp('probe')
    write(probe, 'dog/1.jpg')
    message = refusal(str(split), '' if own else str(probe))
    assert f"{probe} has no probe image of 'cat'" in message


def test_probe_dir_that_cannot_be(split, tmp_path_factory):
    clean = tmp_path_factory.mktemp('clean')
    assert f'{clean} has no probe image' in refusal(str(split), str(clean))
    assert 'there is no folder nowhere' in refusal(str(split), 'nowhere')
    inside = str(split / 'train' / 'cat')
    assert f'the probe set {inside} lies in' in refusal(str(split), inside)
    write(split, 'probe/cat/1.jpg', 'probe/dog/1.jpg')
    write(clean, 'cat/1.jpg', 'dog/1.jpg')
    message = refusal(str(split), str(clean))
    assert f'two probe sets, {split}/probe and {clean}' in message
