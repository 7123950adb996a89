"use strict";
// Tables sort by a click on a heading, rows are shown where they hold every word of the filter, thumbnails open to the
// full grid. Without this the page is the same, at rest: a thumbnail then leads to the page of its run.

const rowsOf = (table) => [...table.tBodies[0].rows];

for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.ariaSort === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.ariaSort = descending ? "descending" : "ascending";
      const sign = descending ? -1 : 1;
      const sorted = rowsOf(table).sort((one, two) => compared(one.cells[column], two.cells[column], sign));
      table.tBodies[0].append(...sorted);
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
const count = document.querySelector("#count");
document.querySelector(".tools").hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  for (const row of document.querySelectorAll("tr[data-words]")) {
    const text = `${row.textContent} ${row.dataset.words}`.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  for (const part of document.querySelectorAll(".filtered")) {
    part.hidden = !part.querySelector("tr[data-words]:not([hidden])");
  }
  const runs = [...document.querySelectorAll("tr[id]")];
  count.textContent = `${runs.filter((row) => !row.hidden).length} of ${runs.length} runs`;
});

const dialog = document.querySelector("dialog");
const [shown, caption] = [new Image(), dialog.querySelector("figcaption span")];
dialog.querySelector("figure").prepend(shown);
let open = null; // the thumbnail whose grid is shown

function show(link) {
  open = link;
  shown.src = document.querySelector(`${link.hash} .grid`).src;
  shown.alt = link.querySelector("img").alt;
  caption.textContent = link.title;
}

function step(by) {
  const links = [...document.querySelectorAll(".pic a")].filter((link) => link.checkVisibility());
  show(links[(links.indexOf(open) + by + links.length) % links.length]);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest(".pic a");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(link);
    dialog.showModal();
  } else if (event.target.closest("dialog [data-step]")) {
    step(Number(event.target.dataset.step));
  } else if (dialog.open) {
    dialog.close();
  }
});
dialog.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) step(by);
});
