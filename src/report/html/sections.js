// The parts of the page that nothing is done to: head, figures, what is stored, what goes, ages, findings, next steps.

function head(data) {
  const about = [
    ['Store', named(data.root)],
    data.config ? ['Configuration', named(data.config)] : null,
    ['Findings', element('a', { href: '#findings' }, data.findings.counts.join(', ') || 'none')],
    ['Made', `${data.started.replace('T', ' ').replace('Z', ' UTC')}, in ${data.elapsed_seconds.toFixed(1)} s`],
  ].filter(Boolean);
  const list = about.map(([label, value]) => element('div', {}, element('dt', {}, label), element('dd', {}, value)));
  return [
    element('p', { class: 'brand' }, `regsweep ${data.command}`),
    element('h1', {}, data.verdict),
    element('dl', { class: 'about' }, list),
  ];
}

function notices(data) {
  return data.notices.map((text) => element('p', { class: 'notice' }, sentence(text)));
}

function figures(data) {
  if (data.figures.length === 0) return null;
  const figure = ({ label, count: number, bytes, note }) => {
    const value = bytes === null ? count(number) : size(bytes);
    const blobs = bytes !== null && number > 0 ? plural(number, 'blob', 'blobs') : '';
    const small = [blobs, note].filter(Boolean).join('; ');
    return element('div', {}, element('dt', {}, label), element('dd', {}, element('strong', {}, value), element('small', {}, small)));
  };
  return section('figures', 'Figures', element('dl', { class: 'figures' }, data.figures.map(figure)));
}

function nextSteps(data) {
  if (data.next.length === 0) return null;
  const steps = data.next.map((step) => element('li', {}, sentence(step)));
  return section('next', 'What to run next', element('ol', { class: 'steps' }, steps));
}

function parts(data) {
  const shown = data.parts.filter((part) => part.bytes > 0 || part.blobs > 0);
  const whole = data.parts.reduce((sum, part) => sum + part.bytes, 0);
  if (whole === 0) return null;
  const piece = (part) => {
    const made = element('span', { class: `piece ${part.key}` });
    made.style.flexGrow = String(part.bytes / whole);
    return made;
  };
  const row = (part) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, element('span', { class: `key ${part.key}`, 'aria-hidden': 'true' }), part.label, element('small', {}, part.note)),
      element('td', { class: 'bytes', title: `${count(part.bytes)} bytes` }, size(part.bytes)),
      element('td', { class: 'count' }, share(part.bytes, whole)),
      element('td', { class: 'count' }, part.blobs === null ? '–' : count(part.blobs)),
    );
  const heads = ['Part', 'Bytes', 'Share', 'Blobs'];
  const classes = ['', 'bytes', 'count', 'count'];
  const table = element(
    'table',
    {},
    element('caption', { class: 'hidden' }, 'What the stored bytes are'),
    element('thead', {}, element('tr', {}, heads.map((text, at) => element('th', { scope: 'col', class: classes[at] }, text)))),
    element('tbody', {}, shown.map(row)),
  );
  const whole_bar = element('div', { class: 'whole', 'aria-hidden': 'true' }, shown.map(piece));
  return section('stored', 'What is stored', whole_bar, scrolls('What is stored', table));
}

/** A table that may be wider than the page. */
function scrolls(title, table) {
  return element('div', { class: 'scrolls', role: 'region', tabindex: 0, 'aria-label': `${title}, table` }, table);
}

