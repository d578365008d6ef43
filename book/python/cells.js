// Every code cell can be run, changed, and put back as it was printed.

const CELLS = JSON.parse(document.querySelector("meta[name='metacalc-cells']")?.content ?? "[]");  // [id, why not here, minutes]
const ANSWERS = "answer-cell";

/** Python's words, each with the class that the page's own colours go by. */
const TOKENS = new RegExp([
  ["c1", "#[^\\n]*"], ["s", "[rbfRBF]{0,2}(?:\"\"\"[^]*?(?:\"\"\"|$)|'''[^]*?(?:'''|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?)"],
  ["mi", "\\b\\d[\\d_]*\\.?[\\d_]*(?:e[+-]?\\d+)?"],
  ["k", "\\b(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|False|None|True)\\b"],
  ["nb", "\\b(?:abs|all|any|dict|enumerate|float|int|isinstance|len|list|map|max|min|print|range|reversed|round|set|sorted|str|sum|tuple|zip)\\b"],
  ["nd", "@[\\w.]+"], ["o", "[-+*/%@=<>!&|^~]+"],
].map(([name, pattern]) => `(?<${name}>${pattern})`).join("|"), "g");

function coloured(source) {
  const pieces = [];
  let end = 0;
  for (const match of source.matchAll(TOKENS)) {
    const [kind] = Object.entries(match.groups).find(([, text]) => text !== undefined);
    pieces.push(source.slice(end, match.index), element("span", { class: kind }, match[0]));
    end = match.index + match[0].length;
  }
  return [...pieces, source.slice(end), "\n"];
}

/** A text area over its own coloured text: undo, selection and screen readers are the browser's. */
function editor(source, label, { run, changed }) {
  const shown = element("div", { class: "cell-shown", "aria-hidden": "true" });
  const area = element("textarea", { "aria-label": label, spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off",
    "aria-description": t("Shift and Enter run it. Tab indents; Escape, then Tab, leaves.") });
  let leaving = false;
  const paint = () => { shown.replaceChildren(...coloured(area.value)); area.rows = area.value.split("\n").length; };
  const put = (text) => document.execCommand("insertText", false, text);  // the one way that undo knows of
  area.addEventListener("input", () => { paint(); changed(area.value); });
  area.addEventListener("keydown", (event) => {
    const { key, shiftKey, ctrlKey, metaKey } = event;
    if (key === "Enter" && (shiftKey || ctrlKey || metaKey)) { event.preventDefault(); run(); }
    else if (key === "Enter") {
      const line = area.value.slice(0, area.selectionStart).split("\n").at(-1);
      event.preventDefault();
      put(`\n${line.match(/^ */)[0]}${/:\s*$/.test(line) ? "    " : ""}`);
    } else if (key === "Tab" && !leaving && !shiftKey) { event.preventDefault(); put("    "); }
    else if (key === "Tab" && !leaving) {
      const start = area.value.lastIndexOf("\n", area.selectionStart - 1) + 1, blank = area.value.slice(start).match(/^ {1,4}/);
      if (blank) {
        const at = area.selectionStart;
        event.preventDefault();
        area.setSelectionRange(start, start + blank[0].length);
        put("");
        area.setSelectionRange(Math.max(start, at - blank[0].length), Math.max(start, at - blank[0].length));
      }
    }
    leaving = key === "Escape" || (leaving && key === "Shift");
  });
  area.value = source;
  paint();
  return { area, node: element("div", { class: "highlight cell-editor" }, shown, area) };
}

class Cell {
  constructor(node, index, all) {
    Object.assign(this, { node, index, all });
    [this.id, this.elsewhere, this.minutes] = CELLS[index] ?? [String(index)];
    this.pre = node.querySelector(".cell_input pre");
    this.printed = this.pre.textContent.replace(/\n$/, "");
    this.source = Store.get("cell", `${PAGE}:${this.id}`) ?? this.printed;
    this.output = node.querySelector(".cell_output");
    this.printedOutput = this.output && [...this.output.childNodes];
    this.fold = node.querySelector("details.hide");
    this.build();
    if (this.changed) { this.edit(false); this.unfold(); }
  }

  get changed() { return this.source !== this.printed; }
  get name() { return t("cell {number}", { number: this.index + 1 }); }

  /** What a reader changed, or what went wrong, is not left in a fold. */
  unfold() { if (this.fold) this.fold.open = true; }

  button(label, does, more = {}) {
    return element("button", { type: "button", onclick: does, ...more }, label);
  }

