// The notebook that a reader takes along: only the cells that were changed differ from the one that the page offers.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const source = readFileSync(new URL("../../book/python/download.js", import.meta.url), "utf8");
const page = { addEventListener() {} };
const { withChanges } = new Function("document", `"use strict";\n${source}\nreturn { withChanges };`)(page);

const code = (source) => ({ cell_type: "code", id: "x", metadata: {}, execution_count: 3, outputs: [{ output_type: "stream" }], source });
const notebook = { nbformat: 4, nbformat_minor: 5, metadata: { a: 1 }, cells: [
  code(["import metacalc\n", "a = 1"]), { cell_type: "markdown", id: "y", metadata: {}, source: "a = 1" }, code("a = 1"), code("b = 2  \n\n"),
] };

test("a changed cell takes the reader's words and loses its outputs, all others stay", () => {
  const before = structuredClone(notebook);
  const made = withChanges(notebook, new Map([["a = 1", "a = 2\nprint(a)"]]));
  assert.deepEqual(notebook, before);
  assert.deepEqual(made.cells[2], { ...code(["a = 2\n", "print(a)"]), outputs: [], execution_count: null });
  assert.deepEqual(made.cells.filter((_, i) => i !== 2), before.cells.filter((_, i) => i !== 2));
  assert.deepEqual({ ...made, cells: [] }, { ...before, cells: [] });
});

test("white space at the ends of lines does not matter, nor whether a source is a list", () => {
  const made = withChanges(notebook, new Map([["import metacalc  \na = 1\n", "pass"], ["b = 2", ""]]));
  assert.deepEqual(made.cells.map((cell) => [cell.source].flat().join("")), ["pass", "a = 1", "a = 1", ""]);
});

test("a change of nothing in the notebook changes nothing", () => {
  assert.deepEqual(withChanges(notebook, new Map([["c = 3", "c = 4"]])), notebook);
  assert.deepEqual(withChanges(notebook, new Map()), notebook);
});

test("the last line's end is the reader's", () => {
  assert.deepEqual(withChanges(notebook, new Map([["a = 1", "a = 2\n\nb\n"]])).cells[2].source, ["a = 2\n", "\n", "b\n"]);
});
