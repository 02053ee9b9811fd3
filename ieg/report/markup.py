"""HTML from plain values: whatever is not markup already gets escaped."""

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

VOID = ('br', 'img', 'input', 'link', 'meta')
NOTHING = '–'


class Html(str):
    """Markup. Every other string is text, and is escaped where it is put."""

    __slots__ = ()


def escape(value: Any) -> Html:
    """Returns a value as markup; markup stays as it is."""
    if isinstance(value, Html):
        return value
    # Bytes that are no text cannot be written.
    text = str(value).encode('utf-8', 'backslashreplace').decode()
    text = text.replace('\0', '\ufffd')
    # A parser would read a carriage return as a line feed.
    return Html(html.escape(text).replace('\r', '&#13;'))


def join(parts: Iterable[Any], separator: str = '') -> Html:
    """Returns parts one after the other."""
    return Html(separator.join(escape(part) for part in parts))


def tag(element: str, *children: Any, **attributes: Any) -> Html:
    """Returns an element.

    Args:
        element: its name.
        *children: markup or text.
        **attributes: values; None and False leave one out, True gives no
            value. An underscore in a name stands for a hyphen, one at its end
            for nothing (`class_`).
    """
    given = []
    for name, value in attributes.items():
        name = name.rstrip('_').replace('_', '-')
        if value is True:
            given.append(f' {name}')
        elif value is not None and value is not False:
            # Markup has no place here: its quotes would end the value.
            given.append(f' {name}="{escape(str(value))}"')
    head = f'<{element}{"".join(given)}>'
    if element in VOID:
        return Html(head)
    return Html(f'{head}{join(children)}</{element}>')


def script_data(value: Any) -> Html:
    """Returns a value as JSON that may stand in a script element."""
    text = json.dumps(value)
    for sign in '<>&':
        text = text.replace(sign, f'\\u{ord(sign):04x}')
    return Html(text)


def name(text: str, element: str = 'bdi', **attributes: Any) -> Html:
    """Returns a name from outside, set apart from the text around it.

    Its direction of writing does not touch its neighbours (`bdi`).
    """
    return tag(element, text, class_='name', **attributes)


def paragraph(*children: Any, class_: str | None = None) -> Html:
    """Returns a paragraph, or nothing for one without text."""
    inside = join(children)
    return tag('p', inside, class_=class_) if inside else Html('')


def section(identity: str, title: str, *children: Any) -> Html:
    """Returns a section of the page with its heading."""
    return tag(
        'section',
        tag('h2', title, id=f'{identity}-title'),
        *children,
        id=identity,
        aria_labelledby=f'{identity}-title',
    )


def table(
    caption: str,
    head: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    class_: str = '',
) -> Html:
    """Returns a table in a box of its own, which scrolls where it is narrow.

    Args:
        caption: what the table shows.
        head: titles of the columns; the first column has titles of rows.
        rows: of cells; a cell is text, markup, or a pair of what is shown and
            the number by which the column is sorted.
        class_: of the table.
    """
    lines = []
    for first, *others in rows:
        cells = [_cell('th', first, scope='row')]
        cells += [_cell('td', other) for other in others]
        lines.append(tag('tr', *cells))
    titles = tag('tr', *(tag('th', title, scope='col') for title in head))
    return scrolled(
        tag(
            'table',
            tag('caption', caption),
            tag('thead', titles),
            tag('tbody', join(lines, '\n')),
            class_=class_ or None,
        ),
        caption,
    )


def _cell(element: str, value: Any, **attributes: Any) -> Html:
    if isinstance(value, tuple):
        value, order = value
        attributes['data_value'] = '' if order is None else f'{order:.9g}'
    return tag(element, value, **attributes)


def scrolled(inside: Html, label: str) -> Html:
    """Returns something wide in a box that scrolls, by keyboard too."""
    return tag(
        'div',
        inside,
        class_='scroll',
        tabindex=0,
        role='region',
        aria_label=label,
    )


def percent(value: float | None, digits: int = 1) -> str:
    """Returns a share as text, with a space that does not break."""
    return NOTHING if value is None else f'{100 * value:.{digits}f}\u00a0%'


def count(value: int | None) -> str:
    """Returns a whole number as text."""
    return NOTHING if value is None else f'{value:,}'


def counted(value: int, one: str, many: str | None = None) -> str:
    """Returns a number with its noun, which has a plural in -s by default."""
    return f'{value:,} {one if value == 1 else many or one + "s"}'


def duration(seconds: float | None) -> str:
    """Returns a time as text, in its two largest units."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest} s'
    return f'{minutes // 60} h {minutes % 60} min'
