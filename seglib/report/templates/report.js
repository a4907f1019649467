// Tables sort by their headers and filter by text and status; without this script they are plain tables.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head));
  }
}

function sort(table, head) {
  const number = head.classList.contains("n");
  const before = head.getAttribute("aria-sort");
  const first = number ? "descending" : "ascending";
  const second = number ? "ascending" : "descending";
  const direction = before === first ? second : first;
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [row, key(row.cells[head.cellIndex], number)]);
  rows.sort(([, a], [, b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // unknown stays last
    return sign * (number ? a - b : a.localeCompare(b, "en", { numeric: true }));
  });
  body.append(...rows.map(([row]) => row));
}

function key(cell, number) {
  const value = cell.dataset.value ?? cell.textContent.trim();
  if (!number) return value;
  return value === "" || Number.isNaN(Number(value)) ? null : Number(value);
}

for (const tools of document.querySelectorAll(".tools")) {
  const table = document.getElementById(tools.dataset.table);
  const words = tools.querySelector("input");
  const status = tools.querySelector("select");
  const count = tools.querySelector("output");
  const rows = [...table.tBodies[0].rows];
  const update = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = wanted.every((word) => text.includes(word)) &&
        (!status || status.value === "" || row.dataset.status === status.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  words.addEventListener("input", update);
  status?.addEventListener("change", update);
  tools.hidden = false;
  update();
}
