// A figure that Python painted without matplotlib, in the same view.

import assert from "node:assert/strict";
import test from "node:test";
import { Element } from "./dom.js";
import { expected, stage } from "./stage.js";

test("a reader's own function is drawn, and its readout is Python's", () => {
  const { state, readouts } = expected.explored;
  const table = new DataView(new Uint8Array(Buffer.from(state.table, "base64")).buffer), el = new Element("div");
  const model = { get: (name) => (name === "table" ? table : name === "pictures" ? ["<svg></svg>", "<svg></svg>"] : state[name]),
    set: () => {}, on: () => {}, off: () => {}, save_changes: () => {} };
  stage.default.render({ model, el });
  const [n, eta] = el.querySelectorAll("input").filter((input) => input.type === "range");
  const [readout] = el.querySelectorAll(".stage-readout");
  assert.equal(readout.textContent, state.spec.text);
  for (const [[i, k], text] of readouts) {
    n.value = String(i); n.dispatch("input");
    eta.value = String(k); eta.dispatch("input");
    assert.equal(readout.textContent.split("\n")[1], text);
  }
  assert.equal(el.querySelectorAll(".stage-mark").length, state.spec.marks.length);
});
