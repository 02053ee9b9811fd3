"""How a report looks: on a screen, light or dark, narrow or wide, in print.

Colours are variables. Text has a contrast of at least 4.5 to its ground; the
colours of curves can be told apart without red and green, and each has a
pattern of dashes of its own.
"""

LIGHT = """
  --ground: #fdfdfb; --panel: #f4f4f0; --ink: #1d1f23; --soft: #5a5e66;
  --line: #d9d9d2; --accent: #0b5fa5; --warm: #a84300; --mark: #8f2d56;
  --c0: #0b5fa5; --c1: #a84300; --c2: #00704f; --c3: #8a3b8f; --c4: #6b5d00;
  --c5: #4d5561; --heat: 222, 120, 40; --own: #e4e8ee; --bar: #9cc3e6;
  --gap: rgba(190, 70, 20, .28); color-scheme: light;
"""
DARK = """
  --ground: #15171a; --panel: #1e2125; --ink: #e8e8e4; --soft: #a9aeb7;
  --line: #363b42; --accent: #7ab8f0; --warm: #f0a36b; --mark: #f08fb5;
  --c0: #7ab8f0; --c1: #f0a36b; --c2: #5ccfa6; --c3: #d9a0dd; --c4: #d3c15a;
  --c5: #b3bac5; --heat: 190, 95, 30; --own: #2b3038; --bar: #33618c;
  --gap: rgba(240, 163, 107, .35); color-scheme: dark;
"""

TEXT = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
    "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif;
}
.page { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.5rem 5rem; }
h1, h2, h3 { line-height: 1.2; font-weight: 650; text-wrap: balance; }
h1 { font-size: clamp(1.6rem, 5vw, 2.4rem); margin: 0; }
h2 { font-size: 1.45rem; margin: 0 0 .8rem; }
h3 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; }
p { max-width: 44rem; margin: 0 0 1rem; }
a { color: var(--accent); text-underline-offset: .15em; }
code, .path {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono",
    monospace; font-size: .86em;
}
h1, p, li, dd, code, .name { overflow-wrap: anywhere; }
.name { unicode-bidi: isolate; }
section { margin-top: 4rem; scroll-margin-top: 1rem; }
section > h2 { border-top: 1px solid var(--line); padding-top: 1.2rem; }
nav { margin: 2.5rem 0 0; display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; }
.eyebrow, .subtitle { color: var(--soft); }
.eyebrow { margin: 0 0 .3rem; font-size: .9rem; }
.subtitle { margin: .5rem 0 2rem; }
.subtitle strong { color: var(--ink); font-weight: 600; }
.verdict {
  font-size: clamp(1.25rem, 3.6vw, 1.7rem); line-height: 1.3; max-width: 48rem;
  margin-bottom: .8rem; text-wrap: balance;
}
.remark {
  border-left: 3px solid var(--warm); padding: .1rem 0 .1rem .9rem;
  max-width: 44rem; margin: 1.2rem 0; list-style: none;
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
"""

HEAD = """
.tiles {
  list-style: none; padding: 0; margin: 2rem 0; display: grid; gap: 1px;
  grid-template-columns: repeat(auto-fit, minmax(8.6rem, 1fr));
}
.tiles li {
  padding: .8rem .3rem .8rem 0; border-top: 2px solid var(--ink);
  margin-right: 1rem; display: flex; flex-direction: column;
}
.tiles .title { font-size: .85rem; color: var(--soft); }
.tiles .value {
  font-size: 1.5rem; font-weight: 600; line-height: 1.35;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.tiles .note { font-size: .85rem; color: var(--soft); line-height: 1.35; }
.tiles .oracle { border-top: 2px dashed var(--line); }
.tiles .oracle .value { color: var(--soft); font-weight: 400; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); width: fit-content; }
details ul { padding-left: 1.2rem; max-width: 44rem; }
.facts {
  display: grid; grid-template-columns: minmax(6rem, max-content) 1fr;
  gap: .25rem 1.5rem; margin: 1rem 0 1.5rem;
}
.facts dt { color: var(--soft); }
.facts dd { margin: 0; }
"""

CHARTS = """
.charts {
  display: grid; gap: 2.2rem 2.5rem; margin: 1.8rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
}
#reliability .charts { grid-template-columns:
  repeat(auto-fit, minmax(min(100%, 18rem), 22rem)); }
