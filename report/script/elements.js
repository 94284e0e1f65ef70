// Elements, tips and files. Text from the shop goes into text nodes and attributes only, and never
// becomes markup.

// The text of an element's tip is made when the tip is shown, because there are thousands.
const tips = new WeakMap();
const build =
  (space) =>
  (tag, attributes, ...children) => {
    const node = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "tip") {
        node.setAttribute("data-tip", "");
        tips.set(node, value);
      } else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(
      ...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false),
    );
    return node;
  };
const h = build("http://www.w3.org/1999/xhtml");
const s = build("http://www.w3.org/2000/svg");

// Text whose weeks and dates do not break at their hyphens.
const unbroken = (text) =>
  text
    .split(/(\d{4}-(?:W\d\d|\d\d-\d\d))/)
    .map((part, n) => (n % 2 ? h("span", { class: "unbroken" }, part) : part));

// One tab stop for many cells: the arrow keys move between those of `rows`.
const rove = (container, selector) => {
  const rows = () =>
    container.tagName === "TABLE"
      ? [...container.rows].map((row) => [...row.querySelectorAll(selector)]).filter((row) => row.length)
      : [[...container.querySelectorAll(selector)]];
  const first = container.querySelector(selector);
  if (!first) return container;
  first.setAttribute("tabindex", "0");
  container.addEventListener("keydown", (event) => {
    const grid = rows();
    const y = grid.findIndex((row) => row.includes(event.target));
    if (y < 0) return;
    const x = grid[y].indexOf(event.target);
    const at = (row, column) => row && row[Math.max(0, Math.min(column, row.length - 1))];
    const next = {
      ArrowRight: () => grid[y][x + 1],
      ArrowLeft: () => grid[y][x - 1],
      ArrowDown: () => at(grid[y + 1], x),
      ArrowUp: () => at(grid[y - 1], x),
      Home: () => grid[y][0],
      End: () => grid[y][grid[y].length - 1],
    }[event.key];
    if (!next || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const target = next();
    if (target) move(container, selector, target);
  });
  container.addEventListener("click", (event) => {
    const cell = event.target.closest(selector);
    if (cell) move(container, selector, cell);
  });
  return container;
};
const move = (container, selector, target) => {
  for (const cell of container.querySelectorAll(`${selector}[tabindex="0"]`))
    cell.setAttribute("tabindex", "-1");
  target.setAttribute("tabindex", "0");
  target.focus();
};

// --- Tooltips: on hover and on focus, gone on Escape ---

const tip = h("div", { id: "tip", role: "tooltip", hidden: true });
const showTip = (event) => {
  const owner = event.target.closest && event.target.closest("[data-tip]");
  if (!owner) return hideTip();
  tip.textContent = tips.get(owner)();
  tip.hidden = false;
  if (event.type === "focusin") owner.setAttribute("aria-describedby", "tip");
  const box = owner.getBoundingClientRect(),
    size = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(box.left + box.width / 2 - size.width / 2, innerWidth - size.width - 8));
  const above = box.top - size.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${Math.max(8, above > 8 ? above : Math.min(box.bottom + 8, innerHeight - size.height - 8))}px`;
};
const hideTip = () => {
  tip.hidden = true;
};

// --- CSV: plain numbers, UTF-8 with BOM, no cell that a spreadsheet would take for a formula ---

const csvCell = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /^'|[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const download = (name, rows) => {
  const content = "\ufeff" + rows.map((row) => row.map(csvCell).join(",") + "\r\n").join("");
  const url = URL.createObjectURL(new Blob([content], { type: "text/csv;charset=utf-8" }));
  h("a", { href: url, download: `${name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
};
const csvButton = (name, title, rows) =>
  h(
    "button",
    {
      type: "button",
      id: `csv-${name}`,
      "aria-label": t("csvOf", { what: title }),
      onclick: () => download(name, rows()),
    },
    t("csv"),
  );
const cents = (hundredths) => hundredths / 100;
const rounded = (share) => (share === null ? null : Number(share.toFixed(6)));

const section = (id, title, tools, ...children) =>
  h(
    "section",
    { id, class: "card", "aria-labelledby": `${id}-title` },
    h(
      "div",
      { class: "heading" },
      h("h2", { id: `${id}-title` }, title),
      h("div", { class: "tools" }, tools),
    ),
    ...children,
  );
