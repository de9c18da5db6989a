// A table of rows that can be sorted by each column and filtered by name.

const ROWS_AT_ONCE = 50;

class RowTable {
  constructor(rows, id) {
    this.rows = rows;
    this.id = id;
    // A column that says nothing takes no room.
    const says = (column, at) => column.kind === 'name' || column.key !== 'held' || rows.rows.some((row) => row[at] > 0);
    this.columns = rows.columns.map((column, at) => ({ ...column, at })).filter((column) => says(column, column.at));
    const most = (at) => rows.rows.reduce((largest, row) => Math.max(largest, row[at] ?? 0), 0);
    for (const column of this.columns) column.most = column.kind === 'bytes' ? most(column.at) : 0;
    this.sorted = null;
    this.words = [];
    this.shown = ROWS_AT_ONCE;
    this.body = element('tbody');
    this.status = element('p', { class: 'status', role: 'status' });
    this.more = element('button', { type: 'button', class: 'more', onclick: () => this.showMore() });
  }

  section(title) {
    this.filter = element('input', {
      type: 'search',
      id: `${this.id}-filter`,
      autocomplete: 'off',
      spellcheck: 'false',
      oninput: (event) => this.search(event.target.value),
    });
    const controls = element(
      'div',
      { class: 'controls' },
      element('label', { for: `${this.id}-filter` }, 'Filter by name: '),
      this.filter,
      this.status,
    );
    const made = section(this.id, title, controls, this.table(title), this.more);
    this.draw();
    return made;
  }

  /** The table alone, where there are so few rows that nobody filters them. */
  plain(title) {
    const made = section(this.id, title, this.table(title));
    this.draw();
    return made;
  }

  /** The table in what scrolls it. */
  table(title) {
    const heads = this.columns.map((column) => {
      const button = element(
        'button',
        { type: 'button', title: column.note || null, onclick: () => this.sort(column) },
        column.label,
        element('span', { class: 'arrow', 'aria-hidden': 'true' }),
      );
      column.head = element('th', { scope: 'col', class: column.kind, 'aria-sort': 'none' }, button);
      return column.head;
    });
    const table = element(
      'table',
      { class: 'rows' },
      element('caption', { class: 'hidden' }, `${title}; the buttons in the heads sort it`),
      element('thead', {}, element('tr', {}, heads)),
      this.body,
    );
    return element('div', { class: 'scrolls', role: 'region', tabindex: 0, 'aria-label': `${title}, table` }, table);
  }

  sort(column) {
    const first = column.kind === 'name' ? 'ascending' : 'descending';
    const other = first === 'ascending' ? 'descending' : 'ascending';
    const isSame = this.sorted?.column === column;
    this.sorted = { column, order: isSame && this.sorted.order === first ? other : first };
    for (const each of this.columns) each.head.setAttribute('aria-sort', each === column ? this.sorted.order : 'none');
    this.draw();
  }

  search(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.shown = ROWS_AT_ONCE;
    this.draw();
  }

  /** All rows for paper, where nothing can be asked for; and what was shown before. */
  printed(isPrinted) {
    if (isPrinted) this.before ??= this.shown;
    this.shown = isPrinted ? Infinity : (this.before ?? this.shown);
    if (!isPrinted) this.before = undefined;
    this.draw();
  }

  showMore() {
    const before = this.shown;
    this.shown += ROWS_AT_ONCE * 10;
    this.draw();
    this.body.rows[before]?.cells[0]?.focus();
  }

  /** The rows that the filter leaves, in order. */
  found() {
    const fits = (row) => this.words.every((word) => row[0].toLowerCase().includes(word));
    const rows = this.rows.rows.filter(fits);
    if (!this.sorted) return rows;
    const { column, order } = this.sorted;
    const sign = order === 'ascending' ? 1 : -1;
    const compare = (a, b) => {
      if (a === b) return 0;
      // What is not known comes last, either way.
      if (a === null) return 1;
      if (b === null) return -1;
      return a < b ? -sign : sign;
    };
    return rows.sort((a, b) => compare(a[column.at], b[column.at]));
  }

  draw() {
    const found = this.found();
    const rows = found.slice(0, this.shown).map((row) => this.row(row));
    if (this.rows.others && this.words.length === 0 && this.shown >= found.length) rows.push(this.row(this.rows.others.cells, 'others'));
    if (rows.length === 0) rows.push(element('tr', {}, element('td', { colspan: this.columns.length }, 'Nothing fits the filter.')));
    this.body.replaceChildren(...rows);
    const of = found.length === this.rows.rows.length ? '' : ` of ${count(this.rows.rows.length)}`;
    const shown = Math.min(found.length, this.shown);
    this.status.textContent = `${plural(found.length, this.rows.one, this.rows.many)}${of}${shown < found.length ? `, ${count(shown)} shown` : ''}`;
    this.more.hidden = this.shown >= found.length;
    this.more.textContent = `Show ${count(Math.min(found.length - this.shown, ROWS_AT_ONCE * 10))} more`;
  }

  row(row, kind = null) {
    return element('tr', { class: kind }, this.columns.map((column) => this.cell(row[column.at], column)));
  }

  cell(value, column) {
    if (column.kind === 'name') return element('th', { scope: 'row', class: 'name', tabindex: -1 }, named(value));
    if (value === null) return element('td', { class: column.kind }, '–');
    if (column.kind === 'bytes') {
      return element('td', { class: 'bytes', title: `${count(value)} bytes` }, size(value), bar(column.key, value, column.most));
    }
    return element('td', { class: column.kind }, column.kind === 'date' ? day(value) : count(value));
  }
}
