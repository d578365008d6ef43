// "f(θ) of one's own": a reader types a function, SymPy's gradient appears, and a live figure of it. A link can carry the
// function: it fills the fields and starts nothing, and what it carries is parsed as a formula, never run.

const RULES = { sgd: t("gradient step"), momentum: t("momentum"), nesterov: "Nesterov", adam: "Adam", adamw: "AdamW" };
const EXAMPLES = [["x^4 - 3x^2 + x", "2", "sgd"], ["log(cosh(x))", "3", "momentum"], ["x^2 + 10y^2", "2, 1", "sgd"],
  ["(1 - x)^2 + 100(y - x^2)^2", "-1.2, 1", "adam"]];
const LONGEST = { f: 500, start: 100, rule: 20, link: 2000 };

/** What the page's address carries: of "f", "start" and "rule" those that are there and can be meant. */
function carried(hash) {
  const found = {};
  if (hash.length > LONGEST.link) return found;
  for (const part of hash.slice(1).split("&")) {
    const at = part.indexOf("="), key = part.slice(0, at);
    if (at < 0 || !["f", "start", "rule"].includes(key)) continue;
    try {  // by hand: URLSearchParams would take the + of a formula for a space
      const value = decodeURIComponent(part.slice(at + 1));
      if (value && value.length <= LONGEST[key] && (key !== "rule" || Object.hasOwn(RULES, value))) found[key] = value;
    } catch { /* no such letter */ }
  }
  return found;
}

class OwnFunction {
  constructor(place, number) {
    const field = (name, label, attributes) => {
      const id = `own-${name}-${number}`;
      const input = this[name] = element(name === "rule" ? "select" : "input", { id, name, ...attributes });
      return element("div", { class: `own-field own-field-${name}` }, element("label", { for: id }, label), input);
    };
    const typed = { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": `own-said-${number}` };
    this.button = element("button", { type: "submit", class: "own-draw" });
    this.said = element("p", { class: "own-said", id: `own-said-${number}`, role: "status" });
    this.formulas = element("div", { class: "own-formulas" });
    this.figure = element("div", { class: "own-figure" });
    this.form = element("form", { class: "own-form", novalidate: true, onsubmit: (event) => { event.preventDefault(); this.draw(); } },
    field("f", t("your function f"), { ...typed, maxlength: LONGEST.f, placeholder: "x^2 + 10y^2" }),
    field("start", t("start"), { ...typed, maxlength: LONGEST.start, placeholder: t("2 or 1, −1") }), field("rule", t("rule"), {}),
    element("div", { class: "own-buttons" }, this.button,
      element("button", { type: "button", onclick: () => this.link() }, t("Copy link"))));
    this.rule.append(...Object.entries(RULES).map(([value, words]) => element("option", { value }, words)));
    this.rule.addEventListener("change", () => { if (this.model) this.draw(); });
    place.replaceChildren(this.form, this.examples(), this.said, this.formulas, this.figure);
    const [f, start, rule] = EXAMPLES[0];
    this.fill({ f, start, rule, ...carried(Store.get("own", "function") ?? "") });  // what was drawn last
    this.name();
    document.addEventListener("metacalc-python", () => this.name());
  }

  examples() {
    const buttons = EXAMPLES.map(([f, start, rule]) => element("button", { type: "button", onclick: () => {
      this.fill({ f, start, rule });
      if (this.model) this.draw(); else this.f.focus();
    } }, f));
    return element("div", { class: "own-examples", role: "group", "aria-label": t("Examples") }, t("Examples:"), ...buttons);
  }

  fill(values) { for (const [name, value] of Object.entries(values)) this[name].value = value; }

  /** The button says what it would load. */
  name() {
    const text = t("Draw") + loading(Python.megabytes(CORE));
    if (this.button.textContent !== text) this.button.textContent = text;
  }

  say(words, wrong = false) {
    this.said.textContent = words;
    this.said.classList.toggle("own-wrong", wrong);
    this.f.setAttribute("aria-invalid", String(wrong));
  }

  async draw() {
    const turn = this.turn = (this.turn ?? 0) + 1, current = () => turn === this.turn;
    const given = { text: this.f.value, start: this.start.value, rule: this.rule.value };
    this.say(Python.megabytes(CORE) ? t("Loading Python …") : t("Drawing …"));
    const long = setTimeout(() => {
      if (!current()) return;
      this.said.append(t(" SymPy may be long at such a function. "),
        element("button", { type: "button", onclick: () => Python.stop() }, t("Stop")));
    }, 15000);
    try {
      const [made, host] = await Promise.all([Python.ask("explore", given), stages()]);
      if (!current()) return;
      if (made.reason) return this.say(t("Not drawn: {reason}.", { reason: made.reason }), true);
      await this.show(made, host);
      if (!current()) return;
      this.say("");
      Store.set("own", "function", this.fragment());
    } catch (error) {
      if (current()) this.say(error.message, true);
    } finally {
      clearTimeout(long);
    }
  }

  /** Mount the figure, with the sliders where the reader has put them. */
  async show(made, host) {
    const { stage } = made, kept = Object.fromEntries(
      stage.spec.sliders.filter(({ name }) => this.moved?.has(name)).map(({ name }) => [name, this.model.get(name)]));
    const moved = this.moved ?? new Set();
    this.model = await host.mount(this.figure, { ...stage, ...kept });
    this.moved = moved;
    for (const { name } of stage.spec.sliders) this.model.on(`change:${name}`, () => moved.add(name));
    window.MathJax?.typesetClear?.([this.formulas]);
    this.formulas.replaceChildren(formulaNode(made.latex), formulaNode(made.gradient));
    await typeset(this.formulas);
  }

  fragment() { return `#${["f", "start", "rule"].map((name) => `${name}=${encodeURIComponent(this[name].value)}`).join("&")}`; }

  /** Put a link to what the fields say into the clipboard; where a page may not, into the address bar. */
  async link() {
    const address = location.href.split("#")[0] + this.fragment();
    try {
      await navigator.clipboard.writeText(address);
      this.say(t("The link is in the clipboard."));
    } catch {
      history.replaceState(null, "", address);
      this.say(t("The link is in the address bar."));
    }
  }
}

function ownFunctions() {
  const places = [...document.querySelectorAll("div.own-function")].map((place, i) => new OwnFunction(place, i));
  const take = () => {
    const values = carried(location.hash);
    if (!values.f || !places.length) return;
    places[0].fill({ start: "", rule: "sgd", ...values });
    places[0].say(t("The link brought this function. Nothing runs before you press Draw."));
    places[0].form.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", take);
  take();
}

ownFunctions();
