"""Small files of human labels, in every format that is read."""

import pickle
import zipfile

import numpy as np

# So many that 100 wrong labels are the published 9.01 %.
COUNT = 1110
WRONG = 100
# What NumPy 1 wrote and PyTorch saves: modules that NumPy 2 has renamed.
OLD_NAMES = (b'numpy._core', b'numpy.core')


def made_arrays():
    """Clean and `aggre` labels in the order of the published files."""
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 10, COUNT)
    clean[-10:] = np.arange(10)
    given = clean.copy()
    given[:WRONG] = (given[:WRONG] + 1) % 10
    return {'clean_label': clean, 'aggre_label': given}


def write_npz(path, arrays):
    np.savez(path, **arrays)


def write_fields(path, arrays):
    records = np.zeros(COUNT, [(name, np.uint8) for name in arrays])
    for name, values in arrays.items():
        records[name] = values
    np.save(path, records)


def write_npy(path, arrays):
    np.save(path, np.array(arrays, object), allow_pickle=True)


def write_pt(path, arrays):
    content = pickle.dumps(arrays, protocol=2).replace(*OLD_NAMES)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('CIFAR-10_human/data.pkl', content)
        archive.writestr('CIFAR-10_human/version', '3\n')


WRITERS = {
    'CIFAR-10_human.npz': write_npz,
    'fields.npy': write_fields,
    'CIFAR-10_human.npy': write_npy,
    'CIFAR-10_human.pt': write_pt,
}