  build() {
    this.runner = this.button("", () => this.run());
    this.above = this.button(t("Run all above"), () => this.runAbove(), { title: t("Runs the cells above, then this one"), hidden: this.index === 0 });
    this.editing = this.button(t("Edit"), () => this.edit(true), { "aria-label": t("Edit {cell}", { cell: this.name }) });
    this.reset = this.button(t("Reset"), () => this.putBack(), { "aria-label": t("Put {cell} back as printed", { cell: this.name }) });
    this.said = element("span", { class: "cell-said", role: "status" });
    this.tools = element("div", { class: "cell-tools", role: "group", "aria-label": t("Python, {cell}", { cell: this.name }) },
      this.runner, this.above, this.editing, this.reset, this.said);
    this.pre.closest(".cell_input").after(this.tools);
    document.addEventListener("metacalc-python", () => this.label());
    this.label();
  }

  label() {
    const megabytes = Python.megabytes(WHOLE);
    const loads = loading(megabytes), time = this.minutes ? t(", about {minutes} min", { minutes: this.minutes }) : "";
    this.runner.replaceChildren(`▶ ${t("Run")}`, element("small", {}, `${loads}${time}`));
    this.runner.setAttribute("aria-label", `${t("Run {cell}", { cell: this.name })}${loads}${time}`);
    this.runner.disabled = this.above.disabled = Boolean(this.elsewhere);
    if (this.elsewhere) this.runner.replaceChildren(t("Not in the page: {reason}", { reason: t(this.elsewhere) }));
    this.above.hidden = this.index === 0 || Boolean(this.elsewhere);
    this.reset.hidden = !this.changed && !this.ran;
  }

  edit(focus) {
    if (!this.editor) {
      this.editor = editor(this.source, t("Code of {cell}", { cell: this.name }), { run: () => this.run(), changed: (text) => this.keep(text) });
      this.pre.closest("[class*='highlight-']").hidden = true;
      this.pre.closest(".cell_input").append(this.editor.node);
      this.editing.hidden = true;
    }
    if (focus) this.editor.area.focus();
  }

  keep(text) {
    this.source = text;
    Store.set("cell", `${PAGE}:${this.id}`, this.changed ? text : null);
    this.label();
  }

  /** The cell as it was printed, its output too. */
  putBack() {
    this.keep(this.printed);
    this.editor?.node.remove();
    this.editor = null;
    this.pre.closest("[class*='highlight-']").hidden = this.editing.hidden = false;
    if (this.ran && this.output) this.output.replaceChildren(...(this.printedOutput ?? []));
    this.ran = false;
    this.said.textContent = "";
    this.label();
    this.editing.focus();
  }

  /** Run the cells above that can run here, then this one. */
  async runAbove() {
    for (const cell of this.all.slice(0, this.index)) {
      if (cell.elsewhere || cell.node.classList.contains(ANSWERS)) continue;
      this.said.textContent = t("running {cell} …", { cell: cell.name });
      if (!await cell.run(false)) {
        this.said.textContent = t("not run: {cell} {reason}", { cell: cell.name, reason: cell.said.textContent });
        return;
      }
    }
    await this.run();
  }

  /** Whether it ran without an error. A cell alone brings the chapter's first one, its imports, with it. */
  async run(alone = true) {
    if (this.busy) return false;
    this.busy = true;
    try {
      await Python.need(WHOLE);
      if (alone && this.index && !this.all[0].ranIn(Python.worker)) await this.all[0].run(false);
      this.said.textContent = t("running …");
      const shown = new Output(this);
      const { right, solved } = await Python.ask("cell", { source: this.source }, { archives: WHOLE, hear: (event) => shown.hear(event) });
      shown.finish();
      Object.assign(this, { ran: true, home: Python.worker });
      this.said.textContent = right ? t("done") : t("ended with an error");
      if (!right) this.unfold();
      if (solved !== null) this.node.dispatchEvent(new CustomEvent("metacalc-verdict", { detail: solved }));
      return right;
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
      this.said.textContent = error.message;
      return false;
    } finally {
      this.busy = false;
      this.label();
    }
  }

  ranIn(worker) { return worker !== null && this.home === worker; }
}

const cells = [];

/** What the reader changed: printed source → source, for a notebook to take along. */
function changedCells() {
  return new Map(cells.filter((cell) => cell.changed).map((cell) => [cell.printed, cell.source]));
}

function mountCells() {
  document.querySelectorAll(".bd-article .cell").forEach((node, index) => {
    if (node.querySelector(".cell_input pre")) cells.push(new Cell(node, index, cells));
  });
}
