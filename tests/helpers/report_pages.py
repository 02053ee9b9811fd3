"""Pages of reports, read; and the runs that tests make them of.

Fixtures are imported by the name of their function, and used by `name`.
"""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image
from report_files import Run

from ieg import report

# Elements without an end.
VOID = ('br', 'img', 'input', 'link', 'meta')


class Page(html.parser.HTMLParser):
    """Reads a page: elements with their attributes, and the text in them."""

    def __init__(self, text):
        super().__init__()
        self.source = text
        self.elements, self.open, self.wrong = [], [], []
        self.feed(text)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attrs):
        element = dict(attrs) | {'tag': tag, 'text': '', 'inside': []}
        element['within'] = [one['tag'] for one in self.open]
        self.elements.append(element)
        for one in self.open:
            one['inside'].append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1]['tag'] != tag:
            self.wrong.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data):
        for one in self.open:
            one['text'] += data

    def all(self, tag, **wanted):
        return [
            one
            for one in self.elements
            if one['tag'] == tag
            and all(one.get(k.strip('_')) == v for k, v in wanted.items())
        ]

    def one(self, tag, **wanted):
        (found,) = self.all(tag, **wanted)
        return found

    @property
    def cards(self):
        return self.all('li', class_='card')

    @property
    def text(self):
        return ' '.join(self.one('body')['text'].split())

    def rows(self, caption):
        """Returns the cells of a table's body."""
        (table,) = [
            one
            for one in self.all('table')
            if one['inside'][0]['text'].startswith(caption)
        ]
        (body,) = [one for one in table['inside'] if one['tag'] == 'tbody']
        return [
            [c['text'] for c in row['inside'] if c['tag'] in ('th', 'td')]
            for row in body['inside']
            if row['tag'] == 'tr'
        ]


def page_of(run, data=None, reason=''):
    path = report.write(str(run.folder), data, reason)
    with open(path, encoding='utf-8') as file:
        return Page(file.read())


def decoded(uri):
    """Returns the kind of a picture in a page, and its pixels."""
    kind, code = re.fullmatch('data:image/(.*);base64,(.*)', uri).groups()
    with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
        assert picture.format.lower() == kind
        return kind, np.asarray(picture)


def assert_pictures(seen, data):
    """Each card shows the pixels of its example, which are small and grey."""
    for card in seen.cards:
        (image,) = [one for one in card['inside'] if one['tag'] == 'img']
        kind, pixels = decoded(image['src'])
        split = data.split(card['data-split'])
        place = list(split.indices).index(int(card['data-index']))
        assert kind == 'png' and image['class'] == 'small'
        assert np.array_equal(pixels, split.images[place][..., 0])


@pytest.fixture(name='run', scope='module')
def make_run(tmp_path_factory):
    """A run that no test of a module changes."""
    return Run(tmp_path_factory.mktemp('runs') / 'one', path='photos/{}.png')


@pytest.fixture(name='whole', scope='module')
def make_whole(run):
    """The page of that run."""
    return page_of(run, run.data)


@pytest.fixture(name='fresh')
def make_fresh(tmp_path):
    """A run that a test may change."""
    return Run(tmp_path / 'run')
