'use strict';
// Elements from text, and how sizes, counts and times read. Text from the store only ever becomes text.

/** Makes an element; a value that is false or missing leaves its attribute out. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** A size as the text report has it: the largest unit that fits. */
function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(2)} ${UNITS[unit]}`;
}

const COUNT = new Intl.NumberFormat('en-US');

function count(value) {
  return COUNT.format(value);
}

function plural(value, one, many) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function share(part, whole) {
  if (!whole || !part) return '0%';
  const percent = (100 * part) / whole;
  if (percent < 0.1) return '<0.1%';
  return `${percent < 10 ? percent.toFixed(1) : Math.round(percent)}%`;
}

/** The day of a time, which is in UTC. */
function day(time) {
  return time.slice(0, 10);
}

/** A name from the store: its direction is its own, and it may break anywhere. */
function named(text, extra = '') {
  return element('bdi', { class: `name ${extra}`.trim() }, text);
}

/** A sentence with commands in backticks. */
function sentence(text) {
  return text.split('`').map((part, place) => (place % 2 === 1 ? command(part) : part));
}

/** A command that breaks between its words alone, where they are no longer than that. */
function command(text) {
  const words = text.split(' ').map((word) => (word.length < 40 ? element('span', {}, word) : word));
  return element('code', {}, words.flatMap((word, place) => (place === 0 ? [word] : [' ', word])));
}

/** A section under a heading that names it. */
function section(id, title, ...content) {
  const heading = element('h2', { id: `${id}-title` }, title);
  return element('section', { id, 'aria-labelledby': `${id}-title` }, heading, ...content);
}

/** A bar beside a figure, which says the same: for eyes only. */
function bar(kind, part, whole) {
  const fill = element('span', { class: `fill ${kind}` });
  fill.style.width = `${whole > 0 ? Math.max(0, Math.min(100, (100 * part) / whole)) : 0}%`;
  return element('span', { class: 'bar', 'aria-hidden': 'true' }, fill);
}
