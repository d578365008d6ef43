// "A character of one's own": a reader fills five columns with examples, draws one more, and sees which column stored nets
// take it for, after each gradient step. A drawing is a list of strokes, a stroke a list of points [x, y], 0 to 100. Pages that
// have such a part load this script after the others (`page_python.py`).

const { Python, CORE, element, loading } = window.metacalc;
const COLUMNS = 5, EXAMPLES = 5, STROKES = 40, POINTS = 1500;  // Python takes no more than a little above this
const NEAR = 1;  // a point so close to the last one says nothing new
const LEARNERS = { MAML: "MAML", "pre-trained": t("pre-trained"), prototypes: t("prototypes") };
const GIVEN = [  // invented signs, each drawn twice
  [t("lightning"), [[[62, 8], [28, 46], [70, 50], [36, 92]]],
    [[[57, 10], [46, 26], [30, 42], [48, 48], [69, 44], [58, 64], [40, 90]]]],
  [t("fork"), [[[50, 10], [50, 54]], [[20, 92], [20, 54], [80, 54], [80, 92]]],
    [[[23, 86], [20, 70], [22, 50], [50, 48], [77, 52], [79, 88]], [[48, 50], [50, 30], [49, 12]]]],
  [t("spiral"), [[[50, 50], [58, 46], [62, 55], [54, 64], [42, 62], [36, 50], [42, 36], [58, 30], [74, 38], [80, 56], [70, 76],
    [48, 84], [26, 76], [16, 54], [22, 30]]],
  [[[48, 54], [54, 47], [62, 50], [60, 62], [46, 66], [36, 58], [36, 42], [50, 32], [68, 34], [79, 48], [76, 70], [58, 84],
    [34, 82], [18, 64], [18, 38]]]],
  [t("ladder"), [[[28, 8], [28, 92]], [[72, 8], [72, 92]], [[28, 28], [72, 28]], [[28, 50], [72, 50]], [[28, 72], [72, 72]]],
    [[[32, 6], [29, 50], [26, 94]], [[70, 10], [74, 50], [73, 91]], [[31, 24], [71, 30]], [[29, 53], [74, 48]],
      [[27, 74], [73, 71]]]],
  [t("boat"), [[[12, 60], [26, 86], [74, 86], [88, 60], [12, 60]], [[50, 60], [50, 12], [78, 46]]],
    [[[14, 56], [30, 82], [72, 88], [86, 62], [60, 58], [14, 56]], [[46, 57], [50, 34], [48, 14], [62, 30], [73, 48]]]],
];
const OTHERS = [
  [t("ring with a tail"), [[[48, 12], [28, 20], [22, 38], [32, 56], [52, 58], [68, 46], [68, 26], [48, 12]],
    [[52, 58], [60, 74], [80, 90]]]],
  [t("arrow"), [[[12, 50], [88, 50]], [[62, 24], [88, 50], [62, 76]]]],
  [t("cross"), [[[50, 10], [50, 90]], [[14, 44], [86, 44]]]],
];

const SVG = "http://www.w3.org/2000/svg";

/** A drawing as lines; a single point is a dot, as round ends have it. */
function lines(strokes) {
  return strokes.map((stroke) => {
    const line = document.createElementNS(SVG, "polyline");
    const points = stroke.length > 1 ? stroke : [stroke[0], stroke[0]];
    line.setAttribute("points", points.map((point) => point.join(",")).join(" "));
    return line;
  });
}

function picture(strokes, attributes = { "aria-hidden": "true" }) {
  const made = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 100 100", ...attributes })) made.setAttribute(name, value);
  made.append(...lines(strokes));
  return made;
}

