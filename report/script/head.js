// The head with its filters, the answer in one sentence, and the four figures.

// --- Head and filters ---

const choice = (id, label, options, chosen, change) =>
  h(
    "label",
    {},
    label,
    h(
      "select",
      {
        id,
        onchange: (event) => {
          change(event.target.value);
          draw();
        },
      },
      options.map(([value, text]) =>
        h("option", { value, selected: String(value) === String(chosen) }, text),
      ),
    ),
  );

const head = () => {
  const last = weeks[weeks.length - 1];
  const language = (code, label) =>
    h(
      "button",
      {
        type: "button",
        id: `lang-${code}`,
        lang: code,
        "aria-pressed": String(state.lang === code),
        "aria-label": label,
        onclick: () => {
          state.lang = code;
          draw();
        },
      },
      code.toUpperCase(),
    );
  const items = [["", t("allItems")], ...data.items.map((item) => [item.id, itemName(item)])];
  const options = weeks.map((week, n) => [n, complete[n] ? week.id : `${week.id} (${week.days}/7)`]);
  return [
    h(
      "div",
      { class: "top" },
      h(
        "div",
        {},
        h("h1", {}, t("title")),
        h(
          "p",
          { class: "meta", id: "meta" },
          `${t("dataTo")} `,
          h("b", {}, last ? `${last.id}${last.days < 7 ? ` (${daysOf7(last.days)})` : ""}` : t("noData")),
          unbroken(
            (data.loadedAt ? ` · ${t("loaded")} ${instant(data.loadedAt)}` : "") +
              ` · ${t("made")} ${instant(data.madeAt)}`,
          ),
        ),
      ),
      h(
        "div",
        { class: "languages", role: "group", "aria-label": "Language / Язык" },
        language("en", "English"),
        language("ru", "Русский"),
      ),
    ),
    hasData() &&
      h(
        "div",
        { class: "filters", role: "group", "aria-label": t("filters") },
        choice("item", t("item"), items, state.item ?? "", (value) => {
          state.item = value === "" ? null : Number(value);
        }),
        choice("from", t("from"), options, state.from, (value) => {
          state.from = Number(value);
          state.to = Math.max(state.to, state.from);
        }),
        choice("to", t("to"), options, state.to, (value) => {
          state.to = Number(value);
          state.from = Math.min(state.from, state.to);
        }),
        choice(
          "within",
          t("horizon"),
          HORIZONS.map((n) => [n, within(n)]),
          state.h,
          (value) => {
            state.h = Number(value);
          },
        ),
      ),
    hasData() &&
      h(
        "p",
        { class: "meta print-only" },
        t("chosen", {
          item: chosenItem() ? itemName(chosenItem()) : t("allItems"),
          from: weeks[state.from].id,
          to: weeks[state.to].id,
          weeks: within(state.h),
        }),
      ),
    hasData() &&
      (data.itemCount > data.items.length || data.weekCount > weeks.length) &&
      h(
        "p",
        { class: "note", id: "cap" },
        t("cap", {
          items: t("items", { n: data.items.length }),
          itemCount: whole(data.itemCount),
          weeks: t("weeks", { n: weeks.length }),
          weekCount: whole(data.weekCount),
        }),
      ),
  ];
};
const hasData = () => data.itemCount > 0 && weeks.length > 0;

// --- The answer in one sentence ---

