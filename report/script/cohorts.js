// How the customers of each first week come back.

const bin = (value, most) => Math.max(0, Math.min(6, Math.floor((value / (most || 1)) * 6.999)));
// How many customers of first week `w` had ordered again after `lag` weeks.
const returned = (series, w, lag) => sum(series.back[w].slice(0, lag));

const cohortsSection = () => {
  const item = chosenItem(),
    series = item || data.shop,
    shown = range();
  const lags = Math.min(data.most.lags, Math.max(0, ...shown.map((w) => run[w] - 1)));
  const steps = Array.from({ length: lags }, (_, n) => n + 1);
  const pooled = (lag, from = series) => back(from, lag, shown);
  const at = (w, lag) => (run[w] > lag ? rate(returned(series, w, lag), series.first[w]) : null);
  const most = Math.max(
    0,
    ...steps.flatMap((lag) =>
      shown.map((w) => {
        const r = at(w, lag);
        return r && !r.few ? r.share : 0;
      }),
    ),
    ...steps.map((lag) => pooled(lag).share || 0),
  );
  const lagText = (lag) => t("lagLong", { n: lag });
  const cell = (r, week, lag) => {
    if (!r || r.share === null) return h("td", {}, r ? "–" : "");
    const text = () =>
      t("tipCohort", {
        week,
        lag: lagText(lag),
        k: whole(r.k),
        n: whole(r.n),
        share: percent(r.share),
        interval: interval(r),
      });
    return h(
      "td",
      { class: `b${bin(r.share, most)}`, "data-cell": true, tabindex: -1, tip: text },
      percent(r.share),
      h("small", {}, whole(r.k)),
    );
  };
  const csv = () => [
    ["first_week", "complete", "customers", ...steps.map((lag) => `returned_by_week_${lag}`)],
    ...shown.map((w) => [
      weeks[w].id,
      complete[w] ? 1 : 0,
      series.first[w],
      ...steps.map((lag) => (run[w] > lag ? returned(series, w, lag) : null)),
    ]),
  ];
  const rows = shown.map((w) =>
    h(
      "tr",
      { class: complete[w] ? null : "partial" },
      h("th", { scope: "row" }, weeks[w].id, !complete[w] && h("small", {}, daysOf7(weeks[w].days))),
      h(
        "td",
        { class: complete[w] ? null : "part" },
        whole(series.first[w]),
        run[w] > 1 && series.first[w] < FEW && h("small", {}, t("fewData")),
      ),
      steps.map((lag) => cell(at(w, lag), weeks[w].id, lag)),
    ),
  );
  const total = h(
    "tr",
    { class: "sum" },
    h("th", { scope: "row" }, t("allCohorts")),
    h(
      "td",
      {},
      whole(
        over(
          series.first,
          shown.filter((w) => complete[w]),
        ),
      ),
    ),
    steps.map((lag) => {
      const r = pooled(lag);
      return cell(r, t("allCohorts"), lag);
    }),
  );
  return section(
    "cohorts",
    t("sectionCohorts"),
    [csvButton("cohorts", t("sectionCohorts"), csv)],
    h(
      "p",
      { class: "note" },
      item ? t("cohortsItem", { item: itemName(item) }) : t("cohortsShop"),
      " ",
      t("cohortsHow"),
    ),
    h(
      "div",
      { class: "scroll tall" },
      rove(
        h(
          "table",
          { class: "heat", id: "cohorts-table", role: "grid", "aria-labelledby": "cohorts-title" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, t("firstWeekHead")),
              h("th", { scope: "col" }, t("nHead")),
              steps.map((lag) =>
                h("th", { scope: "col" }, h("abbr", { title: lagText(lag) }, t("lagHead", { n: lag }))),
              ),
            ),
          ),
          h("tbody", {}, rows, total),
        ),
        "td[data-cell]",
      ),
    ),
    lags > 0
      ? curves(series, item, shown, steps, at, lagText)
      : h("p", { class: "note" }, t("noHorizon", { weeks: within(1) })),
  );
};
const curves = (series, item, shown, steps, at, lagText) => {
  const width = Math.min(720, widthOf(1)),
    left = 46,
    right = 14,
    top = 14,
    bottom = 200,
    height = 232;
  // Every point has the same first weeks as the rate above, so that the running total cannot fall.
  const firsts = shown.filter((w) => run[w] > state.h);
  const curve = (from) =>
    steps
      .filter((lag) => lag <= state.h)
      .map((lag) => ({ lag, ...back(from, lag, firsts) }))
      .filter((point) => point.n);
  const points = curve(series),
    means = item ? curve(data.allItems) : [];
  const singles = shown
    .map((w) => steps.map((lag) => ({ lag, r: at(w, lag) })).filter(({ r }) => r && !r.few))
    .filter((one) => one.length > 1);
  const y = scale(
    Math.min(
      1,
      Math.max(
        0.01,
        ...points.map((p) => p.hi),
        ...means.map((p) => p.share),
        ...singles.flat().map(({ r }) => r.share),
      ),
    ),
  );
  const X = (lag) => left + ((width - left - right) * lag) / steps.length,
    Y = (p) => bottom - ((bottom - top) * p) / y.top;
  const origin = [X(0), Y(0)];
  const band = points.length
    ? `${line([origin, ...points.map((p) => [X(p.lag), Y(p.hi)])])}${line([...points].reverse().map((p) => [X(p.lag), Y(p.lo)])).replace("M", "L")}Z`
    : "";
  return h(
    "div",
    { class: "sub keep" },
    h("h3", { id: "curves-title" }, t("curves")),
    h(
      "p",
      { class: "key" },
      h("span", {}, h("i", { class: "line" }), t("curveMain", { weeks: within(state.h) })),
      singles.length > 0 && h("span", {}, h("i", { class: "line thin" }), t("curveThin")),
      item && h("span", {}, h("i", { class: "line mean" }), t("curveMean")),
    ),
    h(
      "div",
      { class: "curves" },
      rove(
        s(
          "svg",
          {
            id: "chart-curves",
            viewBox: `0 0 ${width} ${height}`,
            role: "group",
            "aria-labelledby": "curves-title",
          },
          y.ticks.map((p) => [
            s("line", { class: "grid", x1: left, x2: width - right, y1: Y(p), y2: Y(p) }),
            s("text", { x: left - 6, y: Y(p) + 4, "text-anchor": "end" }, format.tick.format(p)),
          ]),
          s("path", { class: "s-band", d: band }),
          singles.map((one) =>
            s("path", {
              class: "s-thin",
              d: line([origin, ...one.map(({ lag, r }) => [X(lag), Y(r.share)])]),
            }),
          ),
          means.length > 0 &&
            s("path", { class: "s-mean", d: line([origin, ...means.map((p) => [X(p.lag), Y(p.share)])]) }),
          points.length > 0 &&
            s("path", { class: "s-line", d: line([origin, ...points.map((p) => [X(p.lag), Y(p.share)])]) }),
          points.map((p) => {
            const text = t("tipCurve", {
              lag: lagText(p.lag),
              share: percent(p.share),
              interval: interval(p),
              n: whole(p.n),
            });
            return s(
              "g",
              { role: "img", tabindex: -1, "aria-label": text, tip: () => text },
              s("rect", {
                class: "hit",
                x: X(p.lag) - 14,
                y: top - 4,
                width: 28,
                height: bottom - top + 4,
                rx: 4,
              }),
              s("circle", { class: "s-dot", cx: X(p.lag), cy: Y(p.share), r: 4.5 }),
            );
          }),
          [0, ...steps].map((lag) =>
            s(
              "text",
              { x: X(lag), y: bottom + 17, "text-anchor": "middle" },
              lag ? t("lagHead", { n: lag }) : "0",
            ),
          ),
        ),
        "g[role=img]",
      ),
    ),
  );
};
