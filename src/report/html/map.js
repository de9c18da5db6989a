// The map: namespaces and repositories by their bytes. A tile is a button; one with something below it can be entered.

const TILES = 48;
const TILES_BELOW = 24;
/** A name that is cut shows at least so many letters, or it is not shown. */
const LETTERS = 9;

/** What a tile stands for: a row, or all rows whose names begin alike. */
function node(label, above) {
  return { label, above, below: new Map(), row: null, sums: {}, rows: 0 };
}

/** Rows as a tree by the parts of their names, with sums. */
function treeOf(rows, keys) {
  const at = Object.fromEntries(rows.columns.map((column, place) => [column.key, place]));
  const root = node('All', null);
  const add = (row, parts, separators) => {
    let place = root;
    const path = [root];
    parts.forEach((part, number) => {
      if (!place.below.has(part)) place.below.set(part, node(part, place));
      place = place.below.get(part);
      place.separator = separators[number - 1] ?? '';
      path.push(place);
    });
    place.row = row;
    for (const one of path) {
      one.rows += 1;
      for (const key of keys) one.sums[key] = (one.sums[key] ?? 0) + (row[at[key]] ?? 0);
    }
  };
  for (const row of rows.rows) {
    const [parts, separators] = partsOf(row[0], rows.separators);
    add(row, parts, separators);
  }
  if (rows.others) {
    add(rows.others.cells, [rows.others.cells[0]], []);
    root.rows += rows.others.count - 1;
  }
  tidy(root);
  return root;
}

function partsOf(name, separators) {
  const parts = [''];
  const between = [];
  for (const character of name) {
    if (separators.includes(character) && separators !== '') {
      parts.push('');
      between.push(character);
    } else {
      parts[parts.length - 1] += character;
    }
  }
  return [parts, between];
}

/** What leads to one thing only is one with it; what is a row and has something below it has itself below it, too. */
function tidy(root) {
  const waiting = [root];
  while (waiting.length > 0) {
    const place = waiting.pop();
    while (place.above && place.below.size === 1 && !place.row) {
      const [only] = place.below.values();
      place.label += (only.separator || '/') + only.label;
      place.below = only.below;
      place.row = only.row;
      for (const below of place.below.values()) below.above = place;
    }
    if (place.row && place.below.size > 0) {
      const sums = { ...place.sums };
      for (const below of place.below.values()) for (const key of Object.keys(sums)) sums[key] -= below.sums[key] ?? 0;
      const itself = node(`${place.label} itself`, place);
      Object.assign(itself, { row: place.row, sums, rows: 1 });
      place.below.set('\0itself', itself);
      place.row = null;
    }
    waiting.push(...place.below.values());
  }
}

/** The largest of what is below a place, and one that stands for the others. */
function largest(place, measure, most) {
  const all = [...place.below.values()].filter((below) => below.sums[measure] > 0);
  all.sort((a, b) => b.sums[measure] - a.sums[measure] || (a.label < b.label ? -1 : 1));
  if (all.length <= most + 1) return all;
  const others = node(`${count(all.length - most)} others`, place);
  for (const below of all.slice(most)) {
    others.below.set(below.label, below);
    others.rows += below.rows;
    for (const [key, value] of Object.entries(below.sums)) others.sums[key] = (others.sums[key] ?? 0) + value;
  }
  return [...all.slice(0, most), others];
}

class TreeMap {
  constructor(rows, show) {
    this.rows = rows;
    this.show = show;
    const has = (key) => rows.columns.some((column) => column.key === key);
    this.measures = ['total', 'unique', 'shared', 'untagged', 'goes'].filter(has);
    this.tree = treeOf(rows, this.measures);
    this.measures = this.measures.filter((key) => this.tree.sums[key] > 0);
    [this.measure] = this.measures;
    this.place = this.tree;
    this.canvas = element('div', { class: 'map', role: 'group', 'aria-label': 'Map' });
    this.path = element('ol', { class: 'path' });
    // Whoever hears the page hears the same with each tile.
    this.detail = element('p', { class: 'detail' });
    this.canvas.addEventListener('keydown', (event) => this.onKey(event));
  }

