// What a page of a report can do beside being read. Nothing here is needed to read it.
"use strict";

// The contents follow: the chapter that is being read is marked. On a narrow page they are folded.
(() => {
  const links = [...document.querySelectorAll(".contents a")];
  const fold = document.querySelector(".contents details");
  if (fold && window.matchMedia("(max-width: 1199px)").matches) fold.open = false;
  if (!links.length || !("IntersectionObserver" in window)) return;
  const headings = links.map((link) => document.getElementById(link.hash.slice(1)));
  const mark = () => {
    let current = 0;
    headings.forEach((heading, place) => {
      if (heading && heading.getBoundingClientRect().top < 120) current = place;
    });
    links.forEach((link, place) => {
      if (place === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  };
  const seen = new IntersectionObserver(mark, { rootMargin: "0px 0px -60% 0px" });
  headings.forEach((heading) => heading && seen.observe(heading));
  mark();
})();

// Tables of data are sorted by a click on a column's name, and filtered by words.
(() => {
  const MANY = 8; // rows from which on a filter helps
  const numeric = (text) => {
    const found = text.replace(/\u2212/g, "-").match(/^[<>≤≥~ ]*([-+]?\d[\d.]*(?:e[-+]?\d+)?)/i);
    return found ? parseFloat(found[1]) * (UNITS[unit(text)] ?? 1) : NaN;
  };
  const UNITS = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 };
  const unit = (text) => (text.match(/\d ([kMGTPE])[A-Za-z]/) || [])[1];
  const sorted = (body, column, down) => {
    const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].textContent.trim() }));
    rows.forEach((one) => { one.number = numeric(one.text); });
    rows.sort((a, b) => {
      const [x, y] = [a.number, b.number];
      if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // what is missing, last
      const order = Number.isNaN(x) ? a.text.localeCompare(b.text, "en", { numeric: true }) : x - y;
      return down ? -order : order;
    });
    body.append(...rows.map((one) => one.row));
  };
  const dress = (table) => {
    const [head, body] = [table.tHead, table.tBodies[0]];
    if (!head || !body || body.rows.length < 2) return;
    [...head.rows[0].cells].forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending";
        [...head.rows[0].cells].forEach((other) => other.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        sorted(body, column, down);
      });
    });
    if (body.rows.length < MANY) return;
    const filter = document.createElement("input");
    filter.className = "filter";
    filter.type = "search";
    filter.placeholder = "filter rows";
    filter.setAttribute("aria-label", "Filter the rows of this table");
    // Choices of one column each, where the page has them, narrow the rows down further.
    const choices = [...document.querySelectorAll("#filters select")].filter(() => table.matches("#filters ~ .scroll > table"));
    const chosen = (row) => choices.every((choice) => {
      const text = row.cells[choice.dataset.column].textContent;
      return !choice.value || text.split(/, /).map((one) => one.trim()).includes(choice.value);
    });
    const narrow = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      [...body.rows].forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !(words.every((word) => text.includes(word)) && chosen(row));
        left += !row.hidden;
      });
      count.textContent = left < body.rows.length ? ` ${left} of ${body.rows.length} rows` : "";
    };
    const count = document.createElement("span");
    count.className = "note";
    count.setAttribute("aria-live", "polite");
    [filter, ...choices].forEach((one) => one.addEventListener("input", narrow));
    table.parentElement.before(filter, count);
  };
  document.querySelectorAll(".scroll > table").forEach(dress);

  // Every number with its macro: made when it is unfolded, since there may be a thousand.
  const numbers = document.getElementById("numbers");
  if (!numbers) return;
  numbers.hidden = false;
  numbers.addEventListener("toggle", () => {
    if (numbers.querySelector("table")) return;
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    ["number", "macro"].forEach((name) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    });
    const body = table.createTBody();
    const known = JSON.parse(numbers.querySelector(".macros-data").textContent);
    Object.entries(known).forEach(([macro, text]) => {
      const row = body.insertRow();
      row.insertCell().textContent = text;
      const copy = document.createElement("button");
      copy.type = "button";
      copy.textContent = `\\${macro}`;
      copy.addEventListener("click", () => {
        // where a page may not write to the clipboard, the macro is selected instead
        const select = () => getSelection().selectAllChildren(copy);
        if (!navigator.clipboard) { select(); return; }
        navigator.clipboard.writeText(copy.textContent).then(() => {
          copy.title = "copied";
          copy.classList.add("copied");
        }, select);
      });
      row.insertCell().append(copy);
    });
    const scroll = document.createElement("div");
    scroll.className = "scroll tall";
    scroll.append(table);
    numbers.append(scroll);
    dress(table);
  });
})();