const ranked = () => {
  const rows = data.items.map((item) => ({ item, ...back(item, state.h, range()) }));
  return rows.filter((row) => !row.few).sort((a, b) => b.share - a.share || b.n - a.n);
};
const answer = () => {
  const order = ranked(),
    mean = back(data.allItems, state.h, range());
  const values = (row) => ({
    item: itemName(row.item),
    rate: percent(row.share),
    customers: t("customersOf", { n: row.n }),
    weeks: within(state.h),
    interval: interval(row),
    mean: percent(mean.share),
    rank: order.indexOf(row) + 1,
    of: order.length,
  });
  let parts;
  if (chosenItem()) {
    const row = order.find((one) => one.item === chosenItem());
    const few = { item: chosenItem(), ...back(chosenItem(), state.h, range()) };
    parts = row ? [t("oneItem", values(row))] : [t("oneItemFew", values(few))];
  } else if (order.length) {
    const near = order.slice(1).filter((row) => row.hi >= order[0].lo).length;
    parts = [
      t("answer", values(order[0])),
      near ? t("answerOverlap", { n: near }) : order.length > 1 ? t("answerClear") : "",
    ];
  } else parts = [t("answerNone", { n: FEW, weeks: within(state.h) })];
  return h("p", { class: "answer", id: "answer" }, emphasised(parts[0]), " ", h("span", {}, parts[1] || ""));
};
// The item's name is emphasized. It is found by its place, because names may hold any text.
const emphasised = (text) => {
  const item = chosenItem() || (ranked()[0] || {}).item;
  const name = item && itemName(item),
    at = name ? text.indexOf(name) : -1;
  return at < 0 ? text : [text.slice(0, at), h("strong", {}, name), text.slice(at + name.length)];
};

// --- Four figures ---

const tile = (id, label, value, lines, main) =>
  h(
    "div",
    { class: `tile${main ? " main" : ""}`, id },
    h("h2", {}, label),
    h("div", { class: `value${value === null ? " none" : ""}` }, value === null ? "–" : value),
    lines.filter(Boolean).map((line) => h("p", {}, unbroken(line))),
  );

const tiles = () => {
  const item = chosenItem(),
    series = item || data.shop,
    suffix = item ? "Item" : "";
  const last = range()
    .filter((w) => complete[w])
    .pop();
  const all = last === undefined ? 0 : series.customers[last];
  const first = last === undefined ? 0 : series.first[last];
  const before = rate(all - first, all);
  const again = back(series, state.h, range());
  const refund = refunds(series, range());
  const withNumber = (r) =>
    `${t("n", { n: whole(r.n) })} · ${t("interval", { lo: format.tenths.format(100 * r.lo), hi: percent(r.hi) })}`;
  const label = (r) => (r.few && r.n ? t("fewData") : "");
  const ids = (indices) => {
    const shown = indices
      .slice(-4)
      .map((w) => weeks[w].id + (weeks[w].known < 7 ? ` (${daysOf7(weeks[w].known)})` : ""))
      .join(", ");
    return indices.length > 4 ? `${shown} ${t("more", { n: indices.length - 4 })}` : shown;
  };
  const firsts = again.firsts.map((w) => weeks[w].id);
  return h(
    "div",
    { class: "tiles" },
    tile(
      "tile-back",
      t(`tileBack${suffix}`),
      again.share === null ? null : percent(again.share),
      again.share === null
        ? [again.firsts.length ? t("noOrders") : t("noHorizon", { weeks: within(state.h) })]
        : [
            withNumber(again),
            t(firsts.length > 1 ? "withinFirst" : "withinFirstOne", {
              weeks: within(state.h),
              from: firsts[0],
              to: firsts[firsts.length - 1],
            }),
            label(again),
          ],
      true,
    ),
    tile(
      "tile-customers",
      t(`tileCustomers${suffix}`),
      last === undefined ? null : whole(all),
      last === undefined
        ? [t("noCompleteWeek")]
        : [
            `${weeks[last].id} · ${dates(weeks[last])}`,
            t("firstAndBefore", { first: whole(first), before: whole(all - first) }),
          ],
    ),
    tile(
      "tile-before",
      t(`tileBefore${suffix}`),
      before.share === null ? null : percent(before.share),
      last === undefined
        ? [t("noCompleteWeek")]
        : before.n
          ? [withNumber(before), weeks[last].id, label(before)]
          : [t("noOrders")],
    ),
    tile(
      "tile-refunded",
      t("tileRefunded"),
      refund.known.length ? money(refund.amount) : null,
      refund.known.length
        ? [t("ofRevenue", { share: percent(refund.share) }), t("knownIn", { weeks: ids(refund.known) })]
        : [t("unknownAll")],
    ),
  );
};
