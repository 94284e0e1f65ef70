// Whether the figures can be trusted, and what they mean.

const trustSection = () => {
  const d = data.deliveries,
    log = data.restatements;
  const fact = (id, label, value) => h("div", { id }, h("dt", {}, label), h("dd", {}, value));
  const dayCount = data.firstDay
    ? Math.round((Date.parse(data.lastDay) - Date.parse(data.firstDay)) / 864e5) + 1
    : 0;
  const csv = () => [
    ["changed_at", "week", "item_id", "item", "measure", "before", "after", "delivery_id"],
    ...log.map((one) => [
      one.at,
      one.week,
      one.itemId,
      one.itemName || "",
      one.measure,
      one.before,
      one.after,
      one.delivery,
    ]),
  ];
  const value = (n) => (n === null ? "–" : format.any.format(n));
  return section(
    "trust",
    t("sectionTrust"),
    [log.length > 0 && csvButton("restatements", t("restatements"), csv)],
    h(
      "dl",
      { class: "facts" },
      data.firstDay &&
        fact(
          "trust-days",
          t("trustDays"),
          t("trustDaysValue", {
            n: whole(data.deliveredDays),
            of: whole(dayCount),
            first: date(data.firstDay),
            last: date(data.lastDay),
          }),
        ),
      fact(
        "trust-deliveries",
        t("trustDeliveries"),
        `${t("increments", { n: d.increments })}, ${t("histories", { n: d.histories })}`,
      ),
      fact(
        "trust-lines",
        t("trustLines"),
        t("trustLinesValue", {
          received: whole(d.received),
          loaded: whole(d.loaded),
          repeated: whole(d.repeated),
          rejected: whole(d.rejected),
        }),
      ),
      fact(
        "trust-refunds",
        t("trustRefunds"),
        t("trustRefundsValue", {
          n: whole(sum(weeks.map((w) => w.known))),
          of: whole(sum(weeks.map((w) => w.days))),
        }),
      ),
    ),
    h("h3", { class: "sub" }, t("restatements")),
    log.length === 0
      ? h("p", { class: "note" }, t("restatementsNone"))
      : [
          h("p", { class: "note" }, t("restatementsNote", { n: data.most.restatements })),
          h(
            "div",
            { class: "scroll tall", tabindex: 0, role: "group", "aria-label": t("restatements") },
            h(
              "table",
              { id: "restatements-table" },
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  ["changedAt", "week", "item", "measure", "beforeValue", "afterValue", "delivery"].map(
                    (key) => h("th", { scope: "col" }, t(key)),
                  ),
                ),
              ),
              h(
                "tbody",
                {},
                log.map((one) =>
                  h(
                    "tr",
                    {},
                    h("td", {}, instant(one.at).replace(NB + "UTC", "")),
                    h("td", {}, one.week),
                    h(
                      "td",
                      { class: "name" },
                      one.itemId === null ? t("wholeShop") : nameOf(one.itemId, one.itemName),
                    ),
                    h("td", { class: "left" }, one.measure),
                    h("td", {}, value(one.before)),
                    h("td", {}, value(one.after)),
                    h("td", {}, one.delivery === null ? "–" : String(one.delivery)),
                  ),
                ),
              ),
            ),
          ),
        ],
    h("h3", { class: "sub" }, t("definitions")),
    h(
      "dl",
      { class: "defs" },
      texts[state.lang].defs.map(([term, meaning]) => h("div", {}, h("dt", {}, term), h("dd", {}, meaning))),
    ),
  );
};
