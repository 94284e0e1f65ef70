// Draws everything, and draws it again after every choice.

let screenWidth = 0;
const draw = () => {
  // Asked once, at the start: later the browser would have to lay out the half-made page to answer.
  screenWidth = document.documentElement.clientWidth;
  const focused = document.activeElement && document.activeElement.id;
  setFormats();
  hideTip();
  document.documentElement.lang = state.lang;
  document.title = t("title");
  document.getElementById("head").replaceChildren(...head().filter(Boolean));
  document
    .getElementById("app")
    .replaceChildren(
      ...(hasData()
        ? [
            answer(),
            tiles(),
            weeksSection(),
            itemsSection(),
            cohortsSection(),
            refundsSection(),
            trustSection(),
          ]
        : [
            h(
              "section",
              { class: "card", id: "empty" },
              h("h2", {}, t("emptyTitle")),
              h("p", { class: "note" }, t("emptyText")),
            ),
            trustSection(),
          ]),
      h("footer", {}, t("madeFrom")),
    );
  // The latest weeks are at the end.
  for (const wide of document.querySelectorAll("#refunds .scroll")) wide.scrollLeft = wide.scrollWidth;
  const hash = new URLSearchParams({ lang: state.lang });
  if (state.item !== null) hash.set("item", state.item);
  if (hasData()) {
    hash.set("from", weeks[state.from].id);
    hash.set("to", weeks[state.to].id);
    hash.set("within", state.h);
  }
  history.replaceState(null, "", `#${hash}`);
  if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
};

document.body.append(tip);
document.addEventListener("mouseover", showTip);
document.addEventListener("focusin", showTip);
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", hideTip, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
});
let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (document.documentElement.clientWidth !== screenWidth) draw();
  }, 150);
});
draw();
