"use strict";
// Tables sort by a click on a heading; a row is shown where it holds every word of the filter. Without this the page
// is the same, at rest.
for (const table of document.querySelectorAll("table")) {
  const [heads, ...rows] = table.rows;
  [...heads.cells].forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.ariaSort === "ascending";
      for (const other of heads.cells) other.removeAttribute("aria-sort");
      head.ariaSort = descending ? "descending" : "ascending";
      rows.sort((one, two) => compared(one.cells[column], two.cells[column], descending ? -1 : 1));
      rows.forEach((row) => row.parentNode.append(row));
    });
  });
}

function compared(one, two, sign) {
  const [a, b] = [one, two].map((cell) => cell.dataset.sort ?? cell.textContent.trim());
  if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last either way
  const [x, y] = [a, b].map(Number);
  return Number.isNaN(x) || Number.isNaN(y) ? sign * a.localeCompare(b) : sign * (x - y);
}

const filter = document.querySelector("#filter");
filter.hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const row of document.querySelectorAll("tr:not(:first-child), .run")) {
    row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  }
});
