// Puts the page together.

(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  document.title = `regsweep ${data.command}: ${data.verdict}`;
  document.getElementById('head').append(...head(data));
  const tables = [];
  const kept = (table) => {
    tables.push(table);
    return table;
  };
  const main = document.getElementById('main');
  const add = (...made) => main.append(...made.flat().filter(Boolean));
  add(notices(data), nextSteps(data), figures(data), parts(data), collection(data), findings(data));
  if (data.rows && data.rows.rows.length > 0) {
    const title = `Largest ${data.rows.many}`;
    const table = kept(new RowTable(data.rows, 'rows'));
    const made = table.section(title);
    const map = new TreeMap(data.rows, (row) => {
      table.filter.value = row[0];
      table.search(row[0]);
      made.scrollIntoView({ block: 'start' });
      table.filter.focus();
    });
    // The map lays itself out once it is in the page.
    add(map.section(), made);
  }
  if (data.ages && data.ages.rows.length > 0) add(kept(new RowTable(data.ages, 'ages')).plain('Tags by their last push'));
  const printed = (isPrinted) => {
    for (const table of tables) table.printed(isPrinted);
    for (const details of document.querySelectorAll('details')) details.dispatchEvent(new CustomEvent('printed', { detail: isPrinted }));
  };
  window.addEventListener('beforeprint', () => printed(true));
  window.addEventListener('afterprint', () => printed(false));
  document.getElementById('foot').append(foot(data, [data.rows, data.ages]));
})();
