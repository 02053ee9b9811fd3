(() => {
'use strict';
const byId = (id) => document.getElementById(id);
const all = (query) => [...document.querySelectorAll(query)];
const make = (element, properties) =>
  Object.assign(document.createElement(element), properties);
document.documentElement.classList.add('js');

// Tables that are sorted by a click.
function value(row, column) {
  const cell = row.cells[column];
  if (!('value' in cell.dataset)) return cell.textContent.trim();
  return cell.dataset.value === '' ? null : Number(cell.dataset.value);
}
function compare(one, other) {
  if (typeof one === 'number') return one - other;
  return one.localeCompare(other, undefined, {numeric: true});
}
function sort(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const up = head.getAttribute('aria-sort') === 'descending';
  for (const cell of table.tHead.rows[0].cells) {
    cell.removeAttribute('aria-sort');
  }
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const one = value(a, column), other = value(b, column);
    // What is not known stands last.
    if (one === null || other === null) {
      return (one === null) - (other === null);
    }
    return up ? compare(one, other) : compare(other, one);
  });
  table.tBodies[0].append(...rows);
}
for (const table of all('table.sortable')) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = make('button', {
      type: 'button', textContent: cell.textContent,
    });
    button.addEventListener('click', () => sort(table, column));
    cell.replaceChildren(button);
  });
}

// Suspects; without a list of issues there are none.
const cards = all('.card');
const lists = all('.cards');
const STEP = 60;
if (!cards.length) return;
// Runs whose examples are all of one part do not ask for it.
const KEYS = ['given', 'suggested', 'split', 'path'].filter(byId);
let most = lists.map(() => STEP);

// The filter is in the address: report.html#given=cat&path=photos
function read() {
  const text = location.hash.slice(1);
  // Other addresses are places in the page.
  const found = new URLSearchParams(text.includes('=') ? text : '');
  return Object.fromEntries(KEYS.map((key) => [key, found.get(key) || '']));
}
function write(filter) {
  const found = new URLSearchParams();
  for (const key of KEYS) if (filter[key]) found.set(key, filter[key]);
  location.replace(`#${found.toString() || 'suspects'}`);
}
function fits(card, filter) {
  return KEYS.every((key) => key === 'path' ?
    card.dataset.path.toLowerCase().includes(filter.path.toLowerCase()) :
    !filter[key] || card.dataset[key] === filter[key]);
}
function show() {
  const filter = read();
  let shown = 0, fitting = 0;
  lists.forEach((list, place) => {
    let here = 0;
    for (const card of list.children) {
      card.hidden = !fits(card, filter);
      if (card.hidden) continue;
      here += 1;
      card.classList.toggle('later', here > most[place]);
    }
    const more = list.nextElementSibling;
    more.hidden = here <= most[place];
    more.textContent = `Show ${Math.min(STEP, here - most[place])} more`;
    fitting += here;
    shown += Math.min(here, most[place]);
  });
  byId('none').hidden = fitting > 0;
  byId('shown').textContent = `${shown} of ${fitting} shown` +
    (fitting < cards.length ? `, ${cards.length} in all` : '');
}
function fill() {
  const filter = read();
  for (const key of KEYS) {
    if (byId(key).value !== filter[key]) byId(key).value = filter[key];
  }
}
function choose() {
  most = lists.map(() => STEP);
  write(Object.fromEntries(KEYS.map((key) => [key, byId(key).value])));
  show();
}
for (const key of KEYS) byId(key).addEventListener('input', choose);
byId('reset').form.addEventListener('submit', (e) => e.preventDefault());
byId('reset').addEventListener('click', () => {
  for (const key of KEYS) byId(key).value = '';
  choose();
});
lists.forEach((list, place) => {
  list.nextElementSibling.addEventListener('click', () => {
    most[place] += STEP;
    show();
  });
});
addEventListener('hashchange', () => { fill(); show(); });

// What a person decides.
const names = JSON.parse(byId('names').textContent);
const LEFT_OUT = '-';
function decision(card) {
  const {given, suggested} = card.dataset;
  const [choice, other] = card.querySelectorAll('select');
  if (choice.value === 'take') return suggested;
  if (choice.value === 'other') return other ? other.value : given;
  return choice.value === 'leave' ? LEFT_OUT : given;
}
function changes() {
  return cards.filter((card) => decision(card) !== card.dataset.given);
}
function tell() {
  const number = changes().length;
  byId('changes').textContent = number === 1 ? '1 change' : `${number} changes`;
  byId('save').disabled = number === 0;
  saved = false;
}
let saved = true;
function decided(card) {
  const [choice, other] = card.querySelectorAll('select');
  if (choice.value === 'other' && !other) {
    const list = make('select', {
      ariaLabel: `Class of example ${card.dataset.index}`,
    });
    list.append(...names.map((name) => new Option(name, name)));
    list.value = card.dataset.given;
    list.addEventListener('change', () => decided(card));
    card.append(list);
    list.focus();
  } else if (choice.value !== 'other' && other) {
    other.remove();
  }
  card.classList.toggle('changed', decision(card) !== card.dataset.given);
  tell();
}
for (const card of cards) {
  const {given, suggested, index} = card.dataset;
  const choice = make('select', {ariaLabel: `Decision on example ${index}`});
  choice.append(new Option(`keep: ${given}`, 'keep'));
  if (suggested !== given)
    choice.append(new Option(`change to: ${suggested}`, 'take'));
  choice.append(new Option('other class …', 'other'));
  choice.append(new Option('leave out', 'leave'));
  choice.addEventListener('change', () => decided(card));
  card.append(choice);
}
function csv() {
  // As in ieg/utils/tables.py: spreadsheets run what looks like a formula.
  const safe = (text) => /^'*[=+\-@\t\r\n]./s.test(text) ? `'${text}` : text;
  const quoted = (text) =>
    /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const cell = (text) => quoted(safe(text));
  const rows = changes().map((card) => {
    const {split, index, path, given} = card.dataset;
    return [split, index, path, given, decision(card)];
  });
  const head = ['split', 'index', 'path', 'given_label', 'corrected_label'];
  const text =
    [head, ...rows].map((row) => row.map(cell).join(',') + '\n').join('');
  return (/[^\x00-\x7f]/.test(text) ? '\ufeff' : '') + text;
}
byId('save').addEventListener('click', () => {
  const address = URL.createObjectURL(
    new Blob([csv()], {type: 'text/csv;charset=utf-8'}));
  const link = make('a', {href: address, download: 'corrected.csv'});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  saved = true;
});
addEventListener('beforeunload', (event) => {
  if (!saved && changes().length) event.preventDefault();
});
fill();
show();
tell();
saved = true;
if (location.hash.includes('=')) byId('suspects').scrollIntoView();
})();
