// The few things this page does to its own elements; a node is touched only when it changes.
export const byId = (id) => document.getElementById(id);

export function text(node, value) {
  const next = String(value);
  if (node.textContent !== next) node.textContent = next;
}

export function className(node, value) {
  if (node.className !== value) node.className = value;
}

export function make(tag, classes = "", content = "") {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  if (content !== "") node.textContent = content;
  return node;
}

export function attribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// A table whose rows are kept by key: cells change in place, so focus and scrolling survive.
export class KeyedTable {
  constructor(table, build, fill) {
    this.body = table.tBodies[0];
    this.holder = table.parentElement;
    this.build = build;
    this.fill = fill;
    this.rows = new Map();
    this.show([], () => "");
  }

  show(items, keyOf) {
    const wanted = new Set();
    let previous = null;
    for (const item of items) {
      const key = String(keyOf(item));
      wanted.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = this.build(item);
        this.rows.set(key, row);
      }
      this.fill(row, item);
      const place = previous ? previous.nextSibling : this.body.firstChild;
      if (row !== place) this.body.insertBefore(row, place);
      previous = row;
    }
    for (const [key, row] of this.rows) {
      if (!wanted.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    this.holder.classList.toggle("none", items.length === 0);
  }
}

export function rowOf(...classes) {
  const row = make("tr");
  for (const name of classes) row.append(make("td", name));
  return row;
}

// Two lines in one cell: what matters, and what explains it.
export function two(cell, main, sub, mainClass = "") {
  if (!cell.firstElementChild) cell.append(make("span"), make("span", "sub"));
  text(cell.firstElementChild, main);
  className(cell.firstElementChild, mainClass);
  text(cell.lastElementChild, sub);
}
