"use strict";
// Extras: the page is complete without them. Heads of tables sort, long tables filter, printing opens the tables beside pictures.
(function () {
  function key(row, column) {
    const cell = row.cells[column];
    const value = cell.getAttribute("data-value");
    return value === null ? cell.textContent : Number(value);
  }

  function compare(one, two) {
    if (typeof one === "number" && typeof two === "number") return one - two;
    if (typeof one !== typeof two) return typeof one === "number" ? -1 : 1;
    return one.localeCompare(two, undefined, { numeric: true });
  }

  function sort(table, head, column) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort((one, two) => (up ? 1 : -1) * compare(key(one, column), key(two, column)));
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head, column));
    });
  }

  for (const table of document.querySelectorAll("table.search")) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("span");
    const box = document.createElement("div");
    input.type = "search";
    label.append("Show rows with ", input);
    count.setAttribute("role", "status");
    box.className = "filter";
    box.append(label, count);
    table.before(box);
    const rows = Array.from(table.tBodies[0].rows);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length;
    });
  }

  window.addEventListener("beforeprint", () => {
    for (const item of document.querySelectorAll("details")) item.open = true;
  });
})();
