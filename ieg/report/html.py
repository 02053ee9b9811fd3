"""HTML from templates, in which every value is escaped."""

import pathlib
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ieg.utils.text import counted

NOTHING = '–'
TEMPLATES = pathlib.Path(__file__).with_name('templates')


def percent(value: float | None, digits: int = 1) -> str:
    """Returns a share as text, with a space that does not break."""
    return NOTHING if value is None else f'{100 * value:.{digits}f}\u00a0%'


def number(value: float) -> str:
    """Returns a number with four digits, as on an axis."""
    return f'{value:.4g}'


def count(value: int | None) -> str:
    """Returns a whole number as text."""
    return NOTHING if value is None else f'{value:,}'


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


def _escaped(value: Any) -> Markup:
    """Returns a value as markup that a browser reads as the same text."""
    if isinstance(value, Markup):
        return value
    # File names may hold bytes that are not UTF-8.
    text = str(value).encode('utf-8', 'backslashreplace').decode()
    text = text.replace('\0', '\ufffd')
    # A parser would read a carriage return as a line feed.
    return escape(text).replace('\r', Markup('&#13;'))


def _source(name: str) -> Markup:
    """Returns a style sheet or a script, which are not templates."""
    return Markup((TEMPLATES / name).read_text('utf-8'))


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=_escaped,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    one.__name__: one for one in (percent, number, count, counted, duration)
}
ENVIRONMENT.globals['source'] = _source


def render(template: str, **values: Any) -> Markup:
    """Returns a template of `templates/`, filled in.

    Args:
        template: its file.
        **values: what it asks for; text is escaped, markup is not.

    Raises:
        jinja2.UndefinedError: a value is missing.
    """
    return Markup(ENVIRONMENT.get_template(template).render(values))