  /** The section; nothing where there is nothing to compare. */
  section() {
    if (this.measures.length === 0 || this.rows.rows.length < 2) return null;
    const label = (key) => this.rows.columns.find((column) => column.key === key).label;
    const choice = element(
      'select',
      { id: 'measure', onchange: (event) => this.choose(event.target.value) },
      this.measures.map((key) => element('option', { value: key }, label(key))),
    );
    const controls = element(
      'div',
      { class: 'controls' },
      element('nav', { 'aria-label': 'Where the map is' }, this.path),
      element('label', { class: 'choice' }, 'Area: ', choice),
    );
    const help = 'Enter or click opens a tile, Escape leaves it, arrow keys move. ';
    const twice = this.measure === 'total' ? 'What several share is in the tile of each: hatched. ' : '';
    const made = section('map', 'Map', controls, this.canvas, this.detail, element('p', { class: 'help' }, help + twice));
    new ResizeObserver(() => this.draw(false)).observe(this.canvas);
    this.draw(false);
    return made;
  }

  choose(measure) {
    this.measure = measure;
    if (!(this.place.sums[measure] > 0)) this.place = this.tree;
    this.draw(false);
  }

  enter(place) {
    if (place.below.size > 0) {
      this.place = place;
      this.draw(true);
    } else if (place.row) {
      this.show(place.row);
    }
  }

  leave(to = this.place.above) {
    if (!to || to === this.place) return;
    let from = this.place;
    while (from.above && from.above !== to) from = from.above;
    this.place = to;
    this.draw(true, from);
  }

  draw(takesFocus, from = null) {
    const box = this.canvas.getBoundingClientRect();
    const width = box.width || 1000;
    const height = box.height || 420;
    this.nodes = largest(this.place, this.measure, TILES);
    this.boxes = squares(this.nodes.map((one) => one.sums[this.measure]), { x: 0, y: 0, width, height });
    const focused = Math.max(0, this.nodes.findIndex((one) => one === from || one.label === from?.label));
    this.tiles = this.nodes.map((one, number) => this.tile(one, this.boxes[number], { width, height }, number === focused));
    this.canvas.replaceChildren(...this.tiles);
    this.tiles.forEach((tile, number) => dropCut(tile, this.nodes[number].label));
    this.canvas.setAttribute('aria-label', `Map of ${this.whole(this.place)} by ${this.measure} bytes`);
    this.drawPath();
    this.describe(this.place);
    if (takesFocus) this.tiles[focused]?.focus();
  }

  whole(place) {
    const parts = [];
    for (let one = place; one.above; one = one.above) parts.unshift(one.label);
    return parts.length > 0 ? parts.join('/') : 'the whole store';
  }

  tile(one, box, whole, isFirst) {
    const isGroup = one.below.size > 0;
    const more = `: ${this.figures(one)}${isGroup ? ', opens' : ''}`;
    const isWide = isGroup && box.width > 190;
    const fits = box.height > 20 && isWorthIt(one.label, box.width, isWide ? 90 : 14);
    const tile = element(
      'button',
      {
        type: 'button',
        class: `tile ${isGroup ? 'group' : 'leaf'} measure-${this.measure}`,
        tabindex: isFirst ? 0 : -1,
        onclick: () => this.enter(one),
        onfocus: () => this.onFocus(tile, one),
        onpointerenter: () => this.describe(one),
      },
      this.shades(one, box),
      element(
        'span',
        { class: fits ? 'label' : 'label hidden' },
        shownName(one.label, box.width, isWide ? 90 : 14),
        element('span', { class: (isGroup ? isWide : box.height > 42) ? 'amount' : 'amount hidden' }, ` ${size(one.sums[this.measure])}`),
        element('span', { class: 'hidden' }, more),
      ),
    );
    place(tile, box, whole);
    return tile;
  }

  /** What is below a tile, or how much of it is shared: for eyes only. */
  shades(one, box) {
    const shades = element('span', { class: 'shades', 'aria-hidden': 'true' });
    const inner = { x: 4, y: 24, width: box.width - 8, height: box.height - 28 };
    if (one.below.size > 0 && inner.width > 60 && inner.height > 30) {
      const below = largest(one, this.measure, TILES_BELOW);
      squares(below.map((each) => each.sums[this.measure]), inner).forEach((each, number) => {
        const fits = each.height > 18 && isWorthIt(below[number].label, each.width, 6, 7.6);
        const shade = element('span', { class: 'below' }, this.shared(below[number]), fits ? shownName(below[number].label, each.width, 6, 7.6) : null);
        place(shade, each, box);
        shades.append(shade);
      });
    } else {
      shades.append(...[this.shared(one)].filter(Boolean));
    }
    return shades;
  }

  shared(one) {
    if (this.measure !== 'total' || !(one.sums.shared > 0)) return null;
    const hatched = element('span', { class: 'hatched' });
    hatched.style.height = `${(100 * one.sums.shared) / one.sums.total}%`;
    return hatched;
  }

