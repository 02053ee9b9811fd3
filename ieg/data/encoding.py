"""Columns of a table that are texts, categories or numbers, made vectors.

What is needed for that is learned from training rows. The layers of
`ieg.networks.fields` repeat it in an exported model.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from ieg.errors import UsageError
from ieg.utils.text import MISSING, counted, listed, lower

if TYPE_CHECKING:
    from ieg.networks import fields

# A column of this name is text. It and others are what is shown of examples.
TEXT = 'text'
SHOWN = (TEXT, 'name', 'path')
# Columns that are no examples unless they are asked for.
LABELS = ('label', 'clean_label', 'split')
OTHERS = (*LABELS, *SHOWN)
# Fewer different texts have no terms in common that mean anything.
LEAST_TEXTS = 10
# Characters of a text that count; the others are cut off.
MOST_CHARACTERS = 10_000
# Terms are one or two words, or three to five characters of a word.
WORDS, GRAMS = (1, 2), (3, 5)
MOST_WORDS, MOST_GRAMS = 20_000, 30_000
# Numbers that a text becomes, at most.
MOST_NUMBERS = 256
# A value of fewer rows is no category of its own; and so many categories have
# a number of their own, the most frequent ones.
RARE, MOST_CATEGORIES = 5, 100
# Columns that a remark describes.
_NAMED = 10
# The same whatever the seed of the run, so that runs compare.
_SEED = 20240229


class Column(Protocol):
    """How a column becomes numbers."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102

    def vectors(self, values: np.ndarray) -> np.ndarray:
        """Returns float32 [n, d] of the values of the column [n]."""
        ...

    def layer(self) -> 'fields.Field':
        """Returns the layer that does the same with strings."""
        ...

    def __str__(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Numbers; missing ones become the median, and have a number of their own.

    Attributes:
        name: of the column.
        fill: the median.
        has_indicator: whether some were missing in training.
    """

    name: str
    fill: float
    has_indicator: bool

    @classmethod
    def learned(cls, name: str, values: np.ndarray) -> 'Numbers':
        """Returns it for the numbers of training rows, NaN for missing ones."""
        lacks = np.isnan(values)
        fill = 0.0 if lacks.all() else float(np.median(values[~lacks]))
        return cls(name, fill, bool(lacks.any()))

    @property
    def width(self) -> int:
        """How many numbers the column becomes."""
        return 1 + self.has_indicator

    def vectors(self, values: np.ndarray) -> np.ndarray:
        """See `Column`; NaN are missing."""
        lacks = np.isnan(values)
        parts = [np.where(lacks, self.fill, values), lacks]
        return np.stack(parts[: self.width], 1).astype(np.float32)

    def layer(self) -> 'fields.Field':
        """See `Column`."""
        from ieg.networks import fields

        return fields.NumberField(self.fill, self.has_indicator)

    def __str__(self) -> str:
        fill = f' (missing: {self.fill:g}, and marked)'
        return f'{self.name!r} numbers{fill if self.has_indicator else ""}'


@dataclasses.dataclass(frozen=True)
class Categories:
    """One number per category, one for missing values and one for all others.

    Attributes:
        name: of the column.
        values: the categories, sorted.
    """

    name: str
    values: tuple[str, ...]

    @classmethod
    def learned(cls, name: str, values: np.ndarray) -> 'Categories':
        """Returns it for the fields of training rows."""
        counts = collections.Counter(v for v in values if not is_missing(v))
        common = counts.most_common(MOST_CATEGORIES)
        return cls(name, tuple(sorted(v for v, n in common if n >= RARE)))

    @property
    def width(self) -> int:
        """How many numbers the column becomes."""
        return len(self.values) + 2

    def vectors(self, values: np.ndarray) -> np.ndarray:
        """See `Column`."""
        count = len(self.values)
        places = {value: place for place, value in enumerate(self.values)}
        codes = [
            count if is_missing(value) else places.get(value, count + 1)
            for value in values
        ]
        return np.eye(self.width, dtype=np.float32)[codes]

    def layer(self) -> 'fields.Field':
        """See `Column`."""
        from ieg.networks import fields

        return fields.CategoryField(self.values)

    def __str__(self) -> str:
        return f'{self.name!r} {len(self.values)} categories'


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
    """TF-IDF of words and of characters, reduced by truncated SVD.

    Attributes:
        name: of the column.
        terms: scikit-learn's vectorizers.
        reduction: of both together.
    """

    name: str
    terms: tuple[TfidfVectorizer, ...]
    reduction: TruncatedSVD

    @classmethod
    def learned(cls, name: str, texts: np.ndarray, where: str) -> 'Texts':
        """Returns it for the texts of training rows.

        Args:
            name: of the column.
            texts: of the rows.
            where: they are; for messages.

        Raises:
            UsageError: too few of them differ.
        """
        different = len({*map(_prepared, texts)} - {''})
        if different < LEAST_TEXTS:
            raise UsageError(
                f'{where} has {counted(different, "different text")} in the '
                f'column {name!r} of training rows, but needs {LEAST_TEXTS}: '
                'add examples.'
            )
        common: dict[str, Any] = {
            'preprocessor': _prepared,
            'dtype': np.float32,
        }
        vectorizers = [
            TfidfVectorizer(
                analyzer='char_wb',
                ngram_range=GRAMS,
                max_features=MOST_GRAMS,
                **common,
            )
        ]
        words = TfidfVectorizer(
            ngram_range=WORDS, max_features=MOST_WORDS, **common
        )
        # Texts of single letters and signs have no words.
        if any(map(words.build_analyzer(), texts)):
            vectorizers.insert(0, words)
        matrix = sparse.hstack([v.fit_transform(texts) for v in vectorizers])
        width = min(MOST_NUMBERS, *matrix.shape)
        reduction = TruncatedSVD(width, random_state=_SEED)
        return cls(name, tuple(vectorizers), reduction.fit(matrix.tocsr()))

    @property
    def width(self) -> int:
        """How many numbers the column becomes."""
        return len(self.reduction.components_)

    def vectors(self, values: np.ndarray) -> np.ndarray:
        """See `Column`."""
        parts = [vectorizer.transform(values) for vectorizer in self.terms]
        return self.reduction.transform(sparse.hstack(parts, 'csr'))

    def layer(self) -> 'fields.Field':
        """See `Column`."""
        from ieg.networks import fields

        terms = [[*v.get_feature_names_out()] for v in self.terms]
        layer = fields.TextField(
            [] if len(terms) == 1 else terms[0],
            terms[-1],
            MOST_CHARACTERS,
            self.width,
        )
        layer.idf.assign(np.concatenate([v.idf_ for v in self.terms]))
        layer.components.assign(self.reduction.components_.T)
        return layer

    def __str__(self) -> str:
        *words, grams = (len(v.vocabulary_) for v in self.terms)
        return (
            f'{self.name!r} text (TF-IDF of {sum(words):,} words and pairs of '
            f'words and {grams:,} parts of words, reduced to '
            f'{self.width} numbers)'
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """How rows become vectors.

    Attributes:
        columns: that are used, in order.
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    def vectors(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns float32 [n, d] of the values of columns by name."""
        parts = [column.vectors(table[column.name]) for column in self.columns]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def scales(self, std: np.ndarray) -> np.ndarray:
        """Returns by what vectors are divided, [d], for their deviations [d].

        The numbers of a text have one scale: each by itself, the last ones,
        which are hardly more than noise, would weigh as much as the first.
        """
        scales = std.copy()
        ends = np.cumsum([column.width for column in self.columns])
        for column, end in zip(self.columns, ends, strict=True):
            if isinstance(column, Texts):
                own = slice(end - column.width, end)
                scales[own] = np.sqrt(np.mean(std[own] ** 2))
        return scales

    def layer(self) -> 'fields.Fields':
        """Returns the layer that does the same with rows of strings."""
        from ieg.networks import fields

        return fields.Fields([column.layer() for column in self.columns])


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Columns that may become vectors.

    Attributes:
        numbers: names of those of numbers.
        strings: names of others.
    """

    numbers: list[str]
    strings: list[str]


def usual(header: Iterable[str]) -> list[str]:
    """Returns the names of columns to look at if the user has chosen none."""
    return [n for n in header if n == TEXT or (n and n not in OTHERS)]


def candidates(fields: Mapping[str, Sequence[str]], asked: bool) -> Candidates:
    """Returns which columns may become vectors.

    Unless they were asked for, a text is taken alone where nothing but numbers
    of rows is numeric, and is not taken where it is the text behind numbers.

    Args:
        fields: of some rows by column.
        asked: whether the user has chosen the columns.
    """
    numbers = [n for n, f in fields.items() if n != TEXT and are_numbers(f)]
    if not asked and TEXT in fields:
        if all(_are_row_numbers(fields[name]) for name in numbers):
            return Candidates([], [TEXT])
        fields = {n: f for n, f in fields.items() if n != TEXT}
    return Candidates(numbers, [n for n in fields if n not in numbers])


def learn(
    table: Mapping[str, np.ndarray], asked: bool, where: str
) -> tuple[Encoding, list[str]]:
    """Finds out how rows become vectors.

    Numbers are numbers. A column named `text` is text; other strings are
    categories if they repeat. If not, they are left out, or texts if the
    column was asked for.

    Args:
        table: values of training rows [n] by column: floats, NaN for missing
            ones, or strings.
        asked: whether the user has chosen the columns.
        where: they are; for messages.

    Returns:
        The encoding, and remarks for the user.

    Raises:
        UsageError: no column can be used, or a text column has too few texts.
    """
    columns: list[Column] = []
    left_out = []
    for name, values in table.items():
        if values.dtype.kind == 'f':
            columns.append(Numbers.learned(name, values))
            continue
        repeats, different = _repetition(values)
        if name == TEXT or (asked and not repeats and different > 1):
            columns.append(Texts.learned(name, values, where))
        elif repeats and different > 1:
            columns.append(Categories.learned(name, values))
        else:
            left_out.append(name)
    hint = (
        f'Columns of {where} that are not used, because they have one value '
        f'or hardly one twice: {listed(left_out)}. Rename one that is text to '
        f'{TEXT!r}.'
    )
    if not columns:
        raise UsageError(hint)
    kinds = [*map(str, columns[:_NAMED])]
    if len(columns) > _NAMED:
        kinds.append(f'and {len(columns) - _NAMED:,} more')
    used = f'Columns of {where}: {"; ".join(kinds)}.'
    return Encoding(tuple(columns)), [used] + [hint] * bool(left_out)


def _repetition(values: np.ndarray) -> tuple[bool, int]:
    """Returns whether strings are categories, and how many of them differ."""
    counts = collections.Counter(v for v in values if not is_missing(v))
    largest = max(counts.values(), default=0)
    return largest >= RARE and 2 * len(counts) <= counts.total(), len(counts)


def is_missing(field: str) -> bool:
    """Returns whether a field is empty or stands for no value."""
    return field.lower() in MISSING


def is_number(field: str) -> bool:
    """Returns whether a field can be read as a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def are_numbers(fields: Iterable[str]) -> bool:
    """Returns whether most of the fields that are not missing are numbers."""
    known = [field for field in fields if not is_missing(field)]
    return 2 * sum(map(is_number, known)) > len(known)


def _are_row_numbers(fields: Sequence[str]) -> bool:
    """Returns whether all are different whole numbers, such as of rows."""
    return len({*fields}) == len(fields) and all(f.isdecimal() for f in fields)


def as_fields(numbers: np.ndarray) -> list[str]:
    """Returns numbers as text, '' for NaN."""
    return ['' if n != n else repr(n) for n in numbers.tolist()]


def _prepared(text: str) -> str:
    """Returns what counts of a text."""
    return lower(text[:MOST_CHARACTERS])