/** Where a pen, a finger or the mouse draws. */
class Pad {
  constructor(changed) {
    this.strokes = [];
    this.changed = changed;
    this.node = picture([], { class: "draw-pad", role: "img" });
    const on = (name, heard) => this.node.addEventListener(name, heard);
    on("pointerdown", (event) => this.begin(event));
    on("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) on(name, (event) => this.end(event));
    this.show();
  }

  get full() { return this.strokes.length >= STROKES || this.strokes.flat().length >= POINTS; }

  at({ clientX, clientY }) {
    const { left, top, width, height } = this.node.getBoundingClientRect();
    const within = (value) => Math.round(10 * Math.min(100, Math.max(0, value))) / 10;
    return [within((100 * (clientX - left)) / width), within((100 * (clientY - top)) / height)];
  }

  begin(event) {
    if (this.pen != null || event.button !== 0 || this.full) return;
    event.preventDefault();
    this.pen = event.pointerId;
    this.node.setPointerCapture(this.pen);
    this.strokes.push([this.at(event)]);
    this.show();
  }

  go(event) {
    if (event.pointerId !== this.pen || this.full) return;
    const stroke = this.strokes.at(-1), [x, y] = this.at(event), [u, v] = stroke.at(-1);
    if (Math.hypot(x - u, y - v) < NEAR) return;
    stroke.push([x, y]);
    this.node.lastChild.replaceWith(...lines([stroke]));
  }

  end(event) {
    if (event.pointerId !== this.pen) return;
    this.pen = null;
    this.changed();
  }

  put(strokes) {
    this.strokes = strokes.map((stroke) => [...stroke]);
    this.pen = null;
    this.show();
    this.changed();
  }

  show() {
    this.node.replaceChildren(...lines(this.strokes));
    this.node.setAttribute("aria-label", t("Drawing pad; strokes: {n}", { n: this.strokes.length }));
  }
}

class OwnCharacter {
  constructor(place, number) {
    this.number = number;
    this.pad = new Pad(() => this.changed());
    this.button = element("button", { type: "button", class: "draw-judge", onclick: () => this.judge() });
    this.said = element("p", { class: "draw-said", role: "status" });
    this.columns = element("div",
      { class: "draw-columns", role: "group", "aria-label": t("The five characters to choose among") });
    this.result = element("div", { class: "draw-result", hidden: true });
    place.replaceChildren(this.tools(), element("div", {}, this.columns, this.button, this.said, this.result));
    this.restart();
    this.name();
    document.addEventListener("metacalc-python", () => this.name());
  }

  tools() {
    const id = `draw-ready-${this.number}`;
    const option = ([name, strokes]) => element("option", { value: JSON.stringify(strokes) }, name);
    const again = ([name, , strokes]) => option([t("{sign}, drawn again", { sign: name }), strokes]);
    this.ready = element("select", { id, onchange: () => { if (this.ready.value) this.take(JSON.parse(this.ready.value)); } },
      element("option", { value: "" }, t("none")), ...GIVEN.map(again), ...OTHERS.map(option));
    const button = (words, onclick) => element("button", { type: "button", onclick }, words);
    return element("div", { class: "draw-tools" }, element("span", { "aria-hidden": "true" }, t("Draw here")), this.pad.node,
      element("div", { class: "draw-buttons" },
        button(t("Undo stroke"), () => this.pad.put(this.pad.strokes.slice(0, -1))),
        button(t("Clear"), () => this.pad.put([])),
        button(t("Start over"), () => this.restart())),
      element("label", { for: id }, t("Ready-made drawing")), this.ready);
  }

  /** The reader's choice stays shown: what else changes the pad takes it back. */
  take(strokes) {
    const { value } = this.ready;
    this.pad.put(strokes);
    this.ready.value = value;
  }

  restart() {
    this.examples = GIVEN.map(([, strokes]) => [strokes]);
    this.pad.put([]);
    this.lay();
  }

  lay() {
    this.columns.replaceChildren(...this.examples.map((drawings, i) => {
      const n = i + 1;
      const shown = drawings.map((strokes, j) => element("button", { type: "button", class: "draw-example",
        "aria-label": t("Take example {j} out of column {n}", { j: j + 1, n }), onclick: () => this.out(i, j) },
      picture(strokes), element("span", { "aria-hidden": "true" }, "×")));
      return element("div", { class: "draw-column", role: "group", "aria-label": t("Column {n}", { n }) },
        element("strong", { "aria-hidden": "true" }, String(n)), ...shown,
        element("button", { type: "button", class: "draw-put", onclick: () => this.into(i) }, t("Put into {n}", { n })));
    }));
  }

  /** The pad's drawing becomes an example; the pad is free for the next. */
  into(i) {
    const n = i + 1, drawings = this.examples[i];
    if (!this.pad.strokes.length) return this.say(t("Draw a character first, or take a ready-made one."), true);
    if (drawings.length === EXAMPLES) return this.say(t("Column {n} is full: take an example out first.", { n }), true);
    drawings.push(this.pad.strokes);
    this.pad.put([]);
    this.lay();
    this.columns.children[i].querySelector(".draw-put").focus();
    this.count(i);
  }

  out(i, j) {
    this.examples[i].splice(j, 1);
    this.lay();
    this.columns.children[i].querySelector(".draw-put").focus();
    this.changed();
    this.count(i);
  }

  count(i) { this.say(t("Examples in column {n}: {count}.", { n: i + 1, count: this.examples[i].length })); }

