"""Pages in a real browser, where one is installed; a server that they ask.

The pages that are measured are copies with a script that sends what it finds
to the page around them. A window of Chromium is at least 500 pixels wide, so
narrow ones are frames.
"""

import html
import http.server
import json
import re
import shutil
import subprocess
import threading
import urllib.parse

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--window-size=1200,900',
    '--virtual-time-budget=8000',
)
NARROW, WIDE = 400, 1100

# What all frames send: widths, suspects that are seen, and the filter.
MEASURE = """
const all = (query) => [...document.querySelectorAll(query)];
const seen = (one) => one.getClientRects().length > 0;
function cards() {
  return all('.card').filter(seen).map((card) => ({...card.dataset}));
}
function state() {
  return {
    width: innerWidth, scrolled: document.documentElement.scrollWidth,
    cards: cards(), given: document.getElementById('given').value,
    none: seen(document.getElementById('none')),
    shown: document.getElementById('shown').textContent,
    evil: all('img[src="x"]').length, names: all('bdi').map((o) =>
      o.textContent),
  };
}
"""


class Server:
    """Counts what is asked of it on this machine."""

    def __init__(self):
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler
        )
        self.url = f'http://127.0.0.1:{self._server.server_port}'
        threading.Thread(target=self._server.serve_forever).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Harness:
    """A page of frames, each of which holds a copy of a report."""

    def __init__(self, folder, text):
        self.folder, self.text = folder, text
        self.frames, self.copies = [], 0

    def add(self, name, script, width=WIDE, hash_='', text=None):
        """Adds a frame that runs a script once the report has loaded."""
        self.copies += 1
        path = self.folder / f'copy{self.copies}.html'
        probe = (
            '<script>addEventListener("load", () => { const send = (value) => '
            f'parent.postMessage([{json.dumps(name)}, value], "*");'
            f'{MEASURE}{script} }});</script></body>'
        )
        path.write_text((text or self.text).replace('</body>', probe))
        self.frames.append(
            f'<iframe src="{path.as_uri()}{html.escape(hash_)}" width={width} '
            'height=900></iframe>'
        )

    def add_without_scripts(self, name):
        """Adds a frame in which no script runs, measured from outside."""
        self.frames.append(
            f'<iframe sandbox="allow-same-origin" width={NARROW} height=900 '
            f'srcdoc="{html.escape(self.text)}" onload=\'const d = '
            f'this.contentDocument; const seen = (q) => '
            f'[...d.querySelectorAll(q)].filter((o) => '
            'o.getClientRects().length).length; found['
            f'{json.dumps(name)}] = {{cards: seen(".card"), controls: '
            'seen(".controls, select, button, input"), told: '
            'seen("noscript p")};\'></iframe>'
        )

    def run(self, *flags):
        """Returns what the frames have sent, by their names."""
        path = self.folder / 'harness.html'
        path.write_text(
            '<!doctype html><meta charset="utf-8"><pre></pre><script>'
            'const found = {}; addEventListener("message", (event) => '
            '{ found[event.data[0]] = event.data[1]; }); '
            'setInterval(() => { document.querySelector("pre").textContent = '
            'encodeURIComponent(JSON.stringify(found)); }, 100);</script>'
            + ''.join(self.frames)
        )
        done = subprocess.run(
            [
                BROWSER,
                *FLAGS,
                *flags,
                f'--user-data-dir={self.folder / "profile"}',
                '--dump-dom',
                path.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        (text,) = re.findall('<pre>(.*?)</pre>', done.stdout)
        return json.loads(urllib.parse.unquote(text))
