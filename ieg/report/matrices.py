"""The section on which class is taken for which: the noise matrix."""

from collections.abc import Sequence

import numpy as np

from ieg.report.markup import (
    NOTHING,
    Html,
    name,
    paragraph,
    percent,
    scrolled,
    section,
    table,
    tag,
)
from ieg.report.run import RunFolder

# A matrix of more classes is a list of its largest entries.
MOST_CLASSES = 20
LARGEST = 20
# Longer names stand on end above their columns.
UPRIGHT = 4
# Shares below half a percent are not worth a number.
SMALL = 0.005


def build(run: RunFolder, names: Sequence[str]) -> Html:
    """Returns the section.

    Args:
        run: has what is estimated and what is known.
        names: of the C classes.
    """
    title = 'Which class is taken for which'
    estimated = run.found.get('transition_matrix')
    estimated = None if estimated is None else np.asarray(estimated, float)
    known = run.noise.transition if run.noise is not None else None
    if estimated is None and known is None:
        return section(
            'matrix',
            title,
            paragraph(
                'No noise matrix is known: summary.json has no estimate, as '
                'in an older or unfinished run, and true labels are unknown.'
            ),
        )
    pairs = [('Estimated', estimated), ('Realised', known)]
    pairs = [(what, matrix) for what, matrix in pairs if matrix is not None]
    shape = _heat_tables if len(names) <= MOST_CLASSES else _largest
    return section(
        'matrix', title, _words(estimated, known), shape(pairs, names)
    )


def _words(estimated: np.ndarray | None, known: np.ndarray | None) -> Html:
    how = (
        'Each row is a true class; a number is the percentage of its '
        'examples that are labelled with the class of the column.'
    )
    if estimated is None:
        return paragraph(f'{how} The run has no estimate of this matrix.')
    if known is None:
        return paragraph(
            f'{how} This is an estimate; nobody knows the true labels.'
        )
    gap = np.abs(estimated - known).mean()
    return paragraph(
        f'{how} The estimate used no true label. Its entries differ from the '
        f'realised ones by {100 * gap:.1f} points on average, by '
        f'{100 * np.abs(estimated - known).max():.1f} at most.'
    )


def _heat_tables(
    pairs: Sequence[tuple[str, np.ndarray]], names: Sequence[str]
) -> Html:
    # One scale of colour for both, or they could not be compared.
    most = max(_off_diagonal(matrix).max() for _, matrix in pairs)
    tables = (
        _heat_table(what, matrix, names, most or 1) for what, matrix in pairs
    )
    return tag('div', *tables, class_='matrices')


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix * (1 - np.eye(len(matrix)))


def _heat_table(
    what: str, matrix: np.ndarray, names: Sequence[str], most: float
) -> Html:
    """Returns one matrix; off the diagonal, colour grows with the share."""
    heads = [
        tag('th', tag('span', 'true \\ given'), scope='col', class_='corner')
    ]
    heads += [
        tag('th', name(text, 'span', title=text), scope='col') for text in names
    ]
    rows = []
    for true, text in enumerate(names):
        cells = [tag('th', name(text), scope='row')]
        for given, value in enumerate(matrix[true]):
            cells.append(_heat_cell(value, most, true == given))
        rows.append(tag('tr', *cells))
    caption = f'{what} noise matrix, in percent'
    turned = max(map(len, names)) > UPRIGHT
    return scrolled(
        tag(
            'table',
            tag('caption', caption),
            tag('thead', tag('tr', *heads)),
            tag('tbody', *rows),
            class_='heat turned' if turned else 'heat',
        ),
        caption,
    )


def _heat_cell(value: float, most: float, is_own: bool) -> Html:
    text = f'{100 * value:.0f}' if value >= SMALL else '·'
    if is_own:
        return tag('td', text, class_='own')
    return tag('td', text, style=f'--part: {value / most:.3f}')


def _largest(
    pairs: Sequence[tuple[str, np.ndarray]], names: Sequence[str]
) -> Html:
    """Returns the pairs of classes that are confused most, as a list."""
    first = _off_diagonal(pairs[0][1])
    order = np.argsort(-first, axis=None, kind='stable')[:LARGEST]
    rows = []
    for true, given in zip(*np.unravel_index(order, first.shape), strict=True):
        if first[true, given] <= 0:
            break
        shares = [percent(float(m[true, given])) for _, m in pairs]
        rows.append([name(names[true]), name(names[given]), *shares])
    if not rows:
        rows = [[NOTHING] * (2 + len(pairs))]
    return table(
        f'The {LARGEST} most frequent confusions of {len(names)} classes',
        ['true class', 'labelled', *(what.lower() for what, _ in pairs)],
        rows,
        'figures',
    )
