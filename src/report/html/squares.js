// Rectangles in a rectangle: areas in proportion to values, as near to squares as a row at a time can make them.

/** Lays out values, the largest first, in a box; returns a box for each. */
function squares(values, box) {
  const boxes = [];
  const total = values.reduce((sum, value) => sum + value, 0);
  if (total <= 0 || box.width <= 0 || box.height <= 0) return values.map(() => ({ x: box.x, y: box.y, width: 0, height: 0 }));
  const scale = (box.width * box.height) / total;
  let rest = { ...box };
  let at = 0;
  while (at < values.length) {
    const side = Math.min(rest.width, rest.height);
    let area = 0;
    let end = at;
    let worst = Infinity;
    while (end < values.length) {
      const next = area + values[end] * scale;
      const ratio = worstRatio(values[at] * scale, values[end] * scale, next, side);
      if (end > at && ratio > worst) break;
      worst = ratio;
      area = next;
      end += 1;
    }
    rest = layRow(values.slice(at, end), scale, area, rest, boxes);
    at = end;
  }
  return boxes;
}

/** The worst of the ratios of a row whose largest and smallest areas are given. */
function worstRatio(largest, smallest, area, side) {
  if (smallest <= 0) return Infinity;
  const square = (side * side) / (area * area);
  return Math.max(largest * square, 1 / (smallest * square));
}

/** Puts a row at the shorter side of a box, and returns what is left of the box. */
function layRow(values, scale, area, box, boxes) {
  const isWide = box.width >= box.height;
  const side = isWide ? box.height : box.width;
  const depth = side > 0 ? area / side : 0;
  let offset = 0;
  for (const value of values) {
    const length = depth > 0 ? (value * scale) / depth : 0;
    boxes.push(
      isWide
        ? { x: box.x, y: box.y + offset, width: depth, height: length }
        : { x: box.x + offset, y: box.y, width: length, height: depth },
    );
    offset += length;
  }
  return isWide
    ? { ...box, x: box.x + depth, width: Math.max(0, box.width - depth) }
    : { ...box, y: box.y + depth, height: Math.max(0, box.height - depth) };
}
