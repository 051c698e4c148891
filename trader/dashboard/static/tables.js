// Tables: sorted by any column, filtered, saved as CSV; rows are kept by key, so focus and scrolling survive.
import { byId, KeyedTable, make, rowOf } from "./dom.js";

const PAGE = 200;
const CSV_ROWS = 10000;

function comparable(value) {
  if (value === null || value === undefined || value === "") return null;
  return typeof value === "boolean" ? Number(value) : value;
}

// Missing values come last, whichever way.
export function compare(a, b, down) {
  const [x, y] = [comparable(a), comparable(b)];
  if (x === null || y === null) return (x === null) - (y === null);
  const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
  return down ? -order : order;
}

export class DataTable {
  // columns: {label, value(row), classes, short}; path: where CSV and further pages come from
  constructor({ name, columns, fill, build, key, path = null, filters = [], rowsOf = null, minCsv = false, onQuery = null }) {
    this.name = name;
    this.columns = columns;
    this.path = path;
    this.key = key;
    this.filters = filters;
    this.rowsOf = rowsOf;
    this.onQuery = onQuery;
    this.rows = [];
    this.sort = null;
    this.needle = "";
    this.next = null;
    this.element = byId(name);
    this.element.append(this.head(), make("tbody"));
    this.keyed = new KeyedTable(this.element, build ?? (() => rowOf(...columns.map((column) => column.classes ?? ""))), fill);
    this.tools(document.querySelector(`[data-tools="${name}"]`), minCsv);
  }

  head() {
    const row = make("tr");
    this.columns.forEach((column, index) => {
      const cell = make("th", column.classes ?? "");
      cell.scope = "col";
      if (column.value) {
        const button = make("button", "sort", column.label);
        button.type = "button";
        button.addEventListener("click", () => this.sortBy(index));
        cell.append(button);
      } else cell.append(make("span", "sr", column.label));
      row.append(cell);
    });
    const head = make("thead");
    head.append(row);
    return head;
  }

  sortBy(index) {
    // up, down, as it came
    if (!this.sort || this.sort.index !== index) this.sort = { index, down: Boolean(this.columns[index].classes?.includes("num")) };
    else if (this.sort.turned) this.sort = null;
    else this.sort = { index, down: !this.sort.down, turned: true };
    [...this.element.tHead.rows[0].cells].forEach((cell, at) => {
      if (this.sort?.index === at) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    this.render();
  }

  tools(holder, minCsv) {
    if (!holder) return;
    this.controls = {};
    for (const filter of this.filters) holder.append(this.control(filter));
    if (!minCsv) {
      const search = make("input", "search");
      search.type = "search";
      search.placeholder = "Filter";
      search.setAttribute("aria-label", `Filter ${this.name} by text`);
      search.addEventListener("input", () => { this.needle = search.value.trim().toLowerCase(); this.render(); });
      holder.append(search);
    }
    if (this.path) {
      this.csv = make("a", "button", "CSV");
      this.csv.setAttribute("download", `${this.name}.csv`);
      this.csv.setAttribute("aria-label", `Save ${this.name} as CSV`);
      holder.append(this.csv);
      this.refreshLink();
    }
    if (this.rowsOf) {
      this.more = make("button", "small more", "Older");
      this.more.type = "button";
      this.more.hidden = true;
      this.more.setAttribute("aria-label", `Show older ${this.name}`);
      this.more.addEventListener("click", () => this.load(true));
      holder.append(this.more);
    }
  }

  control(filter) {
    const field = make("label", "field");
    if (filter.kind === "check") {
      const box = make("input");
      box.type = "checkbox";
      if (filter.id) box.id = filter.id;
      box.addEventListener("change", () => this.changed(filter));
      field.append(box, document.createTextNode(` ${filter.label}`));
      this.controls[filter.name] = { value: () => box.checked };
    } else {
      const select = make("select");
      select.setAttribute("aria-label", filter.label);
      select.append(new Option(filter.all, ""), ...filter.options.map((option) => new Option(option.replaceAll("_", " "), option)));
      select.addEventListener("change", () => this.changed(filter));
      field.append(select);
      this.controls[filter.name] = { select, value: () => select.value };
    }
    return field;
  }

  // Choices that are only known once the numbers are there.
  setOptions(name, options) {
    const { select } = this.controls?.[name] ?? {};
    if (!select || (select.options.length === options.length + 1 && options.every((option, index) => select.options[index + 1].value === option))) return;
    const chosen = select.value;
    select.replaceChildren(select.options[0], ...options.map((option) => new Option(option, option)));
    select.value = options.includes(chosen) ? chosen : "";
  }

  changed(filter) {
    this.refreshLink();
    if (this.onQuery) this.onQuery(this);
    if (filter.local) this.render();
    else this.load();
  }

  query() {
    const query = new URLSearchParams();
    for (const filter of this.filters) {
      const value = this.controls[filter.name].value();
      const sent = filter.send ? filter.send(value) : value;
      if (sent) query.set(filter.name, sent === true ? "true" : sent);
    }
    return query;
  }

  get filtered() { return this.filters.some((filter) => !filter.local && this.controls[filter.name].value()); }

  refreshLink() {
    if (!this.csv) return;
    const query = this.query();
    query.set("format", "csv");
    if (this.rowsOf) query.set("limit", String(this.name === "logs" ? 1000 : CSV_ROWS));
    this.csv.href = `${this.path}?${query}`;
  }

  async load(older = false) {
    if (!this.rowsOf) return;
    const query = this.query();
    query.set("limit", String(PAGE));
    if (older && this.next) query.set("before", this.next);
    const request = (this.request = (this.request ?? 0) + 1);
    try {
      const response = await fetch(`${this.path}?${query}`);
      if (!response.ok || request !== this.request) return;
      const found = await response.json();
      if (request !== this.request) return;
      this.next = found.next ?? null;
      this.loadedAt = Date.now();
      this.paged = older;
      this.show(older ? [...this.rows, ...this.rowsOf(found)].slice(-5 * PAGE) : this.rowsOf(found));
      if (this.more) this.more.hidden = !this.next;
    } catch { /* the link says that the server is away */ }
  }

  show(rows) {
    this.rows = rows;
    this.render();
  }

  render() {
    let rows = this.rows;
    for (const filter of this.filters) if (filter.local) rows = rows.filter((row) => filter.local(row, this.controls[filter.name].value()));
    if (this.needle) rows = rows.filter((row) => this.words(row).includes(this.needle));
    if (this.sort) {
      const { value } = this.columns[this.sort.index];
      rows = [...rows].sort((a, b) => compare(value(a), value(b), this.sort.down));
    }
    this.keyed.show(rows, this.key);
  }

  words(row) {
    return this.columns.map((column) => (column.words ?? column.value)?.(row) ?? "").join(" ").toLowerCase();
  }
}

// Tabs: one is chosen; arrow keys, Home and End move between them.
export function makeTabs(holder, choose) {
  const tabs = [...holder.querySelectorAll("[role=tab]")];
  const select = (tab, focus) => {
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    choose(tab);
  };
  holder.addEventListener("click", (event) => { const tab = event.target.closest("[role=tab]"); if (tab) select(tab, false); });
  holder.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    select(tabs[(to + tabs.length) % tabs.length], true);
  });
}

