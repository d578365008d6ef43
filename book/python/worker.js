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

/** The same for Pyodide's own loader. The browser keeps what it compiled of WebAssembly only for a response as it came. */
self.fetch = async (address, options) => {
  const name = String(address).startsWith(base) ? String(address).slice(base.length) : "";
  if (!(name in (manifest?.files ?? {}))) return plainFetch(address, options);
  if (name.endsWith(".pack")) return new Response(new Blob([await bytes(name)]).stream().pipeThrough(new DecompressionStream("gzip")));
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
  base += manifest.kept;
  importScripts(base + "pyodide.js");
  python = await loadPyodide({ indexURL: base, stdLibURL: base + manifest.stdlib, env: {
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
  return { manifest, page: options.page, language: options.language };
}

/** Write the files of a tar archive into a folder. They stay where they lie in `tar`: nothing is copied. */
function unpack(tar, folder) {
  const text = (from, length) => new TextDecoder().decode(tar.subarray(from, from + length)).split("\0")[0];
  const there = new Set();
  for (let at = 0; tar[at];) {
    const [name, size, prefix] = [text(at, 100), parseInt(text(at + 124, 12), 8), text(at + 345, 155)];
    const path = [folder, prefix, name].filter(Boolean).join("/"), parent = path.slice(0, path.lastIndexOf("/"));
    if (!there.has(parent)) python.FS.mkdirTree(parent);
    there.add(parent);
    python.FS.writeFile(path, tar.subarray(at + 512, at + 512 + size), { canOwn: true });
    at += 512 * (1 + Math.ceil(size / 512));
  }
}

async function answered(id, call, given) {
  if (call === "load") {
    unpack(new Uint8Array(given.tar), manifest.archives[given.archive].folder);
    given = { loaded: given.archive };
  }
  if (call === "start") given = await start(given);
  return JSON.parse(kernel(id, call, JSON.stringify(given)));
}

// One request after the other, though starting waits.
let before = Promise.resolve();
onmessage = ({ data: { id, call, arguments: given } }) => {
  before = before.then(async () => {
    try {
      say({ id, event: "done", result: await answered(id, call, given) });
    } catch (error) {
      say({ id, event: "failed", reason: String(error?.message ?? error) });
    }
  });
};
