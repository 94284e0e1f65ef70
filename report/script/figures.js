// The figures: sums, and rates of the sums. Money and customers of different first weeks may be added
// up; customers of different items may not.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
const texts = read("texts");
const weeks = data.weeks;
const HORIZONS = [1, 2, 4, 8];
const FEW = 30; // customers: below, a rate is labelled and not ranked
const Z = 1.959964; // of the normal distribution, for 95 %
const NB = "\u00a0";

const complete = weeks.map((week) => week.days === 7);
// How many complete weeks follow each other from a week on, including that week.
const run = weeks.map(() => 0);
for (let w = weeks.length - 1; w >= 0; w--) run[w] = complete[w] ? 1 + (run[w + 1] || 0) : 0;

const state = {
  lang: (navigator.language || "").startsWith("ru") ? "ru" : "en",
  item: null,
  from: 0,
  to: weeks.length - 1,
  h: data.horizon,
  sort: "rate",
  down: true,
  table: false,
};
{
  const asked = new URLSearchParams(location.hash.slice(1));
  const week = (name) => weeks.findIndex((w) => w.id === asked.get(name));
  if (texts[asked.get("lang")]) state.lang = asked.get("lang");
  if (data.items.some((item) => String(item.id) === asked.get("item")))
    state.item = Number(asked.get("item"));
  if (week("from") >= 0) state.from = week("from");
  if (week("to") >= state.from) state.to = week("to");
  if (HORIZONS.includes(Number(asked.get("within")))) state.h = Number(asked.get("within"));
}
const chosenItem = () => data.items.find((item) => item.id === state.item);
const range = () => Array.from({ length: state.to - state.from + 1 }, (_, n) => state.from + n);

const sum = (values) => values.reduce((a, b) => a + b, 0);
const over = (values, indices) => sum(indices.map((i) => values[i]));
const ratio = (part, whole) => (whole > 0 ? part / whole : null);
const wilson = (k, n) => {
  if (!n) return [null, null];
  const p = k / n,
    z2 = Z * Z,
    centre = p + z2 / (2 * n);
  const half = Z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
  return [Math.max(0, (centre - half) / (1 + z2 / n)), Math.min(1, (centre + half) / (1 + z2 / n))];
};
const rate = (k, n) => {
  const [lo, hi] = wilson(k, n);
  return { k, n, share: ratio(k, n), lo, hi, few: n < FEW };
};
// The customers with a first week in `firsts` who were back within h weeks.
const back = (series, h, firsts) => {
  const whole = firsts.filter((w) => run[w] > h);
  const returned = sum(whole.map((w) => sum(series.back[w].slice(0, h))));
  return { ...rate(returned, over(series.first, whole)), firsts: whole };
};
const refunds = (series, indices) => {
  const known = indices.filter((w) => weeks[w].known > 0);
  const amount = over(series.refunded, known),
    revenue = over(series.knownRevenue, known);
  return { known, amount, revenue, share: known.length ? ratio(amount, revenue) : null };
};
