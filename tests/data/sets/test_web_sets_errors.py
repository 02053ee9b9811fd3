"""Published sets of web images: each damaged layout gives one sentence."""

import shutil

import pytest
import tiny_sets

from ieg.data.sets import animal10n, clothing1m, food101n, webvision
from ieg.errors import UsageError


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return tiny_sets.Made(tmp_path_factory.mktemp('sets'))


def _append(path, line):
    path.write_text(f'{path.read_text()}{line}\n')


def unlink(name):
    return lambda folder: (folder / name).unlink()


def remove(name):
    return lambda folder: shutil.rmtree(folder / name)


def add(name, line):
    return lambda folder: _append(folder / name, line)


def write(name, content):
    def change(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return change


def both(*changes):
    return lambda folder: [change(folder) for change in changes]


TRAIN_LIST = 'info/train_filelist_google.txt'
WRONG = {
    'no folder': (
        'animal10n',
        lambda folder: shutil.rmtree(folder),
        'there is no folder DIR with animal10n',
    ),
    'webvision: no list': (
        'webvision',
        unlink('info/val_filelist.txt'),
        'the file info/val_filelist.txt is missing: it is looked for in DIR.',
    ),
    'webvision: nothing': (
        'webvision',
        remove('info'),
        'DIR has neither info/train_filelist_google.txt (WebVision 1.0) nor '
        'class folders in train and val',
    ),
    'webvision: no number': (
        'webvision',
        add(TRAIN_LIST, 'google/x.jpg cat'),
        "line 202 of DIR/info/train_filelist_google.txt is 'google/x.jpg "
        "cat' and not a name and a class from 0 to 999: get the list again.",
    ),
    'webvision: no label': (
        'webvision',
        add(TRAIN_LIST, 'google/x.jpg'),
        "is 'google/x.jpg' and not a name and a class from 0 to 999",
    ),
    'webvision: label too large': (
        'webvision',
        add(TRAIN_LIST, 'google/x.jpg 1000'),
        "is 'google/x.jpg 1000' and not a name and a class from 0 to 999",
    ),
    'webvision: negative label': (
        'webvision',
        add(TRAIN_LIST, 'google/x.jpg -1'),
        "is 'google/x.jpg -1' and not a name and a class from 0 to 999",
    ),
    'webvision: empty list': (
        'webvision',
        write(TRAIN_LIST, b'\n'),
        'info/train_filelist_google.txt names no image: get the set again.',
    ),
    'webvision: no text': (
        'webvision',
        write(TRAIN_LIST, b'\xff\xfe\x00'),
        'DIR/info/train_filelist_google.txt is not a text file in UTF-8',
    ),
    'webvision: no images': (
        'webvision',
        remove('val_images_256'),
        '100 of the 100 images of info/val_filelist.txt are missing, the '
        'first is DIR/val_images_256/val000000.jpg: unpack the images there.',
    ),
    'webvision: no imagenet': (
        'webvision',
        lambda folder: None,
        '--use_imagenet_as_eval needs class folders in DIR/imagenet/val, '
        'named by class number or synset',
    ),
    'imagenet: strange folder': (
        'webvision',
        write('imagenet/val/bees/1.jpg', b''),
        'DIR/imagenet/val/bees is not named after a class: a number (0)',
    ),
    'imagenet: few classes': (
        'webvision',
        write('imagenet/val/0/1.jpg', b''),
        'DIR/imagenet/val has no folder for class 1: 50 class folders are',
    ),
    'imagenet: no files': (
        'webvision',
        both(*(write(f'imagenet/{c}/1.txt', b'') for c in range(50))),
        'the class folders in DIR/imagenet hold no .jpg, .jpeg or .png files.',
    ),
    'folders: no val': (
        'webvision_tfds',
        remove('webvisionmini-google/val'),
        'DIR/webvisionmini-google/val is missing or has no class folders',
    ),
    'folders: own names, too few': (
        'webvision_tfds',
        both(
            *(
                remove(f'webvisionmini-google/{part}')
                for part in ('train', 'probe_500')
            ),
            write('webvisionmini-google/train/bees/1.jpg', b''),
        ),  # fmt: skip
        'DIR/webvisionmini-google/train and DIR/webvisionmini-google/val must '
        'have folders of the same 50 classes, but there are 1 and 50, and 51 '
        'are in one of them only.',
    ),
    'folders: records': (
        'webvision_tfds',
        both(
            remove('webvisionmini-google'),
            write('webvisionmini-google/1.0.0/x-train.tfrecord-0', b''),
        ),
        'DIR/webvisionmini-google/1.0.0/x-train.tfrecord-0 is a file of '
        'records of TFDS: unpack its images into train/CLASS/ and val/CLASS/.',
    ),
    'clothing1m: no kv': (
        'clothing1m',
        unlink('annotations/clean_label_kv.txt'),
        'the file clean_label_kv.txt is missing: it is looked for in '
        'DIR/annotations and in DIR.',
    ),
    'clothing1m: no keys': (
        'clothing1m',
        unlink('annotations/noisy_train_key_list.txt'),
        'the file noisy_train_key_list.txt is missing',
    ),
    'clothing1m: key without label': (
        'clothing1m',
        add('annotations/clean_val_key_list.txt', 'images/9/9/new.jpg'),
        "'images/9/9/new.jpg' in line 29 of DIR/annotations/"
        'clean_val_key_list.txt has no label in DIR/annotations/'
        'clean_label_kv.txt: get both files again.',
    ),
    'clothing1m: label': (
        'clothing1m',
        add('annotations/noisy_label_kv.txt', 'images/9/9/new.jpg 14'),
        "is 'images/9/9/new.jpg 14' and not a name and a class from 0 to 13",
    ),
    'clothing1m: names': (
        'clothing1m',
        add('annotations/category_names_eng.txt', 'Hat'),
        'DIR/annotations/category_names_eng.txt names 15 different classes in '
        '15 lines instead of 14: get the file again.',
    ),
    'clothing1m: images': (
        'clothing1m',
        remove('images'),
        '84 of the 84 images of noisy_train_key_list.txt are missing, the '
        'first is DIR/0/0/noisy_train,0.jpg',
    ),
    'animal10n: no test': (
        'animal10n',
        remove('testing'),
        'DIR/testing is missing or has no images: unpack the raw images',
    ),
    'animal10n: binary': (
        'animal10n',
        both(remove('training'), write('data_batch_1.bin', b'')),
        'DIR/data_batch_1.bin is the binary form of animal10n, which is not '
        'read: take the raw images, with folders training and testing.',
    ),
    'animal10n: name': (
        'animal10n',
        write('training/12_img.jpg', b''),
        'the name of DIR/training/12_img.jpg does not begin with a class '
        'from 0 to 9 and _',
    ),
    'food101n: no test': (
        'food101n',
        remove('food-101'),
        'the file meta/test.txt is missing: it is looked for in DIR/food-101 '
        'and in UP/food-101.',
    ),
    'food101n: no classes': (
        'food101n',
        unlink('meta/classes.txt'),
        'the file meta/classes.txt is missing: it is looked for in DIR.',
    ),
    'food101n: classes twice': (
        'food101n',
        add('meta/classes.txt', 'dish_000'),
        'DIR/meta/classes.txt names 101 different classes in 102 lines '
        'instead of 101',
    ),
    'food101n: unknown class': (
        'food101n',
        add('meta/imagelist.tsv', 'soap/1.jpg'),
        "line 305 of DIR/meta/imagelist.tsv is 'soap/1.jpg' and not "
        'CLASS/IMAGE of a class in meta/classes.txt',
    ),
    'food101n: no file': (
        'food101n',
        add('food-101/meta/test.txt', 'dish_000'),
        "line 102 of DIR/food-101/meta/test.txt is 'dish_000' and not",
    ),
    'food101n: verification': (
        'food101n',
        add('meta/verified_val.tsv', 'dish_000/1.jpg\t2'),
        "is 'dish_000/1.jpg\\t2' and not CLASS/IMAGE, a tab, and 0 or 1",
    ),
}


READERS = {
    'animal10n': animal10n.animal10n,
    'clothing1m': clothing1m.clothing1m,
    'food101n': food101n.food101n,
}


@pytest.mark.parametrize('case', list(WRONG))
def test_errors(case, made, tmp_path):
    name, change, message = WRONG[case]
    folder = made.copy(name, tmp_path)
    change(folder)
    reader = READERS.get(name, webvision.webvisionmini)
    imagenet = {'use_imagenet_as_eval': True} if 'imagenet' in case else {}
    with pytest.raises(UsageError) as error:
        reader(str(folder), **imagenet)
    text = str(error.value).replace(str(folder), 'DIR')
    text = text.replace(str(folder.parent), 'UP')
    assert (
        text.startswith(message)
        or message.startswith('is ')
        and (message in text)
    )
    assert '\n' not in text
