// Every exercise can be answered in the page: a formula or number in a field, a program in the cell. The verdict is `check`'s
// own. What was solved is kept in this browser alone, counted at the chapter's head and on the first page.

const SECONDS = 20;  // for one answer, as in Python
const KEPT = ["solved", "tried", "date", "cell", "choice", "own"];  // kinds of what is stored
const VERDICT_SIGNS = { true: "✓", false: "✗" };

const solved = (names) => names.filter((name) => Store.get("solved", name) !== null).length;

const answerTo = (name) => Store.get("solved", name) ?? Store.get("tried", name);

class Question {
  constructor(cell) {
    const classes = [...cell.node.classList];
    const named = (prefix) => classes.filter((c) => c.startsWith(prefix)).map((c) => c.slice(prefix.length));
    [this.name] = named("exercise-");
    this.symbols = named("symbol-");
    this.cell = cell;
    this.title = document.getElementById(this.name)?.querySelector(".admonition-title")?.textContent.trim() ?? this.name;
    this.verdict = element("p", { class: "answer-verdict", role: "status" });
    if (classes.includes("asks-program")) cell.node.querySelector(".cell-tools").after(this.verdict);
    else this.build();
    this.show();
    cell.node.addEventListener("metacalc-verdict", ({ detail }) => this.keep("solved", detail));
  }

  build() {
    this.field = element("input", { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", inputmode: "text",
      maxlength: 500, "aria-label": t("Your answer to {exercise}", { exercise: this.title }),
      placeholder: this.symbols.length ? t("in {symbols}", { symbols: this.symbols.join(t(", ")) }) : t("a number or formula"),
      oninput: () => { this.verdict.textContent = ""; clearTimeout(this.timer); this.timer = setTimeout(() => this.preview(), 150); } });
    this.field.value = answerTo(this.name) ?? "";
    this.button = element("button", { type: "submit" });
    this.formula = element("div", { class: "answer-formula", "aria-live": "polite" });
    const form = element("form", { class: "answer-form", onsubmit: (event) => { event.preventDefault(); this.check(); } },
      element("div", { class: "answer-row" }, this.field, this.button), this.formula, this.verdict);
    const details = element("details", { class: "answer-in-cell" }, element("summary", {}, t("Answer in a cell")));
    details.append(...this.cell.node.childNodes);
    this.cell.node.append(form, details);
    const label = () => {
      this.button.replaceChildren(t("Check"), element("small", {}, loading(Python.megabytes(CORE))));
    };
    document.addEventListener("metacalc-python", label);
    label();
  }

  /** The answer as Python reads it, typeset while it is typed, once Python runs. */
  async preview() {
    const text = this.field.value.trim();
    if (!text || Python.bar?.dataset.state !== "ready") return this.formula.replaceChildren();
    const { latex, reason } = await Python.ask("typeset", { text, symbols: this.symbols }).catch(() => ({}));
    if (text !== this.field.value.trim()) return;
    this.formula.replaceChildren(latex ? formulaNode(latex) : element("small", {}, reason ?? ""));
    if (latex) typeset(this.formula);
  }

  async check() {
    const text = this.field.value;
    this.say(null, t("Checking …"));
    let timer;
    try {
      await Python.need(CORE);
      timer = setTimeout(() => Python.stop(t("Your answer takes too long to work out. Is there a simpler form?")), SECONDS * 1000);
      const { right, reason } = await Python.ask("check", { name: this.name, text });
      this.keep(right ? "solved" : "tried", text);
      if (!right) this.say(false, reason);
      this.preview();
    } catch (error) {
      this.say(false, error.message);
    } finally {
      clearTimeout(timer);
    }
  }

  say(right, words) {
    this.verdict.dataset.right = right ?? "";
    this.verdict.textContent = right === null ? words : `${VERDICT_SIGNS[right]} ${words}`;
  }

  keep(kind, text) {
    const solved = Store.get("solved", this.name) !== null;
    if (kind === "tried" && (solved || !text.trim())) return;
    Store.set(kind, this.name, text);
    Store.set("date", this.name, new Date().toISOString());
    this.show();
    document.dispatchEvent(new CustomEvent("metacalc-solved"));
  }

  show() {
    if (Store.get("solved", this.name) !== null) this.say(true, t("Right."));
  }
}

/** How many are solved, where the page says how long it takes to read; on the first page, of the whole course. */
function countSolved() {
  const names = EXERCISES[PAGE] ?? Object.values(EXERCISES).flat(), kept = KEPT.some((kind) => Store.names(kind).length);
  const place = document.querySelector(".reading-time") ?? document.querySelector(".bd-article h1");
  if (!place || (PAGE in EXERCISES ? false : !PAGE.endsWith("intro"))) return;
  document.querySelector(".solved")?.remove();
  const counts = { n: solved(names), all: names.length };
  const line = element("p", { class: "solved" },
    PAGE in EXERCISES ? t("{n} of {all} exercises here solved in this browser", counts)
      : t("{n} of {all} exercises of the course solved in this browser", counts));
  if (kept) line.append(" · ", forgetButton(), " ", saveButton());
  place.after(line);
}

/** The answers as a file for a teacher (`metacalc.assignments` reads it). Nothing is sent. */
function saveButton() {
  const field = element("input", { "aria-label": t("Your name"), placeholder: t("Your name"), maxlength: 100, required: true, autocomplete: "name" });
  const form = element("form", { class: "save", hidden: true, onsubmit: (event) => {
    event.preventDefault();
    const saved = new Date().toISOString(), student = field.value.trim();
    const answers = Object.values(EXERCISES).flat().filter((name) => answerTo(name) !== null).map((exercise) => ({
      exercise, right: Store.get("solved", exercise) !== null, answer: answerTo(exercise), date: Store.get("date", exercise) ?? "" }));
    const whole = { format: "metacalc-answers", version: 1, student, saved, answers };
    if (student) keepFile("answers.json", JSON.stringify(whole, null, 1), "application/json");
  } }, field, element("button", { class: "forget" }, t("Save the file")));
  const button = element("button", { type: "button", class: "forget", onclick: () => {
    button.hidden = true;
    form.hidden = false;
    field.focus();
  } }, t("Save my answers"));
  return element("span", {}, button, form);
}

function forgetButton() {
  const button = element("button", { type: "button", class: "forget", onclick: () => {
    if (!button.dataset.sure) {
      button.dataset.sure = "yes";
      button.textContent = t("Forget all answers and changed cells? Press again");
    } else {
      for (const kind of KEPT) Store.names(kind).forEach((name) => Store.set(kind, name, null));
      location.reload();
    }
  }, onblur: () => { delete button.dataset.sure; button.textContent = t("Forget"); } }, t("Forget"));
  return button;
}

function mountExercises() {
  for (const cell of cells) if (cell.node.classList.contains(ANSWERS)) new Question(cell);
  countSolved();
  document.addEventListener("metacalc-solved", countSolved);
  window.addEventListener("storage", countSolved);  // another tab
}

mountCells();
mountExercises();
window.metacalc = { Python, CORE, element, loading };  // for scripts of single pages, the browser's console, and the tests
