// The worker in which a page's Python runs: it fetches Pyodide and the archives that lie beside it, and passes messages
// between the page and kernel.py. A request is {id, call, arguments}; answers are {id, event, ...}, the last with the event
// "done" or "failed".
"use strict";

let base, manifest, python, kernel;
const say = (message) => postMessage(message);
const plainFetch = self.fetch.bind(self);

/** Whether a response is whole: what a server says of a missing file is no archive. */
async function checked(response, name) {
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status}).`);
  return response;
}

/** The bytes of a file, told to the page as they come. */
async function bytes(name) {
  const response = await checked(await plainFetch(base + name), name);
  const parts = [];
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(value);
    say({ event: "loaded", bytes: value.length });
  }
}

/** The zip file in an archive. */
const unzipped = async (name) => new Uint8Array(
  await new Response(new Blob([await bytes(name)]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());

/** The same for Pyodide's own loader. The browser keeps what it compiled of WebAssembly only for a response as it came. */
self.fetch = async (address, options) => {
  const name = String(address).startsWith(base) ? String(address).slice(base.length) : "";
  if (!(name in (manifest?.files ?? {}))) return plainFetch(address, options);
  if (name.endsWith(".pack")) return new Response(await unzipped(name));
  if (!name.endsWith(".wasm")) return new Response(await bytes(name));
  const response = await checked(await plainFetch(address, options), name);
  response.clone().arrayBuffer().then((whole) => say({ event: "loaded", bytes: whole.byteLength }));
  return response;
};

/** An archive at once, for an import in the midst of a cell: no progress can be shown while this waits. */
function bytesAtOnce(name) {
  say({ event: "importing", name, bytes: manifest.files[name] });
  const request = new XMLHttpRequest();
  request.open("GET", base + name, false);
  request.responseType = "arraybuffer";
  request.send();
  if (request.status >= 400) throw new Error(`${name} could not be loaded (${request.status}).`);
  return new Uint8Array(request.response);
}

async function start(options) {
  ({ base, manifest } = options);
  importScripts(base + "pyodide.js");
  python = await loadPyodide({ indexURL: base, stdLibURL: base + "stdlib.pack", env: {
    HOME: "/home/pyodide", MPLBACKEND: "module://matplotlib_inline.backend_inline" } });
  python.registerJsModule("metacalc_page", {
    say: (text, table) => say({ ...JSON.parse(text), ...(table && { table: table.toJs() }) }),
    fetch: (name) => bytesAtOnce(manifest.archives[name].file),
    // A library that extension modules ask for by its name, as Pyodide loads one, but at once.
    link: (name, path) => python._module.loadDynamicLibrary(name, { nodelete: true, allowUndefined: true, global: true,
      fs: { findObject: () => true, readFile: () => python.FS.readFile(path) } }),
    heap: () => python._module.HEAP8.length,
  });
  python.runPython(options.kernel, { filename: "kernel.py" });
  kernel = python.globals.get("answer");
  return { manifest, page: options.page };
}

/** What an archive has goes to its folder; what comes over the network does so while Pyodide starts. */
const coming = new Map();
const fetchAhead = (names) => names.forEach((name) => {
  if (!coming.has(name)) coming.set(name, unzipped(manifest.archives[name].file));
  coming.get(name).catch(() => {});  // told when it is awaited
});

async function load({ archives }) {
  fetchAhead(archives);
  for (const name of archives) python.unpackArchive(await coming.get(name), "zip", { extractDir: manifest.archives[name].folder });
  return { loaded: archives };
}

async function answered(id, call, given) {
  if (call === "load") given = await load(given);
  if (call === "start") given = await start(given);
  return JSON.parse(kernel(id, call, JSON.stringify(given)));
}

// One request after the other, though loading waits.
let before = Promise.resolve();
onmessage = ({ data: { id, call, arguments: given } }) => {
  if (call === "load" && manifest) fetchAhead(given.archives);
  before = before.then(async () => {
    try {
      say({ id, event: "done", result: await answered(id, call, given) });
    } catch (error) {
      say({ id, event: "failed", reason: String(error?.message ?? error) });
    }
  });
};
