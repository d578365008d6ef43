// What a cell shows, where its printed output stands. Whatever a cell says is shown, and nothing of it is run: markup keeps the
// elements and attributes of a list, pictures are images, and a formula may not carry links.

const MARKUP = new Set(["A", "B", "BLOCKQUOTE", "BR", "CODE", "DIV", "EM", "H1", "H2", "H3", "H4", "HR", "I", "LI", "OL", "P", "PRE", "S", "SMALL",
  "SPAN", "STRONG", "SUB", "SUP", "TABLE", "TBODY", "TD", "TFOOT", "TH", "THEAD", "TR", "UL"]);
const UNSAFE_TEX = /\\(href|url|require|html|class|style|cssId|data|def|let|newcommand|unicode|includegraphics)/i;

/** The nodes of some markup with what is on the list, the text of everything else. */
function sanitised(markup) {
  const body = new DOMParser().parseFromString(markup, "text/html").body;
  const copy = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return [document.createTextNode(node.data)];
    if (node.nodeType !== Node.ELEMENT_NODE || ["SCRIPT", "STYLE", "TEMPLATE"].includes(node.nodeName)) return [];
    const inside = [...node.childNodes].flatMap(copy);
    if (!MARKUP.has(node.nodeName)) return inside;
    const made = element(node.nodeName.toLowerCase(), {}, ...inside);
    for (const name of ["colspan", "rowspan", "scope"]) if (node.hasAttribute(name)) made.setAttribute(name, node.getAttribute(name));
    return [made];
  };
  return [...body.childNodes].flatMap(copy);
}

/** A stream's text as a terminal shows it: after a carriage return a line is written over. */
const overwritten = (text) => text.split("\n").map((line) => line.replace(/\r$/, "").split("\r").at(-1)).join("\n");

async function typeset(node) {
  await window.MathJax?.startup?.promise;
  await window.MathJax?.typesetPromise?.([node]);
}

function formulaNode(latex) {
  const inside = latex.trim().replace(/^\$+|\$+$/g, "");
  if (UNSAFE_TEX.test(inside)) return element("pre", {}, inside);
  return element("div", { class: "output text_latex math notranslate nohighlight" }, `\\[${inside}\\]`);
}

/** The script of the live figures, which a page without one has not loaded. */
function stages() {
  if (window.metacalcStage) return Promise.resolve(window.metacalcStage);
  stages.coming ??= new Promise((resolve, reject) => {
    const missing = () => { stages.coming = null; reject(new Error(t("The live figures' script is missing from this copy of the book."))); };
    document.head.append(
      element("script", { src: `${BASE}../stage-host.js`, onload: () => resolve(window.metacalcStage), onerror: missing }));
  });
  return stages.coming;
}

class Output {
  constructor(cell) {
    this.cell = cell;
    this.streams = {};
    if (!cell.output) {
      cell.output = element("div", { class: "cell_output docutils container" });
      (cell.tools.closest(".tag_hide-input details.hide") ?? cell.tools).after(cell.output);
    }
    this.alts = [...cell.output.querySelectorAll("img[alt]")].map((image) => image.alt);
    cell.output.style.minHeight = `${cell.output.offsetHeight}px`;  // what stands below does not jump
    this.fresh = true;
  }

  /** The first thing that is shown takes the place of what was there. */
  add(...nodes) {
    if (this.fresh) this.cell.output.replaceChildren();
    this.fresh = false;
    this.cell.output.append(...nodes);
  }

  hear(event) {
    const kinds = { stream: this.stream, display: this.display, error: this.error, stage: this.stage, widget: this.widget };
    if (event.event === "clear") this.cell.output.replaceChildren();
    else kinds[event.event]?.call(this, event);
    if (event.event !== "stream") this.streams = {};
  }

  finish() {
    if (this.fresh) this.cell.output.replaceChildren();
    this.cell.output.style.minHeight = "";
  }

  stream({ name, text }) {
    if (!this.streams[name]) {
      this.streams = { [name]: { text: "", node: element("pre", { tabindex: "0" }) } };
      this.add(element("div", { class: `output ${name === "stderr" ? "stderr" : "stream"}` },
        element("div", { class: "highlight" }, this.streams[name].node)));
    }
    const stream = this.streams[name];
    stream.text += text;
    if (stream.text.length > 200000) stream.text = `${t("… (the beginning is left out)")}\n${stream.text.slice(-100000)}`;
    stream.node.textContent = overwritten(stream.text);
  }

  display({ data }) {
    if (data["text/html"]) this.add(element("div", { class: "output text_html" }, ...sanitised(data["text/html"])));
    else if (data["image/png"] || data["image/jpeg"] || data["image/svg+xml"]) this.add(this.picture(data));
    else if (data["text/latex"]) {
      const node = formulaNode(data["text/latex"]);
      this.add(node);
      typeset(node);
    } else if (data["text/plain"] !== undefined) {
      this.add(element("div", { class: "output text_plain" }, element("div", { class: "highlight" }, element("pre", { tabindex: "0" }, data["text/plain"]))));
    }
  }

  /** As an image, so that nothing in it can run. */
  picture(data) {
    const kind = ["image/png", "image/jpeg", "image/svg+xml"].find((name) => data[name]);
    const source = kind === "image/svg+xml" ? `data:${kind},${encodeURIComponent(data[kind])}` : `data:${kind};base64,${data[kind]}`;
    const alt = this.alts.shift();
    return element("img", { src: source, alt: alt ?? t("Picture made by {cell}", { cell: this.cell.name }), class: alt === undefined && "own-picture" });
  }

  error({ name, value, traceback }) {
    const words = element("div", { class: "output traceback", role: "alert" },
      element("div", { class: "highlight" }, element("pre", { tabindex: "0" }, traceback)));
    if (name === "NameError" && this.cell.index) words.append(element("p", {}, t("A name is missing that a cell above defines: run all above.")));
    if (name === "MemoryError" || /too big|allowed dimension/.test(value)) words.append(element("p", {}, t("Python in a page has 2 GB of memory at most. Make the arrays smaller, or run the notebook with make lab.")));
    this.add(words);
  }

  stage({ state, table }) {
    const place = element("div", { class: "stage" });
    this.add(place);
    stages().then(({ mount }) => mount(place, { ...state, table }));
  }

  widget() {
    this.add(element("p", { class: "needs-kernel" }, t("The controls of this cell need JupyterLab: start the course with "),
      element("code", {}, "make lab"), t(" and run the cell there.")));
  }
}
