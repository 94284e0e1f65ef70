// The items, with the customers who came back for them.

const itemRows = () => {
  const shown = range(),
    whole7 = shown.filter((w) => complete[w]);
  const order = ranked().map((row) => row.item);
  const make = (series) => ({
    ...back(series, state.h, shown),
    twice: rate(over(series.repeat, whole7), over(series.customers, whole7)),
    revenue: over(series.revenue, shown),
    refund: refunds(series, shown),
  });
  const rows = data.items.map((item) => ({
    item,
    name: itemName(item),
    rank: order.indexOf(item) + 1 || null,
    ...make(item),
  }));
  return { rows, mean: make(data.allItems) };
};
const itemColumns = () => [
  { key: "name", head: t("item"), value: (row) => row.name, text: true },
  { key: "rate", head: t("rateHead", { weeks: within(state.h) }), value: (row) => row.share, ranked: true },
  { key: "interval", head: t("intervalHead"), plain: true },
  { key: "n", head: t("nHead"), value: (row) => row.n },
  { key: "twice", head: t("twiceHead"), value: (row) => row.twice.share },
  { key: "revenue", head: t("revenueHead"), value: (row) => row.revenue },
  {
    key: "refunded",
    head: t("refundedHead"),
    value: (row) => (row.refund.known.length ? row.refund.amount : null),
  },
  { key: "refundedShare", head: t("refundedShareHead"), value: (row) => row.refund.share },
];
const sorted = (rows) => {
  const column = itemColumns().find((one) => one.key === state.sort);
  const collator = new Intl.Collator(state.lang, { numeric: true });
  const turn = state.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    // Items with few data stand below the ranked ones; items without a rate stand at the end.
    if (column.ranked && a.few !== b.few) return a.few ? 1 : -1;
    const [x, y] = [column.value(a), column.value(b)];
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    return turn * (column.text ? collator.compare(x, y) : x - y) || b.n - a.n || a.item.id - b.item.id;
  });
};
const rangeBar = (row, most, mean) => {
  const width = screenWidth < 520 ? 120 : 220,
    x = (p) => 6 + (width - 12) * Math.min(1, p / most);
  return s(
    "svg",
    { viewBox: `0 0 ${width} 22`, "aria-hidden": "true" },
    mean.n > 0 && s("line", { class: "s-mean", x1: x(mean.share), x2: x(mean.share), y1: 0, y2: 22 }),
    row.n > 0 && s("line", { class: "s-range", x1: x(row.lo), x2: x(row.hi), y1: 11, y2: 11 }),
    row.n > 0 && s("circle", { class: "s-dot", cx: x(row.share), cy: 11, r: 5 }),
  );
};
const itemsSection = () => {
  const { rows, mean } = itemRows(),
    columns = itemColumns();
  const drawn = rows.filter((row) => !row.few);
  const most = scale(Math.max(0.02, mean.hi || 0, ...drawn.map((row) => row.hi))).top;
  const csv = () => [
    [
      "item_id",
      "item",
      "rank",
      "back_within_weeks",
      "returned_customers",
      "n",
      "rate",
      "interval_low",
      "interval_high",
      "few_data",
      "twice_in_a_week_customers",
      "twice_in_a_week_of",
      "revenue",
      "refunded_amount",
      "revenue_of_days_with_refunds_known",
    ],
    ...sorted(rows).map((row) => [
      row.item.id,
      row.item.name || "",
      row.rank,
      state.h,
      row.k,
      row.n,
      rounded(row.share),
      rounded(row.lo),
      rounded(row.hi),
      row.few ? 1 : 0,
      row.twice.k,
      row.twice.n,
      cents(row.revenue),
      row.refund.known.length ? cents(row.refund.amount) : null,
      row.refund.known.length ? cents(row.refund.revenue) : null,
    ]),
  ];
  const sortable = (column) => {
    if (column.plain)
      return h(
        "th",
        { scope: "col", class: "left" },
        column.head,
        h("small", {}, `0–${format.tick.format(most)}`),
      );
    const active = state.sort === column.key;
    const pick = () => {
      state.down = active ? !state.down : !column.text;
      state.sort = column.key;
      draw();
    };
    return h(
      "th",
      { scope: "col", "aria-sort": active ? (state.down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", id: `sort-${column.key}`, onclick: pick }, column.head),
      // Browsers do not print buttons in a table head that is repeated on the next page.
      h("span", { class: "print-only" }, column.head),
    );
  };
  const cells = (row, name) => [
    h("td", { class: "rate" }, percent(row.share), h("small", {}, interval(row))),
    h(
      "td",
      {
        class: "bar",
        "data-cell": true,
        tabindex: -1,
        tip: () =>
          t("tipRate", {
            item: name,
            rate: percent(row.share),
            weeks: within(state.h),
            interval: interval(row),
            n: whole(row.n),
          }),
        "aria-label": interval(row),
      },
      rangeBar(row, most, mean),
    ),
    h("td", {}, whole(row.n)),
    h("td", {}, percent(row.twice.share), h("small", {}, t("n", { n: whole(row.twice.n) }))),
    h("td", {}, money(row.revenue)),
    h("td", {}, row.refund.known.length ? money(row.refund.amount) : t("unknown")),
    h("td", {}, row.refund.known.length ? percent(row.refund.share) : t("unknown")),
  ];
  const line = (row) =>
    h(
      "tr",
      { class: [row.few && "few", row.item.id === state.item && "chosen"].filter(Boolean).join(" ") },
      h(
        "th",
        { scope: "row", class: "name" },
        row.rank ? `${row.rank}. ` : "",
        row.name,
        row.few && h("span", { class: "tag" }, t("fewData")),
      ),
      cells(row, row.name),
    );
  return section(
    "items",
    t("sectionItems"),
    [csvButton("items", t("sectionItems"), csv)],
    h("p", { class: "note" }, t("itemsNote", { weeks: within(state.h) })),
    h(
      "p",
      { class: "key" },
      h("span", {}, h("i", { class: "line mean" }), t("meanKey", { mean: percent(mean.share) })),
      rows.some((row) => row.few) && h("span", {}, t("fewNote", { n: FEW })),
    ),
    h(
      "div",
      { class: "scroll" },
      rove(
        h(
          "table",
          { id: "items-table" },
          h("thead", {}, h("tr", {}, columns.map(sortable))),
          h(
            "tbody",
            {},
            sorted(rows).map(line),
            h(
              "tr",
              { class: "sum" },
              h("th", { scope: "row", class: "name" }, t("meanRow")),
              cells(mean, t("meanRow")),
            ),
          ),
        ),
        "td[data-cell]",
      ),
    ),
  );
};