figure { margin: 0; }
figcaption { font-weight: 600; margin-bottom: .3rem; }
.small { font-size: .85rem; color: var(--soft); }
.chart > svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 12.5px; fill: var(--soft); }
svg .label { font-weight: 600; }
svg .note { fill: var(--mark); }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--soft); stroke-width: 1; }
.level { stroke: var(--mark); stroke-dasharray: 5 4; stroke-width: 1.2; }
.mark { stroke: var(--mark); stroke-width: 1.4; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.strip { fill: transparent; }
.strip:hover { fill: var(--ink); fill-opacity: .08; }
.bar { fill: var(--bar); }
.gap { fill: var(--gap); }
.confidence { stroke: var(--warm); stroke-width: 2; }
.share { fill: var(--soft); }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); }
.c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); }
.c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
.curve.c1 { stroke-dasharray: 7 3; } .curve.c2 { stroke-dasharray: 2 2.5; }
.curve.c3 { stroke-dasharray: 10 3 2 3; } .curve.c4 { stroke-dasharray: 4 2; }
.curve.c5 { stroke-dasharray: 1 3; }
.dot { fill: var(--ground); stroke-width: 1.4; }
svg .label.c0 { fill: var(--c0); } svg .label.c1 { fill: var(--c1); }
svg .label.c2 { fill: var(--c2); } svg .label.c3 { fill: var(--c3); }
svg .label.c4 { fill: var(--c4); } svg .label.c5 { fill: var(--c5); }
svg .label { stroke: none; }
.legend { list-style: none; margin: .5rem 0 0; padding: 0; }
.legend li {
  display: flex; gap: .6rem; font-size: .85rem; line-height: 1.4;
  color: var(--soft);
}
.legend b { color: var(--ink); font-weight: 600; }
.legend svg { flex: none; width: 26px; height: 10px; margin-top: .3rem; }
"""

TABLES = """
.scroll { overflow-x: auto; margin: 1.2rem 0; max-width: 100%; }
.matrices {
  display: grid; gap: 0 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
}
table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .35rem .8rem .35rem 0; text-align: right;
  border-bottom: 1px solid var(--line); vertical-align: bottom; }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
thead th, td { white-space: nowrap; }
tbody th { font-weight: 500; }
.figures tbody th { min-width: 11rem; }
th .name, td .name { display: inline-block; max-width: 14rem;
  white-space: normal; overflow-wrap: break-word; }