  onFocus(tile, one) {
    for (const other of this.tiles) other.tabIndex = other === tile ? 0 : -1;
    this.describe(one);
  }

  figures(one) {
    const label = (key) => this.rows.columns.find((column) => column.key === key).label.toLowerCase();
    const sums = this.measures.map((key) => `${label(key)} ${size(one.sums[key] ?? 0)}`);
    const rows = one.below.size > 0 || one === this.tree ? [plural(one.rows, this.rows.one, this.rows.many)] : [];
    return [...rows, ...sums].join(', ');
  }

  describe(one) {
    this.detail.replaceChildren(named(this.whole(one)), `: ${this.figures(one)}`);
  }

  drawPath() {
    const steps = [];
    for (let one = this.place; one; one = one.above) steps.unshift(one);
    const button = (one) =>
      one === this.place
        ? element('span', { 'aria-current': 'location' }, named(one.label))
        : element('button', { type: 'button', onclick: () => this.leave(one) }, named(one.label));
    this.path.replaceChildren(...steps.map((one) => element('li', {}, button(one))));
  }

  onKey(event) {
    const at = this.tiles.indexOf(document.activeElement);
    if (event.key === 'Escape' || event.key === 'Backspace') {
      this.leave();
    } else if (event.key === 'Home' || event.key === 'End') {
      this.tiles[event.key === 'Home' ? 0 : this.tiles.length - 1]?.focus();
    } else if (event.key.startsWith('Arrow') && at >= 0) {
      this.tiles[this.towards(at, event.key.slice(5))]?.focus();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** The nearest tile in a direction. */
  towards(at, direction) {
    const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2];
    const [x, y] = middle(this.boxes[at]);
    const [dx, dy] = { Left: [-1, 0], Right: [1, 0], Up: [0, -1], Down: [0, 1] }[direction] ?? [0, 0];
    let best = at;
    let least = Infinity;
    this.boxes.forEach((box, number) => {
      const [tx, ty] = middle(box);
      const along = (tx - x) * dx + (ty - y) * dy;
      const across = Math.abs((tx - x) * dy) + Math.abs((ty - y) * dx);
      if (number !== at && along > 1 && along + 2 * across < least) {
        least = along + 2 * across;
        best = number;
      }
    });
    return best;
  }
}

/** How many letters of a name there is room for. */
function roomFor(width, taken, letter = 9) {
  return Math.max(0, Math.floor((width - taken) / letter));
}

/** Whether a name can be told from others there: as a whole, or by enough of its letters. */
function isWorthIt(name, width, taken, letter = 9) {
  return Math.min(Array.from(name).length, LETTERS) <= roomFor(width, taken, letter);
}

/** Hides from eyes what does not fit into a tile as it is drawn: half a number is a wrong one. A name loses letters first. */
function dropCut(tile, name) {
  const label = tile.querySelector('.label:not(.hidden)');
  if (!label) return;
  const box = label.getBoundingClientRect();
  const isCut = (part) => {
    const { right, bottom } = part.getBoundingClientRect();
    return right > box.right + 0.5 || bottom > box.bottom + 1 || (part.clientWidth > 0 && part.scrollWidth > part.clientWidth);
  };
  const amount = label.querySelector('.amount:not(.hidden)');
  if (amount && isCut(amount)) amount.classList.add('hidden');
  const shown = () => label.querySelector('bdi:not(.hidden)');
  for (let letters = Array.from(shown().textContent).length - 1; isCut(shown()); letters -= 1) {
    if (letters < LETTERS) {
      label.classList.add('hidden');
      return;
    }
    label.firstElementChild.replaceWith(shownName(name, letters, 0, 1));
  }
}

/** A name as it fits, with its end, which tells it from others; the whole is there for those who do not see it. */
function shownName(name, width, taken, letter = 9) {
  const letters = Array.from(name);
  const most = Math.max(3, roomFor(width, taken, letter));
  if (letters.length <= most) return named(name);
  const end = Math.ceil((most - 1) * 0.6);
  const short = `${letters.slice(0, most - 1 - end).join('')}…${letters.slice(-end).join('')}`;
  return element('span', {}, element('bdi', { 'aria-hidden': 'true' }, short), element('bdi', { class: 'hidden' }, name));
}

/** Puts an element where its box is, in shares of the whole, so that it stays right when the page is printed. */
function place(made, box, whole) {
  made.style.left = `${(100 * box.x) / whole.width}%`;
  made.style.top = `${(100 * box.y) / whole.height}%`;
  made.style.width = `${(100 * box.width) / whole.width}%`;
  made.style.height = `${(100 * box.height) / whole.height}%`;
}
