// The page's side of its Python: starts the worker when the reader asks, passes requests, shows what is going on. What
// this file and its neighbours define is one script, in the order of `SCRIPTS` in page_python.py; SIZES and STORE precede them.

const CORE = ["core", "course"], WHOLE = [...CORE, "cells", "figures", "results"];
const BASE = new URL(`${document.documentElement.dataset.content_root ?? "./"}_static/python/`, location.href).href;
const PAGE = document.querySelector("meta[name='metacalc-page']")?.content ?? "chapters/intro";

/** An element: `element("p", {class: "x"}, "text", child)`; on… are listeners. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

class Stopped extends Error {}

const Python = {
  worker: null, state: "off", loaded: new Set(), waiting: new Map(), last: 0, received: 0, expected: 0,

  /** Megabytes that are still to come before archives can be used; named on every button that loads them. */
  megabytes(archives) {
    const missing = archives.filter((name) => !this.loaded.has(name));
    return Math.round(missing.reduce((sum, name) => sum + SIZES[name], this.worker ? 0 : SIZES.runtime));
  },

  async start() {
    if (location.protocol === "file:") throw new Error("Python cannot run in a page that was opened from a file. Open the book through a server: run make serve, then visit http://localhost:8000.");
    const [manifest, kernel, code] = await Promise.all(["manifest.json", "kernel.py", "worker.js"].map(async (name) => {
      const response = await fetch(BASE + name);
      if (!response.ok) throw new Error(`${name} is missing from this copy of the book.`);
      return name.endsWith(".json") ? response.json() : response.text();
    }));
    this.manifest = manifest;
    // From a Blob the worker is bound by this page's policy: it may connect to this server alone.
    this.worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    this.worker.onmessage = ({ data }) => this.heard(data);
    this.worker.onerror = (event) => this.stop(`Python broke down: ${event.message ?? "unknown error"}.`);
    return this.send("start", { base: BASE, manifest, kernel, page: PAGE });
  },

  send(call, given, hear = () => {}) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, hear });
      this.worker.postMessage({ id, call, arguments: given });
    });
  },

  heard(data) {
    if (data.event === "loaded") this.received += data.bytes;
    const request = this.waiting.get(data.id);
    if (data.event === "done" || data.event === "failed") {
      this.waiting.delete(data.id);
      if (data.event === "done") request?.resolve(data.result);
      else request?.reject(new Error(data.reason));
    } else request?.hear(data);
    if (data.event === "importing") this.show("loading", `Loading ${data.name.replace(".pack", "")}, ${Math.round(data.bytes / 1e6)} MB …`);
    else this.show();
  },

  /** Load archives, and start Python first if it is off. */
  async need(archives) {
    this.starting ??= this.start();
    try {
      this.show("loading");
      const missing = archives.filter((name) => !this.loaded.has(name));
      missing.forEach((name) => this.loaded.add(name));
      await this.starting;
      if (missing.length) await this.send("load", { archives: missing });
    } catch (error) {
      if (!(error instanceof Stopped)) this.stop(error.message);
      throw error;
    }
  },

  /** The answer to a request; what comes before it goes to `hear`. */
  async ask(call, given, { archives = CORE, hear } = {}) {
    await this.need(archives);
    return this.send(call, given, hear);
  },

  /** End the worker, whatever it is doing: there is no gentler way on a server that sends no special headers. */
  stop(reason = "Stopped. The names that cells had defined are gone.") {
    this.worker?.terminate();
    const waiting = [...this.waiting.values()];
    Object.assign(this, { worker: null, starting: null, loaded: new Set(), received: 0, expected: 0 });
    this.waiting.clear();
    waiting.forEach(({ reject }) => reject(new Stopped(reason)));
    this.show("off", reason);
    document.dispatchEvent(new CustomEvent("metacalc-stopped"));
  },
};

/** What is kept in this browser, and nowhere else; where a browser keeps nothing, the page works without. */
const Store = {
  key: (kind, name) => `metacalc:${kind}:${name}`,
  get(kind, name) { try { return localStorage.getItem(this.key(kind, name)); } catch { return null; } },
  set(kind, name, value) {
    try {
      if (value == null) localStorage.removeItem(this.key(kind, name));
      else localStorage.setItem(this.key(kind, name), value);
    } catch { /* full, or switched off */ }
  },
  names(kind) {
    try { return Object.keys(localStorage).filter((k) => k.startsWith(this.key(kind, ""))).map((k) => k.slice(this.key(kind, "").length)); }
    catch { return []; }
  },
};

/** The status line at the foot of the window: there is none until the reader asks for Python. */
Python.show = function show(state = null, words = "") {
  if (state) this.state = state;
  this.bar ??= document.body.appendChild(element("div", { class: "python-bar", role: "region", "aria-label": "Python in this page" },
    this.words = element("span", { role: "status" }), this.progress = element("progress", { "aria-label": "Loading Python" }),
    this.stopper = element("button", { type: "button", onclick: () => this.stop() }, "Stop"),
    element("button", { type: "button", class: "python-close", "aria-label": "Hide this line", onclick: () => { this.bar.hidden = true; } }, "×")));
  if (state) this.bar.hidden = false;
  if (this.state === "loading" && this.received >= this.expected && ![...this.waiting.values()].some((w) => w.loads)) this.state = "ready";
};
