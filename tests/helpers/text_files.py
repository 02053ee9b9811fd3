"""Tables of texts, and of numbers and categories, with some wrong labels."""

import csv

import numpy as np

GOOD = 'great lovely fine superb Größe'.split()
BAD = 'awful broken poor sad kaputt'.split()
OTHERS = 'the phone <b>box</b> came today été 😀 shop case'.split()


def reviews(path, count=150, wrong=0.15, seed=0):
    """Writes id,text,label,clean_label; returns texts, given and true labels.

    The last ten texts are copies of the first ten.
    """
    rng = np.random.default_rng(seed)
    true = rng.choice(['bad', 'good'], count)
    true[-10:] = true[:10]
    texts = []
    for label in true:
        words = [
            *rng.choice(OTHERS, 6),
            *rng.choice([BAD, GOOD][label == 'good'], 3),
        ]
        texts.append(' '.join(rng.permutation(words)))
    texts[-10:] = texts[:10]
    moved = rng.random(count) < wrong
    given = np.where(moved, np.where(true == 'bad', 'good', 'bad'), true)
    rows = zip(range(count), texts, given, true, strict=True)
    _write(path, ['id', 'text', 'label', 'clean_label'], rows)
    return texts, given, true


def people(path, count=150, seed=0):
    """Writes key,age,color,label, of which some are missing."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(['no', 'yes'], count)
    rows = []
    for number, label in enumerate(labels):
        age = rng.normal(30 + 15 * (label == 'yes'), 6)
        color = rng.choice(['red', 'blue', ''], p=[0.1, 0.8, 0.1])
        if label == 'yes':
            color = rng.choice(['red', 'Köln', ''], p=[0.8, 0.1, 0.1])
        written = '' if rng.random() < 0.1 else f'{age:.1f}'
        rows.append([f'k{number}', written, color, label])
    _write(path, ['key', 'age', 'color', 'label'], rows)
    return rows


def _write(path, header, rows):
    with open(path, 'w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([header, *rows])
