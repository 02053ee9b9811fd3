"""Layers that turn the fields of a table, which are strings, into vectors.

They repeat in an exported model what `ieg.data.encoding` does with
scikit-learn; what they know is in their configuration and weights.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ieg.utils.text import MISSING, lower

_SPACE = ord(' ')
WORDS, GRAMS = (1, 2), (3, 4, 5)


class Field(keras.layers.Layer):
    """What makes numbers of one column; see `Fields`.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{'dtype': 'float32', 'trainable': False, **kwargs})
        # XLA has no strings.
        self.supports_jit = False


@keras.saving.register_keras_serializable(package='ieg')
class NumberField(Field):
    """Numbers; missing ones are filled in.

    Args:
        fill: what stands for a missing number.
        has_indicator: whether a second number says which ones are missing.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, fill: float, has_indicator: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.fill, self.has_indicator = fill, has_indicator

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Returns float32 [b, 1 or 2] of strings [b]."""
        lacks = _is_missing(fields)
        known = tf.where(lacks, '0', fields)
        numbers = tf.strings.to_number(known, tf.float64)
        numbers = tf.where(lacks, tf.constant(self.fill, tf.float64), numbers)
        parts = [numbers, tf.cast(lacks, tf.float64)][: 1 + self.has_indicator]
        return tf.cast(tf.stack(parts, axis=1), tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        own = {'fill': self.fill, 'has_indicator': self.has_indicator}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package='ieg')
class CategoryField(Field):
    """One number for each category, one for a missing one and one for others.

    Args:
        values: the categories, C of them.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, values: Sequence[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.values = list(values)
        self._table = _table(self.values, len(self.values) + 1)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Returns float32 [b, C + 2] of strings [b]; each row has a 1."""
        count = len(self.values)
        places = tf.where(
            _is_missing(fields),
            tf.constant(count, tf.int64),
            self._table.lookup(fields),
        )
        return tf.one_hot(places, count + 2)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), 'values': self.values}


