"""Layers of fields do what scikit-learn does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from ieg.data import encoding
from ieg.networks import fields
from ieg.utils.text import lower

# Keras warns when it saves a model with NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
# Letters with two forms, signs that join others, and kinds of white space.
ODD = 'aB ÄßıİΣς_1\u0301\u0345\u200d\ufeff😀한\x1c\x85\xa0\u2028\n\t.,-'
TEXTS = st.one_of(st.text(max_size=30), st.text(ODD, max_size=30))
WORDS, GRAMS = (
    CountVectorizer(preprocessor=lower, **options).build_analyzer()
    for options in (
        {'ngram_range': encoding.WORDS},
        {'ngram_range': encoding.GRAMS, 'analyzer': 'char_wb'},
    )
)
# What TF-IDF is learned from.
MANY = [
    'Straße und Größe',
    'ÄRGER über Öl',
    'the cat sat on the mat',
    'The Cat 😀 sat',
    'e\u0301te\u0301 été',
    'İstanbul ΣΑΣ',
    '東京 大阪',
    '',
    'a b c',
    'x' * 300,
    'cat cat cat mat',
    'mat-and-cat',
]


def sorted_terms(terms):
    return [sorted(term.decode() for term in one) for one in terms.to_list()]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_terms_are_those_of_scikit_learn(texts):
    codes = tf.strings.unicode_decode(texts, 'UTF-8')
    assert sorted_terms(fields._words(codes)) == [
        sorted(WORDS(text)) for text in texts
    ]
    assert sorted_terms(fields._grams(codes)) == [
        sorted(GRAMS(text)) for text in texts
    ]


def test_every_code_point_is_read_as_in_scikit_learn():
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    every = tf.constant(codes)
    for table, is_space in (
        (fields._of_words(), lambda c: not (c.isalnum() or c == '_')),
        (fields._of_grams(), str.isspace),
    ):
        shown = tf.gather(table, every).numpy().tolist()
        for code, seen in zip(codes, shown, strict=True):
            letter = lower(chr(code))
            assert seen == (32 if is_space(letter) else ord(letter))
    texts = tf.strings.unicode_encode(every[:, tf.newaxis], 'UTF-8')
    again = tf.strings.unicode_decode(texts, 'UTF-8')
    assert again.flat_values.numpy().tolist() == codes


@pytest.fixture(scope='module')
def learned():
    return encoding.Texts.learned('text', np.array(MANY, object), 'x.csv')


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, max_size=4))
def test_vectors_of_texts_are_those_of_scikit_learn(learned, texts):
    texts = [*texts, *MANY]
    expected = learned.vectors(np.array(texts, object))
    found = learned.layer()(tf.constant(texts)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_texts_without_known_terms_are_zeros_and_long_ones_are_cut(learned):
    layer, most = learned.layer(), encoding.MOST_CHARACTERS
    texts = ['', ' \n', '??', 'cat ' * most, 'cat ' * most + ' mat']
    found = layer(tf.constant(texts)).numpy()
    np.testing.assert_array_equal(found[:2], 0)
    np.testing.assert_array_equal(found[3], found[4])
    expected = learned.vectors(np.array(texts, object))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert layer(tf.constant([], tf.string)).shape == (0, layer.width)


def test_texts_of_signs_have_no_words():
    texts = np.array([f'{a} {b} !' for a in 'xyz?' for b in '123+'], object)
    learned = encoding.Texts.learned('text', texts, 'x.csv')
    assert len(learned.terms) == 1
    np.testing.assert_allclose(
        learned.layer()(tf.constant(texts.tolist())).numpy(),
        learned.vectors(texts),
        atol=1e-5,
    )


def test_numbers_and_categories_are_those_of_scikit_learn():
    numbers = np.array([1.5, np.nan, -2, 4e5, 0, 7], np.float32)
    column = encoding.Numbers.learned('a', numbers)
    imputer = SimpleImputer(strategy='median', add_indicator=True)
    expected = imputer.fit_transform(numbers[:, np.newaxis])
    np.testing.assert_allclose(column.vectors(numbers), expected)
    written = ['1.5', 'NaN', '-2', '4e5', '0', '7']
    found = column.layer()(tf.constant(written)).numpy()
    np.testing.assert_allclose(found, expected)

    names = np.array([*['red'] * 6, *['Größe'] * 5, 'odd', 'N/A', ''], object)
    column = encoding.Categories.learned('b', names)
    assert column.values == ('Größe', 'red')
    coder = OneHotEncoder(
        categories=[['Größe', 'red', 'lacks', 'others']], sparse_output=False
    )
    coder.fit([['red']])
    codes = [*names[:11], 'others', 'lacks', 'lacks']
    expected = coder.transform(np.array(codes, object)[:, np.newaxis])
    np.testing.assert_array_equal(column.vectors(names), expected)
    found = column.layer()(tf.constant(names.tolist())).numpy()
    np.testing.assert_array_equal(found, expected)


def test_rows_survive_a_file(learned, tmp_path):
    learned = encoding.Encoding(
        (
            encoding.Numbers('a', 2.0, True),
            encoding.Categories('b', ('x', 'y')),
            learned,
        )
    )
    layer = learned.layer()
    assert layer.shape == (3,)
    rows = keras.Input(layer.shape, dtype='string')
    path = tmp_path / 'model.keras'
    keras.Model(rows, layer(rows)).save(path)
    again = keras.saving.load_model(path)
    given = tf.constant([['1', 'x', 'the cat'], ['', 'new', '']])
    expected = learned.vectors(
        {
            'a': np.array([1, np.nan], np.float32),
            'b': np.array(['x', 'new'], object),
            'text': np.array(['the cat', ''], object),
        }
    )
    np.testing.assert_allclose(again(given), expected, atol=1e-5)
    assert again.predict(given, verbose=0).shape == expected.shape