  /** What was judged is no longer what stands there. */
  changed() {
    this.turn = (this.turn ?? 0) + 1;
    this.ready.value = "";
    this.pad.show();
    if (this.pad.full) this.say(t("The pad takes no more strokes."), true);
    else this.say(this.result.hidden ? "" : t("The drawings have changed: judge again."));
  }

  name() {
    const text = t("Which one is it?") + loading(Python.megabytes([...CORE, "results"]));
    if (this.button.textContent !== text) this.button.textContent = text;
  }

  say(words, wrong = false) {
    this.said.textContent = words;
    this.said.classList.toggle("draw-wrong", wrong);
  }

  async judge() {
    const empty = this.examples.findIndex((drawings) => !drawings.length);
    if (!this.pad.strokes.length) return this.say(t("Draw a character first, or take a ready-made one."), true);
    if (empty >= 0) return this.say(t("Column {n} needs an example.", { n: empty + 1 }), true);
    const turn = this.turn = (this.turn ?? 0) + 1, given = { support: this.examples, query: this.pad.strokes };
    this.say(Python.megabytes(CORE) ? t("Loading Python …") : t("Judging …"));
    try {
      const made = await Python.ask("judge", given, { archives: [...CORE, "results"] });
      if (turn !== this.turn) return;
      if (made.reason) return this.say(t("Not judged: {reason}.", { reason: made.reason }), true);
      this.show(made);
    } catch (error) {
      if (turn === this.turn) this.say(error.message, true);
    }
  }

  /** All steps are there: the slider only looks them up. */
  show({ answers, seen, steps }) {
    const id = `draw-steps-${this.number}`, last = Object.values(answers)[0].length - 1;
    const names = Object.keys(answers), shown = this.examples.map(([first]) => picture(first));
    this.answers = answers;
    this.steps = element("input", { id, type: "range", min: 0, max: last, step: 1, oninput: () => this.look() });
    this.steps.value = this.at ?? steps.MAML;
    this.shown = element("output", { for: id });
    const cell = () => element("td", {}, element("span", { class: "draw-bar" }), element("span", {}));
    this.cells = names.map(() => shown.map(cell));
    const head = element("tr", {}, element("th", { scope: "col" }, t("column")),
      ...names.map((name) => element("th", { scope: "col" }, LEARNERS[name])));
    const rows = shown.map((sign, i) => element("tr", {}, element("th", { scope: "row" }, String(i + 1), sign),
      ...this.cells.map((cells) => cells[i])));
    this.result.replaceChildren(
      element("div", { class: "draw-steps" }, element("label", { for: id }, t("gradient steps")), this.steps, this.shown),
      element("table", { class: "draw-table" }, element("caption", {}, t("Probability of each column")),
        element("thead", {}, head), element("tbody", {}, ...rows)),
      element("figure", {}, pixels(seen), element("figcaption", {}, t("What the nets see of your drawing"))));
    this.result.hidden = false;
    this.look();
  }

  look() {
    this.at = Number(this.steps.value);
    this.shown.textContent = String(this.at);
    this.steps.setAttribute("aria-valuetext", t("steps: {n}", { n: this.at }));
    const words = Object.entries(this.answers).map(([name, table], i) => {
      const p = table[this.at], best = winner(p);
      this.cells[i].forEach((cell, c) => {
        cell.firstChild.style.setProperty("--part", p[c] ?? 0);
        cell.lastChild.textContent = p[c] == null ? t("diverged") : percent(p[c]);
        cell.classList.toggle("draw-best", c === best);
      });
      const verdict = p.includes(null) ? t("diverged") : best < 0 ? t("undecided") : t("column {n}", { n: best + 1 });
      return t("{name}: {verdict}", { name: LEARNERS[name], verdict });
    });
    const between = t("; ");
    this.say(t("{verdicts}.", { verdicts: words.join(between) }));
  }
}

const percent = (p) => `${Math.round(100 * p)}%`;

/** The column of the largest probability; −1 where there is not one. */
function winner(p) {
  if (p.includes(null)) return -1;
  const most = Math.max(...p), first = p.indexOf(most);
  return p.some((other, i) => i !== first && most - other < 1e-9) ? -1 : first;
}

/** An image of a few pixels, enlarged: ink is dark, as on paper. */
function pixels(rows) {
  const canvas = element("canvas", { width: rows.length, height: rows.length, role: "img",
    "aria-label": t("{n} × {n} pixels of grey", { n: rows.length }) });
  const pen = canvas.getContext("2d");
  rows.forEach((row, y) => row.forEach((ink, x) => {
    pen.fillStyle = `hsl(0 0% ${100 - 100 * ink}%)`;
    pen.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

[...document.querySelectorAll("div.draw-character")].forEach((place, i) => new OwnCharacter(place, i));