@keras.saving.register_keras_serializable(package='ieg')
class TextField(Field):
    """TF-IDF of words and of characters, reduced to fewer numbers.

    Each of both has length 1, or 0 for a text without known terms.

    Args:
        words: terms of one or two words, V of them.
        grams: terms of three to five characters of a word, W of them.
        most: how many characters of a text count.
        width: how many numbers come out, d.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        words: Sequence[str],
        grams: Sequence[str],
        most: int,
        width: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.words, self.grams = list(words), list(grams)
        self.most, self.width = most, width
        self._tables = [_table(terms, -1) for terms in (words, grams)]
        count = len(words) + len(grams)
        self.idf = self.add_weight(
            shape=(count,), initializer='ones', name='idf'
        )
        self.components = self.add_weight(
            shape=(count, width), initializer='zeros', name='components'
        )

    def call(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns float32 [b, d] of UTF-8 strings [b]."""
        codes = tf.strings.unicode_decode(texts, 'UTF-8')
        codes = codes[:, : self.most]
        words, grams = _words(codes), _grams(codes)
        split = len(self.words)
        idf, components = self.idf.value, self.components.value
        parts = (
            (words, self._tables[0], slice(split)),
            (grams, self._tables[1], slice(split, None)),
        )
        count = tf.shape(texts, tf.int64)[0]
        return tf.add_n(
            [
                _reduced(terms, table, count, idf[rows], components[rows])
                for terms, table, rows in parts
            ]
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = ('words', 'grams', 'most', 'width')
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package='ieg')
class Fields(Field):
    """Turns rows of a table into vectors.

    Args:
        columns: the layer of each column, k of them.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, columns: Sequence[keras.layers.Layer], **kwargs: Any):
        super().__init__(**kwargs)
        self.columns = list(columns)
        self.built = True

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row: (k,), or () for texts alone."""
        (first, *others) = self.columns
        if isinstance(first, TextField) and not others:
            return ()
        return (len(self.columns),)

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns float32 [b, d] of strings [b, k], or [b] for one column."""
        # Strings are there anyway, and sums of sparse rows have one order.
        with tf.device('CPU:0'):
            rows = tf.reshape(rows, [-1, len(self.columns)])
            parts = [
                column(rows[:, place])
                for place, column in enumerate(self.columns)
            ]
            return tf.concat(parts, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        columns = [*map(keras.saving.serialize_keras_object, self.columns)]
        return {**super().get_config(), 'columns': columns}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> 'Fields':
        """Returns a layer with new weights."""
        columns = [
            keras.saving.deserialize_keras_object(column)
            for column in config['columns']
        ]
        return cls(**{**config, 'columns': columns})


def _table(values: Sequence[str], default: int) -> tf.lookup.StaticHashTable:
    """Returns a table of the places of values; `default` for all others."""
    # No term is empty, but a table may not be.
    values = list(values) or ['']
    with tf.init_scope():
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(values, tf.string),
                tf.range(len(values), dtype=tf.int64),
            ),
            default,
        )


def _is_missing(fields: tf.Tensor) -> tf.Tensor:
    """Returns which fields are empty or stand for no value, bool [b]."""
    plain = tf.strings.lower(fields)[:, tf.newaxis]
    return tf.reduce_any(tf.equal(plain, list(MISSING)), axis=1)


@functools.cache
def _every() -> str:
    """Returns all code points in lower case."""
    return lower(''.join(map(chr, range(sys.maxunicode + 1))))


@functools.cache
def _of_words() -> np.ndarray:
    """Returns the lower case of each code point of a word, else a space."""
    return np.array(
        [ord(c) if c.isalnum() or c == '_' else _SPACE for c in _every()],
        np.int32,
    )


@functools.cache
def _of_grams() -> np.ndarray:
    """Returns the lower case of each code point, a space for white space."""
    return np.array(
        [_SPACE if c.isspace() else ord(c) for c in _every()], np.int32
    )


def _split(codes: tf.RaggedTensor, table: np.ndarray) -> tf.RaggedTensor:
    """Returns what is between spaces, strings [b, (words)]."""
    shown = codes.with_flat_values(tf.gather(table, codes.flat_values))
    return tf.strings.split(tf.strings.unicode_encode(shown, 'UTF-8'))


def _words(codes: tf.RaggedTensor) -> tf.RaggedTensor:
    r"""Returns terms of words of two characters or more, as of `\w\w+`."""
    tokens = _split(codes, _of_words())
    length = tf.strings.length(tokens.flat_values, 'UTF8_CHAR')
    kept = tokens.with_flat_values(length >= 2)
    return tf.strings.ngrams(tf.ragged.boolean_mask(tokens, kept), WORDS)


def _grams(codes: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns terms of characters within words and the spaces around them."""
    words = _split(codes, _of_grams())
    padded = tf.strings.join([' ', words.flat_values, ' '])
    characters = tf.strings.unicode_split(padded, 'UTF-8')
    terms = tf.strings.ngrams(characters, GRAMS, separator='')
    # Those of all words of a text.
    starts = tf.gather(terms.row_splits, words.row_splits)
    return tf.RaggedTensor.from_row_splits(terms.flat_values, starts)


def _reduced(
    terms: tf.RaggedTensor,
    table: tf.lookup.StaticHashTable,
    count: tf.Tensor,
    idf: tf.Tensor,
    components: tf.Tensor,
) -> tf.Tensor:
    """Returns TF-IDF of length 1 times components, float32 [b, d].

    Args:
        terms: strings [b, (terms)].
        table: of the known ones.
        count: b, int64.
        idf: of the known ones [V].
        components: [V, d].
    """
    size = tf.shape(idf, tf.int64)[0]
    ids, rows = table.lookup(terms.flat_values), terms.value_rowids()
    known = ids >= 0
    keys = tf.boolean_mask(tf.cast(rows, tf.int64) * size + ids, known)
    keys, _, counts = tf.unique_with_counts(tf.sort(keys), tf.int64)
    rows, ids = keys // tf.maximum(size, 1), keys % tf.maximum(size, 1)
    values = tf.cast(counts, tf.float32) * tf.gather(idf, ids)
    squares = tf.math.unsorted_segment_sum(values**2, rows, count)
    values *= tf.gather(tf.math.rsqrt(squares), rows)
    matrix = tf.SparseTensor(
        tf.stack([rows, ids], axis=1), values, tf.stack([count, size])
    )
    return tf.sparse.sparse_dense_matmul(matrix, components)
