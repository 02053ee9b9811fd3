"""Texts and data frames become vectors, and what a model takes."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ieg.data.frames import Frame, is_frame

TEXTS = [f'text {n} of Größe {n % 7}' for n in range(20)]
FRAME = pd.DataFrame(
    {
        'age': [None, *range(1, 20)],
        'color': pd.Categorical(['red', 'blue'] * 10),
        'code': [f'{n % 5}.5' for n in range(20)],
        'is_new': [True, False] * 10,
        'text': TEXTS,
    }
)


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (TEXTS, True),
        (np.array(TEXTS), True),
        (pd.Series(TEXTS), True),
        (FRAME, True),
        (FRAME[['age']], True),
        (FRAME[['age']].fillna(0), False),
        (FRAME[['code']], False),
        (np.zeros((4, 2)), False),
        (np.zeros(4), False),
        (np.array('text'), False),
        ([1, 2], False),
        ([], False),
    ],
)
def test_what_is_a_frame(values, expected):
    assert is_frame(values, None) == expected
    assert not is_frame(values, (2, 2))


def test_columns_of_all_kinds():
    frame = Frame.learnt(FRAME)
    kinds = [type(one).__name__ for one in frame.encoding.columns]
    assert kinds == ['Numbers', 'Categories', 'Numbers', 'Categories', 'Texts']
    assert frame.width == 5 and frame.shape == (2 + 4 + 1 + 4 + 20,)
    vectors = frame.vectors(FRAME)
    assert vectors.shape == (20, *frame.shape)
    np.testing.assert_array_equal(vectors[0, :7], [10, 1, 0, 1, 0, 0, 0.5])
    fields = frame.fields(FRAME[FRAME.columns[::-1]])
    assert fields[0].tolist() == ['', 'red', '0.5', 'True', TEXTS[0]]
    assert frame.texts(FRAME) == TEXTS
    found = frame.encoding.layer()(tf.constant(fields.tolist()))
    np.testing.assert_allclose(found.numpy(), vectors, atol=1e-5)


def test_what_hardly_repeats_is_left_out_with_a_warning():
    frame = FRAME[['color']].assign(key=TEXTS)
    with pytest.warns(UserWarning, match="'key'"):
        learned = Frame.learnt(frame)
    assert learned.encoding.names == ('color',)
    assert learned.texts(frame)[0] == 'color: red'


@pytest.mark.parametrize(
    ('change', 'fact'),
    [
        (lambda frame: frame.drop(columns='age'), "'age'"),
        (lambda frame: frame.assign(age='old'), "'age'"),
        (lambda frame: frame.assign(age=np.inf), "'age'"),
        (
            lambda frame: frame.assign(
                text=pd.Series(['\ud800'] * 20, dtype=object)
            ),
            "'text'",
        ),
        (lambda frame: frame[['age', 'age', 'color']], 'two columns'),
        (lambda frame: frame.to_numpy(), 'data frame'),
    ],
)
def test_other_values_than_in_fit(change, fact):
    learned = Frame.learnt(FRAME)
    with pytest.raises(ValueError, match=fact):
        learned.vectors(change(FRAME))
