"""Texts and data frames, as an estimator gets them, made vectors."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd

from ieg.data import encoding
from ieg.data.encoding import Encoding
from ieg.utils.arrays import LARGEST
from ieg.utils.text import described


def is_frame(values: Any, image_shape: Any) -> bool:
    """Returns whether examples are texts, or have columns but for numbers.

    Args:
        values: examples of any kind.
        image_shape: of flat images; None for anything else.
    """
    if image_shape is not None:
        return False
    if isinstance(values, pd.DataFrame):
        columns = [column for _, column in values.items()]
        return any(c.isna().any() or not _are_numbers(c) for c in columns)
    if isinstance(values, np.ndarray) and values.ndim != 1:
        return False
    if not isinstance(values, list | tuple | pd.Series | np.ndarray):
        return False
    return len(values) > 0 and all(isinstance(v, str) for v in values)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """How texts or a data frame become vectors.

    Attributes:
        encoding: of the columns that are used.
    """

    encoding: Encoding

    @classmethod
    def learnt(cls, values: Any) -> 'Frame':
        """Finds it out from the examples of a training.

        Args:
            values: texts [n], or a data frame.

        Raises:
            ValueError: a value cannot be used, or a column is there twice.
            UsageError: they cannot become vectors.
        """
        table = {
            name: _numbers(column, name, 'X')
            if _are_numbers(column)
            else _strings(column, name, 'X')
            for name, column in _columns(values, 'X').items()
        }
        learned, (_, *left_out) = encoding.learn(table, False, 'X')
        for remark in left_out:
            warnings.warn(remark, stacklevel=3)
        return cls(learned)

    @property
    def width(self) -> int:
        """Number of columns that are used."""
        return len(self.encoding.columns)

    @property
    def shape(self) -> tuple[int]:
        """Shape of one of `vectors`."""
        return (sum(column.width for column in self.encoding.columns),)

    def vectors(self, values: Any, name: str = 'X') -> np.ndarray:
        """Returns vectors, float32 [n, d].

        Args:
            values: texts [n], or a data frame.
            name: of them, in errors.

        Raises:
            ValueError: a column is missing, or has other values than in fit.
        """
        return self.encoding.vectors(self._table(values, name))

    def fields(self, values: Any) -> np.ndarray:
        """Returns what an exported model takes, str [n, k]; see `vectors`."""
        columns = [
            encoding.as_fields(column) if column.dtype.kind == 'f' else column
            for column in self._table(values, 'X').values()
        ]
        return np.stack([np.array(c, object) for c in columns], axis=1)

    def texts(self, values: Any) -> list[str]:
        """Returns what a report shows of the examples; see `vectors`."""
        table = self._table(values, 'X')
        if encoding.TEXT in table:
            return table[encoding.TEXT].tolist()
        return described(table)

    def _table(self, values: Any, name: str) -> dict[str, np.ndarray]:
        """Returns the values of the columns that are used, by name."""
        columns, table = _columns(values, name), {}
        for column in self.encoding.columns:
            if column.name not in columns:
                raise ValueError(
                    f'{name} has no column {column.name!r}, which '
                    'NoisyLabelClassifier has learned from.'
                )
            is_numeric = isinstance(column, encoding.Numbers)
            convert = _numbers if is_numeric else _strings
            table[column.name] = convert(
                columns[column.name], column.name, name
            )
        return table


def _columns(values: Any, name: str) -> dict[str, pd.Series]:
    """Returns the columns of texts or a data frame by name.

    Raises:
        ValueError: two columns have the same name, or `values` is neither
            texts [n] nor a data frame.
    """
    if not isinstance(values, pd.DataFrame):
        if np.ndim(values) != 1:
            raise ValueError(
                f'{name} must be texts [n] or a data frame, as in fit.'
            )
        values = {encoding.TEXT: pd.Series(list(values), dtype=object)}
        return values
    columns = {str(column): content for column, content in values.items()}
    if len(columns) < len(values.columns):
        raise ValueError(f'{name} has two columns of one name: rename one.')
    return columns


def _are_numbers(column: pd.Series) -> bool:
    """Returns whether all values of a column that are known are numbers."""
    if pd.api.types.is_bool_dtype(column):
        return False
    if pd.api.types.is_numeric_dtype(column):
        return True
    known = [v for v in column[column.notna()] if not _is_empty(v)]
    return bool(known) and all(encoding.is_number(str(v)) for v in known)


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and encoding.is_missing(value.strip())


def _numbers(column: pd.Series, title: str, name: str) -> np.ndarray:
    """Returns a column as float32 [n], NaN for missing values.

    Args:
        column: n values.
        title: its name.
        name: of the examples.

    Raises:
        ValueError: a value is not a number, or is too large.
    """
    if not pd.api.types.is_numeric_dtype(column):
        column = column.where(~column.map(_is_empty), np.nan)
    try:
        numbers = column.astype('Float64').to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f'the column {title!r} of {name} must have numbers ({error}).'
        ) from error
    if (np.abs(numbers) >= LARGEST).any():
        raise ValueError(
            f'the column {title!r} of {name} must have numbers less than '
            f'{LARGEST:g}.'
        )
    return numbers.astype(np.float32)


def _strings(column: pd.Series, title: str, name: str) -> np.ndarray:
    """Returns a column as object [n] of str, '' for missing values.

    Raises:
        ValueError: a value has no form in UTF-8.
    """
    known = column.notna()
    fields = [
        str(value).strip() if is_known else ''
        for value, is_known in zip(column, known, strict=True)
    ]
    try:
        ''.join(fields).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f'the column {title!r} of {name} has text that is not Unicode '
            f'({error}).'
        ) from error
    return np.array(fields, object)
