"""The page that holds the sections; nothing in it needs a network."""

from collections.abc import Iterable

from ieg.report.markup import Html, join, tag
from ieg.report.script import SCRIPT
from ieg.report.style import STYLE

# No image, style or script from elsewhere, and no request of any kind.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
PARTS = (
    ('curves', 'Curves'),
    ('matrix', 'Noise matrix'),
    ('classes', 'Classes'),
    ('reliability', 'Calibration'),
    ('suspects', 'Suspects'),
)


def build(title: str, head: Html, sections: Iterable[Html]) -> Html:
    """Returns the whole page.

    Args:
        title: of the window.
        head: of the page.
        sections: with the names in `PARTS`.
    """
    links = (tag('a', text, href=f'#{part}') for part, text in PARTS)
    body = tag(
        'div',
        head,
        tag('nav', *links, aria_label='Parts of this report'),
        tag('main', *sections),
        tag('footer', 'Written by ieg. This page needs no network.'),
        class_='page',
    )
    width = 'width=device-width, initial-scale=1'
    meta = (
        tag('meta', charset='utf-8'),
        tag('meta', http_equiv='Content-Security-Policy', content=POLICY),
        tag(
            'meta',
            name='viewport',
            content=width,
        ),
        tag('meta', name='referrer', content='no-referrer'),
        tag('title', title),
        tag('style', Html(STYLE)),
    )
    return join(
        [
            Html('<!doctype html>\n<html lang="en">\n'),
            tag('head', *meta),
            tag('body', body, tag('script', Html(SCRIPT))),
            Html('</html>\n'),
        ]
    )
