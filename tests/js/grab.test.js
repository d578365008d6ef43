// A start that is dragged in a plane, a path that the view iterates from it, and a question before the answer.

import assert from "node:assert/strict";
import test from "node:test";
import { Element } from "./dom.js";
import { expected, stage } from "./stage.js";

const { spec, table } = expected.plane;
const [X, Y, N] = [0, 1, 2], QUESTION = "Where does x end?";

function live() {
  const state = { spec, table: new DataView(Uint8Array.from(Buffer.from(table, "base64")).buffer), pictures: ["<svg></svg>"] };
  for (const slider of spec.sliders) state[slider.name] = slider.value;
  const model = { get: (name) => state[name], set: (name, value) => { state[name] = value; }, save_changes() {}, on() {}, off() {} };
  const el = new Element("div");
  stage.default.render({ model, el });
  const sliders = () => el.querySelectorAll("input").filter((input) => input.type === "range" && input.name !== "guess");
  const [x0, y0, width, height] = spec.marks[0].box;
  return {
    el, state, one: (selector) => el.querySelector(selector), said: () => el.querySelector(".stage-readout").textContent,
    move(i, k) { sliders()[i].value = String(k); sliders()[i].dispatch("input"); },
    /** The pointer at a place of the axes, from −2 to 2 both ways. */
    at: (x, y) => ({ clientX: x0 + (x + 2) / 4 * width, clientY: y0 + (2 - y) / 4 * height }),
  };
}

test("one grip moves two sliders, to the nearest of their positions", () => {
  const { state, one, at, said } = live(), grip = one("circle");
  grip.dispatch("pointermove", at(1, 1));
  assert.deepEqual([state.x, state.y], [1, 0.5], "a pointer that only passes does not drag");
  grip.dispatch("pointerdown");
  for (const [x, y] of [[-1.5, 0.5], [0.04, 1.96], [-2, -2]]) {
    grip.dispatch("pointermove", at(x, y));
    assert.ok(Math.abs(state.x - x) < 0.051 && Math.abs(state.y - y) < 0.051, `${[x, y]}: ${[state.x, state.y]}`);
  }
  assert.match(said(), /^from −2.0, −2.0/);
});

test("of grips that lie over one another the nearest to the pointer is held", () => {
  const { state, at, el } = live(), [, above] = el.querySelectorAll("circle");  // of the start, and of a mark one to its right
  above.dispatch("pointerdown", at(1.4, 0.5));
  above.dispatch("pointermove", at(-1, -1));
  assert.deepEqual([state.x, state.y], [-1, -1], "the start was nearer");
  above.dispatch("pointerdown", at(-0.4, -1));
  above.dispatch("pointermove", at(1, -1));
  assert.deepEqual([state.x, state.y], [0, -1]);
  above.dispatch("pointerdown", at(0.5, -1));
  above.dispatch("pointermove", at(1, 0));
  assert.deepEqual([state.x, state.y], [0, 0], "of two that are as near the one above");
});

test("a click in the panel brings the mark there, and the path begins there", () => {
  const { state, one, at, el, move } = live();
  one(".stage-pad").dispatch("click", at(-1, 1.5));
  assert.deepEqual([state.x, state.y], [-1, 1.5]);
  move(N, 2);
  const path = el.querySelectorAll("path").find((p) => p.getAttribute("d")?.split("L").length === 3);
  const [, , width, height] = spec.marks[0].box;
  const corners = path.getAttribute("d").split(/[ML]/).filter(Boolean).map((pair) => pair.split(",").map(Number));
  [[-1, 1.5], [-0.5, 0.75], [-0.25, 0.375]].forEach(([x, y], i) => {  // half of the way to the minimum in each step
    assert.ok(Math.abs(corners[i][0] - (x + 2) / 4 * width) < 0.02 && Math.abs(corners[i][1] - (2 - y) / 4 * height) < 0.02);
  });
});

test("who predicts first does not see, guesses, and is told", () => {
  const { el, one, said, at, state, move } = live(), button = one(".stage-guess"), before = said();
  const hidden = () => el.querySelectorAll(".stage-mark").map((mark) => mark.className.includes("stage-hidden"));
  assert.equal(button.textContent, "Predict first");
  button.dispatch("click");
  assert.deepEqual(hidden(), [false, true, false]);
  assert.ok(said().startsWith(QUESTION) && !said().includes("ends at") && button.textContent.includes("Show"));
  const guess = el.querySelectorAll("input").find((input) => input.name === "guess");
  assert.equal(Element.focused, guess);
  assert.ok(guess.getAttribute("aria-label").includes(QUESTION));
  one(".stage-guess-mark").querySelector(".stage-pad").dispatch("click", at(0.5, 0));
  assert.deepEqual([guess.getAttribute("aria-valuetext"), state.x], ["0.50", 1], "the click moves the guess, not the mark");
  guess.value = "130";
  guess.dispatch("input");
  assert.equal(guess.getAttribute("aria-valuetext"), "0.60");
  button.dispatch("click");
  assert.deepEqual(hidden(), [false, false, false]);
  assert.equal(said(), `${before}\nYou guessed 0.60; it is 0.12.`);
  move(X, 0);
  assert.ok(!said().includes("guessed") && button.textContent === "Predict first", "another position is another question");
});

test("reset takes a question back", () => {
  const { one, said } = live(), before = said();
  one(".stage-guess").dispatch("click");
  one(".stage-reset").dispatch("click");
  assert.equal(said(), before);
});