th button {
  font: inherit; min-height: 0; text-align: inherit; color: inherit;
  background: none; border: 0; padding: 0;
  cursor: pointer; text-decoration: underline dotted; text-underline-offset:
  .25em;
}
th[aria-sort] button { color: var(--ink); font-weight: 600; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.heat { border-collapse: separate; border-spacing: 2px; font-size: .82rem; }
.heat th, .heat td { border: 0; padding: .25rem .35rem; }
.heat td { text-align: center; min-width: 2rem; border-radius: 2px;
  background: rgba(var(--heat), calc(var(--part, 0) * .75)); }
.heat .own { background: var(--own); font-weight: 600; }
.heat thead th { text-align: center; }
.heat .name { white-space: nowrap; overflow: hidden; max-width: 9rem;
  text-overflow: ellipsis; vertical-align: bottom; }
.heat caption { white-space: nowrap; }
.heat thead .corner { text-align: left; }
.heat tbody th { text-align: left; }
.turned thead .name { writing-mode: vertical-rl; transform: rotate(180deg);
  max-height: 8rem; }
"""

GALLERY = """
.controls, .js noscript { display: none; }
.js .controls { display: block; }
.js .filters, .js .save { display: flex; flex-wrap: wrap; }
.filters { gap: .8rem 1.2rem; align-items: flex-end; margin: 1.5rem 0; }
.filters label { font-size: .85rem; color: var(--soft); display: flex;
  flex-direction: column; gap: .2rem; max-width: 100%; }
.filters select { width: 13rem; }
select, input, button { font: inherit; font-size: .9rem; color: var(--ink);
  background: var(--ground); border: 1px solid var(--soft);
  border-radius: 4px; padding: .3rem .5rem; max-width: 100%;
  min-height: 2.2rem; }
button { cursor: pointer; padding: .35rem .9rem; }
button:hover { background: var(--panel); }
output { font-size: .9rem; color: var(--soft); }
.filters output { padding-bottom: .4rem; }
.cards { list-style: none; margin: 1.2rem 0; padding: 0; display: grid;
  gap: .9rem; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.card { position: relative; background: var(--panel); border-radius: 6px;
  padding: .8rem; border: 2px solid transparent; font-size: .88rem;
  line-height: 1.4; min-width: 0; break-inside: avoid; display: flex;
  flex-direction: column; }
.card[hidden], .js .card.later { display: none; }
.card.changed { border-color: var(--accent); }
.rank { position: absolute; top: .55rem; right: .7rem; color: var(--soft);
  font-size: .8rem; }
.picture { height: 96px; margin-bottom: .7rem; }
.picture img { display: block; max-width: 96px; height: 96px; width: 96px;
  object-fit: contain; object-position: left; }
.picture .small { image-rendering: pixelated; }
.card dl { margin: 0 0 .3rem; }
.card dl div { display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 3; line-clamp: 3; overflow: hidden; }
.card dt, .card dd { display: inline; margin: 0; }
.card dt { color: var(--soft); }
.card dd b { font-weight: 650; }
.card p { margin: 0; color: var(--soft); font-size: .8rem; }
.card .path { font-size: .74rem; margin: .3rem 0 auto; }
.card select { width: 100%; margin-top: .5rem; font-size: .82rem; }
.js .more { margin: 0 0 1.5rem; }
.js .more[hidden] { display: none; }
.js .save { position: sticky; bottom: 0; gap: .6rem 1.2rem;
  align-items: center; background: var(--ground); padding: .8rem 0;
  border-top: 1px solid var(--line); }
#save { background: var(--accent); color: var(--ground);
  border-color: var(--accent); font-weight: 600; }
#save:disabled { background: none; color: var(--soft);
  border-color: var(--line); cursor: default; font-weight: 400; }
footer { margin-top: 4rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 34rem) {
  .page { padding: 1.5rem 1rem 4rem; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
    gap: .6rem; }
  #curves svg text { font-size: 15px; }
  .filters label, .filters select, .filters input { width: 100%; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .facts { grid-template-columns: 1fr; }
  .facts dd { margin-bottom: .4rem; }
}
"""

PRINT = """
@page { margin: 16mm 14mm; }
body { font-size: 10.5pt; }
.page { max-width: none; padding: 0; }
:root { --ground: #fff; }
.controls, .js .controls, .js .filters, .js .save, .card select, nav,
details:not([open]) { display: none; }
section { margin-top: 2rem; }
h2, h3, caption, figcaption { break-after: avoid; }
figure, .card, tr, .heat, .tiles li { break-inside: avoid; }
.charts, #reliability .charts { grid-template-columns: 1fr 1fr; gap: 1.2rem; }
.tiles { grid-template-columns: repeat(4, 1fr); }
.matrices { grid-template-columns: 1fr; }
.cards { grid-template-columns: repeat(5, 1fr); gap: .5rem; }
.card { border: 1px solid var(--line); background: none; }
.scroll { overflow: visible; }
a { color: inherit; text-decoration: none; }
* { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
"""

STYLE = (
    f':root {{{LIGHT}}}\n'
    f'@media (prefers-color-scheme: dark) {{ :root {{{DARK}}} }}\n'
    f'{TEXT}{HEAD}{CHARTS}{TABLES}{GALLERY}'
    # Paper is white, whatever the screen is.
    f'@media print {{ :root {{{LIGHT}}}\n{PRINT}}}\n'
)