function collection(data) {
  if (!data.collection) return null;
  const { columns, rows } = data.collection;
  const most = Math.max(1, ...rows.flatMap((row) => row.cells.map((cell) => cell.bytes ?? 0)));
  const colours = ['unreferenced', 'untagged'];
  const cell = ({ count: number, bytes }, at) =>
    bytes === null
      ? element('td', { class: 'bytes' }, count(number))
      : element(
          'td',
          { class: 'bytes', title: `${count(bytes)} bytes` },
          size(bytes),
          element('small', {}, plural(number, 'blob', 'blobs')),
          bar(colours[at], bytes, most),
        );
  const row = (one) => element('tr', { class: one.kind }, element('th', { scope: 'row' }, one.label), one.cells.map(cell));
  const table = element(
    'table',
    { class: 'collection' },
    element('caption', { class: 'hidden' }, 'What a collection frees, by kind'),
    element('thead', {}, element('tr', {}, element('th', { scope: 'col' }, 'What'), columns.map((text) => element('th', { scope: 'col', class: 'bytes' }, text)))),
    element('tbody', {}, rows.map(row)),
  );
  return section('collection', 'What a collection frees', scrolls('What a collection frees', table));
}

function findings(data) {
  const { counts, codes, note } = data.findings;
  const said = counts.length > 0 ? counts.join(', ') : 'Nothing was found.';
  const groups = codes.map((code) => findingsOf(code, code.severity === 'error'));
  return section('findings', 'Findings', element('p', {}, said, ' ', element('span', { class: 'note' }, sentence(note))), groups);
}

function findingsOf(code, isOpen) {
  const summary = element(
    'summary',
    {},
    element('span', { class: `severity ${code.severity}` }, code.severity),
    element('code', {}, code.code),
    element('span', { class: 'times' }, `× ${count(code.count)}`),
  );
  const places = element('ul', { class: 'places' });
  let shown = 0;
  const more = element('button', { type: 'button', class: 'more', onclick: () => show() });
  const show = () => {
    const end = shown === 0 ? 10 : shown + 200;
    places.append(...code.places.slice(shown, end).map((place) => placeOf(place, code)));
    shown = Math.min(end, code.places.length);
    more.hidden = shown >= code.places.length;
    more.textContent = `Show ${count(Math.min(200, code.places.length - shown))} more`;
  };
  show();
  // On paper nothing can be opened: all places are there, and what was closed is again, afterwards.
  let isOpenNow = isOpen;
  const printed = (isPrinted) => {
    if (isPrinted) {
      isOpenNow = made.open;
      while (shown < code.places.length) show();
    }
    made.open = isPrinted || isOpenNow;
  };
  const leftOut = code.left_out > 0 ? element('p', { class: 'note' }, `${count(code.left_out)} more are left out of this page; JSON lists all.`) : null;
  const made = element(
    'details',
    { open: isOpen, onprinted: (event) => printed(event.detail) },
    summary,
    element('p', {}, sentence(code.meaning)),
    element('p', { class: 'step' }, element('strong', {}, 'Next: '), sentence(code.next_step)),
    places,
    more,
    leftOut,
  );
  return made;
}

function placeOf(place, code) {
  const needs = place.needed_by.flatMap((need, at) => [at === 0 ? 'Needed by ' : ', ', named(need)]);
  if (place.needed_by_more > 0) needs.push(` and ${count(place.needed_by_more)} more`);
  return element(
    'li',
    {},
    place.place ? element('div', {}, named(place.place)) : null,
    place.message && place.message !== code.meaning ? element('div', {}, place.message) : null,
    place.path ? element('div', { class: 'note' }, named(place.path)) : null,
    needs.length > 0 ? element('div', {}, needs) : null,
  );
}

function foot(data, rows) {
  const cut = rows.reduce((sum, one) => sum + (one?.cut_names ?? 0), 0);
  const left = rows.reduce((sum, one) => sum + (one?.others?.count ?? 0), 0);
  return element(
    'p',
    {},
    `Written by regsweep ${data.version}. The page is one file and makes no request; nothing in the store was changed. `,
    left > 0 ? `The ${count(left)} smallest rows are added up as others. ` : '',
    cut > 0 ? `${plural(cut, 'long name is', 'long names are')} cut in the middle. ` : '',
    'Units: 1 KiB is 1,024 bytes. Times are UTC.',
  );
}
