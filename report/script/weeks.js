// Customers and revenue by week.

// A number not less than `most` that divides into readable ticks.
const scale = (most) => {
  if (!(most > 0)) return { top: 1, ticks: [0, 1] };
  const rough = most / 3,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const count = Math.ceil(most / step - 1e-9);
  return { top: count * step, ticks: Array.from({ length: count + 1 }, (_, n) => n * step) };
};
const widthOf = (columns) => {
  const room = Math.min(screenWidth, 1240);
  const inner = room < 768 ? room - 28 - 30 : (room - 40 - 42 - (columns - 1) * 28) / columns;
  return Math.max(240, Math.floor(inner));
};
const line = (points) =>
  points.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

const weekChart = (id, title, total, first, show) => {
  const width = widthOf(2),
    left = 46,
    right = 6,
    height = 284,
    shareTop = 26,
    shareHeight = 62,
    top = 112,
    bottom = 252;
  const shown = range(),
    step = (width - left - right) / shown.length,
    bar = Math.max(1.5, Math.min(46, step * 0.74));
  const x = (n) => left + step * (n + 0.5);
  const y = scale(Math.max(...shown.map((w) => total[w]), 0));
  const shares = shown.map((w) => (complete[w] ? ratio(total[w] - first[w], total[w]) : null));
  const shareScale = scale(Math.min(1, Math.max(...shares.map((p) => p || 0), 0.01)));
  const yBar = (v) => bottom - ((bottom - top) * v) / y.top;
  const yShare = (p) => shareTop + shareHeight * (1 - p / shareScale.top);
  const every = Math.ceil(shown.length / Math.max(1, Math.floor((width - left) / 44)));
  const segments = [];
  shares.forEach((p, n) => {
    if (p === null) return;
    if (n && shares[n - 1] !== null) segments[segments.length - 1].push([x(n), yShare(p)]);
    else segments.push([[x(n), yShare(p)]]);
  });
  const bars = shown.map((w, n) => {
    const week = weeks[w],
      before = total[w] - first[w],
      part = !complete[w];
    const values = {
      week: week.id,
      dates: dates(week),
      total: show(total[w]),
      first: show(first[w]),
      before: show(before),
      share: percent(ratio(before, total[w])),
      days: daysOf7(week.days),
    };
    const text = t(part ? "tipWeekIncomplete" : "tipWeek", values);
    return s(
      "g",
      { role: "img", tabindex: -1, "aria-label": text, tip: () => text, class: part ? "incomplete" : null },
      s("rect", {
        class: "hit",
        x: x(n) - step / 2,
        y: shareTop - 6,
        width: step,
        height: bottom - shareTop + 6,
        rx: 3,
      }),
      before > 0 &&
        s("rect", {
          class: "s-before",
          x: x(n) - bar / 2,
          width: bar,
          y: yBar(before),
          height: bottom - yBar(before),
        }),
      first[w] > 0 &&
        s("rect", {
          class: "s-first",
          x: x(n) - bar / 2,
          width: bar,
          y: yBar(total[w]),
          height: yBar(before) - yBar(total[w]),
        }),
      shares[n] !== null &&
        step > 7 &&
        s("circle", { class: "s-dot", cx: x(n), cy: yShare(shares[n]), r: step > 16 ? 4 : 2.5 }),
      part &&
        step > 30 &&
        s("text", { x: x(n), y: yBar(total[w]) - 5, "text-anchor": "middle" }, `${week.days}/7`),
    );
  });
  const lastShare = shares.reduce((found, p, n) => (p === null ? found : n), -1);
  return h(
    "div",
    { class: "keep" },
    h("h3", { id: `${id}-title` }, title),
    rove(
      s(
        "svg",
        { id, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-labelledby": `${id}-title` },
        s("text", { x: 0, y: 10 }, id === "chart-revenue" ? t("shareRevenueBefore") : t("shareBefore")),
        [0, shareScale.top].map((p) => [
          s("line", { class: "grid", x1: left, x2: width, y1: yShare(p), y2: yShare(p) }),
          s("text", { x: left - 6, y: yShare(p) + 4, "text-anchor": "end" }, format.tick.format(p)),
        ]),
        y.ticks.map((v) => [
          s("line", { class: "grid", x1: left, x2: width, y1: yBar(v), y2: yBar(v) }),
          s(
            "text",
            { x: left - 6, y: yBar(v) + 4, "text-anchor": "end" },
            compact(id === "chart-revenue" ? v / 100 : v),
          ),
        ]),
        segments.map((points) => s("path", { class: "s-line", d: line(points) })),
        bars,
        lastShare >= 0 &&
          s(
            "text",
            {
              class: "strong",
              x: Math.min(x(lastShare), width - 22),
              y: Math.max(yShare(shares[lastShare]) - 8, 22),
              "text-anchor": "middle",
            },
            percent(shares[lastShare]),
          ),
        shown.map(
          (w, n) =>
            (shown.length - 1 - n) % every === 0 &&
            s("text", { x: x(n), y: bottom + 16, "text-anchor": "middle" }, short(weeks[w])),
        ),
        shown.map(
          (w, n) =>
            (n === 0 || weeks[w].id.slice(0, 4) !== weeks[w - 1].id.slice(0, 4)) &&
            s("text", { x: x(n), y: bottom + 30, "text-anchor": "middle" }, weeks[w].id.slice(0, 4)),
        ),
      ),
      "g[role=img]",
    ),
  );
};
const compact = (value) => format.compact.format(value);

const weeksSection = () => {
  const series = chosenItem() || data.shop,
    shown = range();
  const csv = () => [
    [
      "week",
      "monday",
      "days",
      "customers",
      "first_order_customers",
      "ordered_before_customers",
      "revenue",
      "first_order_revenue",
      "ordered_before_revenue",
    ],
    ...shown.map((w) => [
      weeks[w].id,
      weeks[w].monday,
      weeks[w].days,
      series.customers[w],
      series.first[w],
      series.customers[w] - series.first[w],
      cents(series.revenue[w]),
      cents(series.firstRevenue[w]),
      cents(series.revenue[w] - series.firstRevenue[w]),
    ]),
  ];
  const heads = [
    "week",
    "daysHead",
    "customersHead",
    "firstHead",
    "beforeHead",
    "share",
    "revenueHead",
    "firstHead",
    "beforeHead",
    "share",
  ];
  const row = (w) => {
    const all = series.customers[w],
      first = series.first[w],
      money1 = series.revenue[w],
      money2 = series.firstRevenue[w];
    const share = (part, whole) => (complete[w] ? percent(ratio(part, whole)) : "–");
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, weeks[w].id),
      h("td", {}, `${weeks[w].days}/7`),
      [all, first, all - first].map((n) => h("td", {}, whole(n))),
      h("td", {}, share(all - first, all)),
      [money1, money2, money1 - money2].map((n) => h("td", {}, money(n))),
      h("td", {}, share(money1 - money2, money1)),
    );
  };
  const tools = [
    h(
      "button",
      {
        type: "button",
        class: "fold",
        id: "fold",
        "aria-expanded": String(state.table),
        "aria-controls": "weeks-table",
        onclick: () => {
          state.table = !state.table;
          draw();
        },
      },
      t(state.table ? "hideTable" : "showTable"),
    ),
    csvButton("weeks", t("sectionWeeks"), csv),
  ];
  return section(
    "weeks",
    t("sectionWeeks"),
    tools,
    h(
      "p",
      { class: "key" },
      h("span", {}, h("i", { class: "before" }), t("before")),
      h("span", {}, h("i", { class: "first" }), t("firstOrder")),
      shown.some((w) => !complete[w]) && h("span", {}, h("i", { class: "dashed" }), t("incompleteKey")),
    ),
    h(
      "div",
      { class: "charts" },
      weekChart("chart-customers", t("customersByWeek"), series.customers, series.first, whole),
      weekChart("chart-revenue", t("revenueByWeek"), series.revenue, series.firstRevenue, money),
    ),
    h("p", { class: "note" }, t("earlyNote", { day: data.firstDay ? date(data.firstDay) : "–" })),
    h(
      "div",
      { id: "weeks-table", "data-fold": true, hidden: !state.table },
      h(
        "div",
        { class: "scroll tall", tabindex: 0, role: "group", "aria-label": t("sectionWeeks") },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              heads.map((key) => h("th", { scope: "col" }, t(key))),
            ),
          ),
          h("tbody", {}, shown.map(row)),
        ),
      ),
    ),
  );
};
