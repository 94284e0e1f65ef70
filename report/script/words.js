// Words and numbers in the chosen language.

let format;
const setFormats = () => {
  const make = (options) => new Intl.NumberFormat(state.lang, options);
  const dates = new Intl.DateTimeFormat(state.lang, {
    day: "numeric",
    month: "short",
    year: "numeric",
    timeZone: "UTC",
  });
  format = {
    whole: make({ maximumFractionDigits: 0 }),
    any: make({ maximumFractionDigits: 2 }),
    compact: make({ notation: "compact", maximumFractionDigits: 1 }),
    percent: make({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    tick: make({ style: "percent", maximumFractionDigits: 1 }),
    tenths: make({ minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    plural: new Intl.PluralRules(state.lang),
    dates,
  };
};
const whole = (n) => format.whole.format(n);
const money = (hundredths) => format.whole.format(Math.round(hundredths / 100));
const percent = (share) => (share === null ? "–" : format.percent.format(share));
const interval = (r) => (r.n ? `${format.tenths.format(100 * r.lo)}–${percent(r.hi)}` : "–");
// A text of texts.json; `values.n` chooses among plural forms.
const t = (key, values = {}) => {
  let text = texts[state.lang][key];
  const given = { ...values };
  if (typeof text === "object") {
    text = text[format.plural.select(values.n)] || text.other;
    given.n = whole(values.n);
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => given[name]);
};
const within = (h) => t("weeksGenitive", { n: h });
const nameOf = (id, name) => name || t("noName", { id });
const itemName = (item) => nameOf(item.id, item.name);
const date = (iso) => format.dates.format(new Date(`${iso}T00:00:00Z`));
const dates = (week) => {
  const monday = new Date(`${week.monday}T00:00:00Z`);
  return format.dates.formatRange(monday, new Date(monday.getTime() + 6 * 864e5));
};
const instant = (iso) => iso.replace("T", " ").replace(/:\d\dZ$/, NB + "UTC");
const daysOf7 = (n) => t("daysOf7", { n });
const short = (week) => week.id.slice(5);
