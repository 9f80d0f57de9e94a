"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const one = (selector, from = document) => from.querySelector(selector);
const px = (value) => value.toFixed(1);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

document.body.classList.add("scripted");
for (const part of all("[data-script]")) part.hidden = false;

// Light and dark: the system's choice until the reader makes another.
const theme = one("#theme"), root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
theme.hidden = false;
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
system.addEventListener("change", nameTheme);
nameTheme();

// The table: sort, filter, choose columns.
const board = one("#board"), body = one("tbody", board);
const valueOf = (row, column) => row.cells[column].dataset.value;

function sortBy(head) {
  const button = one("button", head), column = head.cellIndex, words = "text" in button.dataset;
  const before = head.getAttribute("aria-sort");
  const first = words || "low" in button.dataset ? "ascending" : "descending";
  const order = before === "none" ? first : before === "ascending" ? "descending" : "ascending";
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].sort((a, b) => {
    const x = valueOf(a, column), y = valueOf(b, column);
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (words ? x.localeCompare(y) : x - y);
  });
  body.append(...rows);
  for (const other of all("thead th", board)) other.setAttribute("aria-sort", other === head ? order : "none");
}
for (const head of all("thead th", board)) one("button", head).addEventListener("click", () => sortBy(head));

const filter = one("#filter");
filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  let left = 0;
  for (const row of body.rows) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    left += !row.hidden;
  }
  one("#count").textContent = `${left} of ${body.rows.length} methods`;
  one("#nothing").hidden = left > 0;
});
const states = one("#states");
states.addEventListener("change", () => {
  for (const cell of all("[data-state]", board)) cell.hidden = states.value !== "" && cell.dataset.state !== states.value;
});
const marks = { "#intervals": "no-intervals", "#ranks-shown": "no-ranks" };
for (const [box, hiding] of Object.entries(marks)) {
  const show = () => board.classList.toggle(hiding, !one(box).checked);
  one(box).addEventListener("change", show);
  show();
}

// Which methods the figures show; names beside curves move apart as in scale.py.
const isShown = (method) => one(`[data-chip="${method}"]`).getAttribute("aria-pressed") === "true";

function placeLabels(picture) {
  const { gap, low, high } = Object.fromEntries(Object.entries(picture.dataset).map(([key, value]) => [key, Number(value)]));
  const curves = all(".curve:not([hidden])", picture).map((curve) => ({ curve, wanted: Number(all("circle", curve).at(-1).getAttribute("cy")) }));
  curves.sort((a, b) => a.wanted - b.wanted);
  let edge = low;
  for (const each of curves) { each.y = Math.max(each.wanted, edge); edge = each.y + gap; }
  edge = high;
  for (const each of curves.reverse()) { each.y = Math.min(each.y, edge); edge = each.y - gap; }
  for (const { curve, y } of curves) {
    one(".label", curve).setAttribute("y", px(y + 4));
    const lead = one(".thin", curve);
    lead.setAttribute("d", lead.getAttribute("d").replace(/[\d.-]+$/, px(y)));
  }
}
function showMethods() {
  for (const mark of all("svg [data-method]")) mark.toggleAttribute("hidden", !isShown(mark.dataset.method));
  for (const panel of all("[data-panel]")) panel.hidden = !isShown(panel.dataset.panel);
  for (const picture of all("svg[data-gap]")) placeLabels(picture);
}
for (const chip of all("[data-chip]")) {
  chip.addEventListener("click", () => {
    const pressed = chip.getAttribute("aria-pressed") !== "true";
    for (const twin of all(`[data-chip="${chip.dataset.chip}"]`)) twin.setAttribute("aria-pressed", pressed);
    showMethods();
  });
}
if (one("[data-chip]")) showMethods();
const scope = one("#scope");
scope?.addEventListener("change", () => {
  for (const part of all("[data-scope]")) part.hidden = part.dataset.scope !== scope.value;
});

// The forest plot for another baseline: the drawing is there, its marks move. The same rules as differences.py.
const baseline = one("#baseline"), panels = one("#panels");
const effectOf = (method, base, row) => data.effects[(method * data.methods.length + base) * data.rows + row];

function axisFor(base) {
  let low = 0, high = 0;
  data.methods.forEach((_, method) => {
    for (let row = 0; row < data.rows; row++) {
      const [difference, ci] = effectOf(method, base, row);
      if (method === base || difference === null) continue;
      low = Math.min(low, difference - ci);
      high = Math.max(high, difference + ci);
    }
  });
  if (high <= low) high = 1;
  const margin = Number(panels.dataset.margin) * (high - low);
  const rough = (high - low) / Number(panels.dataset.steps), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * (1 - 1e-9));
  const start = Number(panels.dataset.start), stop = Number(panels.dataset.stop);
  const at = (value) => start + (value - low + margin) / (high - low + 2 * margin) * (stop - start);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) ticks.push(i * step);
  return { at, ticks };
}

function drawEffect(mark, [difference, ci], at) {
  const known = difference !== null, sign = known && Math.abs(difference) > ci ? Math.sign(difference) : 0;
  const y = mark.dataset.y;
  mark.classList.remove("s0", "s1", "s-1");
  mark.classList.add(`s${sign}`);
  one(".whisker", mark).setAttribute("d", known ? `M${px(at(difference - ci))} ${y}H${px(at(difference + ci))}` : "");
  const dot = one("circle", mark);
  dot.setAttribute("r", known ? 3.6 : 0);
  if (known) { dot.setAttribute("cx", px(at(difference))); dot.setAttribute("cy", y); }
  one(".number", mark).textContent = known ? `${difference < 0 ? "−" : "+"}${Math.abs(difference).toFixed(2)} ±${ci.toFixed(2)}` : "–";
  return sign;
}

function drawPanel(panel, method, base, axis) {
  panel.dataset.panel = method;
  panel.hidden = !isShown(method);
  one("b", panel).textContent = data.methods[method];
  const picture = one("svg", panel), ticks = one(".ticks", panel);
  picture.setAttribute("aria-label", `Difference of ${data.methods[method]} from the baseline by domain`);
  one(".zero", panel).setAttribute("d", one(".zero", panel).getAttribute("d").replace(/^M[\d.]+/, `M${px(axis.at(0))}`));
  const label = ticks.firstElementChild;
  ticks.replaceChildren(...axis.ticks.map((value) => {
    const text = label.cloneNode();
    text.setAttribute("x", px(axis.at(value)));
    text.textContent = String(Number(value.toPrecision(6))).replace("-", "−");
    return text;
  }));
  const signs = all(".effect", panel).map((mark, row) => drawEffect(mark, effectOf(method, base, row), axis.at)).slice(0, data.domains);
  const count = (sign) => signs.filter((other) => other === sign).length;
  one(".verdict", panel).textContent = `better on ${count(1)}, worse on ${count(-1)} of ${data.domains} domains`;
}

baseline?.addEventListener("change", () => {
  const base = Number(baseline.value), axis = axisFor(base);
  const others = data.methods.map((_, method) => method).filter((method) => method !== base);
  all(".panel", panels).forEach((panel, i) => drawPanel(panel, others[i], base, axis));
  one("#baseline-name").textContent = data.methods[base];
});
