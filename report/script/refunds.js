// Refunds by item and week.

const refundsSection = () => {
  const shown = range();
  const at = (series, w) => (weeks[w].known ? ratio(series.refunded[w], series.knownRevenue[w]) : null);
  const most = Math.max(0, ...data.items.flatMap((item) => shown.map((w) => at(item, w) || 0)));
  const recent = shown.slice(-13);
  const old = (w) => !recent.includes(w) && "old"; // paper has room for a quarter
  const csv = () => [
    [
      "item_id",
      "item",
      "week",
      "days_known",
      "refunded_amount",
      "revenue_of_days_known",
      "customers_refunded",
    ],
    ...data.items.flatMap((item) =>
      shown.map((w) => [
        item.id,
        item.name || "",
        weeks[w].id,
        weeks[w].known,
        weeks[w].known ? cents(item.refunded[w]) : null,
        weeks[w].known ? cents(item.knownRevenue[w]) : null,
        weeks[w].known ? item.refunders[w] : null,
      ]),
    ),
  ];
  const cell = (series, name, w) => {
    const week = weeks[w];
    if (!week.known)
      return h(
        "td",
        {
          class: ["open", old(w)].filter(Boolean).join(" "),
          "data-cell": true,
          tabindex: -1,
          tip: () => t("tipRefundUnknown", { item: name, week: week.id }),
        },
        "?",
      );
    const share = at(series, w);
    const text = () =>
      t("tipRefund", {
        item: name,
        week: week.id,
        amount: money(series.refunded[w]),
        revenue: money(series.knownRevenue[w]),
        customers: t("refundLines", { n: series.refunders[w] }),
        days: daysOf7(week.known),
      });
    return h(
      "td",
      {
        class: [share === null ? "open" : `r${bin(share, most)}`, week.known < 7 && "part", old(w)]
          .filter(Boolean)
          .join(" "),
        "data-cell": true,
        tabindex: -1,
        tip: text,
      },
      share === null ? "–" : percent(share),
      share !== null && series.refunded[w] > 0 && h("small", {}, money(series.refunded[w])),
    );
  };
  const total = (series) => {
    const r = refunds(series, shown);
    return h(
      "td",
      {},
      r.known.length ? percent(r.share) : "?",
      r.known.length > 0 && h("small", {}, money(r.amount)),
    );
  };
  const row = (item) =>
    h(
      "tr",
      { class: item.id === state.item ? "chosen" : null },
      h("th", { scope: "row", class: "name" }, itemName(item)),
      shown.map((w) => cell(item, itemName(item), w)),
      total(item),
    );
  return section(
    "refunds",
    t("sectionRefunds"),
    [csvButton("refunds", t("sectionRefunds"), csv)],
    h("p", { class: "note" }, t("refundsNote")),
    h(
      "div",
      { class: "scroll tall" },
      rove(
        h(
          "table",
          { class: "heat", id: "refunds-table", role: "grid", "aria-labelledby": "refunds-title" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, t("item")),
              shown.map((w) =>
                h(
                  "th",
                  { scope: "col", class: old(w) },
                  short(weeks[w]),
                  h(
                    "small",
                    {},
                    weeks[w].known === 7
                      ? ""
                      : weeks[w].known
                        ? t("knownDays", { n: weeks[w].known })
                        : t("unknown"),
                  ),
                ),
              ),
              h("th", { scope: "col" }, t("total")),
            ),
          ),
          h(
            "tbody",
            {},
            data.items.map(row),
            h(
              "tr",
              { class: "sum" },
              h("th", { scope: "row", class: "name" }, t("meanRow")),
              shown.map((w) => cell(data.shop, t("meanRow"), w)),
              total(data.shop),
            ),
          ),
        ),
        "td[data-cell]",
      ),
    ),
  );
};
