// The page's side of its Python: starts the worker when the reader asks, passes requests, shows what is going on. What
// this file and its neighbours define is one script, in the order of `SCRIPTS` in page_python.py, after the constants that it writes.

const LANGUAGE = document.documentElement.lang.replace("-", "_"), ENGLISH = LANGUAGE === "en";
const CORE = ENGLISH ? ["core", "course"] : ["core", "course", "words"], WHOLE = [...CORE, "cells", "figures", "results"];
const ROOT = `${document.documentElement.dataset.content_root ?? "./"}${ENGLISH ? "" : "../"}`;  // the pages of all languages
const BASE = new URL(`${ROOT}_static/python/`, location.href).href;
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

/** What a button says of what it would load, if that is anything. */
const loading = (megabytes) => (megabytes ? t(" (loads Python, {megabytes} MB)", { megabytes }) : "");

const Python = {
  worker: null, starting: null, loaded: new Map(), waiting: new Map(), last: 0, received: 0, expected: 0, coming: 0, note: "",

  /** Megabytes that are still to come before archives can be used: every button that loads them names this. */
  megabytes(archives) {
    const missing = archives.filter((name) => !this.loaded.has(name));
    return Math.round(missing.reduce((sum, name) => sum + SIZES[name], this.starting ? 0 : SIZES.runtime));
  },

  async start() {
    if (location.protocol === "file:") {
      throw new Error(t("Python does not run in a page that was opened from a file. Open the book through a server: make serve."));
    }
    const [manifest, kernel, code] = await Promise.all(["manifest.json", "kernel.py", "worker.js"].map(async (name) => {
      const response = await this.file(name);
      return name.endsWith(".json") ? response.json() : response.text();
    }));
    this.manifest = manifest;
    // From a Blob the worker is bound by this page's policy: it may connect to this server alone, and take scripts from nowhere else.
    document.head.append(element("meta", { "http-equiv": "Content-Security-Policy",
      content: "connect-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:" }));
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.worker = new Worker(address);
    this.worker.onmessage = ({ data }) => this.heard(data);
    this.worker.onerror = (event) => this.stop(
      t("Python broke down: {reason}.", { reason: event.message || t("its worker could not start") }));
    this.begun = this.send("start", { base: BASE, manifest, kernel, page: PAGE, language: LANGUAGE })
      .finally(() => URL.revokeObjectURL(address));
  },

  async file(name) {
    const response = await fetch(BASE + name);
    if (!response.ok) throw new Error(t("Python's files are not all here: {name} is missing.", { name }));
    return response;
  },

  /** What an archive has in its gzip: undone here, while the worker starts Python. */
  async unzipped(name) {
    const counted = new TransformStream({ transform: (part, out) => { out.enqueue(part); this.received += part.length; this.show(); } });
    const { body } = await this.file(this.manifest.kept + this.manifest.archives[name].file);
    return new Response(body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  },

  async load(name) {
    const started = this.starting;
    this.coming += 1;
    await started;
    try {
      const tar = await this.unzipped(name);
      if (this.starting !== started) throw new Stopped(t("Python was stopped."));
      await this.send("load", { archive: name, tar }, { transfer: [tar] });
    } finally {
      if (this.starting === started) this.coming -= 1;
    }
  },

  send(call, given, { hear = () => {}, transfer = [] } = {}) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { call, resolve, reject, hear });
      this.worker.postMessage({ id, call, arguments: given }, transfer);
      this.show();
    });
  },

  heard(data) {
    const request = this.waiting.get(data.id);
    if (data.event === "loaded") this.received += data.bytes;
    else if (data.event === "importing") this.note = t("loading {name}, {megabytes} MB", {
      name: data.name.replace(/-\w+\.pack$/, ""), megabytes: Math.round(data.bytes / 1e6) });
    else if (data.event === "done" || data.event === "failed") {
      this.waiting.delete(data.id);
      this.note = "";
      if (data.result?.heap) this.heap = data.result.heap;
      if (data.event === "done") request?.resolve(data.result);
      else request?.reject(new Error(data.reason));
    } else request?.hear(data);
    this.show();
  },

  /** Load archives, and start Python first if it is off. */
  async need(archives) {
    const missing = archives.filter((name) => !this.loaded.has(name));
    this.expected += 1e6 * this.megabytes(missing);
    this.starting ??= this.start();
    const started = this.starting;
    missing.forEach((name) => this.loaded.set(name, this.load(name)));
    this.show();
    try {
      await started;
      await Promise.all([this.begun, ...archives.map((name) => this.loaded.get(name))]);
    } catch (error) {
      if (this.starting === started) this.stop(error.message);
      throw error instanceof Stopped ? error : new Stopped(error.message);
    }
  },

  /** The answer to a request; what comes before it goes to `hear`. */
  async ask(call, given, { archives = CORE, hear } = {}) {
    await this.need(archives);
    return this.send(call, given, { hear });
  },

  /** End the worker, whatever it is doing: on a server that sends no special headers there is no gentler way. */
  stop(reason = t("Python was stopped. What cells had defined is gone; the next run starts it anew.")) {
    this.worker?.terminate();
    const waiting = [...this.waiting.values()];
    Object.assign(this, { worker: null, starting: null, loaded: new Map(), received: 0, expected: 0, coming: 0, heap: 0, note: "" });
    this.waiting.clear();
    waiting.forEach(({ reject }) => reject(new Stopped(reason)));
    this.show(reason);
    document.dispatchEvent(new CustomEvent("metacalc-python"));
  },

  /** The line at the foot of the window: what Python is doing. There is none until the reader asks for Python. */
  show(words) {
    this.bar ??= document.body.appendChild(element("div", { class: "python-bar", role: "region", "aria-label": t("Python in this page") },
      this.words = element("span", { role: "status" }),
      this.progress = element("progress", { "aria-label": t("Loading Python") }),
      this.stopper = element("button", { type: "button", onclick: () => this.stop() }, t("Stop")),
      element("button", { type: "button", "aria-label": t("Hide this line"), onclick: () => { this.bar.hidden = true; } }, "×")));
    const calls = [...this.waiting.values()].map(({ call }) => call);
    const coming = calls.some((call) => call === "start" || call === "load") || this.coming > 0 || (this.starting && !this.worker);
    const running = calls.some((call) => call === "cell");
    const memory = this.heap ? t(" · {megabytes} MB of memory", { megabytes: Math.round(this.heap / 1e6) }) : "";
    if (words || coming || running) this.bar.hidden = false;
    this.bar.dataset.state = coming ? "loading" : running ? "running" : this.worker ? "ready" : "off";
    const said = words ?? (coming ? t("Loading Python, {megabytes} MB", { megabytes: Math.round(this.expected / 1e6) })
      : running ? t("Python is running{note} …", { note: this.note && t(": {note}", { note: this.note }) })
        : `${t("Python is ready")}${memory}`);
    if (this.words.textContent !== said) this.words.textContent = said;  // so that a screen reader says it once
    this.progress.hidden = !coming;
    if (coming && this.expected) this.progress.value = Math.min(1, this.received / this.expected);
    this.stopper.hidden = !this.starting;
    this.stopper.textContent = coming || running ? t("Stop") : t("Restart");
    if (this.bar.dataset.state !== this.shown) document.dispatchEvent(new CustomEvent("metacalc-python"));
    this.shown = this.bar.dataset.state;
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
